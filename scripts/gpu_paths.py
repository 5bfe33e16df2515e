"""Checks of `scripts/gpu_check.py` that compute: paths on a device beside float64 or the CPU."""

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import benchmark_timing
import benchmark_training
import numpy as np
import torch
from torch import Tensor, nn

from liif_arch.coordinates import grid_lookup, make_cell, make_coord
from liif_arch.crop_batches import make_batch
from liif_arch.decode.first_layer import GridDecoder
from liif_arch.decode.lookup import Grid
from liif_arch.metrics.fidelity import FIDELITY
from liif_arch.models import cuda_graph
from liif_arch.precision import autocast, exact_float32
from liif_arch.upscaling.upscale import upscale

LARGEST = {
    'float32': 1e-4,
    'bfloat16': 5e-2,
    'float16': 1e-2,
}  # difference of a colour from float64, in standard deviations of the image's colours
GRADIENT = {
    'float32': 1e-3,
    'bfloat16': 0.1,
}  # of a parameter's: length of the difference, in shares of its own
LEVELS = {np.uint8: 1, np.uint16: 2}  # that a picture may differ from the CPU's
SIZE = (61, 95)  # of what is rendered of an input of 24 x 31
SHIPPED = {'LIIF': 'LIIF', 'Thera': 'heat field'}  # decoders of the weights that ship
DECODERS = {**SHIPPED, 'LTE': 'LTE', 'MetaSR': 'MetaSR'}  # `build`'s name of each; ours


class Check(NamedTuple):
    """One line of the report.

    Attributes:
        name: What was looked at.
        figure: What was found.
        limit: What it may be at most; or in words what it should be.
        passed: None where this machine cannot do it.
    """

    name: str
    figure: float | str
    limit: float | str
    passed: bool | None

    @classmethod
    def of(cls, name: str, figure: float, limit: float) -> 'Check':
        """A figure that must not be above its limit, nor be no number."""
        return cls(name, figure, limit, figure <= limit)


def decoded_by(args: argparse.Namespace, decoder: str) -> argparse.Namespace:
    """The command line with another decoder."""
    return argparse.Namespace(**{**vars(args), 'decoder': decoder})


@contextmanager
def no_waiting(device: torch.device) -> Iterator[None]:
    """Operations that wait for a GPU raise an error."""
    if device.type != 'cuda':
        yield
        return
    torch.cuda.set_sync_debug_mode('error')
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode('default')


def _of_shipped(
    check: Callable[[str, nn.Module, torch.device], list[Check]],
    args: argparse.Namespace,
    device: torch.device,
) -> list[Check]:
    """A check of a network of each decoder that ships, called by name; networks on the CPU."""
    found = []
    for decoder, name in SHIPPED.items():
        torch.manual_seed(0)
        found += check(name, benchmark_timing.build(decoded_by(args, decoder)), device)
    return found


def colours(args: argparse.Namespace, device: torch.device) -> list[Check]:
    """Images and queries of each decoder beside the plain form in float64 (of `benchmark`)."""
    found = []
    for decoder, name in DECODERS.items():
        with exact_float32(device):
            rows = benchmark_training.correctness(decoded_by(args, decoder), device)
        for row in rows:
            precision = row['path'].split(', ')[1]
            difference = row['largest difference'] / row['rms of the image']
            found.append(Check.of(f'{name}: {row["path"]}', difference, LARGEST[precision]))
    return found


def gradients(args: argparse.Namespace, device: torch.device) -> list[Check]:
    """Gradients, queries all at once and in chunks, beside the plain form's in float64."""
    return _of_shipped(_gradients_of, args, device)


def _gradients_of(decoder: str, net: nn.Module, device: torch.device) -> list[Check]:
    lq, coord = torch.rand(2, 3, 20, 20), torch.rand(2, 300, 2) * 2 - 1
    exact = _gradients(net.double(), [x.double() for x in (lq, coord)], None, 'plain')
    net = net.float().to(device)
    found = []
    with exact_float32(device):
        for name, dtype in benchmark_timing.available(device).items():
            for chunk in (None, 97):
                with autocast(device, dtype):
                    made = _gradients(net, [x.to(device) for x in (lq, coord)], chunk, 'fast')
                worst = max(
                    ((a.cpu().double() - b).norm() / b.norm()).item()
                    for a, b in zip(made, exact, strict=True)
                )
                what = 'all at once' if chunk is None else 'in chunks'
                found.append(
                    Check.of(f'{decoder}: gradients {what}, {name}', worst, GRADIENT[name])
                )
    return found


