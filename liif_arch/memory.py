"""How much memory there is, and what a user is told where it is not enough."""
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from liif_arch.errors import UserError

CGROUP_LIMITS = ('/sys/fs/cgroup/memory.max', '/sys/fs/cgroup/memory/memory.limit_in_bytes')
OUT_OF_MEMORY = ("can't allocate memory", 'not enough memory', 'out of memory', 'alloc_failed',
                 'could not allocate')  # in the texts of PyTorch's errors, in lower case


def machine_memory() -> float:
    """Bytes that this process can have at most: the machine's, or its container's if that is less.

    Infinite where the system does not say.
    """
    found = [float('inf')]
    if hasattr(os, 'sysconf'):
        found.append(os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES'))
    for path in CGROUP_LIMITS:
        try:
            text = Path(path).read_text().strip()
        except OSError:
            continue
        if text.isdecimal():
            found.append(int(text))
    return min(found)


def device_memory(device: torch.device) -> float:
    """Bytes that a computation on a device can have at most; infinite where the device does not say."""
    if device.type == 'cpu':
        return machine_memory()
    if device.type == 'cuda':
        free, _ = torch.cuda.mem_get_info(device)
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return free + unused
    return float('inf')


def require_encoder_memory(net: nn.Module, size: tuple[int, int]) -> None:
    """Raise UserError where an image (h, w) is encoded as a whole, and the device has too little memory for that.

    A process that asks a processor's system for more is often killed, without an error that could be told.
    """
    peak_floats = getattr(net.encoder, 'peak_floats', None)
    if peak_floats is None:
        return
    device = next(net.parameters()).device
    needed, found = 4 * peak_floats(*size), device_memory(device)
    if needed > found:
        raise UserError(f'memory: found {found / 1e6:,.0f} MB on {device}; needed about '
                        f'{needed / 1e6:,.0f} MB. {_whole_image(net, size)}')


def _whole_image(net: nn.Module, size: tuple[int, int]) -> str:
    encoder = getattr(net.encoder, 'net', net.encoder)
    return (f'{type(encoder).__name__} has to see all of an image of {size[1]}x{size[0]} (width x height) at once; '
            'cut the image into parts, or use an encoder that works in windows (EDSREncoder, RDNEncoder).')


@contextmanager
def explain_out_of_memory(net: nn.Module, size: tuple[int, int], memory: float) -> Iterator[None]:
    """Turn a device's or system's refusal of memory into a UserError that names the way out.

    Args:
        net: The network that is run within.
        size: Size (h, w) of the image.
        memory: The budget that it was given, in MiB.
    """
    device = next(net.parameters()).device
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # torch.OutOfMemoryError is a RuntimeError
        text = str(error).lower()
        if not isinstance(error, MemoryError) and not any(part in text for part in OUT_OF_MEMORY):
            raise
    else:
        return
    if device.type == 'cuda':  # what the failed attempt held serves the next image
        torch.cuda.empty_cache()
    if hasattr(net.encoder, 'peak_floats') and getattr(net.encoder, 'receptive_radius', None) is None:
        needed = 4 * net.encoder.peak_floats(*size)
        raise UserError(f'memory: {device} has none left; needed about {needed / 1e6:,.0f} MB for the '
                        f'encoder alone. {_whole_image(net, size)}')
    raise UserError(f'memory: {device} has none left at a budget of {memory:g} MiB; lower it '
                    f'(--memory {max(1, memory // 2):g}), or free memory that other programs hold.')
