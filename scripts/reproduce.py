"""Train and compare what the paper compares, at a budget of your choice, and write one report.

    python scripts/reproduce.py --group decoders                                  # on
    scikit-image's photographs python scripts/reproduce.py --group decoders --train datasets/BSDS400
    --test datasets/Set5/HR --iterations 3000 python scripts/reproduce.py --group all --network
    paper --iterations 1000000  # the paper's own setting

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
from typing import NamedTuple

import yaml

from liif_arch.config.files import shipped_options
from liif_arch.config.read import load_options
from liif_arch.errors import UserError, exit_status
from liif_arch.precision import PRECISIONS
from liif_data.store import open_store

SCALES = [2, 3, 4, 6, 8, 12]
PANEL_SCALES = [4, 8, 30]


class Run(NamedTuple):
    """One training: what the table calls it, the option file it starts from, the scales it is for (None: all)."""

    label: str
    option: str
    scales: list[int] | None = None
    paper: dict[int, float] = {}  # noqa: RUF012  read only; DIV2K validation, or plain PSNR of CelebAHQ


def _paper(*values: float) -> dict[int, float]:
    return dict(zip((2, 3, 4, 6, 12, 18, 24, 30), values, strict=False))


LIIF = Run(
    'LIIF', 'train_liif_edsr', None, _paper(34.67, 30.96, 29.00, 26.75, 23.71, 22.17, 21.18, 20.48)
)
GROUPS = {
    'decoders': [
        LIIF,
        Run(
            'LTE',
            'train_lte_edsr',
            None,
            _paper(34.72, 31.02, 29.04, 26.81, 23.78, 22.23, 21.24, 20.53),
        ),
        Run(
            'MetaSR',
            'train_metasr_edsr',
            None,
            _paper(34.64, 30.93, 28.92, 26.61, 23.55, 22.03, 21.06, 20.37),
        ),
        Run('EDSR x2', 'train_edsr_x2', [2], {2: 34.55}),
        Run('EDSR x3', 'train_edsr_x3', [3], {3: 30.90}),
        Run('EDSR x4', 'train_edsr_x4', [4], {4: 28.92}),
    ],
    'ablations': [
        LIIF,
        Run(
            'LIIF (-c)',
            'train_liif_edsr_no_cell',
            None,
            _paper(34.53, 30.92, 28.97, 26.73, 23.72, 22.19, 21.19, 20.51),
        ),
        Run(
            'LIIF (-u)',
            'train_liif_edsr_no_unfold',
            None,
            _paper(34.64, 30.94, 28.98, 26.73, 23.69, 22.16, 21.17, 20.47),
        ),
        Run(
            'LIIF (-e)',
            'train_liif_edsr_no_ensemble',
            None,
            _paper(34.63, 30.95, 28.97, 26.72, 23.66, 22.13, 21.14, 20.45),
        ),
        Run(
            'LIIF (-d)',
            'train_liif_edsr_shallow',
            None,
            _paper(34.65, 30.94, 28.98, 26.71, 23.64, 22.10, 21.12, 20.42),
        ),
    ],
    'scales': [LIIF, *(Run(f'LIIF, x{s} only', f'train_liif_edsr_x{s}only') for s in (2, 3, 4))],
    'size-varied': [
        Run('64 to 128: LIIF, size-varied', 'train_celebahq_64_128', [2], {2: 35.96}),
        Run('64 to 128: resized ground truth', 'train_celebahq_64_128_resized', [2], {2: 34.78}),
        Run('32 to 256: LIIF, size-varied', 'train_celebahq_32_256', [8], {8: 27.74}),
        Run('32 to 256: resized ground truth', 'train_celebahq_32_256_resized', [8], {8: 27.56}),
    ],
}
SMALL_ENCODER = {'type': 'EDSREncoder', 'num_feat': 32, 'num_block': 8}


def training_options(run: Run, args: argparse.Namespace) -> OrderedDict:
    """A shipped option file with the command line's data, network size and schedule."""
    opt = load_options(shipped_options()[run.option])
    opt['name'] = run.option
    train = opt['datasets']['train']
    if 'scale_range' in train:
        train.update(dataroot_gt=args.train, cache=args.train.startswith('builtin:') or args.cache)
        train.pop('dataroot_lq', None)
    else:  # faces: inputs and ground truth of every size are made from one folder
        train.update(dataroot_gt=str(args.out / f'faces/train/{train["gt_size_range"][1]}'))
        train.pop('dataroot_lq')
    train.update(num_worker_per_gpu=args.workers, persistent_workers=args.workers > 0)
    opt['datasets'] = OrderedDict(train=train)
    if args.network == 'small':
        network = opt['network_g']
        network['encoder'] = dict(SMALL_ENCODER)
        if network['type'] == 'LIIF':
            network['hidden_list'] = [128] * (len(network['hidden_list']) - 1)
        if network['type'] == 'LTE':
            network.update(hidden_dim=128, hidden_list=[128, 128])
        if 'scale_range' in train:
            train.update(lq_size=24, num_samples=576)
        else:
            train.update(
                batch_size_per_gpu=4
            )  # whole faces: at a small budget more steps teach more than larger ones
        opt['train']['optim_g']['lr'] = (
            1e-3  # the paper's 1e-4 is for a schedule hundreds of times longer
        )
    iterations = args.iterations
    opt['train'].update(
        precision=args.precision,
        total_iter=iterations,
        scheduler={
            'type': 'CosineAnnealingRestartLR',
            'periods': [iterations],
            'restart_weights': [1],
            'eta_min': 1e-6,
        }
        if args.network == 'small'
        else stretched(opt['train']['scheduler'], opt['train']['total_iter'], iterations),
    )
    images = len(open_store(train['dataroot_gt'], '--train'))
    train['dataset_enlarge_ratio'] = max(1, 1000 * train['batch_size_per_gpu'] // images)
    opt['val'] = None
    opt['logger'].update(
        print_freq=max(1, min(100, iterations // 20)),
        use_tb_logger=False,
        save_checkpoint_freq=max(1, min(5000, iterations // 4)),
    )
    return opt


def stretched(scheduler: dict, old: int, new: int) -> dict:
    """A step schedule on another number of iterations, its milestones at the same shares."""
    return {**scheduler, 'milestones': [max(1, m * new // old) for m in scheduler['milestones']]}


def test_options(run: Run, trained: dict, args: argparse.Namespace) -> OrderedDict:
    """Options that test a run's weights at its scales."""
    if 'scale_range' in trained['datasets']['train']:
        dataset = {
            'name': args.test_name,
            'type': 'ScaleSetDataset',
            'dataroot_gt': args.test,
            'scales': [s for s in args.scales if run.scales is None or s in run.scales],
        }
        if args.test_lq:
            dataset['dataroot_lq'] = args.test_lq
    else:
        side = trained['datasets']['train']['gt_size_range'][1]
        dataset = {
            'name': f'faces_{side}',
            'type': 'ScaleSetDataset',
            'scales': run.scales,
            'dataroot_gt': str(args.out / f'faces/heldout/{side}'),
        }
    weights = args.out / f'experiments/{run.option}/models/net_g_latest.pth'
    return OrderedDict(
        name=run.option,
        model_type='LIIFModel',
        num_gpu='auto',
        datasets={'test': dataset},
        network_g=trained['network_g'],
        path={'pretrain_network_g': str(weights.absolute())},
        val={'save_img': False, 'bicubic': True},
    )


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
            f'basicsr {command} -opt {path} ended with status {result.returncode}; its output says why.'
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
    """Train (or resume) and test one run, unless both are done; returns {scale: figures} of its test set."""
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


def write_report(group: str, results: dict[str, dict], args: argparse.Namespace) -> Path:
    """Table in the paper's layout beside the paper's figures, curves, and for the decoders zoom panels."""
    from liif_arch.metrics.report import TITLES, markdown_table

    metric = 'psnr' if group == 'size-varied' else args.metric
    runs = [r for r in GROUPS[group] if r.label in results]
    scales = sorted({int(s[1:]) for r in results.values() for s in r})
    rows = []
    bicubic = {s: e['bicubic'][metric] for r in results.values() for s, e in r.items()}
    rows.append(['bicubic', '', *[_cell(bicubic.get(f'x{s}')) for s in scales]])
    for run in runs:
        figures = {s: e[metric] for s, e in results[run.label].items()}
        rows.append(
            [
                run.label,
                f'{args.budgets[run.option]} it.',
                *[_cell(figures.get(f'x{s}')) for s in scales],
            ]
        )
    for run in runs:
        if run.paper:
            rows.append([f'paper: {run.label}', '', *[_cell(run.paper.get(s)) for s in scales]])
    data = (
        f'faces of {args.faces}'
        if group == 'size-varied'
        else f'trained on {args.train}, tested on {args.test}'
    )
    text = [
        f'# {group}',
        '',
        f'{TITLES[metric]} (dB); network: {args.network}, trained in {args.precision}; {data}.',
        "The paper's figures are for its own data (DIV2K; CelebAHQ), networks and schedule: compare the order, not "
        'the level.',
        '',
        markdown_table(['method', 'budget', *[f'x{s}' for s in scales]], rows),
    ]
    folder = args.out / f'report_{group}'
    folder.mkdir(parents=True, exist_ok=True)
    if len(scales) > 2:
        curves = {r.label: {s: e[metric] for s, e in results[r.label].items()} for r in runs}
        plot_curves({'bicubic': bicubic, **curves}, TITLES[metric], folder / 'psnr_scale.png')
        text += ['', '![PSNR gain over bicubic against scale](psnr_scale.png)']
    if group == 'decoders':
        draw_panels(runs, args, folder / 'panels.png')
        text += ['', '![zoom panels](panels.png)']
    (folder / 'report.md').write_text('\n'.join(text) + '\n')
    print('\n' + '\n'.join(text[2 : 6 + len(rows) + 2]) + f'\n{folder / "report.md"}')
    return folder / 'report.md'


def plot_curves(curves: dict[str, dict[str, float]], title: str, path: Path) -> None:
    """Gain over bicubic against scale, which shows differences that absolute PSNR hides."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4), layout='constrained')
    axes = figure.add_subplot()
    bicubic = curves.pop('bicubic')
    for label, curve in curves.items():
        points = sorted((int(s[1:]), v - bicubic[s]) for s, v in curve.items())
        axes.plot(*zip(*points, strict=True), marker='o', markersize=4, label=label)
    axes.axhline(0, color='0.6', linewidth=1, label='bicubic')
    axes.axvspan(1, 4, color='0.5', alpha=0.1, label='training scales')
    axes.set(xlabel='scale', ylabel=f'{title} over bicubic (dB)')
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=130)


def draw_panels(runs: list[Run], args: argparse.Namespace, path: Path) -> None:
    """Bicubic, the decoders and the original at x4, x8 and x30 of the first test image."""
    import torch

    from liif_arch.coordinates import reduced_size, scaled_size
    from liif_arch.files.images import resize_bicubic
    from liif_arch.metrics.panel import Row, write_panel
    from liif_arch.upscaling.upscale import upscale
    from liif_arch.weights.networks import load_network

    nets = {
        r.label: load_network(args.out / f'experiments/{r.option}/models/net_g_latest.pth')
        for r in sorted(runs, key=lambda r: r.label != 'MetaSR')
        if r.scales is None
    }
    store = open_store(args.test, '--test')
    rows = []
    with torch.no_grad():
        for scale in PANEL_SCALES:
            gt = store.read(store.keys[0])
            small = reduced_size(gt.shape[:2], (scale, scale))
            size = scaled_size(small, (scale, scale))
            gt = gt[: size[0], : size[1]]
            lq = resize_bicubic(gt, small)
            methods = {n: upscale(net, lq, size=size) for n, net in nets.items()}
            methods = {'bicubic': resize_bicubic(lq, size), **methods, 'original': gt}
            rows.append(Row(store.keys[0], f'x{scale}', methods))
    write_panel(rows, path)


def _cell(value: float | None) -> str:
    return '-' if value is None else f'{value:.2f}'


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
        help='small: 8 blocks of 32 features, 24-pixel inputs; paper: its own sizes (default small)',
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
        write_report(group, results, args)


if __name__ == '__main__':
    sys.exit(exit_status(main, 'stopped; the same command goes on from here.'))
