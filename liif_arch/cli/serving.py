"""What the commands that serve a page have in common: their flags, and where they listen."""

import argparse
import socket
import threading

LOCAL = '127.0.0.1'


def add_flags(parser: argparse.ArgumentParser, others: str) -> None:
    """The flags of who is to see a page, and what computes it.

    Args:
        others: Who sees it where --host is another address, and what they can do.
    """
    parser.add_argument('--no-browser', action='store_true', help='only print the address')
    parser.add_argument('--port', type=int, default=0, metavar='N', help='default: a free one')
    parser.add_argument(
        '--host',
        default=LOCAL,
        metavar='NAME',
        help=f'address to listen at (default: {LOCAL}, this machine alone); with another one, '
        f'{others}',
    )
    parser.add_argument('--device', default='auto', help='auto (default), cpu, cuda, cuda:1, ...')
    parser.add_argument(
        '--precision', default='auto', metavar='P', help='float32, bfloat16, or auto (default)'
    )
    parser.add_argument('--threads', type=int, metavar='N', help='threads to compute with')


def open_browser(address: str) -> None:
    """Show a page; a browser in this terminal does not keep the server waiting."""
    import webbrowser

    threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens there.

    Raises:
        UserError: It cannot.
    """
    from liif_arch.errors import UserError

    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen()  # a browser that comes before the server waits
    except (OSError, OverflowError) as error:
        reason = getattr(error, 'strerror', None) or error
        raise UserError(f'--host, --port: cannot listen at {host}:{port} ({reason}).') from None
    return listener
