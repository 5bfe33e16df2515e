"""`basicsr share`: a network with a model card into a folder, or onto the Hugging Face hub."""

import argparse
from pathlib import Path

from liif_arch.weights import HUB, names


def build_parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    parser = argparse.ArgumentParser(
        prog='basicsr share',
        description='Write a network as model.safetensors with a model card into a folder, or '
        'upload it to the Hugging Face hub (after `hf auth login`). It is then '
        '`--weights hf:OWNER/NAME` for everybody.',
    )
    parser.add_argument(
        'weights',
        metavar='WEIGHTS',
        help=f'{names()}; a training writes NAME/models/net_g_latest.pth',
    )
    parser.add_argument('target', metavar='TARGET', help='a new folder, or hf:OWNER/NAME')
    parser.add_argument(
        '--metrics',
        type=Path,
        metavar='JSON',
        help='figures for the card (default: those in the folder of the training)',
    )
    parser.add_argument(
        '--picture',
        type=Path,
        metavar='IMAGE',
        help='the card shows a detail of it enlarged',
    )
    parser.add_argument(
        '--license', metavar='ID', help='of the weights: apache-2.0, cc-by-nc-4.0, other, ...'
    )
    parser.add_argument('--private', action='store_true', help='on the hub, for you alone')
    parser.add_argument('--message', metavar='TEXT', help='of the commit on the hub')
    parser.add_argument(
        '--keep-card', action='store_true', help='on the hub, leave the README.md that is there'
    )
    return parser


def main() -> None:
    """Share one network, and say where it is."""
    from liif_arch.archs.latent_network import LatentNetwork
    from liif_arch.errors import UserError
    from liif_arch.weights.networks import load_network

    args = build_parser().parse_args()
    net = load_network(args.weights)
    if not isinstance(net, LatentNetwork):
        raise UserError(
            f'{args.weights} is a {type(net).__name__} of one scale; needed LIIF, LTE, MetaSR or a '
            'heat field.'
        )
    shown = {
        'metrics': args.metrics or _metrics_beside(args.weights),
        'picture': args.picture,
        'license': args.license,
    }
    if args.target.startswith(HUB):
        options = {'private': True} if args.private else {}
        if args.message is not None:
            options['commit_message'] = args.message
        if args.keep_card:
            options['ignore_patterns'] = 'README.md'
        print(net.push_to_hub(args.target.removeprefix(HUB), **shown, **options))
        print(f'basicsr upscale photo.jpg --weights {args.target} --scale 4')
        return
    if Path(args.target).exists():
        raise UserError(f'{args.target} exists; name a new folder, or remove it first.')
    net.save_pretrained(args.target, **shown)
    print(f'{args.target}: {", ".join(sorted(path.name for path in Path(args.target).iterdir()))}')
    print(f'basicsr upscale photo.jpg --weights {args.target} --scale 4')


def _metrics_beside(weights: str) -> Path | None:
    """The figures of the training that wrote some weights, `NAME/models/net_g_latest.pth`."""
    path = Path(weights).parent.parent / 'metrics.json'
    return path if Path(weights).is_file() and path.is_file() else None
