"""Which floating-point type the matrix products run in; coordinates, sums and losses are float32 in
every precision.

On GPUs float32 convolutions follow PyTorch's own setting, `torch.backends.cudnn.allow_tf32` (on
unless switched off); `upscale` switches it off for images that are finer than 8 bits.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

import torch

from liif_arch.devices import set_to
from liif_arch.errors import UserError, suggest

PRECISIONS = ('float32', 'bfloat16', 'auto')


def resolve(precision: object, device: torch.device | str, key: str = 'precision') -> torch.dtype:
    """float32, or bfloat16 where `device` has instructions for it.

    Args:
        precision: 'float32', 'bfloat16', or 'auto', which is bfloat16 where that is faster.
        device: Where it will run.
        key: What an error calls the option.

    Raises:
        UserError: Another value, or bfloat16 where it is missing.
    """
    device = torch.device(device)
    if precision not in PRECISIONS:
        raise UserError(f'{key}: found {precision!r}; {suggest(precision, PRECISIONS)}')
    if precision == 'float32':
        return torch.float32
    if has_bfloat16(device):
        return torch.bfloat16
    if precision == 'bfloat16':
        kind = f'device, {device}'
        if device.type == 'cpu':
            kind = 'CPU (it needs AVX512-BF16 or AMX)'
        raise UserError(
            f'{key}: found bfloat16, which this {kind} has no instructions for; use float32, or '
            'auto.'
        )
    return torch.float32


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device multiplies bfloat16 matrices in hardware."""
    if device.type == 'cuda':
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == 'cpu':
        return _cpu_has('_is_avx512_bf16_supported') or _cpu_has('_is_amx_tile_supported')
    return False


def _cpu_has(query: str) -> bool:
    """What a function of torch.cpu answers; no where this version of PyTorch lacks it."""
    return hasattr(torch.cpu, query) and getattr(torch.cpu, query)()


def onednn_has(dtype: torch.dtype) -> bool:
    """Whether oneDNN computes in a type on this processor, where its operations are called by name.

    Without AVX-512 most processors have no bfloat16 in oneDNN, which ends in an error. PyTorch's
    operations know that and do without it.
    """
    if not torch.backends.mkldnn.enabled:
        return False
    if dtype == torch.bfloat16:
        query = '_is_mkldnn_bf16_supported'
        return hasattr(torch.ops.mkldnn, query) and getattr(torch.ops.mkldnn, query)()
    return dtype == torch.float32


@contextmanager
def exact_float32(device: torch.device) -> Iterator[None]:
    """Without TensorFloat-32, which rounds what a GPU multiplies in float32 to 10 bits."""
    with ExitStack() as stack:
        if device.type == 'cuda':
            for settings in (torch.backends.cudnn, torch.backends.cuda.matmul):
                stack.enter_context(_exact(settings))
        yield


def _exact(settings: Any) -> AbstractContextManager:
    """Some of PyTorch's settings, without TensorFloat-32."""
    try:
        if settings.allow_tf32:
            return set_to(settings, allow_tf32=False)
        return nullcontext()
    except RuntimeError:  # a program has set `fp32_precision`, beside which this is not to be read
        return set_to(getattr(settings, 'conv', settings), fp32_precision='ieee')


def ambient_dtype(device: torch.device) -> torch.dtype:
    """What matrix products run in here: the surrounding autocast's type, else float32."""
    if _is_autocast(device):
        return torch.get_autocast_dtype(device.type)
    return torch.float32


def _is_autocast(device: torch.device) -> bool:
    """Whether there is a surrounding autocast; many kinds of device have none."""
    if device.type in ('cpu', 'cuda'):  # without the question, which torch.compile cannot follow
        return torch.is_autocast_enabled(device.type)
    return torch.amp.is_autocast_available(device.type) and torch.is_autocast_enabled(device.type)


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager:
    """Run convolutions and matrix products in `dtype`, also where a surrounding autocast says
    otherwise.
    """
    if dtype in (torch.bfloat16, torch.float16):
        return torch.autocast(device.type, dtype)
    if _is_autocast(device):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()
