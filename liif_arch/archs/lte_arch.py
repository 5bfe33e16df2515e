"""LTE: Local Texture Estimator for Implicit Representation Function (Lee and Jin, CVPR 2022)."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from liif_arch.archs.coordinate_network import CoordinateNetwork
from liif_arch.archs.latent_network import to_signed
from liif_arch.decode.lookup import Lookups, by_latent
from liif_arch.decode.lte import decode_lte_tile, query_lte, query_lte_plain
from liif_arch.decode.mlp import MLP
from liif_arch.decode.tiles import TileDecoder
from liif_arch.devices import constant
from liif_arch.errors import UserError, require_whole
from liif_arch.precision import autocast


class LTE(CoordinateNetwork):
    """LIIF's look-up and ensemble around a decoder whose input are waves.

    Amplitudes and frequencies of the waves are estimated from the features, phases from the cell.

    `encode` returns amplitudes, frequencies and the image itself, see `decode.lte`.

    Args:
        encoder: See `LatentNetwork`, as for num_in_ch, num_out_ch, scale and precision.
        decode_memory: See `CoordinateNetwork`.
        hidden_dim: Amplitudes D of a latent, and as many frequencies, in D/2 pairs.
        hidden_list: Widths of the decoder's hidden layers.
        max_scale: Cells are taken for those of this scale where they are smaller: the highest scale
            in training, as its published evaluation has it. None: cells as they are.
    """

    reach = 1

    def __init__(
        self,
        encoder: nn.Module | dict | None = None,
        hidden_dim: int = 256,
        hidden_list: Sequence[int] = (256, 256, 256),
        max_scale: float | None = 4,
        num_in_ch: int = 3,
        num_out_ch: int = 3,
        scale: float | Sequence[float] | None = None,
        precision: str = 'float32',
        decode_memory: float | None = None,
    ) -> None:
        super().__init__(encoder, num_in_ch, num_out_ch, scale, precision, decode_memory)
        require_whole(hidden_dim=hidden_dim)
        if hidden_dim % 2:
            raise UserError(
                f'hidden_dim: found {hidden_dim}; needed an even number, for cosines and sines.'
            )
        if num_in_ch != num_out_ch:
            raise UserError(
                f'num_out_ch: found {num_out_ch}; LTE adds its input, of {num_in_ch} channels '
                '(num_in_ch).'
            )
        if max_scale is not None and max_scale <= 0:
            raise UserError(f'max_scale: found {max_scale}; needed a scale above 0.')
        self.smallest = 0 if max_scale is None else 2 / max_scale  # cell, in latents
        num_feat = self.encoder.num_out_feat
        self.coef = nn.Conv2d(num_feat, hidden_dim, 3, 1, 1)
        self.freq = nn.Conv2d(num_feat, hidden_dim, 3, 1, 1)
        self.phase = nn.Linear(2, hidden_dim // 2, bias=False)
        self.imnet = MLP(hidden_dim, num_out_ch, hidden_list)
        self.code_channels = 2 * hidden_dim + num_out_ch
        self.table_channels = 2 * self.code_channels
        # Four corners of three to four activations.
        self.floats_per_query = 14 * max(self.code_channels, *hidden_list)

    def encode(self, lq: Tensor) -> Tensor:
        """Codes of images in [0, 1]: (B, num_in_ch, h, w) -> (B, 2 hidden_dim + num_in_ch, h, w),
        float32.
        """
        feat = super().encode(lq)
        with autocast(lq.device, torch.float32):
            feat = feat.to(self.coef.weight.dtype)
            return torch.cat([self.coef(feat), self.freq(feat), to_signed(lq)], dim=1)

    def table(self, feat: Tensor) -> Tensor:
        """The codes as they are, (B, h, w, 2 hidden_dim + num_out_ch)."""
        return by_latent(feat)

    def look_up(self, coord: Tensor, cell: Tensor, size: tuple[int, int]) -> Lookups:
        """See `CoordinateNetwork.look_up`; cells are none smaller than those of `max_scale`."""
        return super().look_up(coord, self._limited(cell, size), size)

    def colours(self, table: Tensor, found: Lookups) -> Tensor:
        """See `CoordinateNetwork.colours`; computed by `decode.lte`."""
        return query_lte(self.imnet, self.phase, table, found)

    def plain_colours(self, feat: Tensor, coord: Tensor, cell: Tensor) -> Tensor:
        """See `CoordinateNetwork.plain_colours`."""
        cell = self._limited(cell, (feat.shape[-2], feat.shape[-1]))
        return query_lte_plain(self.imnet, self.phase, feat, coord, cell)

    def tile_decoder(self, cell: tuple[float, float]) -> TileDecoder:
        """See `CoordinateNetwork.tile_decoder`; computed by `decode.lte`."""
        weight = self.phase.weight
        limited = (max(cell[0], self.smallest), max(cell[1], self.smallest))
        phases = self.phase(constant(limited, weight))
        phases = phases.to(torch.promote_types(weight.dtype, torch.float32))
        return partial(decode_lte_tile, self.imnet.weights(0, self.render_dtype()), phases)

    def _limited(self, cell: Tensor, size: tuple[int, int]) -> Tensor:
        """Cells (B, Q, 2), none smaller than those of `max_scale` for an input (h, w)."""
        height = cell[..., 0].clamp(min=self.smallest / size[0])
        width = cell[..., 1].clamp(min=self.smallest / size[1])
        return torch.stack([height, width], dim=-1)
