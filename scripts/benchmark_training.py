"""The sections `correctness`, `training` and `convergence` of `scripts/benchmark.py`."""

import argparse
import statistics
from collections.abc import Callable
from functools import partial

import liif_arch  # noqa: F401  before PyTorch, which reads once how its threads are to wait

# isort: split
import torch
from benchmark_report import plot_losses, show
from benchmark_timing import (
    PRECISIONS,
    WIDTH,
    alternate,
    available,
    build,
    matrix_work,
    plain_codes,
)
from torch import Tensor, nn

from liif_arch.complexity import complexity
from liif_arch.coordinates import make_cell, make_coord
from liif_arch.models.cuda_graph import GraphedNetwork, is_able
from liif_arch.precision import autocast


def correctness(args: argparse.Namespace, device: torch.device) -> list[dict]:
    """Every path on this device against the plain form in float64 on the CPU."""
    torch.manual_seed(0)
    net = build(args)
    lq, size = torch.rand(1, 3, 24, 31), (61, 95)
    exact = _double(net, lq, size)
    rows = []
    for name in available(device):
        net.to(device).precision = name
        with torch.no_grad():
            image = net(lq.to(device), size=size).cpu().double()
        rows.append({'path': f'render, {name}', **_errors(image, exact)})
    net.precision = 'float32'
    coord = make_coord(size, device).view(1, -1, 2)
    cell = make_cell(size, device).expand_as(coord)
    for name, dtype in available(device).items():
        with autocast(device, dtype):
            colours = net(lq.to(device), coord, cell)
        colours = colours.detach().cpu().double().transpose(1, 2).view_as(exact)
        rows.append({'path': f'training query, {name}', **_errors(colours, exact)})
    return rows


@torch.no_grad()
def _double(net: nn.Module, lq: Tensor, size: tuple[int, int]) -> Tensor:
    net = net.double()
    coord = make_coord(size, dtype=torch.float64).view(1, -1, 2)
    cell = make_cell(size, dtype=torch.float64).expand_as(coord)
    image = net.query_plain(net.encode(lq.double()), coord, cell).transpose(1, 2).view(1, 3, *size)
    net.float()
    return image


def _errors(image: Tensor, exact: Tensor) -> dict:
    difference = image - exact
    return {
        'largest difference': difference.abs().max().item(),
        'rms': difference.pow(2).mean().sqrt().item(),
        'rms of the image': exact.std().item(),
    }


def training(args: argparse.Namespace, device: torch.device) -> list[dict]:
    """Time one step: forward, backward and Adam.

    The batch has 16 inputs of 48x48 with 2304 queries each; with `--network small`, 4 of 24x24. On
    a GPU also with the network recorded as a CUDA graph (`train.cuda_graph`).
    """
    batch, side = (16, 48) if args.network == 'paper' else (4, 24)
    net = build(args).to(device).train()
    optimizer = torch.optim.Adam(net.parameters(), 1e-4)
    lq = torch.rand(batch, 3, side, side, device=device)
    coord = torch.rand(batch, side * side, 2, device=device) * 2 - 1
    cell, gt = torch.full_like(coord, 2 / 96), torch.rand(*coord.shape[:2], 3, device=device)

    def plain(lq: Tensor, coord: Tensor, cell: Tensor) -> Tensor:
        with autocast(device, torch.float32):
            return net.query_plain(plain_codes(net, lq), coord, cell)

    def step(work: Callable[..., Tensor]) -> None:
        optimizer.zero_grad()
        (work(lq, coord, cell).float() - gt).abs().mean().backward()
        optimizer.step()

    works: dict[str, Callable[[], object]] = {'plain': partial(step, plain)}
    macs = {}
    for name, dtype in available(device).items():
        work = partial(predict, net, dtype)
        works[name] = partial(step, work)
        if is_able(device):
            works[f'{name}, recorded'] = partial(step, GraphedNetwork(net, work))
        works[f'rate {name}'], macs[name] = matrix_work(WIDTH, dtype, device)
    times = alternate(works, device, args.repeats)
    cost = complexity(net)
    needed = 3 * batch * side * side * (cost.per_input + cost.per_output)
    rows = []
    for name in available(device):
        for form in (name, f'{name}, recorded'):
            if form not in times:
                continue
            rows.append(
                {
                    'precision': form,
                    's a step': times[form],
                    'plain s': times['plain'],
                    'faster': times['plain'] / times[form],
                    'of the floor': needed / (macs[name] / times[f'rate {name}']) / times[form],
                }
            )
            show(rows[-1])
    return rows


def predict(net: nn.Module, dtype: torch.dtype, lq: Tensor, coord: Tensor, cell: Tensor) -> Tensor:
    """What a step of a training makes of a batch: colours at coordinates, (B, Q, C)."""
    with autocast(lq.device, dtype):
        return net(lq, coord, cell)


def convergence(args: argparse.Namespace, device: torch.device) -> list[dict]:
    """The same samples and the same start in every precision: does bfloat16 learn as float32 does?

    A small network on scikit-image's photographs, batch 16; three starts in float32 say how far
    apart noise alone is.
    """
    from liif_data.random_scale_dataset import RandomScalePairedDataset

    samples = RandomScalePairedDataset(
        {
            'name': 'convergence',
            'type': 'RandomScalePairedDataset',
            'dataroot_gt': 'builtin:photos/train',
            'lq_size': 24,
            'scale_range': [1, 4],
            'num_samples': 576,
            'cache': True,
        }
    )
    runs = [('float32', 0), ('float32', 1), ('float32', 2)] + [('bfloat16', 0)] * (
        'bfloat16' in available(device)
    )
    curves = {}
    for name, seed in runs:
        torch.manual_seed(seed)
        net = build(args, size='small').to(device).train()
        curves[f'{name}, start {seed}'] = _losses(
            net, samples, PRECISIONS[name], device, args.iterations
        )
    plot_losses(curves, args.out / 'convergence.png')
    last = max(1, args.iterations // 5)
    rows = [
        {
            'run': name,
            'iterations': args.iterations,
            f'mean loss of the last {last}': statistics.mean(c[-last:]),
        }
        for name, c in curves.items()
    ]
    for row in rows:
        show(row)
    return rows


def _losses(
    net: nn.Module, samples: object, dtype: torch.dtype, device: torch.device, iterations: int
) -> list[float]:
    from torch.utils.data import default_collate

    from liif_arch.training.addressed import SampleIndex

    optimizer, losses = torch.optim.Adam(net.parameters(), 1e-3), []
    for i in range(iterations):
        batch = default_collate([samples[SampleIndex(k % len(samples), i, k)] for k in range(16)])
        lq, coord, cell, gt = (batch[key].to(device) for key in ('lq', 'coord', 'cell', 'gt'))
        with autocast(device, dtype):
            colours = net(lq, coord, cell)
        loss = (colours.float() - gt).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses
