"""`basicsr export`: a trained network as ONNX files."""

import argparse

from liif_arch.arguments import CommandParser
from liif_arch.weights import names


def build_parser() -> argparse.ArgumentParser:
    """The command's flags."""
    parser = CommandParser(
        prog='basicsr export',
        description='Write encoder.onnx and decoder.onnx, all sizes free, and compare them with '
        "PyTorch in onnxruntime. Needs pip install 'basicsr-liif[export]'.",
    )
    parser.add_argument(
        '--weights',
        required=True,
        metavar='W',
        help=f'trained network: {names()}',
    )
    parser.add_argument('-o', '--output', required=True, metavar='DIR', help='folder to write to')
    parser.add_argument(
        '-opt',
        metavar='FILE',
        help='option file that describes the network, for weights that do not',
    )
    return parser


def main() -> int:
    """Export, and print a line for each comparison."""
    args = build_parser().parse_args()
    from liif_arch.cli.complexity import load
    from liif_arch.export import FILES, export_onnx, require_onnx

    require_onnx()
    net = load(args.weights, args.opt)
    for found in export_onnx(net, args.output):
        (h, w), (height, width) = found.size, found.out
        print(
            f'{w}x{h} -> {width}x{height} (width x height): features differ from PyTorch by '
            f'{found.features:.1e}, '
            f'colours by {found.colours:.1e}'
        )
    print('\n'.join(f'{args.output}/{name}' for name in FILES))
    return 0
