"""How times are taken for `scripts/benchmark.py`, and on which networks."""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

import liif_arch  # noqa: F401  before PyTorch, which reads once how its threads are to wait

# isort: split
import torch
from torch import Tensor, nn

from liif_arch.precision import has_bfloat16

WIDTH = 256  # of the matrix products whose rate is the floor
PRECISIONS = {'float32': torch.float32, 'bfloat16': torch.bfloat16}


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Wall time of one call, the device's work included."""
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    work()
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def alternate(
    works: dict[str, Callable[[], object]], device: torch.device, repeats: int
) -> dict[str, float]:
    """Median seconds of each of several works, run in turns after one warming turn."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(repeats + 1):
        for name, work in works.items():
            elapsed = seconds(work, device)
            if turn:
                times[name].append(elapsed)
    return {name: statistics.median(values) for name, values in times.items()}


def matrix_work(
    width: int, dtype: torch.dtype, device: torch.device
) -> tuple[Callable[[], object], float]:
    """Matrix products of the decoder's shape, which are the floor.

    Returns:
        The work, by the fastest call there is, and its number of multiply-adds.
    """
    from liif_arch.decode.mlp import linear_relu

    rows = 2**17
    if device.type == 'cpu':
        rows = 4096
    a = torch.randn(rows, width, device=device).to(dtype)
    b = torch.randn(width, width, device=device).to(dtype)
    out, bias, repeat = torch.empty(rows, width, device=device, dtype=dtype), b[0].clone(), 8
    calls = [lambda: torch.mm(a, b, out=out), lambda: linear_relu(a, b, bias)]
    call = min(calls, key=lambda c: min(seconds(c, device) for _ in range(8)))

    def work() -> None:
        for _ in range(repeat):
            call()

    return work, repeat * rows * width * width


def build(args: argparse.Namespace, encoder: str = 'EDSREncoder', size: str = '') -> nn.Module:
    """Build a network of `--decoder`.

    The size `paper` is as published; `small` has 8 blocks of 32 features and narrow hidden layers.
    """
    import liif_arch.register  # noqa: F401  the encoders' names
    from liif_arch import LIIF, LTE, MetaSR, Thera

    field = partial(Thera, skip='bilinear', local_ensemble=True)  # as the weights that ship
    decoders = {'LIIF': LIIF, 'LTE': LTE, 'MetaSR': MetaSR, 'Thera': field}
    decoder = decoders[args.decoder]
    if (size or args.network) == 'paper':
        return decoder({'type': encoder}).eval()
    small = {'num_feat': 32, 'num_block': 8}
    if encoder == 'RDNEncoder':
        small = {'num_feat': 32, 'num_block': 2, 'growth': 32, 'num_layer': 4}
    widths = {
        'LIIF': {'hidden_list': [128, 128, 128]},
        'LTE': {'hidden_dim': 128, 'hidden_list': [128, 128]},
        'MetaSR': {'hidden_list': [128]},
        'Thera': {},
    }
    return decoder({'type': encoder, **small}, **widths[args.decoder]).eval()


def plain_codes(net: nn.Module, lq: Tensor) -> Tensor:
    """What `query_plain` starts from, by the encoder as it is."""
    if net.encoder.num_out_feat == net.code_channels:
        return net.encoder((lq - 0.5) / 0.5)
    return net.encode(lq)  # where LTE computes its codes


def available(device: torch.device) -> dict[str, torch.dtype]:
    """The precisions that a device multiplies in hardware."""
    if has_bfloat16(device):
        return dict(PRECISIONS)
    return {'float32': torch.float32}
