"""Train and compare what the paper compares, at a budget of your choice, and write one report.

    # On scikit-image's photographs.
    python scripts/reproduce.py --group decoders
    python scripts/reproduce.py --group decoders --train datasets/BSDS400 \\
        --test datasets/Set5/HR --iterations 3000
    # A curve of PSNR over the time that a training takes.
    python scripts/reproduce.py --group recommended --equal-time --iterations 1000 3000 12000
    # The paper's own setting.
    python scripts/reproduce.py --group all --network paper --iterations 1000000

Every run is a shipped option file with its data, size and schedule changed; its whole option file
lies in OUT/options. What is done is skipped, what is not is resumed: run the same command again.
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
from collections import OrderedDict
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import yaml
from reproduce_options import test_options, training_options
from reproduce_report import write_budgets, write_comparison
from reproduce_runs import GROUPS, Run

from liif_arch.config.read import load_options
from liif_arch.errors import UserError, exit_status
from liif_arch.precision import PRECISIONS
from liif_data.store import open_store

SCALES = [2, 3, 4, 6, 8, 12]
PROBED = 100  # iterations that tell how long one takes


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
        stdout=subprocess.PIPE if quiet else None,
        stderr=subprocess.STDOUT if quiet else None,
        text=True,
    )
    if result.returncode:
        print((result.stdout or '')[-2000:], file=sys.stderr)
        raise UserError(
            f'basicsr {command} -opt {path} ended with status {result.returncode}; '
            'its output says why.'
        )


def probe(run: Run, args: argparse.Namespace) -> list[float]:
    """Seconds of an iteration, one mean of every ten that a short training takes, but for the first
    ten, which are slower.
    """
    opt = training_options(run, args, PROBED)
    opt['name'] = 'probe'
    opt['logger'].update(print_freq=10, save_checkpoint_freq=10**9)
    basicsr('train', opt, 'probe', args, quiet=True)
    log = sorted((args.out / 'experiments/probe').glob('train_*.log'))[-1].read_text()
    lines = re.findall(r'^(\S+ \S+) INFO: \[.*\biter: ', log, re.MULTILINE)
    times = [datetime.strptime(line, '%Y-%m-%d %H:%M:%S,%f') for line in lines]
    return [(b - a).total_seconds() / 10 for a, b in pairwise(times)]


def relative_speed(run: Run, first: Run, args: argparse.Namespace) -> float:
    """Iterations of a run in the time of one of the first run.

    They are measured in turn, twice, and their medians compared: other work on a machine changes
    its speed from minute to minute.
    """
    key = (first.name(), run.name())
    if key not in args.measured:
        seconds: dict[str, list[float]] = {run.name(): [], first.name(): []}
        for each in (first, run, first, run):
            seconds[each.name()] += probe(each, args)
        medians = [statistics.median(seconds[each.name()]) for each in (first, run)]
        args.measured[key] = medians[0] / medians[1]
    return args.measured[key]


def begun_options(run: Run, args: argparse.Namespace) -> Path | None:
    """The option file that a run was begun with, with any seed; None where it is new."""
    pattern = re.compile(re.escape(f'train_{run.name()}') + r'(_seed\d+)?\.yml')
    for path in sorted(args.out.glob('options/train_*.yml')):
        if pattern.fullmatch(path.name):
            return path
    return None


def iterations_of(run: Run, first: Run, args: argparse.Namespace) -> int:
    """Iterations of a run: those of an earlier command, or as many as its budget allows.

    Args:
        run: The training.
        first: The first of its group, whose iterations `--iterations` are with `--equal-time`.
        args: The command line's, with one number of iterations.
    """
    if not args.minutes and not (args.equal_time and run != first):
        return args.iterations
    begun = begun_options(run, args)
    if begun is not None:
        return load_options(begun)['train']['total_iter']
    if args.minutes:
        return max(PROBED, int(args.minutes * 60 / statistics.median(probe(run, args))))
    ratio = relative_speed(run, first, args)
    print(f'{run.label}: {ratio:.2f} iterations in the time of one of {first.label}', flush=True)
    return max(PROBED, round(args.iterations * ratio))


def execute(run: Run, iterations: int, seed: int, args: argparse.Namespace) -> dict:
    """Train (or resume) and test one run, unless both are done.

    Returns:
        The figures of its test set by scale.
    """
    name = run.name(seed)
    opt = training_options(run, args, iterations, seed)
    path = args.out / f'options/train_{name}.yml'
    if path.exists() and load_options(path) != json.loads(
        json.dumps(opt), object_pairs_hook=OrderedDict
    ):
        raise UserError(
            f'{path} says something else than this command; name another --out, or remove the run.'
        )
    weights = args.out / f'experiments/{name}/models/net_g_latest.pth'
    if not weights.exists():
        print(f'\n== {run.label}, seed {seed}: {iterations} iterations', flush=True)
        basicsr('train', opt, name, args, '--auto_resume')
    results = args.out / f'results/{name}/metrics.json'
    test = test_options(run, opt, args, seed)
    tested = args.out / f'options/test_{name}.yml'
    if not results.exists() or json.loads(json.dumps(load_options(tested))) != json.loads(
        json.dumps(test)
    ):
        basicsr('test', test, name, args)
    return next(iter(json.loads(results.read_text()).values()))


def prepare_faces(args: argparse.Namespace) -> None:
    """Square faces of 128 and 256 pixels, every sixth held out, from a folder of larger ones."""
    from liif_arch.files.images import resize_bicubic, write_image

    store = open_store(args.faces, '--faces')
    for i, key in enumerate(store.keys):
        split = 'heldout' if i % 6 == 0 else 'train'
        targets = {side: args.faces_out / f'{split}/{side}/{key}.png' for side in (128, 256)}
        if all(t.exists() for t in targets.values()):
            continue
        image = store.read(key)
        if image.shape[0] != image.shape[1] or image.shape[0] < 256:
            raise UserError(f'{store.path(key)}: needed square faces of at least 256 pixels.')
        for side, target in targets.items():
            write_image(target, resize_bicubic(image, (side, side)))


def execute_group(group: str, args: argparse.Namespace) -> dict[str, list[dict]]:
    """Train, test and report the runs of a group at one budget.

    Returns:
        The figures of every run by its label, once for each seed.
    """
    results = {}
    for run in GROUPS[group]:
        if args.runs is None or run.label in args.runs:
            iterations = iterations_of(run, GROUPS[group][0], args)
            args.budgets[run.label] = iterations
            results[run.label] = [execute(run, iterations, seed, args) for seed in args.seeds]
    if not results:
        raise UserError(
            f'--runs: none of {args.runs} is in {group}: {[r.label for r in GROUPS[group]]}.'
        )
    write_comparison(group, results, args)
    return results


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
        '--iterations',
        type=int,
        nargs='+',
        default=[2000],
        help='iterations of every run (default 2000); several numbers are trainings of their own, '
        'each in OUT/NUMBER, and a curve over them',
    )
    budget.add_argument('--minutes', type=float, help='minutes of every run, instead')
    parser.add_argument(
        '--equal-time',
        action='store_true',
        help="--iterations are those of the group's first run; the others have as many as take "
        'that time',
    )
    parser.add_argument(
        '--seeds',
        type=int,
        nargs='+',
        default=[0],
        help='repeat every run with these seeds (default 0); the table tells mean and deviation',
    )
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


def at_budget(args: argparse.Namespace, iterations: int, out: Path) -> argparse.Namespace:
    """The command line of one number of iterations, whose runs lie in a folder."""
    return argparse.Namespace(**{**vars(args), 'iterations': iterations, 'out': out, 'budgets': {}})


def main() -> None:
    """Run the chosen groups and write their reports."""
    args = parse_arguments()
    if min(args.seeds) < 0 or len(set(args.seeds)) != len(args.seeds):
        raise UserError(f'--seeds: found {args.seeds}; needed different numbers from 0 on.')
    if len(set(args.iterations)) != len(args.iterations):
        raise UserError(f'--iterations: found {args.iterations}; needed different numbers.')
    if args.minutes is not None and args.equal_time:
        raise UserError('--equal-time: --minutes gives every run its own time; leave one out.')
    if min(args.iterations) < 20 or (args.minutes is not None and args.minutes <= 0):
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
    args.measured, args.faces_out = {}, args.out / 'faces'
    if 'size-varied' in groups:
        if not args.faces:
            raise UserError('--faces: the size-varied group needs a folder of square faces.')
        prepare_faces(args)
    for group in groups:
        if len(args.iterations) == 1:
            execute_group(group, at_budget(args, args.iterations[0], args.out))
            continue
        results = {}
        for iterations in sorted(args.iterations):
            one = at_budget(args, iterations, args.out / str(iterations))
            results[iterations] = execute_group(group, one)
        write_budgets(group, results, args)


if __name__ == '__main__':
    sys.exit(exit_status(main, 'stopped; the same command goes on from here.'))