def _gradients(net: nn.Module, batch: list[Tensor], chunk: int | None, form: str) -> list[Tensor]:
    """Of every parameter, for the sum of squared colours."""
    lq, coord = batch
    cell = torch.full_like(coord, 2 / 60)
    net.zero_grad()
    feat = net.encode(lq)
    out = (
        net.query_plain(feat, coord, cell)
        if form == 'plain'
        else net.query(feat, coord, cell, chunk=chunk)
    )
    out.pow(2).mean().backward()
    return [p.grad.detach().clone() for p in net.parameters()]


def recordings(args: argparse.Namespace, device: torch.device) -> list[Check]:
    """Gradients of networks recorded as CUDA graphs, beside those without a recording."""
    if not cuda_graph.is_able(device):
        return [Check('gradients of a CUDA graph', 'needs a GPU', '', None)]
    return _of_shipped(_recordings_of, args, device)


def _recordings_of(decoder: str, net: nn.Module, device: torch.device) -> list[Check]:
    net = net.to(device)
    found = []
    with exact_float32(device):
        for name, dtype in benchmark_timing.available(device).items():
            work = partial(benchmark_training.predict, net, dtype)
            graphed = cuda_graph.GraphedNetwork(net, work)
            worst = 0.0
            for _ in range(3):
                coord = torch.rand(2, 300, 2, device=device) * 2 - 1
                batch = torch.rand(2, 3, 20, 20, device=device), coord, coord.abs() / 30
                made = _gradients_by(graphed, net, batch)
                expected = _gradients_by(work, net, batch)
                for one, other in zip(made, expected, strict=True):
                    worst = max(worst, ((one - other).norm() / other.norm()).item())
            found.append(
                Check.of(f'{decoder}: gradients of a CUDA graph, {name}', worst, GRADIENT[name])
            )
    return found


def _gradients_by(
    work: Callable[..., Tensor], net: nn.Module, batch: tuple[Tensor, ...]
) -> list[Tensor]:
    """Of every parameter, for the sum of squared colours."""
    net.zero_grad()
    work(*batch).float().pow(2).mean().backward()
    return [p.grad.detach().clone() for p in net.parameters()]


def windows(args: argparse.Namespace, device: torch.device) -> list[Check]:
    """Parts of an image beside the same pixels of the whole; large images are made of them."""
    return _of_shipped(_windows_of, args, device)


@torch.no_grad()
def _windows_of(decoder: str, net: nn.Module, device: torch.device) -> list[Check]:
    net, found = net.to(device), []
    lq = torch.rand(1, 3, 24, 31, device=device)
    for name in benchmark_timing.available(device):
        net.precision = name
        feat = net.encode(lq)
        whole = net.render(feat, SIZE)[..., 20:50, 30:80]
        part = net.render_window(feat[:, :, 5:, 7:], SIZE, (5, 7), (24, 31), (20, 50), (30, 80))
        found.append(
            Check.of(
                f'{decoder}: a window of an image, {name}',
                ((whole - part).abs().max() / whole.std()).item(),
                LARGEST[name],
            )
        )
    return found


def pictures(args: argparse.Namespace, device: torch.device) -> list[Check]:
    """Images of 8 and of 16 bits, enlarged on the device and on the CPU, in levels."""
    return _of_shipped(_pictures_of, args, device)


def _pictures_of(decoder: str, net: nn.Module, device: torch.device) -> list[Check]:
    generator, found = np.random.default_rng(0), []
    for dtype, levels in LEVELS.items():
        image = generator.integers(np.iinfo(dtype).max, size=(40, 50, 3)).astype(dtype)
        expected, made = (
            upscale(net.to(each), image, scale=2.5).astype(int) for each in ('cpu', device)
        )
        name = f'{decoder}: a picture of {np.iinfo(dtype).bits} bits, levels'
        found.append(Check.of(name, int(np.abs(made - expected).max()), levels))
    return found


@torch.no_grad()
def kernel(args: argparse.Namespace, device: torch.device) -> list[Check]:
    """The Triton kernel alone, in both of its types, beside `decode_grid` in float64 on the CPU."""
    if device.type != 'cuda' or torch.cuda.get_device_capability(device) < (8, 0):
        return [Check('Triton kernel', 'needs a GPU of compute capability 8.0', '', None)]
    from liif_arch.decode import fused

    torch.manual_seed(0)
    net = benchmark_timing.build(args)
    cell = (2 * 24 / SIZE[0], 2 * 31 / SIZE[1])
    table = net.grid_table(torch.randn(1, net.code_channels, 24, 31), cell)
    rows, cols = (grid_lookup(n, m, True) for n, m in zip(SIZE, (24, 31), strict=True))
    exact = net.double().decode_grid(table.double(), Grid.of(rows, cols, cell))
    net.float().to(device)
    rows, cols = (grid_lookup(n, m, True, device) for n, m in zip(SIZE, (24, 31), strict=True))
    found = []
    for dtype in fused.DTYPES:
        name = str(dtype).removeprefix('torch.')
        decoder = GridDecoder.of(net.imnet, net.first_layer(), dtype)
        made = (
            fused.render_grid(decoder, table.to(device), Grid.of(rows, cols, cell)).cpu().double()
        )
        found.append(
            Check.of(
                f'Triton kernel, {name}',
                ((made - exact).abs().max() / exact.std()).item(),
                2 * LARGEST[name],
            )
        )
    return found


