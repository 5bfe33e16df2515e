"""`basicsr complexity`: what a network costs."""

import argparse

from liif_arch.arguments import CommandParser
from liif_arch.weights import names


def build_parser() -> argparse.ArgumentParser:
    """The command's flags."""
    parser = CommandParser(
        prog='basicsr complexity',
        description='Parameters, and multiply-accumulates per input and output pixel.',
    )
    parser.add_argument(
        '--weights',
        metavar='W',
        help=f'trained network: {names()}',
    )
    parser.add_argument(
        '-opt', metavar='FILE', help='option file that describes the network (network_g)'
    )
    return parser


def main() -> int:
    """Print a table."""
    args = build_parser().parse_args()
    from liif_arch.archs.encoder import named_network
    from liif_arch.complexity import complexity
    from liif_arch.metrics.report import markdown_table

    net = load(args.weights, args.opt)
    cost = complexity(net)
    image = [cost.of_image((n, n), (n * s, n * s)) / 1e9 for n, s in ((128, 2), (128, 4))]
    print(
        markdown_table(
            [
                'network',
                'encoder',
                'parameters',
                'of the encoder',
                'kMAC per input pixel',
                'kMAC per output pixel',
                'GMAC 128x128 at x2',
                'at x4',
            ],
            [
                [
                    type(net).__name__,
                    type(named_network(net.encoder)).__name__,
                    f'{cost.encoder + cost.decoder:,}',
                    f'{cost.encoder:,}',
                    f'{cost.per_input / 1e3:,.1f}',
                    f'{cost.per_output / 1e3:,.1f}',
                    *(f'{g:,.1f}' for g in image),
                ]
            ],
        )
    )
    return 0


def load(weights: str | None, option_file: str | None):
    """The network for any scale of `--weights` or, with initial weights, of `-opt`."""
    from liif_arch.archs.coordinate_network import CoordinateNetwork
    from liif_arch.config.read import network_option
    from liif_arch.errors import UserError
    from liif_arch.weights.networks import build, load_network

    network = network_option(option_file)
    if weights is None and network is None:
        raise UserError('--weights, -opt: needed one of them.')
    if weights is None:
        net = build(network, option_file)
    else:
        net = load_network(weights, network=network)
    if not isinstance(net, CoordinateNetwork):
        raise UserError(
            f'{type(net).__name__} has one scale of its own; needed a network for any: LIIF, LTE, '
            'MetaSR or Thera.'
        )
    return net
