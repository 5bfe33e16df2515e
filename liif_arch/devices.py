"""Handing tensors from the host to the device that computes, without waiting for that device; and
PyTorch's settings of devices, for a while.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

_SETTING = threading.RLock()


def from_host(values: Tensor, device: torch.device | str) -> Tensor:
    """A CPU tensor on a device (or one that is there already); a GPU's own work goes on meanwhile.

    A plain `.to('cuda')`, and `torch.tensor(..., device='cuda')`, wait until the GPU has done all
    that it was given before. The asynchronous copy has read pageable memory when it returns, for
    which it may have to wait, so that `values` may change or go afterwards; for pinned memory it
    does not wait, and PyTorch keeps that until it has been read.

    Args:
        values: Any shape and type.
        device: Where it is needed.

    Returns:
        The same values; the tensor itself where it is there.
    """
    device = torch.device(device)
    return values.to(device, non_blocking=device.type == 'cuda')


def constant(values: list[float] | tuple[float, ...], like: Tensor) -> Tensor:
    """A few numbers as a tensor (n,) of another's type and device: `new_tensor` without waiting.

    A GPU makes them itself: what a CUDA graph copies from the host is gone when it is replayed.
    """
    if like.device.type == 'cpu':
        return torch.tensor(values, dtype=like.dtype)
    return torch.stack([like.new_full((), value) for value in values])


@contextmanager
def set_to(settings: object, **values: object) -> Iterator[None]:
    """Some of PyTorch's settings, such as `torch.backends.cudnn`, at other values within a block.

    They are the whole program's: other threads that use this function wait until the block ends.

    `torch.backends.cudnn.flags` would set all of them, and fails where a program has set how
    float32 is multiplied by `fp32_precision`.
    """
    with _SETTING:
        before = {name: getattr(settings, name) for name in values}
        try:
            for name, value in values.items():
                setattr(settings, name, value)
            yield
        finally:
            for name, value in before.items():
                setattr(settings, name, value)
