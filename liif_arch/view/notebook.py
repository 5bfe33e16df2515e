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


class View:
    """Images at any magnification, as the last value of a notebook's cell.

    The server answers as long as the notebook's kernel lives.

    Args:
        images: Files.
        weights: Names of weights; by default one that suits each image, see `basicsr view`.
        gt: What the images should be, one for each.
        height: Of the page, in pixels.

    Attributes:
        address: Of the page, on the kernel's machine.

    Raises:
        UserError: As `basicsr view` ends with.
    """

    def __init__(
        self,
        *images: str | Path,
        weights: Sequence[str] | None = None,
        gt: Sequence[str | Path] | None = None,
        height: int = 600,
    ) -> None:
        self.height = height
        self.gallery = open_gallery(images, cache(_load), weights, gt)
        listener = socket.create_server((LOCAL, 0))
        self.port = listener.getsockname()[1]
        hosts = {f'{LOCAL}:{self.port}', f'localhost:{self.port}'}
        # Colab's proxy asks by a name of its own; the token keeps others out.
        server = Server(self.gallery, None if _in_colab() else hosts, framed=True)
        self.path = f'/{server.token}/'
        self.address = f'http://{LOCAL}:{self.port}{self.path}'
        for work, arguments in ((self.gallery.prepare, ()), (server.run, (listener,))):
            threading.Thread(target=work, args=arguments, daemon=True).start()

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


def _in_colab() -> bool:
    return 'google.colab' in sys.modules


def _load(name: str) -> 'nn.Module':
    """The network of some weights, where it is fastest."""
    import torch

    net = load_network(name, 'cuda' if torch.cuda.is_available() else 'cpu')
    net.precision = 'auto'
    return net
