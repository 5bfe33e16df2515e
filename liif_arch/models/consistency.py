"""Whether an enlarged image, reduced again, is the image that it was made of."""

from collections.abc import Mapping

import torch
from basicsr.losses import build_loss
from torch import Tensor, nn
from torch.nn import functional

from liif_arch.archs.latent_network import LatentNetwork
from liif_arch.coordinates import as_scale, make_cell, make_coord, scaled_size
from liif_arch.errors import UserError
from liif_arch.models.distillation import Batch

SCALE = 2


class Consistency:
    """The loss of inputs against the network's enlargements of them, reduced by Pillow's bicubic.

    The enlargements' pixels are queries like those of the samples, and are predicted with them, so
    that an input is encoded once.

    Args:
        options: `train.consistency_opt`: a registered loss and its options, and `scale`, a number
            or a pair (sy, sx) of at least 1. Default 2.
        net: The network.

    Raises:
        UserError: The network's colours are no images as its inputs are.
    """

    def __init__(self, options: Mapping, net: LatentNetwork) -> None:
        options = dict(options)
        self.scale = as_scale(options.pop('scale', SCALE), 'train.consistency_opt.scale')
        if net.num_in_ch != net.num_out_ch:
            raise UserError(
                f'train.consistency_opt: found a network of {net.num_in_ch} channels (num_in_ch) '
                f'that predicts {net.num_out_ch} (num_out_ch); needed the same. Remove it.'
            )
        self.criterion: nn.Module = build_loss(options)

    def with_image(self, batch: Batch) -> Batch:
        """A batch that also asks for the whole enlargement, its pixels in row-major order, behind
        its own queries.
        """
        size = self._size(batch.lq)
        coord = make_coord(size, batch.lq.device).view(1, -1, 2).expand(len(batch.lq), -1, -1)
        cell = make_cell(size, batch.lq.device).expand_as(coord)
        return batch._replace(
            coord=torch.cat([batch.coord, coord], dim=1), cell=torch.cat([batch.cell, cell], dim=1)
        )

    def loss(self, colours: Tensor, lq: Tensor) -> Tensor:
        """The loss of enlargements, a number ().

        Args:
            colours: Of all their pixels, (B, H * W, C).
            lq: The inputs, (B, C, h, w) in [0, 1].
        """
        image = colours.transpose(1, 2).unflatten(2, self._size(lq))
        height, width = lq.shape[-2:]
        reduced = functional.interpolate(image, (height, width), mode='bicubic', antialias=True)
        return self.criterion(reduced, lq)

    def _size(self, lq: Tensor) -> tuple[int, int]:
        """Size (H, W) of the enlargements."""
        return scaled_size((lq.shape[-2], lq.shape[-1]), self.scale)
