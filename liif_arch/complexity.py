"""What a network costs: parameters, and multiply-accumulates per input and per output pixel,
counted by mmengine.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from liif_arch.archs.latent_network import LatentNetwork

SIDE, QUERIES = 48, 256  # of the images and queries that are counted


class Complexity(NamedTuple):
    """Of a `LatentNetwork`.

    Attributes:
        encoder: Parameters of the encoder.
        decoder: Parameters of the decoder.
        encoding: Multiply-accumulates of `encode` for a pixel of the input.
        per_latent: Multiply-accumulates of the decoder for a pixel of the input.
        per_output: Multiply-accumulates of the decoder for a pixel of the output.
    """

    encoder: int
    decoder: int
    encoding: float
    per_latent: float
    per_output: float

    @property
    def per_input(self) -> float:
        """All multiply-accumulates for a pixel of the input."""
        return self.encoding + self.per_latent

    def of_image(self, size: tuple[int, int], out: tuple[int, int]) -> float:
        """Multiply-accumulates from an input of size (h, w) to an output of size (H, W)."""
        return self.per_input * size[0] * size[1] + self.per_output * out[0] * out[1]


class Encode(nn.Module):
    """A network's encoder as a module of its own: lq (B, C, h, w) -> feat."""

    def __init__(self, net: LatentNetwork) -> None:
        super().__init__()
        self.net = net

    def forward(self, lq: Tensor) -> Tensor:
        """See `LatentNetwork.encode`."""
        return self.net.encode(lq)


class Query(Encode):
    """A network's decoder as a module of its own: feat, coord (B, Q, 2), cell (B, Q, 2) -> colours
    (B, Q, out).
    """

    def forward(self, feat: Tensor, coord: Tensor, cell: Tensor) -> Tensor:
        """See `LatentNetwork.query`."""
        return self.net.query(feat, coord, cell)


def complexity(net: LatentNetwork) -> Complexity:
    """Count a network as it is run (`decode.fast`), not as its paper writes it.

    Element-wise work (activations, waves, weights of the ensemble) is not counted, as usual.
    """
    device = next(net.parameters()).device
    lq = torch.rand(1, net.num_in_ch, SIDE, SIDE, device=device)
    with torch.no_grad():
        feat = net.encode(lq)
    encode = _count(Encode(net), lq)
    few, many = (
        _count(Query(net), feat, *torch.rand(2, 1, n, 2, device=device) * 0.1)
        for n in (QUERIES, 2 * QUERIES)
    )
    per_output = (many - few) / QUERIES  # what is left for no queries is done once for every latent
    encoder = sum(p.numel() for p in net.encoder.parameters())
    total = sum(p.numel() for p in net.parameters())
    per_latent = (few - per_output * QUERIES) / SIDE**2
    return Complexity(encoder, total - encoder, encode / SIDE**2, per_latent, per_output)


def _count(module: nn.Module, *inputs: Tensor) -> int:
    from mmengine.analysis import FlopAnalyzer

    with torch.enable_grad():  # all at once, not in pieces that a memory budget allows
        counter = FlopAnalyzer(module, inputs)
        return counter.unsupported_ops_warnings(False).uncalled_modules_warnings(False).total()
