"""How long a job will take, told before a long one begins."""

import sys
import time

import torch
from torch import nn

from liif_arch.upscaling.memory import machine_memory

LONG = 60  # seconds, above which a job is told of
SURELY_SHORT = 2 * 10**6  # pixels, which every network renders within that time, or nearly
SIDE, SCALE = 48, 3  # of the sample that is enlarged to know
SIDE_ON_GPU = 256  # where a small one would tell how long a launch takes
BYTES = 8  # of a result's pixel, in memory and for its encoder, at most of 16-bit colours


@torch.no_grad()
def seconds_for(net: nn.Module, pixels: int) -> float:
    """About how long a network takes for so many pixels of results."""
    device = next(net.parameters()).device
    side = SIDE_ON_GPU if device.type == 'cuda' else SIDE
    lq = torch.rand(1, net.num_in_ch, side, side).to(device)
    size = (side * SCALE, side * SCALE)
    times = []
    for _ in range(3):
        start = time.perf_counter()
        net.render(net.encode(lq), size).cpu()
        times.append(time.perf_counter() - start)
    return min(times) / (size[0] * size[1]) * pixels


def tell_long(net: nn.Module, pixels: int, largest: int, memory: float) -> None:
    """Say on standard error about how long results will take, where it is more than a minute.

    Args:
        net: The network, of most of them.
        pixels: Of all results.
        largest: Pixels of the largest result.
        memory: Budget for activations, in MiB.
    """
    if pixels < SURELY_SHORT:
        return
    seconds = seconds_for(net, pixels)
    if seconds < LONG:
        return
    need = min(memory * 2**20 + BYTES * largest, machine_memory())
    print(
        f'basicsr upscale: {pixels / 1e6:,.0f} million pixels take about {_duration(seconds)}, '
        f'and up to {need / 2**30:.1f} GiB of memory.',
        file=sys.stderr,
    )


def _duration(seconds: float) -> str:
    """In the unit that people would choose."""
    if seconds < 90 * 60:
        return f'{max(1, round(seconds / 60))} min'
    return f'{seconds / 3600:.1f} h'
