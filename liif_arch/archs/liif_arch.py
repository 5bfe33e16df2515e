"""LIIF: Learning Continuous Image Representation with Local Implicit Image Function (Chen et al.,
CVPR 2021).
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from liif_arch.archs.coordinate_network import CoordinateNetwork
from liif_arch.coordinates import grid_lookup
from liif_arch.decode.fast import FirstLayer, query_fast
from liif_arch.decode.mlp import MLP
from liif_arch.decode.plain import query_plain
from liif_arch.decode.render import Decoder, cell_bias, render_grid
from liif_arch.errors import UserError


class LIIF(CoordinateNetwork):
    """An image as local latent codes, and one decoder that predicts the colour at any continuous
    coordinate.

    Args:
        encoder: See `CoordinateNetwork`, as for num_in_ch, num_out_ch, scale, precision and
            decode_memory.
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
        in_dim = (
            self.encoder.num_out_feat * (9 if feat_unfold else 1) + 2 + (2 if cell_decode else 0)
        )
        self.imnet = MLP(in_dim, num_out_ch, hidden_list, activation)
        if bilinear_start:
            self._start_bilinear()
        self.reach = 1 if feat_unfold else 0
        self.table_channels = 2 * hidden_list[0]
        self.widest = max(hidden_list)

    def _start_bilinear(self) -> None:
        channels = self.num_out_ch
        for problem, found in (
            (
                f'num_in_ch {self.num_in_ch} and num_out_ch {channels}; needed the same',
                self.num_in_ch != channels,
            ),
            (
                f'the activation {self.imnet.activation}; needed relu',
                self.imnet.activation != 'relu',
            ),
            (
                f'hidden layers of {min(layer.in_features for layer in self.imnet.layers[2::2])} '
                'channels; needed '
                f'{channels}',
                any(layer.in_features < channels for layer in self.imnet.layers[2::2]),
            ),
            (
                f'the encoder {type(getattr(self.encoder, "net", self.encoder)).__name__}, '
                f'{self.code_channels} '
                f'channels; needed EDSREncoder or RDNEncoder, {channels} or more',
                not hasattr(self.encoder, 'start_as_copy') or self.code_channels < channels,
            ),
        ):
            if found:
                raise UserError(f'bilinear_start: found {problem}, or bilinear_start: false.')
        self.encoder.start_as_copy()
        taps = 9 if self.flags['feat_unfold'] else 1
        self.imnet.start_as_copy([channel * taps + taps // 2 for channel in range(channels)])

    def query(self, feat: Tensor, coord: Tensor, cell: Tensor, chunk: int | None = None) -> Tensor:
        """See `CoordinateNetwork.query`; computed by `decode.fast.query_fast`."""
        if chunk is None and not torch.is_grad_enabled():
            chunk = self.chunk_size(
                16 * self.widest * len(feat)
            )  # four corners of about four activations
        return query_fast(self.imnet, feat, coord, cell, **self.flags, chunk=chunk) * 0.5 + 0.5

    def query_plain(self, feat: Tensor, coord: Tensor, cell: Tensor) -> Tensor:
        """`query` written out as in the paper: slow, for comparison."""
        return query_plain(self.imnet, feat, coord, cell, **self.flags) * 0.5 + 0.5

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
        """See `CoordinateNetwork.render_window`; computed by `decode.render.render_grid`."""
        first = FirstLayer.split(
            self.imnet.layers[0],
            feat.shape[1],
            self.flags['feat_unfold'],
            self.flags['cell_decode'],
        )
        bias = cell_bias(first, (2 * full[0] / size[0], 2 * full[1] / size[1]))
        table = first.table(feat, bias, self.imnet.activation)
        lookups = [
            grid_lookup(size[i], full[i], self.flags['local_ensemble'], feat.device).window(
                *window, origin[i]
            )
            for i, window in enumerate((rows, cols))
        ]
        decoder = Decoder.of(self.imnet, first, self.render_dtype())
        return (
            render_grid(decoder, table, *lookups, self.chunk_size(14 * self.widest), progress)
            .mul_(0.5)
            .add_(0.5)
        )
