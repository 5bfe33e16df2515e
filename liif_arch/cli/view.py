"""`basicsr view`: look into images at any magnification, in a browser."""

import argparse
import socket
import threading

from liif_arch.weights import names_and_defaults

STOPPED = 'closed.'
LOCAL = '127.0.0.1'
EVERYWHERE = ('0.0.0.0', '::')


def build_parser() -> argparse.ArgumentParser:
    """The command's flags."""
    parser = argparse.ArgumentParser(
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
    parser.add_argument('--no-browser', action='store_true', help='only print the address')
    parser.add_argument('--port', type=int, default=0, metavar='N', help='default: a free one')
    parser.add_argument(
        '--host',
        default=LOCAL,
        metavar='NAME',
        help=f'address to listen at (default: {LOCAL}, this machine alone); with another one, '
        'everybody who knows the printed address can look',
    )
    parser.add_argument('--device', default='auto', help='auto (default), cpu, cuda, cuda:1, ...')
    parser.add_argument(
        '--precision', default='auto', metavar='P', help='float32, bfloat16, or auto (default)'
    )
    parser.add_argument(
        '--memory',
        type=float,
        default=1536,
        metavar='MIB',
        help="of each image's codes; an image that needs more is encoded part by part (1536)",
    )
    parser.add_argument('--threads', type=int, metavar='N', help='threads to compute with')
    return parser


def main() -> int:
    """Serve the page until Ctrl+C."""
    from functools import cache

    from liif_arch.errors import require_whole

    args = build_parser().parse_args()
    if args.threads is not None:
        require_whole(**{'--threads': args.threads})
    from liif_arch.cli.listening import listening
    from liif_arch.cli.networks import load_on
    from liif_arch.threads import use_threads
    from liif_arch.view.gallery import open_gallery
    from liif_arch.view.server import Server

    use_threads(args.threads)
    load = cache(lambda name: load_on(name, args.device, args.precision))
    gallery = open_gallery(args.images, load, args.weights, args.gt, args.memory)
    with listening(args.host, args.port) as listener:
        port = listener.getsockname()[1]
        server = Server(gallery, _names(args.host, port))
        host = socket.gethostname() if args.host in EVERYWHERE else args.host
        address = f'http://{host}:{port}/{server.token}/'
        threading.Thread(target=gallery.prepare, daemon=True).start()
        print(f'{address}  (Ctrl+C closes it)', flush=True)
        if not args.no_browser:
            import webbrowser

            webbrowser.open(address)
        server.run(listener)
    return 0


def _names(host: str, port: int) -> set[str] | None:
    """The names by which the server may be asked; None: any, where it listens everywhere."""
    if host in EVERYWHERE:
        return None
    names = {LOCAL, 'localhost'} if host == LOCAL else {host}
    return {f'{name}:{port}' for name in names}
