"""Thera: Neural Heat Fields (Becker et al., arXiv 2311.17643), and a start of this project's."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from liif_arch.archs.coordinate_network import CoordinateNetwork
from liif_arch.archs.latent_network import to_signed, to_unit
from liif_arch.archs.tails import TailedEncoder
from liif_arch.coordinates import AxisLookup, grid_lookup
from liif_arch.decode.heat_field import Waves, field_gradient, field_plain, field_table, query_field
from liif_arch.decode.heat_field_grid import render_field
from liif_arch.decode.lookup import Grid, Lookups, by_latent, nearest
from liif_arch.devices import constant
from liif_arch.errors import UserError, require_whole

KAPPA = math.sqrt(math.log(4)) / (2 * math.pi**2)
PUBLISHED_REACH = 16 * math.pi  # radians per input pixel: the highest frequency to begin with
BILINEAR_REACH = 3 * math.pi  # what an input pixel can hold is pi
CUT_DEVIATION = 0.87962566  # of a standard normal distribution that is cut at -2 and 2


class Thera(CoordinateNetwork):
    """The colour around every latent is a sum of waves that fade as the heat equation has it.

    A query costs a product of one small matrix, six multiply-adds a wave, so that the encoder is
    the cost of an image. `encode` returns the encoder's features and the image itself; `head` makes
    amplitudes and phases of the features, see `decode.heat_field`.

    Args:
        encoder: See `LatentNetwork`, as for num_in_ch, num_out_ch, scale and precision.
        decode_memory: See `CoordinateNetwork`.
        hidden_dim: Waves: 32 in the published Air, 512 in Plus and Pro.
        tail: What follows the encoder: None as in the published Air, `convnext` as in Plus,
            `swinir` as in Pro; see `archs.tails`.
        skip: How the input image is added to the field: `nearest` as published, or `bilinear`,
            which has no blocks.
        local_ensemble: The field is that of the four nearest latents, weighted by distance (LIIF
            eq. 4), so that it has no edges between latents; as published it is the nearest one's.
        mean: Mean colour in [0, 1], by which the published networks centre what the encoder sees;
            they add it to the colours too. None: images are centred at 0.5, and nothing is added.
        bilinear_start: Initial values of this project instead of the published ones: waves of low
            frequency and little amplitude, so that a training begins at about the image that `skip`
            makes. For trainings of fewer than a million iterations.
    """

    reach = 0

    def __init__(
        self,
        encoder: nn.Module | dict | None = None,
        hidden_dim: int = 32,
        tail: str | None = None,
        skip: str = 'nearest',
        local_ensemble: bool = False,
        mean: Sequence[float] | None = None,
        bilinear_start: bool = False,
        num_in_ch: int = 3,
        num_out_ch: int = 3,
        scale: float | Sequence[float] | None = None,
        precision: str = 'float32',
        decode_memory: float | None = None,
    ) -> None:
        super().__init__(encoder, num_in_ch, num_out_ch, scale, precision, decode_memory)
        require_whole(hidden_dim=hidden_dim)
        if skip not in ('nearest', 'bilinear'):
            raise UserError(f'found {skip!r}; needed nearest or bilinear.', key='skip')
        if num_in_ch != num_out_ch:
            raise UserError(
                f'found {num_out_ch}; Thera adds its input, of {num_in_ch} channels (num_in_ch).',
                key='num_out_ch',
            )
        if mean is not None and len(mean) != num_in_ch:
            raise UserError(
                f'found {len(mean)} numbers; needed one for each of the {num_in_ch} channels.',
                key='mean',
            )
        if tail is not None:
            self.encoder = TailedEncoder(self.encoder, tail)
        self.skip, self.local_ensemble = skip, local_ensemble
        self.mean = None if mean is None else tuple(mean)
        self.components = nn.Parameter(torch.empty(2, hidden_dim))
        self.kappa = nn.Parameter(torch.tensor(KAPPA))
        self.head = nn.Conv2d(self.encoder.num_out_feat, hidden_dim * (num_out_ch + 1), 1)
        self._start(bilinear_start)
        self.code_channels = self.encoder.num_out_feat + num_out_ch
        self.table_channels = 2 * self.code_channels  # where the codes' type is another
        self.floats_per_query = 8 * hidden_dim * (num_out_ch + 3)  # of four corners

    @torch.no_grad()
    def _start(self, bilinear: bool) -> None:
        """Initial values: published, or those of `bilinear_start`."""
        waves = self.components.shape[1]
        reach = BILINEAR_REACH if bilinear else PUBLISHED_REACH
        radius, angle = reach * torch.rand(waves).sqrt(), 2 * math.pi * torch.rand(waves)
        self.components.copy_(torch.stack([radius * torch.sin(angle), radius * torch.cos(angle)]))
        std = self.head.in_channels**-0.5 / CUT_DEVIATION  # LeCun's, as Flax has it
        nn.init.trunc_normal_(self.head.weight, 0, std, -2 * std, 2 * std)
        assert self.head.bias is not None
        nn.init.zeros_(self.head.bias)
        if bilinear:
            amplitudes = self.head.out_channels - waves
            self.head.weight[:amplitudes] /= 100
            self.head.bias[amplitudes:].uniform_(0, 2 * math.pi)

    def waves(self) -> Waves:
        """What the decoder's functions need of this network."""
        weight, bias = self.head.weight.flatten(1), self.head.bias
        assert bias is not None
        bilinear = self.skip == 'bilinear'
        return Waves(self.components, self.kappa, weight, bias, self.local_ensemble, bilinear)

    def encode(self, lq: Tensor) -> Tensor:
        """Codes of images in [0, 1]: (B, num_in_ch, h, w) -> (B, code_channels, h, w), float32."""
        lq = lq.contiguous(memory_format=torch.channels_last)
        centred, image = lq, to_signed(lq)
        if self.mean is not None:
            mean = constant(self.mean, lq).view(-1, 1, 1)
            image = image + 2 * mean
            if not self.encoder.unit_range:  # such encoders have a mean of their own
                centred = lq + (0.5 - mean)
        feat = super().encode(centred)
        return torch.cat([feat.to(image.dtype), image], dim=1)

    def table(self, feat: Tensor) -> Tensor:
        """See `decode.heat_field.field_table`, (B, h, w, hidden_dim (num_out_ch + 1) + ...)."""
        return field_table(self.waves(), feat)

    def look_up(self, coord: Tensor, cell: Tensor, size: tuple[int, int]) -> Lookups:
        """See `CoordinateNetwork.look_up`."""
        return nearest(coord, cell, size, self.waves().corners)

    def look_up_axis(
        self, n_out: int, n: int, device: torch.device, part: tuple[int, int] | None = None
    ) -> AxisLookup:
        """See `CoordinateNetwork.look_up_axis`."""
        return grid_lookup(n_out, n, self.waves().corners, device, part)

    def colours(self, table: Tensor, found: Lookups) -> Tensor:
        """See `CoordinateNetwork.colours`; computed by `decode.heat_field`."""
        return query_field(self.waves(), table, found)

    def plain_colours(self, feat: Tensor, coord: Tensor, cell: Tensor) -> Tensor:
        """See `CoordinateNetwork.plain_colours`."""
        return field_plain(self.waves(), feat, coord, cell)

    def gradient(self, feat: Tensor, coord: Tensor) -> Tensor:
        """How the field changes with the place at cells of no size, differentiable.

        Args:
            feat: Codes, (B, code_channels, h, w).
            coord: Places, (B, Q, 2), (y, x) in [-1, 1].

        Returns:
            Derivatives of colours in [-1, 1] by (y, x), per input pixel, (B, Q, num_out_ch, 2): the
            nearest latent's, without the image that is added.
        """
        return self._gradient_at(self.table(feat), coord)

    def _gradient_at(self, table: Tensor, coord: Tensor) -> Tensor:
        """`gradient` in what `table` returned."""
        found = nearest(coord, torch.zeros_like(coord), (table.shape[1], table.shape[2]), False)
        return field_gradient(self.waves(), table, found).unflatten(0, coord.shape[:2])

    def forward(
        self,
        lq: Tensor,
        coord: Tensor | None = None,
        cell: Tensor | None = None,
        size: tuple[int, int] | None = None,
        with_variation: bool = False,
    ) -> Any:
        """See `LatentNetwork.forward`.

        Args:
            lq, coord, cell, size: As there.
            with_variation: Return, beside the colours at `coord`, the field's total variation
                there, which the published networks are trained to keep low: the mean absolute value
                of `gradient`, a number ().

        Returns:
            As there; with the variation a pair of both.
        """
        if not with_variation or coord is None or cell is None:
            return super().forward(lq, coord, cell, size)
        table = self.table(self.encode(lq))
        colours = to_unit(self._colours_at(table, coord, cell))
        return colours, self._gradient_at(table, coord).abs().mean()

    def grid_table(self, feat: Tensor, cell: tuple[float, float]) -> Tensor:
        """The codes, (B, h, w, code_channels): what the decoder makes of them, it makes for a block
        of pixels at a time.
        """
        return by_latent(feat)

    def decode_grid(
        self, table: Tensor, grid: Grid, progress: Callable[[int], None] | None = None
    ) -> Tensor:
        """See `CoordinateNetwork.decode_grid`; computed by `decode.heat_field_grid`."""
        floats = self.chunk_size(1)
        if table.device.type == 'cpu':  # whose threads decode a band each
            floats //= torch.get_num_threads()
        return render_field(self.waves(), table, grid, self.render_dtype(), floats, progress)
