"""Train and compare what the paper compares, at a budget of your choice, and write one report.

    # On scikit-image's photographs.
    python scripts/reproduce.py --group decoders
    python scripts/reproduce.py --group decoders --train datasets/BSDS400 \\
        --test datasets/Set5/HR --iterations 3000
    # The paper's own setting.
    python scripts/reproduce.py --group all --network paper --iterations 1000000

Every run is a shipped option file with its data, size and schedule changed; its whole option file
lies in OUT/options. What is done is skipped, what is not is resumed: run the same command again.
"""

import argparse
import json
import re
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path

import yaml
from reproduce_options import test_options, training_options
from reproduce_report import write_comparison
from reproduce_runs import GROUPS, Run

from liif_arch.config.read import load_options
from liif_arch.errors import UserError, exit_status
from liif_arch.precision import PRECISIONS
from liif_data.store import open_store

SCALES = [2, 3, 4, 6, 8, 12]


def basicsr(
    command: str, opt: dict, name: str, args: argparse.Namespace, *flags: str, quiet: bool = False
) -> None:
    """Run `basicsr COMMAND` on options in OUT, showing its output.

    Raises:
        UserError: It failed.
    """
    path = args.out / f'options/{command}_{name}.yml'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(json.loads(json.dumps(opt)), sort_keys=False))
    result = subprocess.run(
        [sys.executable, '-m', 'liif_arch.cli', command, '-opt', str(path.absolute()), *flags],
        cwd=args.out,
        stdout=subprocess.DEVNULL if quiet else None,
        stderr=subprocess.DEVNULL if quiet else None,
    )
    if result.returncode:
        raise UserError(
            f'basicsr {command} -opt {path} ended with status {result.returncode}; '
            'its output says why.'
        )


def iterations_for(run: Run, args: argparse.Namespace) -> int:
    """Iterations that fit the minutes of `--minutes`, from a run of forty."""
    probe = training_options(run, argparse.Namespace(**{**vars(args), 'iterations': 40}))
    probe['name'] = 'probe'
    probe['logger'].update(print_freq=20, save_checkpoint_freq=10**9)
    basicsr('train', probe, 'probe', args, quiet=True)
    logs = sorted((args.out / 'experiments/probe').glob('train_*.log'))
    seconds = float(re.findall(r'time \(data\): ([\d.]+)', logs[-1].read_text())[-1])
    return max(40, int(args.minutes * 60 / seconds))


def execute(run: Run, args: argparse.Namespace) -> dict:
    """Train (or resume) and test one run, unless both are done.

    Returns:
        The figures of its test set by scale.
    """
    if args.minutes and not (args.out / f'options/train_{run.option}.yml').exists():
        args.iterations = iterations_for(run, args)
    elif args.minutes:
        args.iterations = load_options(args.out / f'options/train_{run.option}.yml')['train'][
            'total_iter'
        ]
    opt = training_options(run, args)
    path = args.out / f'options/train_{run.option}.yml'
    if path.exists() and load_options(path) != json.loads(
        json.dumps(opt), object_pairs_hook=OrderedDict
    ):
        raise UserError(
            f'{path} says something else than this command; name another --out, or remove the run.'
        )
    weights = args.out / f'experiments/{run.option}/models/net_g_latest.pth'
    if not weights.exists():
        print(f'\n== {run.label}: {args.iterations} iterations', flush=True)
        basicsr('train', opt, run.option, args, '--auto_resume')
    results = args.out / f'results/{run.option}/metrics.json'
    test = test_options(run, opt, args)
    tested = args.out / f'options/test_{run.option}.yml'
    if not results.exists() or json.loads(json.dumps(load_options(tested))) != json.loads(
        json.dumps(test)
    ):
        basicsr('test', test, run.option, args)
    return next(iter(json.loads(results.read_text()).values()))


def prepare_faces(args: argparse.Namespace) -> None:
    """Square faces of 128 and 256 pixels, every sixth held out, from a folder of larger ones."""
    from liif_arch.files.images import resize_bicubic, write_image

    store = open_store(args.faces, '--faces')
    for i, key in enumerate(store.keys):
        split = 'heldout' if i % 6 == 0 else 'train'
        targets = {side: args.out / f'faces/{split}/{side}/{key}.png' for side in (128, 256)}
        if all(t.exists() for t in targets.values()):
            continue
        image = store.read(key)
        if image.shape[0] != image.shape[1] or image.shape[0] < 256:
            raise UserError(f'{store.path(key)}: needed square faces of at least 256 pixels.')
        for side, target in targets.items():
            write_image(target, resize_bicubic(image, (side, side)))


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description='Train and compare what the paper compares, at a budget you choose.'
    )
    parser.add_argument('--group', choices=[*GROUPS, 'all'], required=True)
    parser.add_argument(
        '--train', default='builtin:photos/train', help='folder or .lmdb of ground truth'
    )
    parser.add_argument(
        '--test', default='builtin:photos/heldout', help='folder or .lmdb of test images'
    )
    parser.add_argument('--test-lq', help='published inputs, with {scale} in the path (x2 to x4)')
    parser.add_argument('--faces', help='folder of square faces (group size-varied)')
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument(
        '--iterations', type=int, default=2000, help='iterations of every run (default 2000)'
    )
    budget.add_argument('--minutes', type=float, help='minutes of every run, instead')
    parser.add_argument(
        '--network',
        choices=['small', 'paper'],
        default='small',
        help='small: 8 blocks of 32 features, 24-pixel inputs; '
        'paper: its own sizes (default small)',
    )
    parser.add_argument(
        '--precision', choices=PRECISIONS, default='float32', help='of training (default float32)'
    )
    parser.add_argument('--scales', type=int, nargs='+', default=SCALES, help=f'default {SCALES}')
    parser.add_argument('--metric', choices=['psnr', 'psnr_y', 'psnr_div2k'], default='psnr_y')
    parser.add_argument(
        '--runs', nargs='+', metavar='LABEL', help='only these runs, for instance LIIF MetaSR'
    )
    parser.add_argument('--workers', type=int, default=1)
    parser.add_argument(
        '--cache', action='store_true', help='keep decoded training images in memory'
    )
    parser.add_argument('--out', type=Path, default=Path('reproduce'))
    return parser.parse_args()


def main() -> None:
    """Run the chosen groups and write their reports."""
    args = parse_arguments()
    if args.iterations < 20 or (args.minutes is not None and args.minutes <= 0):
        raise UserError('--iterations: needed at least 20; --minutes: above 0.')
    args.test_name = (
        Path(args.test).parent.name if Path(args.test).name == 'HR' else Path(args.test).name
    )
    for key in ('train', 'test', 'test_lq', 'faces'):  # runs start in OUT
        value = getattr(args, key)
        if value and not value.startswith('builtin:'):
            setattr(args, key, str(Path(value).expanduser().absolute()))
    args.out = args.out.absolute()
    groups = list(GROUPS) if args.group == 'all' else [args.group]
    args.budgets = {}
    if 'size-varied' in groups:
        if not args.faces:
            raise UserError('--faces: the size-varied group needs a folder of square faces.')
        prepare_faces(args)
    for group in groups:
        results = {}
        for run in GROUPS[group]:
            if args.runs is None or run.label in args.runs:
                results[run.label] = execute(run, args)
                args.budgets[run.option] = args.iterations
        if not results:
            raise UserError(
                f'--runs: none of {args.runs} is in {group}: {[r.label for r in GROUPS[group]]}.'
            )
        write_comparison(group, results, args)


if __name__ == '__main__':
    sys.exit(exit_status(main, 'stopped; the same command goes on from here.'))
