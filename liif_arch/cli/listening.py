"""Where the commands that serve a page listen: the flags --host and --port."""

import socket

from liif_arch.errors import UserError


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens there.

    Raises:
        UserError: It cannot.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        reason = getattr(error, 'strerror', None) or error
        raise UserError(f'--host, --port: cannot listen at {host}:{port} ({reason}).') from None
    return listener
