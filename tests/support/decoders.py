"""Every decoder of the package on a tiny encoder, for tests of what holds for all of them."""

import torch
from torch import Tensor

from liif_arch import LIIF, LTE, MetaSR
from liif_arch.archs.coordinate_network import CoordinateNetwork
from liif_arch.decode.lookup import Lookups, by_latent
from liif_arch.decode.plain import corners, ensemble, look_up

ENCODER = {'type': 'EDSREncoder', 'num_feat': 8, 'num_block': 1}


class Linear(CoordinateNetwork):
    """The least that a decoder has to say: a linear colour of latent, place and cell."""

    reach = 0

    def __init__(self, encoder: dict) -> None:
        super().__init__(encoder, 3, 3, None, 'float32', None)
        self.layer = torch.nn.Linear(self.code_channels + 4, 3)
        self.table_channels = self.floats_per_query = 4 * self.code_channels

    def table(self, feat: Tensor) -> Tensor:
        """The codes, (B, h, w, C)."""
        return by_latent(feat)

    def colours(self, table: Tensor, found: Lookups) -> Tensor:
        """One matrix product for each corner."""
        found = found.to(table.dtype)
        latents = table.flatten(0, 2)[found.index]  # (T, N, C)
        inputs = torch.cat([latents, found.rel, found.cell.expand_as(found.rel)], dim=-1)
        return (self.layer(inputs).to(table.dtype) * found.weight[..., None]).sum(0)

    def plain_colours(self, feat: Tensor, coord: Tensor, cell: Tensor) -> Tensor:
        """The same by the paper's look-ups."""
        size, colours, areas = tuple(feat.shape[-2:]), [], []
        extent = cell * coord.new_tensor(size)
        for shifted, rel, area in corners(coord, size, self.local_ensemble):
            inputs = torch.cat([look_up(feat, shifted), rel, extent], dim=-1)
            colours.append(self.layer(inputs))
            areas.append(area)
        return ensemble(colours, areas)


DECODERS = {
    'LIIF': lambda: LIIF(ENCODER, [32, 32]),
    'LIIF, plainest': lambda: LIIF(
        ENCODER, [32], local_ensemble=False, feat_unfold=False, cell_decode=False
    ),
    'LIIF, sine': lambda: LIIF(ENCODER, [24, 16], activation='sine'),
    'LTE': lambda: LTE(ENCODER, 16, [32, 32]),
    'MetaSR': lambda: MetaSR(ENCODER, [16]),
    'Linear': lambda: Linear(ENCODER),
}
