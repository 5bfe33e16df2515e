"""LTE: Local Texture Estimator for Implicit Representation Function (Lee and Jin, CVPR 2022)."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from liif_arch.archs.coordinate_network import CoordinateNetwork
from liif_arch.coordinates import grid_lookup
from liif_arch.decode.lte import query_lte, query_lte_plain, render_lte
from liif_arch.decode.mlp import MLP
from liif_arch.devices import constant
from liif_arch.errors import UserError, require_whole
from liif_arch.precision import autocast


class LTE(CoordinateNetwork):
    """LIIF's look-up and ensemble, with waves of estimated amplitude, frequency and phase as the
    decoder's input.

    `encode` returns amplitudes, frequencies and the image itself, see `decode.lte`.

    Args:
        encoder: See `CoordinateNetwork`, as for num_in_ch, num_out_ch, scale, precision and
            decode_memory.
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
        self.widest = max(self.code_channels, *hidden_list)

    def encode(self, lq: Tensor) -> Tensor:
        """Codes of images in [0, 1]: (B, num_in_ch, h, w) -> (B, 2 hidden_dim + num_in_ch, h, w),
        float32.
        """
        feat = super().encode(lq)
        with autocast(lq.device, torch.float32):
            feat = feat.to(self.coef.weight.dtype)
            return torch.cat([self.coef(feat), self.freq(feat), (lq - 0.5) / 0.5], dim=1)

    def query(self, feat: Tensor, coord: Tensor, cell: Tensor, chunk: int | None = None) -> Tensor:
        """See `CoordinateNetwork.query`; computed by `decode.lte.query_lte`."""
        if chunk is None and not torch.is_grad_enabled():
            chunk = self.chunk_size(16 * self.widest * len(feat))
        return (
            query_lte(self.imnet, self.phase, feat, coord, self._cell(feat, cell), chunk) * 0.5
            + 0.5
        )

    def query_plain(self, feat: Tensor, coord: Tensor, cell: Tensor) -> Tensor:
        """`query` written out as in the paper: slow, for comparison."""
        return (
            query_lte_plain(self.imnet, self.phase, feat, coord, self._cell(feat, cell)) * 0.5 + 0.5
        )

    def _cell(self, feat: Tensor, cell: Tensor) -> Tensor:
        """Cells (B, Q, 2), none smaller than those of `max_scale`."""
        return torch.stack(
            [cell[..., i].clamp(min=self.smallest / feat.shape[2 + i]) for i in (0, 1)], dim=-1
        )

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
        """See `CoordinateNetwork.render_window`; computed by `decode.lte.render_lte`."""
        lookups = [
            grid_lookup(size[i], full[i], True, feat.device).window(*window, origin[i])
            for i, window in enumerate((rows, cols))
        ]
        cells = [max(2 * n / out, self.smallest) for n, out in zip(full, size, strict=True)]
        cell = constant(cells, feat)
        phases = self.phase(cell.to(self.phase.weight.dtype)).to(
            torch.promote_types(feat.dtype, torch.float32)
        )
        chunk = self.chunk_size(14 * self.widest)
        weights = self.imnet.weights(0, self.render_dtype())
        return render_lte(weights, phases, feat, *lookups, chunk, progress).mul_(0.5).add_(0.5)
