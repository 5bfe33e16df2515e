"""Whether everything is right on your GPU, and how fast it is: one page to attach to an issue.

    python scripts/gpu_check.py                 # writes gpu_check/report.md and report.json
    python scripts/gpu_check.py --quick         # smaller networks and images: a first look
    python scripts/gpu_check.py --device cpu    # the same checks where there is no GPU

Colours, gradients, the Triton kernel, samples and figures are compared with float64 or with the
CPU's bits. A training with `deterministic: true` is stopped and resumed, and must end bit for bit
as one that was not; two GPUs, where there are two, train together by NCCL. (Trainings take the
first GPUs, whatever --device says.) Exit status: 0 where all holds, 1 where something does not,
2 where there is no such device.
"""

import argparse
import json
import math
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import benchmark_memory
import benchmark_rendering
import benchmark_timing
import benchmark_training
import gpu_paths
import gpu_training
import torch
from benchmark_report import table
from gpu_paths import Check
from torch import nn

from liif_arch.complexity import complexity
from liif_arch.errors import UserError, exit_status

PACKAGES = ('basicsr-liif', 'torch', 'triton', 'basicsr', 'mmengine', 'numpy')
SPEED_SCALES = ((2, 2), (4, 4), (8, 8))


# ------------------------------------------------------------------------------------------------
# Speed and memory


@torch.no_grad()
def speed(args: argparse.Namespace, device: torch.device) -> list[dict]:
    """Output pixels a second of whole images, encoder included, beside the plain form."""
    rows = []
    for decoder, name in gpu_paths.SHIPPED.items():
        net = benchmark_timing.build(gpu_paths.decoded_by(args, decoder)).to(device)
        rows += _speed_of(f'{name} on EDSR', net, args, device)
    return rows


