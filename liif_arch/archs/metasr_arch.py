"""MetaSR's decoder on LIIF's encoders: the baseline that LIIF is compared with (Hu et al., CVPR
2019).
"""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from liif_arch.archs.coordinate_network import CoordinateNetwork
from liif_arch.coordinates import AxisLookup, corner_grid_lookup
from liif_arch.decode.lookup import Lookups, top_left
from liif_arch.decode.meta import decode_meta_tile, meta_table, query_meta, query_meta_plain
from liif_arch.decode.mlp import MLP
from liif_arch.decode.tiles import TileDecoder


class MetaSR(CoordinateNetwork):
    """An MLP predicts for every query the matrix that makes a colour of the latent.

    Its input is the query's place within the latent, and the scale.

    Args:
        encoder: See `LatentNetwork`, as for num_in_ch, num_out_ch, scale and precision.
        decode_memory: See `CoordinateNetwork`.
        hidden_list: Widths of the MLP's hidden layers.
    """

    reach = 1
    local_ensemble = False
    images_at_once = None  # the MLP's answers are the same for every image

    def __init__(
        self,
        encoder: nn.Module | dict | None = None,
        hidden_list: Sequence[int] = (256,),
        num_in_ch: int = 3,
        num_out_ch: int = 3,
        scale: float | Sequence[float] | None = None,
        precision: str = 'float32',
        decode_memory: float | None = None,
    ) -> None:
        super().__init__(encoder, num_in_ch, num_out_ch, scale, precision, decode_memory)
        self.imnet = MLP(3, self.encoder.num_out_feat * 9 * num_out_ch, hidden_list)
        self.table_channels = 2 * num_out_ch * (hidden_list[-1] + 1)
        self.floats_per_query = self.table_channels

    def table(self, feat: Tensor) -> Tensor:
        """What each latent gives the colour for each hidden unit, (B, h, w, num_out_ch, D + 1)."""
        return meta_table(self.imnet, feat, self.num_out_ch)

    def look_up(self, coord: Tensor, cell: Tensor, size: tuple[int, int]) -> Lookups:
        """The latent in which each query pixel's top-left corner lies."""
        return top_left(coord, cell, size)

    def look_up_axis(
        self, n_out: int, n: int, device: torch.device, part: tuple[int, int] | None = None
    ) -> AxisLookup:
        """`look_up` along one axis of a regular grid."""
        return corner_grid_lookup(n_out, n, device, part)

    def colours(self, table: Tensor, found: Lookups) -> Tensor:
        """See `CoordinateNetwork.colours`; computed by `decode.meta`."""
        return query_meta(self.imnet, table, found)

    def plain_colours(self, feat: Tensor, coord: Tensor, cell: Tensor) -> Tensor:
        """See `CoordinateNetwork.plain_colours`."""
        return query_meta_plain(self.imnet, feat, coord, cell)

    def tile_decoder(self, cell: tuple[float, float]) -> TileDecoder:
        """See `CoordinateNetwork.tile_decoder`; computed by `decode.meta`."""
        return partial(decode_meta_tile, self.imnet)
