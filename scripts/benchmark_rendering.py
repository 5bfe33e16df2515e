"""The sections `render` and `linearity` of `scripts/benchmark.py`: seconds per output pixel."""

import argparse
import math
from collections.abc import Callable

import liif_arch  # noqa: F401  before PyTorch, which reads once how its threads are to wait

# isort: split
import numpy as np
import torch
from benchmark_report import plot_linearity, show
from benchmark_timing import (
    WIDTH,
    alternate,
    available,
    build,
    matrix_work,
    plain_codes,
)
from torch import nn

from liif_arch.complexity import complexity
from liif_arch.coordinates import make_cell, make_coord, scale_label, scaled_size

SCALES = ((2, 2), (4, 4), (8, 8), (30, 30), (3.3, 4.7))
PART_OF_SIDE = {'RDN': 4}  # which a slow encoder is timed on; of others the half
PLAIN_CHUNK = 30000  # queries at a time, as the reference implementation's tests do


@torch.no_grad()
def render(args: argparse.Namespace, device: torch.device) -> list[dict]:
    """Time the encoders, the decoder at each scale, and the whole of both.

    Encoders are timed per input pixel, the decoder per output pixel.
    """
    encodings, costs, rows = {}, {}, []
    for name in args.encoders:
        encoder = name.removesuffix('Encoder')
        net = build(args, name).to(device)
        side = max(16, args.side // PART_OF_SIDE.get(encoder, 2))
        encodings[encoder] = encoder_times(net, (side, side * 3 // 2), device, args.repeats)
        costs[encoder] = complexity(net)
    for scale in SCALES:
        # About as many output pixels at every scale.
        size = max(2, int(args.side * 4 / scale[0])), max(2, int(args.side * 6 / scale[1]))
        decoding = decoder_times(net, size, scale, device, args.repeats)
        for name in available(device):
            for encoder, cost in costs.items():
                encoding = {k: t / math.prod(scale) for k, t in encodings[encoder].items()}
                macs = cost.per_output + cost.per_input / math.prod(scale)
                rows.append(render_row(encoder, scale, name, decoding, encoding, macs))
            rows.append(
                render_row(
                    'decoder alone',
                    scale,
                    name,
                    decoding,
                    dict.fromkeys(decoding, 0.0),
                    cost.per_output + cost.per_latent / math.prod(scale),
                )
            )
            for row in rows[-1 - len(costs) :]:
                show(row)
    return rows


def render_row(
    what: str, scale: tuple[float, float], name: str, decoding: dict, encoding: dict, macs: float
) -> dict:
    """A row of the table.

    Args:
        what: Name of the network.
        scale: (sy, sx).
        name: Its precision.
        decoding: What `decoder_times` returned.
        encoding: Seconds that the encoder takes for an output pixel, in each precision.
        macs: Multiply-adds for an output pixel.
    """
    fast, plain = decoding[name] + encoding[name], decoding['plain'] + encoding['plain']
    return {
        'network': what,
        'scale': scale_label(scale),
        'precision': name,
        'ns a pixel': fast * 1e9,
        'plain ns': plain * 1e9,
        'faster': plain / fast,
        'of the floor': macs / decoding[f'rate {name}'] / fast,
        'Mpixel/s': 1e-6 / fast,
    }


def encoder_times(
    net: nn.Module, size: tuple[int, int], device: torch.device, repeats: int
) -> dict[str, float]:
    """Seconds per input pixel: `encode` in every precision; plain: the encoder as it is."""
    lq = torch.rand(1, 3, *size, device=device)

    def encode(name: str) -> None:
        net.precision = name
        net.encode(lq)

    works: dict[str, Callable[[], object]] = {
        name: lambda n=name: encode(n) for name in available(device)
    }
    works['plain'] = lambda: plain_codes(net, lq)
    return {name: t / (size[0] * size[1]) for name, t in alternate(works, device, repeats).items()}


def decoder_times(
    net: nn.Module,
    size: tuple[int, int],
    scale: tuple[float, float],
    device: torch.device,
    repeats: int,
) -> dict[str, float]:
    """Seconds per output pixel in every precision and of the plain form; `rate NAME`: multiply-adds
    a second.

    Of the fast form a band of rows is timed, of the plain form two of its chunks; the others take
    as long.
    """
    target = scaled_size(size, scale)
    band = min(target[0], max(16, (2**18 if device.type == 'cpu' else 2**24) // target[1]))
    rows = min(
        size[0], math.ceil(band / scale[0]) + 1 + net.reach
    )  # of latents, that the band reads
    feat = torch.randn(1, net.code_channels, *size, device=device)
    images = {}  # what `encode` gives in each precision
    for name in available(device):
        net.precision = name
        images[name] = (
            feat[:, :, :rows]
            .to(net.encode(torch.rand(1, 3, 16, 16, device=device)).dtype)
            .contiguous()
        )

    def decode(name: str) -> None:
        net.precision = name
        net.render_window(images[name], target, (0, 0), size, (0, band), (0, target[1]))

    coord = make_coord(target, device).view(1, -1, 2)[:, : 2 * PLAIN_CHUNK]
    cell = make_cell(target, device).expand_as(coord)

    def plain() -> None:
        for c, k in zip(coord.split(PLAIN_CHUNK, 1), cell.split(PLAIN_CHUNK, 1), strict=True):
            net.query_plain(feat, c, k)

    works: dict[str, Callable[[], object]] = {'plain': plain}
    pixels, macs = {'plain': coord.shape[1]}, {}
    for name, dtype in available(device).items():
        works[name], pixels[name] = lambda n=name: decode(n), band * target[1]
        works[f'rate {name}'], macs[f'rate {name}'] = matrix_work(WIDTH, dtype, device)
    times = alternate(works, device, repeats)
    return {name: macs[name] / t if name in macs else t / pixels[name] for name, t in times.items()}


@torch.no_grad()
def linearity(args: argparse.Namespace, device: torch.device) -> list[dict]:
    """Seconds of one input's images at x2 to x30.

    The slope is the exponent of the number of output pixels that the seconds grow with.
    """
    net = build(args).to(device)
    net.precision = 'auto'
    side = max(16, args.side // (7 if device.type == 'cpu' else 1))
    feat = net.encode(torch.rand(1, 3, side, side, device=device))
    sizes = {scale: (side * scale, side * scale) for scale in (2, 4, 8, 12, 18, 24, 30)}
    times = alternate(
        {s: lambda size=size: net.render(feat, size) for s, size in sizes.items()},
        device,
        args.repeats,
    )
    pixels = {scale: math.prod(size) for scale, size in sizes.items()}
    slope = float(np.polyfit(np.log(list(pixels.values())), np.log(list(times.values())), 1)[0])
    rows = [
        {
            'input': f'{side}x{side}',
            'scale': f'x{scale}',
            'output pixels': pixels[scale],
            'seconds': seconds_taken,
            'ns a pixel': seconds_taken / pixels[scale] * 1e9,
            'slope over all': slope,
        }
        for scale, seconds_taken in times.items()
    ]
    for row in rows:
        show(row)
    plot_linearity(rows, args.out / 'linearity.png')
    return rows
