"""How fast this installation renders, trains and loads, each as a ratio to the method written out
plainly, in one run; whether each path is right, whether bfloat16 learns as float32 does, how cost
grows, and the memory upscaling takes.

    python scripts/benchmark.py                                      # on the GPU where there is one
    python scripts/benchmark.py --resume                             # what an earlier run left
    undone python scripts/benchmark.py --sections render --network small
    python scripts/benchmark.py --decoder LTE
    python scripts/benchmark.py --sections busy                      # beside programs that use one
    and two cores python scripts/benchmark.py --sections memory --large            # a 16-megapixel
    input; half an hour on a CPU

The plain form is the paper's equations one by one (`liif_arch.decode.plain`, 30,000 queries at a
time; for the data, reference sampling in Python on decoded PNG files). Fast and plain runs
alternate, so that other work on the machine hits both. The floor is what the matrix products alone
take at this machine's rate, measured in the same run.
"""

import argparse
import json
import math
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import liif_arch  # noqa: F401  before PyTorch, which reads once how its threads are to wait

# isort: split
import numpy as np
import torch
from benchmark_busy import busy
from benchmark_data import data
from benchmark_report import plot, plot_linearity, plot_losses, show, table
from torch import Tensor, nn

from liif_arch.complexity import complexity
from liif_arch.coordinates import make_cell, make_coord, scale_label, scaled_size
from liif_arch.errors import UserError, exit_status
from liif_arch.precision import autocast, has_bfloat16

SCALES = ((2, 2), (4, 4), (8, 8), (30, 30), (3.3, 4.7))
WIDTH = 256  # of the matrix products whose rate is the floor
PLAIN_CHUNK = 30000  # queries at a time, as the reference implementation's tests do
PRECISIONS = {'float32': torch.float32, 'bfloat16': torch.bfloat16}


# ---------------------------------------------------------------------------------------------------------------------
# Timing


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
    """Matrix products of the decoder's shape by the fastest call there is, and their multiply-adds: the floor."""
    from liif_arch.decode.mlp import linear_relu

    rows = 4096 if device.type == 'cpu' else 2**17
    a, b = (torch.randn(n, width, device=device).to(dtype) for n in (rows, width))
    out, bias, repeat = torch.empty(rows, width, device=device, dtype=dtype), b[0].clone(), 8
    calls = [lambda: torch.mm(a, b, out=out), lambda: linear_relu(a, b, bias)]
    call = min(calls, key=lambda c: min(seconds(c, device) for _ in range(8)))

    def work() -> None:
        for _ in range(repeat):
            call()

    return work, repeat * rows * width * width


# ---------------------------------------------------------------------------------------------------------------------
# The networks, and their multiply-adds


def build(args: argparse.Namespace, encoder: str = 'EDSREncoder', size: str = '') -> nn.Module:
    """A network of `--decoder`; paper: as published, small: 8 blocks of 32 features and narrower hidden layers."""
    import liif_arch.register  # noqa: F401  the encoders' names
    from liif_arch import LIIF, LTE, MetaSR

    decoder = {'LIIF': LIIF, 'LTE': LTE, 'MetaSR': MetaSR}[args.decoder]
    if (size or args.network) == 'paper':
        return decoder({'type': encoder}).eval()
    small = {'num_feat': 32, 'num_block': 2 if encoder == 'RDNEncoder' else 8}
    small.update({'growth': 32, 'num_layer': 4} if encoder == 'RDNEncoder' else {})
    widths = {
        'LIIF': {'hidden_list': [128, 128, 128]},
        'LTE': {'hidden_dim': 128, 'hidden_list': [128, 128]},
        'MetaSR': {'hidden_list': [128]},
    }
    return decoder({'type': encoder, **small}, **widths[args.decoder]).eval()


def plain_codes(net: nn.Module, lq: Tensor) -> Tensor:
    """What `query_plain` starts from, by the encoder as it is."""
    own = net.encoder.num_out_feat == net.code_channels
    return (
        net.encoder((lq - 0.5) / 0.5) if own else net.encode(lq)
    )  # LTE computes its codes in `encode`


# ---------------------------------------------------------------------------------------------------------------------
# Sections


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


def available(device: torch.device) -> dict[str, torch.dtype]:
    """The precisions that a device multiplies in hardware."""
    return {
        name: dtype
        for name, dtype in PRECISIONS.items()
        if name == 'float32' or has_bfloat16(device)
    }


