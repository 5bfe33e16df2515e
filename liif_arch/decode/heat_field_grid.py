"""Heat fields on a regular grid: matrix products, and nothing else for a pixel.

By sin(u + phase) = sin u cos phase + cos u sin phase a latent gives each wave two numbers for each
channel, a = amplitude cos phase and b = amplitude sin phase. A wave of frequency 0 with b alone
carries the image. A wave's angle at a pixel is a sum of what its row and what its column give, so

    a sin(y + x) + b cos(y + x) = (a sin y + b cos y) cos x + (a cos y - b sin y) sin x.

A band of output rows is decoded block by block of columns, so that what is made for a block stays
in the cache: first a and b of the latents that it looks up; then the two brackets, one product for
each wave; then the colours, one product for every group of output columns that look up the same
latents. See `decode.heat_field` for the field itself.
"""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from liif_arch.coordinates import AxisLookup
from liif_arch.decode.heat_field import Waves, nearest_alone
from liif_arch.decode.lookup import Grid
from liif_arch.devices import from_host
from liif_arch.threads import for_each

BAND_ROWS = 32  # output rows that are decoded at once; more make larger products
# Input rows that the output rows of a band look up on a GPU, where each band is dozens of launches.
# A pixel's work grows with them. Not timed yet.
BAND_LATENTS = 32
CACHE_FLOATS = 2**20  # of a block's brackets on a CPU
LEAST_GROUPS = 16  # of columns in a block there


class AxisWaves(NamedTuple):
    """Sines and cosines of the waves along one axis, weighted; the last one carries the image.

    Attributes:
        sine: (T, N, K + 1) for N outputs, T the corners along this axis.
        cosine: The same.
    """

    sine: Tensor
    cosine: Tensor

    @classmethod
    def of(
        cls, waves: Waves, axis: int, lookup: AxisLookup, weight: Tensor, cell: float
    ) -> 'AxisWaves':
        """The waves at the outputs of an axis (0: rows, 1: columns), whose pixels share a cell."""
        frequency = waves.frequency[axis].to(weight.dtype)
        angle = lookup.rel.unsqueeze(-1) / 2 * frequency
        nearest = nearest_alone(weight)
        fading = torch.exp(frequency.square() * (-waves.kappa / 4 * cell**2))
        strength = fading * (weight if waves.ensemble else nearest).unsqueeze(-1)
        of_image = (weight if waves.bilinear else nearest).unsqueeze(-1)
        sine = torch.cat([torch.sin(angle) * strength, torch.zeros_like(of_image)], dim=-1)
        return cls(sine, torch.cat([torch.cos(angle) * strength, of_image], dim=-1))

    def row_matrices(self, rows: slice, index: Tensor, latents: int) -> Tensor:
        """What makes the two brackets of some output rows from the latents of their input rows.

        Args:
            rows: The output rows, R of them.
            index: Which of the input rows each of them looks up, (T, R).
            latents: How many input rows those are, L.

        Returns:
            (2, K + 1, 2 L, R): bracket, wave, (a or b, input row), output row.
        """
        place = torch.arange(latents, device=index.device).unsqueeze(1)
        looked_up = (index.unsqueeze(1) == place).to(self.sine.dtype).unsqueeze(1)  # (T, 1, L, R)
        sine = (self.sine[:, rows].transpose(1, 2).unsqueeze(2) * looked_up).sum(0)
        cosine = (self.cosine[:, rows].transpose(1, 2).unsqueeze(2) * looked_up).sum(0)
        pair = [torch.cat([sine, cosine], dim=1), torch.cat([cosine, -sine], dim=1)]
        return torch.stack(pair)


class Block(NamedTuple):
    """Some groups of output columns.

    Attributes:
        waves: Cosines and sines of their columns, (T, G, n, 2 (K + 1)).
        latents: Input columns that they look up, (W,).
        begin: Where in `latents` the first group's latent of each corner is; those of the other
            groups follow it.
        pixels: Their output columns.
        places: Where each of these is among the G n; None: in their order.
    """

    waves: Tensor
    latents: Tensor
    begin: tuple[int, ...]
    pixels: slice
    places: Tensor | None


