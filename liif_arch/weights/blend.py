"""Between weights for clean images and weights for compressed ones: the mean of their pictures."""

from collections.abc import Callable

import torch
from torch import Tensor

from liif_arch.archs.latent_network import LatentNetwork
from liif_arch.errors import UserError
from liif_arch.weights import DEFAULT, PHOTO
from liif_arch.weights.networks import load_network


class Blend(LatentNetwork):
    """Two networks as one, whose colours are the weighted mean of theirs.

    Of clean and of compressed images it has a higher PSNR than one network of the mean weights.

    Args:
        first, second: Networks of the same channels, on encoders that see as far.
        strength: Share of the second, 0 to 1.
    """

    def __init__(self, first: LatentNetwork, second: LatentNetwork, strength: float) -> None:
        super().__init__(first.encoder, first.num_in_ch, first.num_out_ch, first.scale, 'float32')
        self.first, self.second, self.strength = first, second, strength
        self.code_channels = first.code_channels + second.code_channels
        self.table_channels = first.table_channels + second.table_channels
        self.reach = max(first.reach, second.reach)

    def encode(self, lq: Tensor) -> Tensor:
        """Codes of both, (B, num_in_ch, h, w) -> (B, code_channels, h, w)."""
        feats = []
        for net in (self.first, self.second):
            net.precision = self.precision
            feats.append(net.encode(lq))
        return torch.cat(feats, dim=1)

    def query(self, feat: Tensor, coord: Tensor, cell: Tensor) -> Tensor:
        """See `LatentNetwork.query`."""
        return self._mean(feat, lambda net, own: net.query(own, coord, cell))

    def render_window(
        self,
        feat: Tensor,
        size: tuple[int, int],
        origin: tuple[int, int],
        full: tuple[int, int],
        rows: tuple[int, int],
        cols: tuple[int, int],
        progress: Callable[[int], None] | None = None,
    ) -> Tensor:
        """See `LatentNetwork.render_window`."""

        def render(net: LatentNetwork, own: Tensor) -> Tensor:
            told = progress if net is self.second else None  # pixels are counted once
            return net.render_window(own, size, origin, full, rows, cols, told)

        return self._mean(feat, render)

    def render_with_gradients(self, feat: Tensor, size: tuple[int, int]) -> Tensor:
        """See `LatentNetwork.render_with_gradients`."""
        return self._mean(feat, lambda net, own: net.render_with_gradients(own, size))

    def _mean(self, feat: Tensor, colours: Callable[[LatentNetwork, Tensor], Tensor]) -> Tensor:
        """The weighted mean of what a function gives for each network and its codes."""
        first, second = feat.split([self.first.code_channels, self.second.code_channels], dim=1)
        return torch.lerp(colours(self.first, first), colours(self.second, second), self.strength)


def load_blend(strength: float, device: str | torch.device = 'cpu') -> LatentNetwork:
    """A network between the weights for clean images and those for compressed ones.

    Args:
        strength: How much compression and noise it removes: 0 is `fast`, 1 is `photo`, and what
            lies between takes twice as long.
        device: Where to put the network.

    Returns:
        The network, in evaluation mode.

    Raises:
        UserError: strength is not within 0 and 1.
    """
    if not 0 <= strength <= 1:
        raise UserError(f'found {strength!r}; needed a number from 0 to 1.', key='strength')
    if strength in (0, 1):
        return load_network(PHOTO if strength else DEFAULT, device)
    return Blend(load_network(DEFAULT, device), load_network(PHOTO, device), strength).eval()
