"""`basicsr upscale`: enlarge image files to any scale or size."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from liif_arch.cli.upscale_jobs import plan
from liif_arch.cli.upscale_target import Target, parse_target
from liif_arch.weights import DEFAULT, PHOTO, shipped

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
        metavar='W',
        help=f'{", ".join(shipped())} (weights that ship), or a file (.pth); default: {PHOTO} for '
        f'images in a lossy format such as JPEG, {DEFAULT} for others',
    )
    parser.add_argument(
        '--strength',
        type=float,
        metavar='S',
        help=f'how much compression and noise is removed, 0 (as {DEFAULT}) to 1 (as {PHOTO})',
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
    _require_strength(args)
    target = parse_target(args.scale, args.size, args.stretch)
    jobs, notes = plan(args.inputs, args.output, target.label, args.recursive, args.overwrite)
    for note in notes:
        _tell(note)
    network = None
    if args.opt is not None:  # what reads option files is imported for them alone
        from liif_arch.config.read import network_option

        network = network_option(args.opt)
    if jobs:
        _upscale_all(Networks(args, network), jobs, target, args.memory)
    return 0


def _require_strength(args: argparse.Namespace) -> None:
    """Raise UserError where --strength has no meaning."""
    from liif_arch.errors import UserError

    if args.strength is None:
        return
    if not 0 <= args.strength <= 1:
        raise UserError(f'--strength: found {args.strength:g}; needed a number from 0 to 1.')
    if args.weights is not None:
        raise UserError(
            f'--strength: found it beside --weights {args.weights}; it blends {DEFAULT} and '
            f'{PHOTO}, so name one of the two flags.'
        )


def _tell(text: object) -> None:
    print(f'basicsr upscale: {text}', file=sys.stderr)


class Networks:
    """The networks that images are enlarged with, each loaded when the first image needs it.

    Args:
        args: The command's flags.
        network: The option `network_g` of `-opt`.
    """

    def __init__(self, args: argparse.Namespace, network: dict | None) -> None:
        from liif_arch.threads import use_threads

        use_threads(args.threads)
        self.args, self.network = args, network
        self.loaded: dict[str | float, nn.Module] = {}

    def for_image(self, lossy: str | None) -> tuple['nn.Module', str]:
        """The network for an image, and which one that is and why; nothing where it was named.

        Args:
            lossy: The lossy format that the image is in.
        """
        args = self.args
        if args.weights is not None or self.network is not None:
            return self._load(args.weights or DEFAULT), ''
        if args.strength is not None:
            return self._load(args.strength), f'; strength {args.strength:g}'
        if lossy is not None:
            return self._load(PHOTO), f'; weights {PHOTO}, for {lossy}'
        return self._load(DEFAULT), f'; weights {DEFAULT}, for lossless files'

    def _load(self, which: str | float) -> 'nn.Module':
        """The network of some weights or of a strength, on the device and in the precision that
        the flags name.
        """
        if which in self.loaded:
            return self.loaded[which]
        import torch

        from liif_arch.errors import UserError
        from liif_arch.precision import resolve
        from liif_arch.weights.blend import load_blend
        from liif_arch.weights.networks import load_network

        device = self.args.device
        if device == 'auto':
            device = 'cuda' if torch.cuda.is_available() else 'cpu'
        try:
            resolve(self.args.precision, device, '--precision')
            if isinstance(which, float):
                net = load_blend(which, device)
            else:
                net = load_network(which, device, self.network)
        except RuntimeError as error:
            raise UserError(f'--device: {device}: {str(error).splitlines()[0]}') from None
        net.precision = self.args.precision
        self.loaded[which] = net
        return net


def _upscale_all(
    networks: Networks, jobs: list[tuple[Path, Path]], target: Target, memory: float
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
                networks, source, result, target, memory, f'{source.name} ({number}/{len(jobs)})'
            )
        except UserError as error:
            if len(jobs) == 1:
                raise
            failed += 1
            _tell(error)
    if failed:
        raise UserError(f'{failed} of {len(jobs)} images were left out, see above.')


def _upscale_one(
    networks: Networks, source: Path, result: Path, target: Target, memory: float, label: str
) -> None:
    from liif_arch.files.images import read_picture, require_unit_range
    from liif_arch.progress import progress_of_parts
    from liif_arch.upscaling.upscale import upscale_to_file

    image, metadata = read_picture(source)
    require_unit_range(image, str(source))
    size = target.of_image(image.shape[:2], source)
    net, which = networks.for_image(metadata.lossy)
    with progress_of_parts(label) as advance:
        height, width = upscale_to_file(
            net, image, result, size=size, memory=memory, progress=advance, metadata=metadata
        )
    lost = ', '.join(metadata.left_out(result.suffix))
    if lost:
        which += f'; not kept: {lost}'
    print(
        f'{result}  {image.shape[1]}x{image.shape[0]} -> {width}x{height} (width x height){which}',
        flush=True,
    )
