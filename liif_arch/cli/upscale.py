"""`basicsr upscale`: enlarge image files to any scale or size."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from liif_arch.cli.upscale_jobs import plan
from liif_arch.cli.upscale_target import Target, parse_target
from liif_arch.weights import DEFAULT, shipped

if TYPE_CHECKING:  # --help answers without PyTorch
    from torch import nn


def build_parser() -> argparse.ArgumentParser:
    """The command's flags."""
    parser = argparse.ArgumentParser(
        prog='basicsr upscale', description='Enlarge images to any scale or size (width x height).'
    )
    parser.add_argument(
        'inputs', nargs='+', metavar='INPUT', help='image files, or folders of them'
    )
    parser.add_argument(
        '--weights',
        default=DEFAULT,
        metavar='W',
        help=f'{", ".join(shipped())} (weights that ship), or a file (.pth); default: {DEFAULT}',
    )
    _add_target(parser)
    _add_files(parser)
    _add_running(parser)
    return parser


def _add_target(parser: argparse.ArgumentParser) -> None:
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument(
        '--scale',
        metavar='S',
        help='3.7, or 2x3 (twice as wide, three times as high); below 1 the image is reduced',
    )
    target.add_argument(
        '--size',
        metavar='WxH',
        help='1920x1080 (width x height, in pixels), or 1920x or x1080: the other side follows',
    )
    parser.add_argument(
        '--stretch',
        action='store_true',
        help='allow a --size that changes the shape of the picture',
    )


def _add_files(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '-o',
        '--output',
        metavar='OUT',
        help='a file, or a folder (for several images, or when it ends with / or exists); a .tif '
        'is written while it is rendered, so it may be larger than memory (default: NAME_x3.7.png '
        'here)',
    )
    parser.add_argument(
        '--recursive',
        action='store_true',
        help='images in subfolders too; the results keep the tree',
    )
    parser.add_argument(
        '--overwrite',
        action='store_true',
        help='replace results that exist; otherwise those of a folder are skipped, so that a '
        'stopped batch goes on',
    )


def _add_running(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '-opt',
        metavar='FILE',
        help='option file that describes the network, for weights that do not',
    )
    parser.add_argument('--device', default='auto', help='auto (default), cpu, cuda, cuda:1, ...')
    parser.add_argument(
        '--precision',
        default='auto',
        metavar='P',
        help='float32, bfloat16, or auto (default): bfloat16 where the device has it, about twice '
        'as fast, within 0.03 dB of float32 on Set5',
    )
    parser.add_argument(
        '--memory',
        type=float,
        default=1536,
        metavar='MIB',
        help='budget for activations; what needs more is done in windows, with the same result '
        '(1536)',
    )
    parser.add_argument(
        '--threads',
        type=int,
        metavar='N',
        help="threads to compute with on a processor (default: PyTorch's choice)",
    )


def main() -> int:
    """Upscale every input; an image that cannot be done is named and left out."""
    from liif_arch.errors import UserError, require_whole

    args = build_parser().parse_args()
    if args.threads is not None:
        require_whole(**{'--threads': args.threads})
    if not args.memory > 0:
        raise UserError(f'--memory: found {args.memory:g}; needed MiB above 0.')
    target = parse_target(args.scale, args.size, args.stretch)
    jobs, notes = plan(args.inputs, args.output, target.label, args.recursive, args.overwrite)
    for note in notes:
        _tell(note)
    network = None
    if args.opt is not None:  # what reads option files is imported for them alone
        from liif_arch.config.read import network_option

        network = network_option(args.opt)
    if jobs:
        _upscale_all(_load(args, network), jobs, target, args.memory)
    return 0


def _tell(text: object) -> None:
    print(f'basicsr upscale: {text}', file=sys.stderr)


def _load(args: argparse.Namespace, network: dict | None) -> 'nn.Module':
    """The network, on the device and in the precision that the flags name."""
    import torch

    from liif_arch.errors import UserError
    from liif_arch.precision import resolve
    from liif_arch.threads import use_threads
    from liif_arch.weights.networks import load_network

    use_threads(args.threads)
    device = args.device
    if device == 'auto':
        device = 'cuda' if torch.cuda.is_available() else 'cpu'
    try:
        resolve(args.precision, device, '--precision')
        net = load_network(args.weights, device, network)
    except RuntimeError as error:
        raise UserError(f'--device: {device}: {str(error).splitlines()[0]}') from None
    net.precision = args.precision
    return net


def _upscale_all(
    net: 'nn.Module', jobs: list[tuple[Path, Path]], target: Target, memory: float
) -> None:
    """Do every job, and name those that cannot be done.

    Raises:
        UserError: Some could not; of a single one, why.
    """
    from liif_arch.errors import UserError

    failed = 0
    for number, (source, result) in enumerate(jobs, 1):
        try:
            _upscale_one(
                net, source, result, target, memory, f'{source.name} ({number}/{len(jobs)})'
            )
        except UserError as error:
            if len(jobs) == 1:
                raise
            failed += 1
            _tell(error)
    if failed:
        raise UserError(f'{failed} of {len(jobs)} images were left out, see above.')


def _upscale_one(
    net: 'nn.Module', source: Path, result: Path, target: Target, memory: float, label: str
) -> None:
    from liif_arch.files.images import read_picture, require_unit_range
    from liif_arch.progress import progress_of_parts
    from liif_arch.upscaling.upscale import upscale_to_file

    image, metadata = read_picture(source)
    require_unit_range(image, str(source))
    size = target.of_image(image.shape[:2], source)
    with progress_of_parts(label) as advance:
        height, width = upscale_to_file(
            net, image, result, size=size, memory=memory, progress=advance, metadata=metadata
        )
    lost = ', '.join(metadata.left_out(result.suffix))
    note = ''
    if lost:
        note = f'; not kept: {lost}'
    print(
        f'{result}  {image.shape[1]}x{image.shape[0]} -> {width}x{height} (width x height){note}',
        flush=True,
    )
