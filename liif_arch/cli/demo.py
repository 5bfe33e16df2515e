"""`basicsr demo`: a page to try networks on one's own images."""

import argparse

from liif_arch.weights import names, shipped

STOPPED = 'closed.'
LOCAL = '127.0.0.1'


def build_parser() -> argparse.ArgumentParser:
    """The command's flags."""
    parser = argparse.ArgumentParser(
        prog='basicsr demo',
        description='Serve a page that enlarges the images that are dropped on it, with a line to '
        'drag between bicubic and the network.',
    )
    parser.add_argument(
        '--weights', nargs='+', metavar='W', help=f'{names()}; default: all that ship'
    )
    parser.add_argument('--no-browser', action='store_true', help='only print the address')
    parser.add_argument('--port', type=int, metavar='N', help='default: the first free one')
    parser.add_argument(
        '--host',
        default=LOCAL,
        metavar='NAME',
        help=f'address to listen at (default: {LOCAL}, this machine alone); with another one, '
        'everybody who reaches it can use the page',
    )
    parser.add_argument('--device', default='auto', help='auto (default), cpu, cuda, cuda:1, ...')
    parser.add_argument(
        '--precision', default='auto', metavar='P', help='float32, bfloat16, or auto (default)'
    )
    parser.add_argument('--threads', type=int, metavar='N', help='threads to compute with')
    return parser


def main() -> None:
    """Serve the page until Ctrl+C."""
    from functools import cache
    from pathlib import Path
    from tempfile import TemporaryDirectory

    from liif_arch.cli.networks import load_on
    from liif_arch.demo import page
    from liif_arch.errors import UserError, require_whole
    from liif_arch.threads import use_threads

    args = build_parser().parse_args()
    if args.threads is not None:
        require_whole(**{'--threads': args.threads})
    use_threads(args.threads)
    load = cache(lambda name: load_on(name, args.device, args.precision))
    for name in args.weights or []:
        load(name)  # what is wrong with it is said before the page is there
    with TemporaryDirectory(prefix='liif_demo_') as folder:
        blocks = page(load, args.weights or shipped(), Path(folder))
        try:
            _, address, _ = blocks.launch(
                server_name=args.host,
                server_port=args.port,
                inbrowser=not args.no_browser,
                prevent_thread_lock=True,
                quiet=True,
            )
        except (OSError, ValueError) as error:
            raise UserError(f'--host, --port: cannot listen there ({error}).') from None
        print(f'{address}  (Ctrl+C closes it)', flush=True)
        try:
            blocks.server.thread.join()
        finally:
            blocks.close(verbose=False)