class ColumnGroups(NamedTuple):
    """Output columns, grouped by the latents that they look up.

    Attributes:
        waves: Cosines and sines of each group's columns, (T, G, n, 2 (K + 1)); a group of fewer
            than n columns ends with zeros.
        latents: Input column that each corner of a group looks up, (T, G), on the host.
        starts: First output column of each group, and the number of columns, (G + 1,).
        places: Where each output column is among the G n, (C,), on the host.
    """

    waves: Tensor
    latents: np.ndarray
    starts: np.ndarray
    places: np.ndarray

    @classmethod
    def of(cls, waves: AxisWaves, lookup: AxisLookup, dtype: torch.dtype) -> 'ColumnGroups':
        """Group the columns of a regular grid; `dtype` is that of the products."""
        host = lookup.host
        changes = (host[:, 1:] != host[:, :-1]).any(0)
        starts = np.concatenate([[0], np.flatnonzero(changes) + 1, [host.shape[1]]])
        counts = np.diff(starts)
        most, groups = int(counts.max()), len(counts)
        within = np.arange(host.shape[1]) - np.repeat(starts[:-1], counts)
        places = np.repeat(np.arange(groups) * most, counts) + within
        pair = torch.cat([waves.cosine, waves.sine], dim=-1).to(dtype)
        padded = pair.new_zeros(len(pair), groups * most, pair.shape[-1])
        padded[:, from_host(torch.from_numpy(places), pair.device)] = pair
        return cls(padded.unflatten(1, (groups, most)), host[:, starts[:-1]], starts, places)

    def blocks(self, size: int) -> Iterator[Block]:
        """All groups, in as few blocks of at most `size` as there can be, equally large ones."""
        count, most = self.waves.shape[1:3]
        edges = np.linspace(0, count, -(-count // size) + 1).round().astype(int)
        for first, last in pairwise(edges):
            groups = slice(first, last)
            latents, begin = _runs(self.latents[:, groups])
            pixels = slice(int(self.starts[first]), int(self.starts[last]))
            places = None
            if pixels.stop - pixels.start != (last - first) * most:
                places = from_host(
                    torch.from_numpy(self.places[pixels] - first * most), self.waves.device
                )
            latents = from_host(torch.from_numpy(latents), self.waves.device)
            yield Block(self.waves[:, groups], latents, begin, pixels, places)


def _runs(latents: np.ndarray) -> tuple[np.ndarray, tuple[int, ...]]:
    """Input columns in an order in which each corner's are a run, and where the runs begin.

    Args:
        latents: Those of each corner of G groups, (T, G).

    Returns:
        Where groups follow one another by one latent, (G + 1,), since both corners' runs overlap;
        else one run after the other, (T G,).
    """
    if len(latents) == 2 and (latents[0, 1:] == latents[1, :-1]).all():
        return np.concatenate([latents[0, :1], latents[1]]), (0, 1)
    groups = latents.shape[1]
    return latents.flatten(), tuple(range(0, latents.size, groups))


def render_field(
    waves: Waves,
    codes: Tensor,
    grid: Grid,
    dtype: torch.dtype,
    floats: int,
    progress: Callable[[int], None] | None = None,
) -> Tensor:
    """Colours of a regular grid, without gradients.

    Args:
        waves: Waves.
        codes: See `decode.heat_field`, (B, h, w, C + out).
        grid: Look-ups of R rows and C columns in it.
        dtype: Of the products.
        floats: How many numbers a block may hold at once, about.
        progress: Called with the number of output pixels of each band that is done.

    Returns:
        (B, out, R, C), at least float32, in the image's range.
    """
    by_row = AxisWaves.of(waves, 0, grid.rows, grid.row_weight, grid.cell[0])
    by_col = AxisWaves.of(waves, 1, grid.cols, grid.col_weight, grid.cell[1])
    columns = ColumnGroups.of(by_col, grid.cols, dtype)
    height, width = grid.shape
    band_rows = rows_of_a_band(codes.device, grid.cell[0])
    floats_per_group = 2 * (waves.count + 1) * waves.channels * min(band_rows, height)
    size = max(1, floats // floats_per_group)
    if codes.device.type == 'cpu':
        size = min(size, max(LEAST_GROUPS, CACHE_FLOATS // floats_per_group))
    blocks = list(columns.blocks(size))
    weight, bias = (part.to(codes.dtype) for part in waves.matrix())
    image = codes.new_empty(len(codes), waves.channels, height, width)

    def fill(band: tuple[int, slice]) -> None:
        i, rows = band
        lookup = grid.rows.window(rows.start, rows.stop)
        low, high = lookup.span()
        matrices = by_row.row_matrices(rows, lookup.index - low, high - low).to(dtype)
        for block in blocks:
            part = codes[i, low:high].index_select(1, block.latents)
            made = torch.addmm(bias.unsqueeze(1), weight, part.flatten(0, 1).t())
            table = _a_and_b(waves, made.unflatten(1, part.shape[:2]), dtype)
            _fill_block(image[i, :, rows, block.pixels], table, matrices, block)

    def report(band: tuple[int, slice]) -> None:
        progress((band[1].stop - band[1].start) * width)

    bands = []
    for i in range(len(codes)):
        for start in range(0, height, band_rows):
            bands.append((i, slice(start, min(start + band_rows, height))))
    for_each(fill, bands, image.device, report if progress else None)
    return image


def rows_of_a_band(device: torch.device, cell: float) -> int:
    """Output rows that are decoded at once, of a height of `cell` = 2 / s latents at scale s."""
    if device.type == 'cpu':
        return BAND_ROWS
    return max(BAND_ROWS, int(BAND_LATENTS * 2 / cell))


def _a_and_b(waves: Waves, parts: Tensor, dtype: torch.dtype) -> Tensor:
    """The two numbers of every wave, latent and channel; b of the last wave is the image.

    Args:
        waves: Waves.
        parts: What the latents of a block hold, (K out + K + out, L, W).
        dtype: Of the result.

    Returns:
        (K + 1, 2 L, out, W).
    """
    amplitude, phase, image = waves.parts(parts, dim=0)
    amplitude = amplitude.unflatten(0, (waves.count, -1)).transpose(1, 2)  # (K, L, out, W)
    phase = phase.unsqueeze(2)
    shape = (waves.count + 1, 2, *amplitude.shape[1:])
    table = torch.empty(shape, dtype=dtype, device=parts.device)
    torch.mul(amplitude, torch.cos(phase), out=table[:-1, 0])
    torch.mul(amplitude, torch.sin(phase), out=table[:-1, 1])
    table[-1, 0] = 0
    table[-1, 1] = image.transpose(0, 1)
    return table.flatten(1, 2)


def _fill_block(image: Tensor, table: Tensor, rows: Tensor, block: Block) -> None:
    """Decode a block of a band.

    Args:
        image: The block's colours, (out, R, C), which are overwritten.
        table: See `_a_and_b`.
        rows: See `AxisWaves.row_matrices`.
        block: Its columns.
    """
    channels, count, _ = image.shape
    groups, latents = block.waves.shape[1], len(block.latents)
    by_latent = table.flatten(2).transpose(1, 2)  # (K + 1, out W, 2 L)
    brackets = table.new_empty(2, len(table), channels * latents, count)
    for bracket, matrix in zip(brackets, rows, strict=True):
        torch.bmm(by_latent, matrix, out=bracket)
    brackets = brackets.flatten(0, 1).unflatten(1, (channels, latents))
    for channel, found in zip(image, brackets.permute(1, 2, 0, 3), strict=True):
        colours = torch.bmm(block.waves[0], found.narrow(0, block.begin[0], groups))
        for waves, begin in zip(block.waves[1:], block.begin[1:], strict=True):
            colours = torch.baddbmm(colours, waves, found.narrow(0, begin, groups))
        colours = colours.flatten(0, 1)
        if block.places is not None:
            colours = colours.index_select(0, block.places)
        channel.copy_(colours.t())
