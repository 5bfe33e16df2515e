"""`basicsr view`: look into images at any magnification, in a browser."""

import argparse
import socket
import threading

from liif_arch.arguments import CommandParser
from liif_arch.cli import serving
from liif_arch.weights import names_and_defaults

STOPPED = 'closed.'
EVERYWHERE = ('0.0.0.0', '::')
HTTP_PORT = 80  # which browsers leave out


def build_parser() -> argparse.ArgumentParser:
    """The command's flags."""
    parser = CommandParser(
        prog='basicsr view',
        description='Show images in a browser, at any magnification, rendered as one looks.',
    )
    parser.add_argument('images', nargs='+', metavar='IMAGE', help='image files')
    parser.add_argument(
        '--weights',
        nargs='+',
        metavar='W',
        help=names_and_defaults(),
    )
    parser.add_argument(
        '--gt',
        nargs='+',
        metavar='IMAGE',
        help='what the images should be, with more pixels: one for each, in their order',
    )
    parser.add_argument(
        '--memory',
        type=float,
        default=1536,
        metavar='MIB',
        help="of each image's codes; an image that needs more is encoded part by part (1536)",
    )
    serving.add_flags(parser, 'everybody who knows the printed address can look')
    return parser


def main() -> int:
    """Serve the page until Ctrl+C."""
    from functools import cache

    from liif_arch.errors import require_whole

    args = build_parser().parse_args()
    if args.threads is not None:
        require_whole(**{'--threads': args.threads})
    from liif_arch.cli.networks import load_on
    from liif_arch.threads import use_threads
    from liif_arch.view.gallery import open_gallery
    from liif_arch.view.server import Server

    use_threads(args.threads)
    load = cache(lambda name: load_on(name, args.device, args.precision))
    gallery = open_gallery(args.images, load, args.weights, args.gt, args.memory)
    with serving.listening(args.host, args.port) as listener:
        port = listener.getsockname()[1]
        server = Server(gallery, _names(args.host, port))
        host = socket.gethostname() if args.host in EVERYWHERE else in_address(args.host)
        address = f'http://{host}:{port}/{server.token}/'
        threading.Thread(target=gallery.prepare, daemon=True).start()
        print(f'{address}  (Ctrl+C closes it)', flush=True)
        if not args.no_browser:
            serving.open_browser(address)
        server.run(listener)
    return 0


def _names(host: str, port: int) -> set[str] | None:
    """The names by which the server may be asked; None: any, where it listens everywhere."""
    if host in EVERYWHERE:
        return None
    names = {in_address(host).lower()}
    if host == serving.LOCAL:
        names.add('localhost')
    asked = {f'{name}:{port}' for name in names}
    if port == HTTP_PORT:
        asked |= names
    return asked


def in_address(host: str) -> str:
    """A host as addresses write it: numbers of IPv6 in brackets."""
    return f'[{host}]' if ':' in host else host