def samples(args: argparse.Namespace, device: torch.device) -> list[Check]:
    """`make_batch`, scattered pixels and squares: the CPU's bits, and nothing that waits."""
    generator = torch.Generator().manual_seed(0)
    crop = torch.randint(256, (4, 192, 192, 3), generator=generator).to(torch.uint8)
    size = torch.tensor([[48, 48], [101, 101], [150, 60], [192, 192]])
    seed = torch.tensor([1, 2, 3, 2**32 - 1])
    found = []
    for patch in (False, True):
        there = [x.to(device) for x in (crop, size, seed)]
        with no_waiting(device):
            made = make_batch(*there, 48, 2304, patch)
        expected = make_batch(crop, size, seed, 48, 2304, patch)
        differ = [key for key, value in expected.items() if not torch.equal(made[key].cpu(), value)]
        found.append(
            Check(
                f'make_batch, {"squares" if patch else "pixels"}',
                ', '.join(differ) or 'equal',
                "equal to the CPU's, bit for bit",
                not differ,
            )
        )
    return found


@torch.no_grad()
def figures(args: argparse.Namespace, device: torch.device) -> list[Check]:
    """PSNR by each protocol, and SSIM, of images on the device and of the same on the CPU."""
    generator = torch.Generator().manual_seed(0)
    sr, gt = (torch.rand(3, 80, 90, generator=generator) for _ in range(2))
    return [
        Check.of(
            f'{name} of images on the device',
            abs(figure(sr.to(device), gt.to(device), (2, 2)) - figure(sr, gt, (2, 2))),
            1e-4,
        )
        for name, figure in FIDELITY.items()
    ]


def waiting(args: argparse.Namespace, device: torch.device) -> list[Check]:
    """Queries, images and a training step, in which nothing may wait for the device."""
    if device.type != 'cuda':
        return [Check('nothing waits for the device', 'needs a GPU', '', None)]
    return _of_shipped(_waiting_of, args, device)


def _waiting_of(decoder: str, net: nn.Module, device: torch.device) -> list[Check]:
    net = net.to(device)
    optimizer = torch.optim.Adam(net.parameters(), 1e-4)
    lq = torch.rand(1, 3, 24, 31, device=device)
    coord = make_coord(SIZE, device).view(1, -1, 2)
    cell = make_cell(SIZE, device).expand_as(coord)

    def step(dtype: torch.dtype) -> None:
        optimizer.zero_grad()
        with autocast(device, dtype):
            net(lq, coord, cell).float().abs().mean().backward()
        optimizer.step()

    def image(name: str) -> None:
        net.precision = name
        with torch.no_grad():
            net(lq, size=SIZE)

    works: dict[str, Callable[[], None]] = {}
    for name, dtype in benchmark_timing.available(device).items():
        works[f'{decoder}: an image, {name}'] = lambda n=name: image(n)
        works[f'{decoder}: a training step, {name}'] = lambda d=dtype: step(d)
    return [_waits(name, work, device) for name, work in works.items()]


def _waits(name: str, work: Callable[[], None], device: torch.device) -> Check:
    work()  # what is tuned or allocated once may wait
    with no_waiting(device):
        try:
            work()
        except RuntimeError as error:
            return Check(f'{name} waits for nothing', str(error).splitlines()[0], 'no error', False)
    return Check(f'{name} waits for nothing', 'no error', 'no error', True)


def resources(args: argparse.Namespace, device: torch.device) -> list[dict]:
    """Registers, spills and shared memory of the Triton kernel on this GPU, or on every kind."""
    try:
        from liif_arch.decode.fused_resources import SHARED_LIMITS, table
    except ImportError:
        return []
    capabilities = list(SHARED_LIMITS)
    if device.type == 'cuda':
        capabilities = [torch.cuda.get_device_capability(device)]
    return table(256, capabilities[:1] if args.quick else capabilities)
