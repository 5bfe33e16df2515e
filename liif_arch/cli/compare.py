"""`basicsr compare`: a detail of an image by several networks in one picture, or a zoom into it."""

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

from liif_arch.arguments import CommandParser
from liif_arch.cli.upscale_target import parse_crop
from liif_arch.weights import labels, names_and_defaults

FRAMES, RATE = 90, 25  # of a zoom, and a second
MOST = (480, 640)  # height and width of a zoom's frames
DETAIL = 256  # pixels of a detail's side where no crop is given


def build_parser() -> argparse.ArgumentParser:
    """The command's flags."""
    parser = CommandParser(
        prog='basicsr compare',
        description='Draw a detail of an image by bicubic and by networks side by side, or a zoom '
        'into it.',
    )
    parser.add_argument('image', type=Path, metavar='IMAGE')
    parser.add_argument('-o', '--output', type=Path, required=True, metavar='OUT')
    parser.add_argument(
        '--weights',
        nargs='+',
        metavar='W',
        help=names_and_defaults(),
    )
    parser.add_argument('--gt', type=Path, metavar='IMAGE', help='what the image should be')
    form = parser.add_mutually_exclusive_group(required=True)
    form.add_argument('--scale', type=float, metavar='S', help='of the detail; OUT is a .png')
    form.add_argument(
        '--zoom',
        metavar='A:B',
        help='scales of the first frame and of the last, such as 1:30; OUT is an .mp4, .gif or '
        '.webp, with bicubic on the left and the first network on the right',
    )
    parser.add_argument(
        '--crop',
        metavar='Y,X,H,W',
        help='the detail: top, left, height and width in pixels of the image or in percent; a zoom '
        'goes to its middle (default: the middle of the image)',
    )
    parser.add_argument('--device', default='auto', help='auto (default), cpu, cuda, cuda:1, ...')
    parser.add_argument(
        '--precision', default='float32', metavar='P', help='float32 (default), bfloat16, or auto'
    )
    return parser


def main() -> None:
    """Write the picture, and say where."""
    from liif_arch.cli.networks import load_on
    from liif_arch.errors import UserError
    from liif_arch.files.images import write_image
    from liif_arch.view import still
    from liif_arch.view.gallery import suited
    from liif_arch.view.pictures import TAKEN, Shown

    args = build_parser().parse_args()
    _require_output(args)
    weights = args.weights or [suited(args.image)]
    nets = {}
    for label, name in zip(labels(weights, TAKEN), weights, strict=True):
        nets[label] = load_on(name, args.device, args.precision)
    shown = Shown(args.image, {name: (lambda net=net: net) for name, net in nets.items()}, args.gt)
    crop = _crop(args, shown.full)
    if args.scale is not None:
        import numpy as np

        if not args.scale >= 1:
            raise UserError(f'--scale: found {args.scale:g}; needed 1 or more.')
        picture = still.panel(shown, args.scale, crop)
        write_image(args.output, np.asarray(picture))
        print(f'{args.output}  {picture.width}x{picture.height} (width x height)')
        return
    first, last = _scales(args.zoom)
    centre = (crop[0] + crop[2] / 2, crop[1] + crop[3] / 2)
    size = still.frame_size(shown.full, first, MOST)
    frames = still.zoom(shown, (first, last), centre, size, FRAMES)
    still.write_frames(_with_progress(frames), args.output, RATE)
    print(f'{args.output}  {FRAMES} frames, x{first:g} to x{last:g}')


def _with_progress(frames: Iterator) -> Iterator:
    from liif_arch.progress import progress_bar

    return iter(progress_bar(frames, total=FRAMES, desc='zoom', unit='frame'))


def _require_output(args: argparse.Namespace) -> None:
    """Raise UserError where OUT is none of what is asked for, or exists."""
    from liif_arch.errors import UserError

    able = ('.png', '.jpg', '.webp') if args.zoom is None else ('.mp4', '.gif', '.webp', '.png')
    if args.output.suffix.lower() not in able:
        raise UserError(f'-o: found {args.output}; needed one of {", ".join(able)}.')
    if args.zoom is not None and args.gt is not None:
        raise UserError('--gt: found it beside --zoom, which shows no original; leave it out.')
    if args.output.exists():
        raise UserError(f'-o: {args.output} exists; name another, or remove it first.')


def _crop(args: argparse.Namespace, full: tuple[int, int]) -> tuple[float, float, float, float]:
    """The detail that was asked for, or one in the middle of the image."""
    if args.crop is not None:
        return parse_crop(args.crop).of_image(full)
    side = DETAIL / (args.scale or 1)
    height, width = min(full[0], side), min(full[1], side)
    return (full[0] - height) / 2, (full[1] - width) / 2, height, width


def _scales(text: str) -> tuple[float, float]:
    """`1:30` as two numbers."""
    from liif_arch.errors import UserError

    match = re.fullmatch(r'(\d+\.?\d*):(\d+\.?\d*)', text.strip())
    if not match or not 1 <= float(match[1]) < float(match[2]) <= 1000:
        raise UserError(f'--zoom: found {text}; needed two rising scales from 1 on, such as 1:30.')
    return float(match[1]), float(match[2])
