"""Train and compare what the paper compares, at budgets of your choice, and write reports.

    # On scikit-image's photographs.
    python scripts/reproduce.py --group decoders
    python scripts/reproduce.py --group decoders --train datasets/BSDS400 \\
        --test datasets/Set5/HR --iterations 3000
    # A curve of PSNR over the time that a training takes.
    python scripts/reproduce.py --group recommended --equal-time --iterations 1000 3000 12000
    # The paper's own setting.
    python scripts/reproduce.py --group ablations --network paper --iterations 1000000 \\
        --train datasets/DIV2K/DIV2K_train_HR.lmdb --test datasets/DIV2K/DIV2K_valid_HR

Every run is a shipped option file with its data, size and schedule changed; its whole option file
lies in OUT/options, of several budgets in OUT/NUMBER/options. What is done is skipped, what is not
is resumed: run the same command again.
"""

import argparse
import json
import sys
from pathlib import Path

from reproduce_command import basicsr
from reproduce_options import test_options, training_options
from reproduce_report import Trained, write_budgets, write_comparison
from reproduce_runs import GROUPS, Run
from reproduce_speed import Speeds

from liif_arch.config.read import load_options
from liif_arch.errors import UserError, exit_status, suggest
from liif_arch.precision import PRECISIONS
from liif_data.store import open_store

SCALES = [2, 3, 4, 6, 8, 12]


def iterations_of(run: Run, first: Run, args: argparse.Namespace) -> int:
    """Iterations of a run, as many as its budget allows.

    Args:
        run: The training.
        first: The first of its group, whose iterations `--iterations` are with `--equal-time`.
        args: The command line's, at one budget.
    """
    if args.minutes:
        return max(1, int(args.minutes * 60 / args.speeds.seconds(run)))
    if not args.equal_time or run == first:
        return args.budget
    ratio = args.speeds.relative(run, first)
    print(f'{run.label}: {ratio:.2f} iterations in the time of one of {first.label}', flush=True)
    return max(1, round(args.budget * ratio))


def execute(run: Run, iterations: int, seed: int, args: argparse.Namespace) -> dict:
    """Train (or resume) and test one run, unless both are done.

    Returns:
        The figures of its test set by scale.
    """
    name = run.name(seed)
    opt = training_options(run, args, iterations, seed)
    path = args.folder / f'options/train_{name}.yml'
    if path.exists() and plain(load_options(path)) != plain(opt):
        raise UserError(
            f'{path} says something else than this command; name another --out, or remove the run.'
        )
    weights = args.folder / f'experiments/{name}/models/net_g_latest.pth'
    if not weights.exists():
        print(f'\n== {run.label}, seed {seed}: {iterations} iterations', flush=True)
        basicsr('train', opt, name, args.folder, '--auto_resume')
    results = args.folder / f'results/{name}/metrics.json'
    test = test_options(run, opt, args, seed)
    tested = args.folder / f'options/test_{name}.yml'
    if not results.exists() or plain(load_options(tested)) != plain(test):
        basicsr('test', test, name, args.folder)
    return next(iter(json.loads(results.read_text()).values()))


def plain(opt: dict) -> dict:
    """Options as an option file holds them, in no order."""
    return json.loads(json.dumps(opt))


def execute_group(group: str, args: argparse.Namespace) -> dict[str, Trained]:
    """Train, test and report the chosen runs of a group at one budget.

    Returns:
        What came of every run, by its label.
    """
    results = {}
    for run in chosen(group, args):
        iterations = iterations_of(run, GROUPS[group][0], args)
        figures = [execute(run, iterations, seed, args) for seed in args.seeds]
        results[run.label] = Trained(iterations, figures)
    write_comparison(group, results, args)
    return results


def chosen(group: str, args: argparse.Namespace) -> list[Run]:
    """Runs of a group that `--runs` names and that have one of `--scales`."""
    found = []
    for run in GROUPS[group]:
        is_meant = args.runs is None or run.label in args.runs
        # Faces are tested at the scale of their task.
        is_tested = group == 'size-varied' or run.scales is None or {*run.scales} & {*args.scales}
        if is_meant and is_tested:
            found.append(run)
    return found


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
        '--iterations',
        type=int,
        nargs='+',
        default=[2000],
        help='iterations of every run (default 2000); for several numbers the runs are trained '
        'at each, in OUT/NUMBER, and PSNR is drawn over them',
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


def check_arguments(args: argparse.Namespace) -> None:
    """Raise UserError for a command line that cannot be followed."""
    if min(args.seeds) < 0 or len(set(args.seeds)) != len(args.seeds):
        raise UserError(f'--seeds: found {args.seeds}; needed different numbers from 0 on.')
    if min(args.iterations) < 20 or len(set(args.iterations)) != len(args.iterations):
        raise UserError(
            f'--iterations: found {args.iterations}; needed different numbers of at least 20.'
        )
    if args.minutes is not None:
        if args.minutes <= 0:
            raise UserError(f'--minutes: found {args.minutes}; needed more than 0.')
        if args.equal_time:
            raise UserError('--equal-time: --minutes gives every run its own time; leave one out.')
    labels = [run.label for group in args.groups for run in GROUPS[group]]
    for label in args.runs or []:
        if label not in labels:
            raise UserError(f'--runs: "{label}" is none of them; {suggest(label, labels)}')
    if not any(chosen(group, args) for group in args.groups):
        raise UserError(f'--scales: found {args.scales}, at which none of the runs is tested.')
    if 'size-varied' in args.groups and not args.faces:
        raise UserError('--faces: the size-varied group needs a folder of square faces.')


def at_budget(args: argparse.Namespace, budget: int, folder: Path) -> argparse.Namespace:
    """The command line with one of its budgets, whose runs lie in a folder."""
    return argparse.Namespace(**vars(args), budget=budget, folder=folder)


def main() -> None:
    """Run the chosen groups and write their reports."""
    args = parse_arguments()
    args.groups = list(GROUPS) if args.group == 'all' else [args.group]
    check_arguments(args)
    args.test_name = (
        Path(args.test).parent.name if Path(args.test).name == 'HR' else Path(args.test).name
    )
    for key in ('train', 'test', 'test_lq', 'faces'):  # runs start in a folder of their own
        value = getattr(args, key)
        if value and not value.startswith('builtin:'):
            setattr(args, key, str(Path(value).expanduser().absolute()))
    args.out = args.out.absolute()
    args.speeds = Speeds(args)
    if 'size-varied' in args.groups:
        prepare_faces(args)
    for group in args.groups:
        if not chosen(group, args):
            continue
        if len(args.iterations) == 1:
            execute_group(group, at_budget(args, args.iterations[0], args.out))
            continue
        results = {}
        for budget in sorted(args.iterations):
            results[budget] = execute_group(group, at_budget(args, budget, args.out / str(budget)))
        write_budgets(group, results, args)


if __name__ == '__main__':
    sys.exit(exit_status(main, 'stopped; the same command goes on from here.'))
