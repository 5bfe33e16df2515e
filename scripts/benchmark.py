"""How fast this installation renders, trains and loads.

Each figure is a ratio to the method written out plainly, taken in one run. The program also
measures whether each path is right, whether bfloat16 learns as float32 does, how the cost grows
with the size of the output, and the memory that upscaling takes.

    # On the GPU where there is one.
    python scripts/benchmark.py
    # What an earlier run left undone.
    python scripts/benchmark.py --resume
    python scripts/benchmark.py --sections render --network small
    python scripts/benchmark.py --decoder LTE
    # Beside programs that use one core, and two.
    python scripts/benchmark.py --sections busy
    # Also a 16-megapixel input; half an hour on a CPU.
    python scripts/benchmark.py --sections memory --large

The plain form is the paper's equations one by one (`liif_arch.decode.plain`, 30,000 queries at a
time; for the data, reference sampling in Python on decoded PNG files). Fast and plain runs
alternate, so that other work on the machine hits both. The floor is what the matrix products alone
take at this machine's rate, measured in the same run.
"""

import argparse
import json
import platform
import sys
from pathlib import Path

import liif_arch  # noqa: F401  before PyTorch, which reads once how its threads are to wait

# isort: split
import torch
from benchmark_busy import busy
from benchmark_data import data
from benchmark_memory import memory, memory_child
from benchmark_rendering import linearity, render
from benchmark_report import plot, table
from benchmark_training import convergence, correctness, training

from liif_arch.errors import UserError, exit_status

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
    parser.add_argument('--decoder', choices=['LIIF', 'LTE', 'MetaSR', 'Thera'], default='LIIF')
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
                f'--resume: {path} has {key} {results.get(key)}, now it is {value}; '
                'name another --out.'
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
