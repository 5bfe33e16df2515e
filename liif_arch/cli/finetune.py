"""`basicsr finetune FOLDER`: from weights that ship to pictures of one's own, in one command."""

import argparse
import re
import shlex
import shutil
import sys
from pathlib import Path

from liif_arch.arguments import CommandParser
from liif_arch.weights import DEFAULT, PHOTO, names

STOPPED = 'stopped. `basicsr train -opt NAME.yml --auto_resume` goes on from the last saved state.'
LEARNT = [1.0, 4.0]  # the scales that the weights that ship have learnt
DEGRADATIONS = ('photo', 'wild')


def build_parser() -> argparse.ArgumentParser:
    """The command's flags."""
    parser = CommandParser(
        prog='basicsr finetune',
        description='Train weights that ship on pictures of your own, for as long as you say, and '
        'tell what it brought on some that were held out.',
    )
    parser.add_argument('folder', type=Path, metavar='FOLDER', help='sharp pictures, not enlarged')
    parser.add_argument(
        '--minutes', type=float, default=15, metavar='M', help='of training (default: 15)'
    )
    parser.add_argument(
        '--weights',
        metavar='W',
        help=f'what it begins at: {names()}; default: {DEFAULT}, with --degradation {PHOTO}',
    )
    parser.add_argument(
        '--scale-range',
        default='1:4',
        metavar='A:B',
        help='scales that it learns, such as 1:4 (default); pictures need 24 (on a GPU 48) times B '
        'pixels a side',
    )
    parser.add_argument(
        '--degradation',
        choices=DEGRADATIONS,
        help='for inputs that are compressed and noisy: photo (light) or wild (heavy); they are '
        'then measured as JPEG of quality 75',
    )
    parser.add_argument(
        '--name', metavar='NAME', help='of the run and its files (default: finetune_FOLDER)'
    )
    return parser


def main() -> int:
    """Split, measure, time, train, and tell what came of it."""
    import torch
    import yaml

    from liif_arch.cli import train
    from liif_arch.errors import UserError
    from liif_arch.metrics.report import read_report
    from liif_arch.training import finetuning

    args = build_parser().parse_args()
    scales = _scales(args.scale_range)
    if not args.minutes > 0:
        raise UserError(f'--minutes: found {args.minutes:g}; needed more than 0.')
    name = args.name or f'finetune_{re.sub(r"[^A-Za-z0-9_-]+", "_", args.folder.resolve().name)}'
    file, results = Path(f'{name}.yml'), Path('experiments', name)
    for path in (file, results):
        if path.exists():
            raise UserError(
                f'{path} exists; go on with `basicsr train -opt {file} --auto_resume`, or choose '
                'another --name.'
            )
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    split = finetuning.split_of(args.folder, round(finetuning.LQ_SIZE[device] * scales[1]))
    _tell_split(split)
    weights = args.weights or (PHOTO if args.degradation else DEFAULT)
    pictures = Path(name + finetuning.PICTURES)
    if pictures.exists():
        raise UserError(f'{pictures} exists; remove it, or choose another --name.')
    options = finetuning.options_for(
        name, weights, pictures.resolve(), scales, args.degradation, device
    )
    print(f'Measuring {weights} on the pictures held out, and timing an iteration.', flush=True)
    try:
        finetuning.lay_out(split, pictures)
        start = finetuning.figures_of(options)
        seconds = finetuning.seconds_of_iteration(options, device)
    except BaseException:
        shutil.rmtree(pictures, ignore_errors=True)  # the links; the same command begins anew
        raise
    count = max(finetuning.FEWEST, int(60 * args.minutes * finetuning.SPENT / seconds))
    print(f'{count} iterations of {seconds:.2f} s: about {count * seconds / 60:.1f} minutes.')
    text = yaml.safe_dump(finetuning.with_length(options, count), sort_keys=False)
    file.write_text(f'# Written by basicsr finetune {args.folder}\n{text}', encoding='utf-8')
    sys.argv = ['basicsr train', '-opt', str(file)]
    status = train.main()
    if status:
        return status
    found = read_report(results)
    assert found is not None  # a training ends with a validation
    print(f'\n{_table(start, found["held_out"], weights)}')
    trained = results / 'models/net_g_latest.pth'
    print(f'basicsr upscale photo.jpg --weights {shlex.quote(str(trained))} --scale 4')
    return 0


def _scales(text: str) -> list[float]:
    """`1:4` as two numbers."""
    from liif_arch.errors import UserError

    match = re.fullmatch(r'(\d+\.?\d*):(\d+\.?\d*)', text.strip())
    if not match or not 1 <= float(match[1]) <= float(match[2]) <= 32 or float(match[2]) == 1:
        raise UserError(f'--scale-range: found {text}; needed two scales from 1 on, such as 1:4.')
    return [float(match[1]), float(match[2])]


def _tell_split(split: tuple) -> None:
    """Say how many pictures there are, and what becomes of them."""
    line = f'{len(split.train)} pictures to train on, {len(split.val)} held out'
    if split.small:
        line += f'; {len(split.small)} left out, which are too small for these scales'
    print(f'{line}.')


def _table(start: dict, found: dict, weights: str) -> str:
    """PSNR of bicubic, the start and the result on the pictures held out."""
    from liif_arch.metrics.report import markdown_table

    rows = []
    for scale, figures in found.items():
        before, after = start[scale]['psnr'], figures['psnr']
        bicubic = figures['bicubic']['psnr']
        rows.append(
            [
                'held out',
                scale,
                f'{bicubic:.2f}',
                f'{before:.2f}',
                f'{after:.2f}',
                f'{after - before:+.2f}',
                f'{after - bicubic:+.2f}',
            ]
        )
    header = ['pictures', 'scale', 'bicubic', weights, 'trained', 'gain', 'over bicubic']
    return markdown_table(header, rows)
