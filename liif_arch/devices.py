"""Handing tensors from the host to the device that computes, without waiting for that device."""

import torch
from torch import Tensor


def from_host(values: Tensor, device: torch.device | str) -> Tensor:
    """A CPU tensor on a device (or one that is there already); a GPU's own work goes on meanwhile.

    A plain `.to('cuda')`, and `torch.tensor(..., device='cuda')`, wait until the GPU has done all
    that it was given before. The asynchronous copy has read pageable memory when it returns, so
    `values` may change or go afterwards; pinned memory is kept by PyTorch until it has been read.

    Args:
        values: Any shape and type.
        device: Where it is needed.

    Returns:
        The same values; the tensor itself where it is there.
    """
    device = torch.device(device)
    return values.to(device, non_blocking=device.type == 'cuda')


def constant(values: list[float] | tuple[float, ...], like: Tensor) -> Tensor:
    """A few numbers as a tensor (n,) of another's type and device: `new_tensor` without waiting."""
    return from_host(torch.tensor(values, dtype=like.dtype), like.device)
