"""MetaSR's decoder on LIIF's encoders: the baseline that LIIF is compared with (Hu et al., CVPR
2019).
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from liif_arch.archs.coordinate_network import CoordinateNetwork
from liif_arch.coordinates import corner_grid_lookup
from liif_arch.decode.meta import meta_table, query_meta, query_meta_plain, render_meta
from liif_arch.decode.mlp import MLP


class MetaSR(CoordinateNetwork):
    """For every query an MLP predicts, from its place in the latent and the scale, the matrix from
    latent to colour.

    Args:
        encoder: See `CoordinateNetwork`, as for num_in_ch, num_out_ch, scale, precision and
            decode_memory.
        hidden_list: Widths of the MLP's hidden layers.
    """

    reach = 1

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

    def query(self, feat: Tensor, coord: Tensor, cell: Tensor, chunk: int | None = None) -> Tensor:
        """See `CoordinateNetwork.query`; computed by `decode.meta.query_meta`."""
        if chunk is None and not torch.is_grad_enabled():
            chunk = self.chunk_size(self.table_channels * len(feat))
        return query_meta(self.imnet, feat, coord, cell, self.num_out_ch, chunk) * 0.5 + 0.5

    def query_plain(self, feat: Tensor, coord: Tensor, cell: Tensor) -> Tensor:
        """`query` written out: slow, for comparison."""
        return query_meta_plain(self.imnet, feat, coord, cell) * 0.5 + 0.5

    @torch.no_grad()
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
        """See `CoordinateNetwork.render_window`; computed by `decode.meta.render_meta`."""
        table = meta_table(self.imnet, feat, self.num_out_ch)
        lookups = [
            corner_grid_lookup(size[i], full[i], feat.device).window(*window, origin[i])
            for i, window in enumerate((rows, cols))
        ]
        chunk = self.chunk_size(self.table_channels)
        return (
            render_meta(self.imnet, table, *lookups, full[0] / size[0], chunk, progress)
            .mul_(0.5)
            .add_(0.5)
        )