@torch.no_grad()
def render(args: argparse.Namespace, device: torch.device) -> list[dict]:
    """Encoders per input pixel, the decoder per output pixel at each scale, and the whole of both."""
    nets = {
        encoder.removesuffix('Encoder'): build(args, encoder).to(device)
        for encoder in args.encoders
    }
    encodings = {}
    for encoder, net in nets.items():
        side = max(16, args.side // (4 if encoder == 'RDN' else 2))
        encodings[encoder] = encoder_times(net, (side, side * 3 // 2), device, args.repeats)
    costs, rows = {encoder: complexity(net) for encoder, net in nets.items()}, []
    for scale in SCALES:
        sides = (
            args.side * 4 / scale[0],
            args.side * 6 / scale[1],
        )  # about as many output pixels at every scale
        decoding = decoder_times(
            net, tuple(max(2, int(n)) for n in sides), scale, device, args.repeats
        )
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
            [show(row) for row in rows[-1 - len(nets) :]]
    return rows


def render_row(
    what: str, scale: tuple[float, float], name: str, decoding: dict, encoding: dict, macs: float
) -> dict:
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
    """Seconds of one input's images at x2 to x30; the slope is the exponent of output pixels that they grow with."""
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


def training(args: argparse.Namespace, device: torch.device) -> list[dict]:
    """One step (forward, backward, Adam), batch 16 of 48x48 inputs with 2304 queries; in small: 4 of 24x24."""
    batch, side = (16, 48) if args.network == 'paper' else (4, 24)
    net = build(args).to(device).train()
    optimizer = torch.optim.Adam(net.parameters(), 1e-4)
    lq = torch.rand(batch, 3, side, side, device=device)
    coord = torch.rand(batch, side * side, 2, device=device) * 2 - 1
    cell, gt = torch.full_like(coord, 2 / 96), torch.rand(*coord.shape[:2], 3, device=device)

    def step(dtype: torch.dtype | None) -> None:
        optimizer.zero_grad()
        with autocast(device, dtype or torch.float32):
            if dtype is None:
                out = net.query_plain(plain_codes(net, lq), coord, cell)
            else:
                out = net(lq, coord, cell)
        (out.float() - gt).abs().mean().backward()
        optimizer.step()

    works: dict[str, Callable[[], object]] = {'plain': lambda: step(None)}
    macs = {}
    for name, dtype in available(device).items():
        works[name] = lambda d=dtype: step(d)
        works[f'rate {name}'], macs[name] = matrix_work(WIDTH, dtype, device)
    times = alternate(works, device, args.repeats)
    cost = complexity(net)
    needed = 3 * batch * side * side * (cost.per_input + cost.per_output)
    rows = [
        {
            'precision': name,
            's a step': times[name],
            'plain s': times['plain'],
            'faster': times['plain'] / times[name],
            'of the floor': needed / (macs[name] / times[f'rate {name}']) / times[name],
        }
        for name in available(device)
    ]
    for row in rows:
        show(row)
    return rows


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

    from liif_arch.training.sampler import SampleIndex

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


def memory(args: argparse.Namespace, device: torch.device) -> list[dict]:
    """Peak memory of `upscale_to_file` at the budget `--memory`, each size in a process of its own.

    On a CPU resident memory, of which importing PyTorch takes the first row; on a GPU what PyTorch
    holds there.
    """
    cases = [(1, 1, 1), (args.side, args.side * 3 // 2, 4), (args.side // 4, args.side // 4, 30)]
    cases += [(339, 510, 30), (3456, 4608, 2)] if args.large else []
    rows = []
    for height, width, scale in cases:
        command = [
            sys.executable,
            str(Path(__file__).absolute()),
            '--sections',
            'memory',
            '--device',
            str(device),
            '--network',
            args.network,
            '--decoder',
            args.decoder,
            '--memory',
            str(args.memory),
            '--child',
            str(height),
            str(width),
            str(scale),
        ]
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode:
            raise UserError(f'memory: {result.stderr.strip().splitlines()[-1]}')
        peak, elapsed = (float(figure) for figure in result.stdout.split()[-2:])
        rows.append(
            {
                'input': f'{width}x{height}',
                'scale': f'x{scale}',  # width x height
                'output': f'{width * scale}x{height * scale}',
                'peak MiB': peak,
                'seconds': elapsed,
            }
        )
        show(rows[-1])
    return rows


def memory_child(args: argparse.Namespace, device: torch.device) -> tuple[float, float]:
    """Upscale one image of noise, as `memory` asks; returns the peak in MiB, and the seconds it took."""
    import resource

    from liif_arch.upscaling.upscale import upscale_to_file

    height, width, scale = args.child
    net = build(args).to(device)
    net.precision = 'auto'
    image = np.random.default_rng(0).integers(256, size=(height, width, 3), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        elapsed = seconds(
            lambda: upscale_to_file(
                net, image, Path(folder, 'out.tif'), scale=scale, memory=args.memory
            ),
            device,
        )
    status = Path('/proc/self/status')
    if device.type == 'cuda':
        peak = torch.cuda.max_memory_allocated(device) / 2**20
    elif status.exists():  # Linux hands ru_maxrss down from the parent
        peak = int(re.search(r'VmHWM:\s+(\d+)', status.read_text())[1]) / 2**10
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
            2**20 if sys.platform == 'darwin' else 2**10
        )
    return peak, elapsed


SECTIONS = {
    'correctness': correctness,
    'render': render,
    'linearity': linearity,
    'training': training,
    'convergence': convergence,
    'data': data,
    'memory': memory,
    'busy': busy,
}


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description='Speed beside the plain form, correctness and memory, in one run.'
    )
    parser.add_argument('--sections', nargs='+', choices=list(SECTIONS), default=list(SECTIONS))
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument(
        '--encoders',
        nargs='+',
        choices=['EDSREncoder', 'RDNEncoder'],
        default=['EDSREncoder', 'RDNEncoder'],
    )
    parser.add_argument('--decoder', choices=['LIIF', 'LTE', 'MetaSR'], default='LIIF')
    parser.add_argument(
        '--network', choices=['paper', 'small'], default='paper', help='small: for a first look'
    )
    parser.add_argument(
        '--side',
        type=int,
        default=339,
        help='height of the input at x4 (default 339); at other scales as many output pixels',
    )
    parser.add_argument(
        '--iterations', type=int, default=300, help='of the section convergence (default 300)'
    )
    parser.add_argument(
        '--large', action='store_true', help='memory: also 510x339 at x30, and 4608x3456 at x2'
    )
    parser.add_argument(
        '--memory',
        type=float,
        default=1536,
        help='budget of the section memory, in MiB (default 1536)',
    )
    parser.add_argument(
        '--resume', action='store_true', help='keep the sections that --out already holds'
    )
    parser.add_argument('--child', type=int, nargs=3, help=argparse.SUPPRESS)
    parser.add_argument(
        '--repeats', type=int, default=3, help='timed runs of everything (default 3)'
    )
    parser.add_argument(
        '--out', type=Path, default=Path('benchmark'), help='folder of results (default benchmark)'
    )
    return parser.parse_args()


def _earlier(path: Path, now: dict) -> dict:
    """Results of an earlier run, which must be of the same machine, PyTorch and network."""
    results = json.loads(path.read_text())
    for key, value in now.items():
        if results.get(key) != value:
            raise UserError(
                f'--resume: {path} has {key} {results.get(key)}, now it is {value}; name another --out.'
            )
    return results


def main() -> None:
    """Run the sections, print their tables and write results.json and the plots."""
    args = parse_arguments()
    try:
        device = torch.device(args.device)
        torch.zeros(1, device=device)
    except RuntimeError as error:
        raise UserError(f'--device: {args.device}: {str(error).splitlines()[0]}') from None
    if args.side < 16 or args.repeats < 1 or args.iterations < 1:
        raise UserError('--side: needed at least 16; --repeats and --iterations: at least 1.')
    if args.child:
        print(*memory_child(args, device))
        return
    machine = (
        torch.cuda.get_device_name(device)
        if device.type == 'cuda'
        else f'{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads'
    )
    results: dict = {
        'machine': machine,
        'torch': torch.__version__,
        'network': args.network,
        'decoder': args.decoder,
    }
    args.out.mkdir(parents=True, exist_ok=True)
    if args.resume and (args.out / 'results.json').is_file():
        results = _earlier(args.out / 'results.json', results)
    for section in args.sections:
        if section not in results:
            print(f'{section}: {machine}', flush=True)
            results[section] = SECTIONS[section](args, device)
            (args.out / 'results.json').write_text(json.dumps(results, indent=1))
        print(f'\n{table(results[section])}\n', flush=True)
    if 'render' in results:
        plot(results, args.out / 'render.png')
    print(args.out / 'results.json')


if __name__ == '__main__':
    sys.exit(exit_status(main))
