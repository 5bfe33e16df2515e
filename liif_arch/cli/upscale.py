"""`basicsr upscale`: enlarge image files and films to any scale or size."""

import argparse
import json
import sys

from liif_arch.arguments import CommandParser
from liif_arch.cli.upscale_jobs import Plan, add_files, plan
from liif_arch.cli.upscale_target import Target, add_target, parse_target
from liif_arch.weights import DEFAULT, PHOTO, names_and_defaults


def build_parser() -> argparse.ArgumentParser:
    """The command's flags."""
    parser = CommandParser(
        prog='basicsr upscale',
        description='Enlarge images and films to any scale or size (width x height).',
    )
    parser.add_argument(
        'inputs',
        nargs='+',
        metavar='INPUT',
        help='image files, films (.mp4, .mkv, ...) or folders of them; - is standard input; names '
        'that begin with - follow a --',
    )
    add_target(parser)
    _add_networks(parser)
    add_files(parser)
    _add_running(parser)
    return parser


def _add_networks(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group('network')
    group.add_argument(
        '--weights',
        metavar='W',
        help=names_and_defaults(),
    )
    group.add_argument(
        '--strength',
        type=float,
        metavar='S',
        help=f'how much compression and noise is removed, 0 (as {DEFAULT}) to 1 (as {PHOTO})',
    )
    group.add_argument(
        '--ensemble',
        type=int,
        choices=(4, 8),
        help='the mean over so many flips and rotations: a little better, 4 or 8 times as slow',
    )
    group.add_argument(
        '-opt',
        metavar='FILE',
        help='option file that describes the network, for weights that do not',
    )


def _add_running(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group('running')
    group.add_argument('--device', default='auto', help='auto (default), cpu, cuda, cuda:1, ...')
    group.add_argument(
        '--precision',
        default='auto',
        metavar='P',
        help='float32, bfloat16, or auto (default): bfloat16 for 8 bits where the device has it, '
        'about twice as fast, within 0.03 dB of float32 on Set5',
    )
    group.add_argument(
        '--memory',
        type=float,
        default=1536,
        metavar='MIB',
        help='budget for activations; what needs more is done in windows, with the same result '
        '(1536)',
    )
    group.add_argument(
        '--threads',
        type=int,
        metavar='N',
        help="threads to compute with on a processor (default: PyTorch's choice)",
    )
    group.add_argument(
        '--json', action='store_true', help='print a JSON object in a line for every result'
    )


def main() -> int:
    """Upscale every input; an image that cannot be done is named and left out."""
    from liif_arch.errors import UserError

    args = build_parser().parse_args()
    try:
        target, planned = _prepared(args)
        for note in planned.notes:
            print(f'basicsr upscale: {note}', file=sys.stderr)
        network = None
        if args.opt is not None:  # what reads option files is imported for them alone
            from liif_arch.config.read import network_option

            network = network_option(args.opt)
        if planned.jobs:
            from liif_arch.cli.upscale_run import Networks, begin, upscale_all

            networks = Networks(args, network)
            pixels = begin(networks, planned.jobs, target, args.memory)
    except UserError as error:
        if args.json:
            print(json.dumps({'error': str(error)}, ensure_ascii=False))
        raise
    from liif_arch.cli.upscale_report import Report

    report = Report(args.json, any(str(job.result) == '-' for job in planned.jobs))
    for job in planned.done:
        report.skipped(job)
    if planned.jobs:
        upscale_all(networks, planned.jobs, pixels, target, args, report)
    return 0


def _prepared(args: argparse.Namespace) -> tuple[Target, Plan]:
    """What the flags ask for, after all that can be wrong with them."""
    from liif_arch.errors import UserError, require_mebibytes, require_whole

    if args.threads is not None:
        require_whole(**{'--threads': args.threads})
    require_mebibytes(**{'--memory': args.memory})
    if args.quality is not None and not 1 <= args.quality <= 100:
        raise UserError(f'--quality: found {args.quality}; needed 1 to 100.')
    if args.opt is not None and args.weights is None:
        raise UserError('-opt: it describes the network of some weights; name them (--weights).')
    _require_strength(args)
    target = parse_target(args)
    planned = plan(
        args.inputs,
        args.output,
        target.label,
        args.recursive,
        args.overwrite,
        args.suffix,
        args.format,
        args.skip_existing,
    )
    return target, planned


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
