"""LIIF: Learning Continuous Image Representation with Local Implicit Image Function (Chen et al.,
CVPR 2021).
"""

from collections.abc import Callable, Sequence
from functools import partial

from torch import Tensor, nn

from liif_arch.archs.coordinate_network import CoordinateNetwork
from liif_arch.archs.encoder import named_network
from liif_arch.decode.fast import query_fast
from liif_arch.decode.first_layer import FirstLayer, GridDecoder
from liif_arch.decode.lookup import Grid, Lookups
from liif_arch.decode.mlp import MLP
from liif_arch.decode.plain import query_plain
from liif_arch.decode.render import decode_tile, render_fused
from liif_arch.decode.tiles import TileDecoder
from liif_arch.errors import UserError


class LIIF(CoordinateNetwork):
    """An image as local latent codes, and one decoder that predicts the colour at any continuous
    coordinate.

    Args:
        encoder: See `LatentNetwork`, as for num_in_ch, num_out_ch, scale and precision.
        decode_memory: See `CoordinateNetwork`.
        hidden_list: Widths of the decoder's hidden layers.
        local_ensemble: Weighted prediction of the four nearest latents (eq. 4).
        feat_unfold: Concatenate each latent's 3x3 neighbourhood (eq. 3).
        cell_decode: Tell the decoder the size of the queried pixel (eq. 5).
        activation: Of the decoder: relu, or sine (SIREN's; hidden layers stay float32 in every
            precision).
        bilinear_start: Initial weights that render the bilinear enlargement (without local_ensemble
            the nearest pixel), so that training starts from there; for EDSREncoder and RDNEncoder
            (a module that is given is changed), ReLU, and short trainings.
    """

    def __init__(
        self,
        encoder: nn.Module | dict | None = None,
        hidden_list: Sequence[int] = (256, 256, 256, 256),
        local_ensemble: bool = True,
        feat_unfold: bool = True,
        cell_decode: bool = True,
        activation: str = 'relu',
        num_in_ch: int = 3,
        num_out_ch: int = 3,
        scale: float | Sequence[float] | None = None,
        precision: str = 'float32',
        decode_memory: float | None = None,
        bilinear_start: bool = False,
    ) -> None:
        super().__init__(encoder, num_in_ch, num_out_ch, scale, precision, decode_memory)
        self.flags = {
            'local_ensemble': local_ensemble,
            'feat_unfold': feat_unfold,
            'cell_decode': cell_decode,
        }
        self.local_ensemble = local_ensemble
        self.reach = int(feat_unfold)
        self.latents = (2 * self.reach + 1) ** 2  # whose codes a query sees: 9, or 1
        in_dim = self.latents * self.code_channels + 2 + 2 * int(cell_decode)
        self.imnet = MLP(in_dim, num_out_ch, hidden_list, activation)
        if bilinear_start:
            self._start_bilinear()
        self.table_channels = 2 * hidden_list[0]
        self.floats_per_query = 14 * max(hidden_list)  # four corners of three to four activations

    def _start_bilinear(self) -> None:
        problem = self._no_bilinear_start()
        if problem is not None:
            raise UserError(f'bilinear_start: found {problem}, or bilinear_start: false.')
        assert self.encoder.start_as_copy is not None  # or there were a problem
        self.encoder.start_as_copy()
        middle = range(self.latents // 2, self.num_out_ch * self.latents, self.latents)
        self.imnet.start_as_copy(middle)  # of each channel, the query's own latent

    def _no_bilinear_start(self) -> str | None:
        """Why the network cannot start as the bilinear enlargement: what is found and needed."""
        channels = self.num_out_ch
        narrowest = min(layer.in_features for layer in self.imnet.linears()[1:])
        if self.num_in_ch != channels:
            return f'num_in_ch {self.num_in_ch} and num_out_ch {channels}; needed the same'
        if self.imnet.activation != 'relu':
            return f'the activation {self.imnet.activation}; needed relu'
        if narrowest < channels:
            return f'hidden layers of {narrowest} channels; needed {channels}'
        if self.encoder.start_as_copy is None or self.code_channels < channels:
            return (
                f'the encoder {type(named_network(self.encoder)).__name__}, {self.code_channels} '
                f'channels; needed EDSREncoder or RDNEncoder, {channels} or more'
            )
        return None

    def first_layer(self) -> FirstLayer:
        """The decoder's first layer, split by input."""
        flags = self.flags
        return FirstLayer.split(
            self.imnet.linears()[0], self.code_channels, flags['feat_unfold'], flags['cell_decode']
        )

    def table(self, feat: Tensor) -> Tensor:
        """The first layer's response to each latent, without cells, (B, h, w, D)."""
        first = self.first_layer()
        return first.table(feat, first.bias, self.imnet.activation)

    def colours(self, table: Tensor, found: Lookups) -> Tensor:
        """See `CoordinateNetwork.colours`; computed by `decode.fast`."""
        return query_fast(self.imnet, self.first_layer(), table, found)

    def plain_colours(self, feat: Tensor, coord: Tensor, cell: Tensor) -> Tensor:
        """See `CoordinateNetwork.plain_colours`; LIIF eq. 1-5."""
        return query_plain(self.imnet, feat, coord, cell, **self.flags)

    def grid_table(self, feat: Tensor, cell: tuple[float, float]) -> Tensor:
        """The first layer's response to each latent and to the cell of all pixels, (B, h, w, D)."""
        first = self.first_layer()
        return first.table(feat, first.bias_with(cell), self.imnet.activation)

    def grid_decoder(self) -> GridDecoder:
        """The weights that follow `grid_table`, in the precision of rendering."""
        return GridDecoder.of(self.imnet, self.first_layer(), self.render_dtype())

    def tile_decoder(self, cell: tuple[float, float]) -> TileDecoder:
        """See `CoordinateNetwork.tile_decoder`; computed by `decode.render`."""
        return partial(decode_tile, self.grid_decoder())

    def decode_grid(
        self, table: Tensor, grid: Grid, progress: Callable[[int], None] | None = None
    ) -> Tensor:
        """See `CoordinateNetwork.decode_grid`; by the Triton kernel where it runs."""
        image = render_fused(self.grid_decoder(), table, grid)
        if image is None:
            return super().decode_grid(table, grid, progress)
        if progress:
            progress(len(image) * grid.shape[0] * grid.shape[1])
        return image
