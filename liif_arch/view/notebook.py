"""The page within a notebook: Jupyter, JupyterLab, VS Code, Colab."""

import socket
import sys
import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from liif_arch.view.gallery import open_gallery
from liif_arch.view.server import Server
from liif_arch.weights.networks import load_network

if TYPE_CHECKING:
    from torch import nn

LOCAL = '127.0.0.1'
_open: 'dict[tuple, View]' = {}  # by what they show


class View:
    """Images at any magnification, as the last value of a notebook's cell.

    The browser must run on the kernel's machine, or in Colab; from elsewhere, forward `port` to the
    same port there. The server answers until `close`, or until the same images are shown anew.

    Args:
        images: Files.
        weights: A name of weights, or several; by default one that suits each image.
        gt: What the image should be, or the images, one for each.
        height: Of the page, in pixels.

    Attributes:
        port: Where the server listens on the kernel's machine.
        address: Of the page there.

    Raises:
        UserError: As `basicsr view` ends with.
    """

    def __init__(
        self,
        *images: str | Path,
        weights: str | Sequence[str] | None = None,
        gt: str | Path | Sequence[str | Path] | None = None,
        height: int = 600,
    ) -> None:
        self.height = height
        weights, gt = _several(weights), _several(gt)
        self.gallery = open_gallery(images, cache(_load), weights, gt)
        key = (tuple(map(str, images)), str(weights), str(gt))
        if key in _open:
            _open.pop(key).close()
        _open[key] = self
        listener = socket.create_server((LOCAL, 0))
        self.port = listener.getsockname()[1]
        hosts = {f'{LOCAL}:{self.port}', f'localhost:{self.port}'}
        # Colab's proxy asks by a name of its own; the token keeps others out.
        self.server = Server(self.gallery, None if _in_colab() else hosts, framed=True)
        self.path = f'/{self.server.token}/'
        self.address = f'http://{LOCAL}:{self.port}{self.path}'
        threading.Thread(target=self.gallery.prepare, daemon=True).start()
        self.thread = threading.Thread(target=self.server.run, args=(listener,), daemon=True)
        self.thread.start()

    def close(self) -> None:
        """Stop the server; the page answers no more."""
        self.server.stop()
        for key in [key for key, view in _open.items() if view is self]:
            del _open[key]

    def _repr_html_(self) -> str:
        """What Jupyter shows."""
        return (
            f'<iframe src="{self.address}" width="100%" height="{self.height}" '
            'style="border: 0"></iframe>'
        )

    def _ipython_display_(self) -> None:
        """What IPython calls to show it."""
        if _in_colab():
            from google.colab import output

            output.serve_kernel_port_as_iframe(self.port, self.path, height=self.height)
            return
        from IPython.display import HTML, display

        display(HTML(self._repr_html_()))


def _several(value: 'str | Path | Sequence | None') -> 'Sequence | None':
    """One thing, or several, as several."""
    return [value] if isinstance(value, (str, Path)) else value


def _in_colab() -> bool:
    return 'google.colab' in sys.modules


def _load(name: str) -> 'nn.Module':
    """The network of some weights, where it is fastest."""
    import torch

    net = load_network(name, 'cuda' if torch.cuda.is_available() else 'cpu')
    net.precision = 'auto'
    return net
