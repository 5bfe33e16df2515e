"""The decoder's first linear layer, over all latents at once; and what follows it on a grid."""

from contextlib import nullcontext
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from liif_arch.decode.lookup import by_latent
from liif_arch.decode.mlp import MLP, Weights
from liif_arch.devices import constant
from liif_arch.precision import autocast


class FirstLayer(NamedTuple):
    """The decoder's first linear layer, split by input.

    Attributes:
        feature: Convolution kernel over the latents, (D, C, k, k), k = 3 with feature unfolding,
            else 1.
        rel: Weight of the relative coordinate, (D, 2).
        cell: Weight of the cell, (D, 2); None without cell decoding.
        bias: (D,).
    """

    feature: Tensor
    rel: Tensor
    cell: Tensor | None
    bias: Tensor

    @classmethod
    def split(
        cls, linear: nn.Linear, num_feat: int, feat_unfold: bool, cell_decode: bool
    ) -> 'FirstLayer':
        """Split a layer whose input is [feature, rel_y, rel_x, cell_y, cell_x].

        Args:
            linear: The layer.
            num_feat: Channels C of the latent codes.
            feat_unfold: Its features are of 3x3 latents, channel-major (9C); else of one (C).
            cell_decode: Its input has the cell.
        """
        k = 3 if feat_unfold else 1
        feature, rel, cell = linear.weight.split(
            [num_feat * k * k, 2, 2 if cell_decode else 0], dim=1
        )
        return cls(
            feature.reshape(-1, num_feat, k, k), rel, cell if cell_decode else None, linear.bias
        )

    def bias_with(self, cell: tuple[float, float]) -> Tensor:
        """The bias together with the response to a cell that all queries share, (D,).

        Args:
            cell: Height and width of the query pixels in latents: (2 h / H, 2 w / W).
        """
        if self.cell is None:
            return self.bias
        return self.bias + self.cell @ constant(cell, self.cell)

    def table(self, feat: Tensor, bias: Tensor, activation: str = 'relu') -> Tensor:
        """The layer's response to each latent: (B, C, h, w) -> (B, h, w, D), at least float32.

        Args:
            feat: Latent codes.
            bias: `self.bias`, or `bias_with` a cell.
            activation: What follows. A sine multiplies what rounding does, so the response is then
                computed in float32 too.
        """
        exact = activation == 'sine'
        if exact:
            feat = feat.to(torch.promote_types(feat.dtype, torch.float32))
        with autocast(feat.device, torch.float32) if exact else nullcontext():
            kernel, bias = self.feature.to(feat.dtype), bias.to(feat.dtype)
            return by_latent(F.conv2d(feat, kernel, bias, padding=kernel.shape[-1] // 2))


class GridDecoder(NamedTuple):
    """A decoder's weights as they are used on a regular grid, whose table has the cell in it.

    Attributes:
        rel: The first layer's weight of the relative coordinate, (D, 2), at least float32.
        rest: The layers behind the first.
    """

    rel: Tensor
    rest: Weights

    @classmethod
    def of(cls, imnet: MLP, first: FirstLayer, dtype: torch.dtype) -> 'GridDecoder':
        """The weights of an `MLP` whose first layer is `first`; products are of `dtype`."""
        wide = torch.promote_types(first.rel.dtype, torch.float32)
        return cls(first.rel.to(wide), imnet.weights(1, dtype))
