"""`basicsr share`: a network with a model card into a folder, or onto the Hugging Face hub."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from liif_arch.arguments import CommandParser
from liif_arch.weights import HUB, names

if TYPE_CHECKING:  # --help answers without PyTorch
    from liif_arch.archs.latent_network import LatentNetwork


def build_parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    parser = CommandParser(
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
    _require_target(args)
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
    if shown['metrics'] is not None:
        print(f'figures: {shown["metrics"]}')
    if args.target.startswith(HUB):
        _push(net, args, shown)
    else:
        _write(net, Path(args.target), shown)
    print(f'basicsr upscale photo.jpg --weights {args.target} --scale 4')


def _require_target(args: argparse.Namespace) -> None:
    """Raise UserError where TARGET is no place to share a network, or flags are of another one."""
    from liif_arch.errors import UserError

    if args.target.startswith(HUB):
        from liif_arch.hub.files import require_name

        require_name(args.target.removeprefix(HUB))
        return
    for flag in ('private', 'message', 'keep_card'):
        if getattr(args, flag):
            raise UserError(
                f'--{flag.replace("_", "-")}: is of the hub; {args.target} is a folder here.'
            )
    if Path(args.target).exists():
        raise UserError(f'{args.target} exists; name a new folder, or remove it first.')


def _push(net: 'LatentNetwork', args: argparse.Namespace, shown: dict) -> None:
    """Upload it, and print the commit's address."""
    options: dict = {'private': True} if args.private else {}
    if args.message is not None:
        options['commit_message'] = args.message
    if args.keep_card:
        options['ignore_patterns'] = 'README.md'
    print(net.push_to_hub(args.target.removeprefix(HUB), **shown, **options))


def _write(net: 'LatentNetwork', target: Path, shown: dict) -> None:
    """Write it into a folder that is there whole or not at all."""
    from tempfile import TemporaryDirectory

    from liif_arch.errors import UserError

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=target.parent, prefix=f'.{target.name}.') as folder:
            made = Path(folder, target.name)
            net.save_pretrained(made, **shown)
            names = sorted(path.name for path in made.iterdir())
            made.rename(target)
    except OSError as error:
        raise UserError(f'{target}: cannot write here ({error.strerror or error}).') from None
    print(f'{target}, a folder here (the hub is {HUB}OWNER/NAME): {", ".join(names)}')


def _metrics_beside(weights: str) -> Path | None:
    """The figures that a training left with its last weights, NAME/models/net_g_latest.pth."""
    path = Path(weights)
    metrics = path.parent.parent / 'metrics.json'
    is_last = path.parent.name == 'models' and path.stem == 'net_g_latest'
    return metrics if is_last and path.is_file() and metrics.is_file() else None