def _speed_of(
    what: str, net: nn.Module, args: argparse.Namespace, device: torch.device
) -> list[dict]:
    """A network's rows of the table, at each of SPEED_SCALES and in each precision."""
    side, cost, rows = args.side, complexity(net), []
    encoding = benchmark_rendering.encoder_times(
        net, (side // 2, side * 3 // 4), device, args.repeats
    )
    for scale in SPEED_SCALES:
        size = max(2, int(side * 4 / scale[0])), max(2, int(side * 6 / scale[1]))
        decoding = benchmark_rendering.decoder_times(net, size, scale, device, args.repeats)
        shares = {name: taken / math.prod(scale) for name, taken in encoding.items()}
        macs = cost.per_output + cost.per_input / math.prod(scale)
        for name in benchmark_timing.available(device):
            rows.append(benchmark_rendering.render_row(what, scale, name, decoding, shares, macs))
    return rows


def training(args: argparse.Namespace, device: torch.device) -> list[dict]:
    """Seconds of a training step in each precision (benchmark's section of that name)."""
    rows = []
    for decoder, name in gpu_paths.SHIPPED.items():
        for row in benchmark_training.training(gpu_paths.decoded_by(args, decoder), device):
            rows.append({'network': f'{name} on EDSR', **row})
    return rows


def memory(args: argparse.Namespace, device: torch.device) -> list[dict]:
    """Peak memory of `upscale_to_file` (of `benchmark`); the first row is what is always there."""
    return benchmark_memory.memory(args, device)


def within_budget(args: argparse.Namespace, rows: list[dict]) -> list[Check]:
    """No upscaling takes more than `--memory` beside what is always there."""
    always = rows[0]['peak MiB']
    checks = []
    for row in rows[1:]:
        name = f'MiB that upscaling {row["input"]} at {row["scale"]} takes'
        checks.append(Check.of(name, row['peak MiB'] - always, args.memory))
    return checks


def fitting(args: argparse.Namespace, rows: list[dict]) -> list[Check]:
    """The Triton kernel fits registers and shared memory, for each GPU, type and cut."""
    if not rows:
        return [Check('what the Triton kernel takes', 'needs Triton', '', None)]
    misfits = []
    for row in rows:
        if not row['fits']:
            misfits.append(f'{row["GPU"]} {row["type"]}, {row["pixels"]} pixels')
    found = ', '.join(misfits) or f'{len(rows)} builds fit'
    return [Check('what the Triton kernel takes', found, 'all fit', not misfits)]


# ------------------------------------------------------------------------------------------------
# The run and its report

CHECKS: dict[str, Callable[[argparse.Namespace, torch.device], list[Check]]] = {
    'colours': gpu_paths.colours,
    'gradients': gpu_paths.gradients,
    'recordings': gpu_paths.recordings,
    'windows': gpu_paths.windows,
    'pictures': gpu_paths.pictures,
    'Triton kernel': gpu_paths.kernel,
    'samples': gpu_paths.samples,
    'figures': gpu_paths.figures,
    'waiting': gpu_paths.waiting,
    'resuming': gpu_training.resume,
    'several processes': gpu_training.together,
}
TABLES: dict[str, tuple] = {  # what is measured, and what is asked of it
    'What the Triton kernel takes': (gpu_paths.resources, fitting),
    'Speed': (speed, None),
    'A training step': (training, None),
    'Memory': (memory, within_budget),
}


def attempt(name: str, work: Callable[[], list]) -> tuple[list, list[Check]]:
    """What a check or table gives, and a failed check where it ends in an error instead."""
    print(f'{name} ...', flush=True)
    try:
        return work(), []
    except Exception as error:  # whatever an untried device raises; the others are still run
        text, *_ = [*str(error).strip().splitlines(), '']
        return [], [Check(name, f'{type(error).__name__}: {text}', 'no error', False)]


def run(
    args: argparse.Namespace, device: torch.device
) -> tuple[list[Check], dict[str, list[dict]]]:
    """All checks, and all tables."""
    checks, tables = [], {}
    for name, check in CHECKS.items():
        if args.quick and device.type == 'cpu' and name == 'several processes':
            continue  # which the suite tests at length
        found, faults = attempt(name, lambda check=check: check(args, device))
        checks += found + faults
    for name, (measure, judge) in TABLES.items():
        tables[name], faults = attempt(name, lambda measure=measure: measure(args, device))
        if judge is not None and not faults:
            more, faults = attempt(name, lambda judge=judge, rows=tables[name]: judge(args, rows))
            checks += more
        checks += faults
    return checks, tables


def machine(device: torch.device) -> dict[str, str]:
    """Versions, and what the device says of itself."""
    found = {
        'device': str(device),
        'system': platform.platform(),
        'Python': platform.python_version(),
    }
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = 'not installed'
    if device.type != 'cuda':
        return {**found, 'processor': platform.processor() or platform.machine()}
    card = torch.cuda.get_device_properties(device)
    return {
        **found,
        'card': card.name,
        'cards': str(torch.cuda.device_count()),
        'compute capability': f'{card.major}.{card.minor}',
        'memory': f'{card.total_memory / 2**30:.1f} GiB',
        'driver': driver(),
        'CUDA': str(torch.version.cuda),
        'cuDNN': str(torch.backends.cudnn.version()),
    }


def driver() -> str:
    """Version of the first GPU's driver, as nvidia-smi says it."""
    tool = shutil.which('nvidia-smi')
    if tool is None:
        return 'unknown (no nvidia-smi)'
    command = [tool, '--query-gpu=driver_version', '--format=csv,noheader']
    found = subprocess.run(command, capture_output=True, text=True)
    return found.stdout.strip().partition('\n')[0] or f'unknown ({found.stderr.strip()[:100]})'


def outcome(check: Check) -> str:
    """One word."""
    return {True: 'passed', False: 'FAILED', None: 'not here'}[check.passed]


def report(what: dict[str, str], checks: list[Check], tables: dict[str, list[dict]]) -> str:
    """The page, in Markdown."""
    words = list(map(outcome, checks))
    counts = [f'{words.count(word)} {word}' for word in ('passed', 'FAILED', 'not here')]
    found = []
    for key, value in what.items():
        found.append({'what': key, 'found': value})
    rows_of_checks = []
    for check, word in zip(checks, words, strict=True):
        row = {'check': check.name, 'found': check.figure, 'at most, or': check.limit}
        rows_of_checks.append({**row, 'outcome': word})
    lines = [
        '# GPU check',
        '',
        ', '.join(counts),
        '',
        table(found),
        '',
        '## Checks',
        '',
        'Differences of colours are in standard deviations of the image, of gradients in shares of '
        'their length.',
        '',
        table(rows_of_checks),
    ]
    for name, rows in tables.items():
        lines += ['', f'## {name}', '']
        if rows:
            lines.append(table(rows))
        else:
            lines.append('Nothing was measured.')
    return '\n'.join(lines) + '\n'


def parse_arguments() -> argparse.Namespace:
    """The command line, and what the benchmark's sections ask for."""
    parser = argparse.ArgumentParser(description='Check every path on a GPU, and measure it.')
    parser.add_argument('--device', default='cuda', help='cuda (default), cuda:1, ..., or cpu')
    parser.add_argument(
        '--quick', action='store_true', help='small networks and images, one timed run of each'
    )
    parser.add_argument(
        '--memory',
        type=float,
        default=1536,
        metavar='MIB',
        help='budget that upscaling must keep to (default 1536)',
    )
    parser.add_argument('--out', type=Path, default=Path('gpu_check'), help='folder of the report')
    args = parser.parse_args()
    args.decoder = 'LIIF'
    if args.quick:
        args.network, args.side, args.repeats, args.large = 'small', 16, 1, False
    else:
        args.network, args.side, args.repeats = 'paper', 339, 5
        args.large = args.device != 'cpu'
    return args


def main() -> int:
    """Run everything, and write the page."""
    args = parse_arguments()
    try:
        device = torch.device(args.device)
        torch.zeros(1, device=device)
    except (AssertionError, RuntimeError) as error:
        raise UserError(
            f'--device: {args.device}: {str(error).splitlines()[0]}; --device cpu runs the same '
            'checks without a GPU.'
        ) from None
    what = machine(device)
    checks, tables = run(args, device)
    page = report(what, checks, tables)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / 'report.md').write_text(page)
    content = {
        'machine': what,
        'checks': [{**c._asdict(), 'outcome': outcome(c)} for c in checks],
        'tables': tables,
    }
    (args.out / 'report.json').write_text(json.dumps(content, indent=1))
    print(f'\n{page}\n{args.out / "report.md"}')
    return int(any(check.passed is False for check in checks))


if __name__ == '__main__':
    sys.exit(exit_status(main))
