"""`basicsr demo`: a page to try networks on one's own images."""

import argparse

from liif_arch.arguments import CommandParser
from liif_arch.cli import serving
from liif_arch.weights import names, shipped

STOPPED = 'closed.'


def build_parser() -> argparse.ArgumentParser:
    """The command's flags."""
    parser = CommandParser(
        prog='basicsr demo',
        description='Serve a page that enlarges the images that are dropped on it, with a line to '
        'drag between bicubic and the network.',
    )
    parser.add_argument(
        '--weights', nargs='+', metavar='W', help=f'{names()}; default: all that ship'
    )
    serving.add_flags(parser, 'everybody who reaches it can use the page')
    return parser


def main() -> None:
    """Serve the page until Ctrl+C."""
    import os
    from functools import cache
    from pathlib import Path
    from tempfile import TemporaryDirectory

    from liif_arch.cli.networks import load_on
    from liif_arch.errors import UserError, require_whole
    from liif_arch.threads import use_threads

    args = build_parser().parse_args()
    if args.threads is not None:
        require_whole(**{'--threads': args.threads})
    use_threads(args.threads)
    with serving.listening(args.host, args.port) as listener:
        port = listener.getsockname()[1]  # free, and there is such a host
    load = cache(lambda name: load_on(name, args.device, args.precision))
    for name in args.weights or []:
        load(name)  # what is wrong with it is said before the page is there
    with TemporaryDirectory(prefix='liif_demo_', ignore_cleanup_errors=True) as folder:
        os.environ['GRADIO_TEMP_DIR'] = str(Path(folder, 'gradio'))  # read when it is imported
        from liif_arch.demo import page

        results = Path(folder, 'results')
        results.mkdir()
        blocks = page(load, args.weights or shipped(), results)
        try:
            _, address, _ = blocks.launch(
                server_name=args.host,
                server_port=port,
                inbrowser=not args.no_browser,
                prevent_thread_lock=True,
                quiet=True,
            )
        except Exception as error:  # gradio asks its own page, by whatever is installed for it
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise UserError(f'--host: gradio cannot serve at {args.host} ({reason}).') from None
        print(f'{address}  (Ctrl+C closes it)', flush=True)
        try:
            blocks.server.thread.join()
        finally:
            blocks.close(verbose=False)
