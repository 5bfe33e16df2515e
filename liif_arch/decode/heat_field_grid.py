"""Heat fields on a regular grid: two matrix products for each wave, nothing else for a pixel.

A wave's angle at a pixel is a sum of what its row and what its column give, so

    a sin(y + x) + b cos(y + x) = (a sin y + b cos y) cos x + (a cos y - b sin y) sin x.

First the rows: for a band of output rows, and every latent of the input rows that these look up,
the two brackets, which is one product for each wave. Then the columns: for every group of output
columns that look up the same latents, cosines and sines of x times the brackets. The image is the
wave of frequency 0 with b alone. See `decode.heat_field` for the field itself.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from liif_arch.coordinates import AxisLookup
from liif_arch.decode.heat_field import Waves, nearest_alone, split_codes
from liif_arch.decode.lookup import Grid
from liif_arch.devices import from_host
from liif_arch.threads import for_each

BAND_ROWS = 32  # output rows that are decoded at once; more make larger products


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


def row_matrices(waves: AxisWaves, rows: slice, index: Tensor, latents: int) -> Tensor:
    """What makes the two brackets of a band of output rows from the latents of its input rows.

    Args:
        waves: Of all output rows.
        rows: Those of the band, R of them.
        index: Which of the band's input rows each of them looks up, (T, R).
        latents: How many input rows those are, L.

    Returns:
        (2, K + 1, 2 L, R): bracket, wave, (input row, a or b), output row.
    """
    sine, cosine = waves.sine[:, rows], waves.cosine[:, rows]
    count, width = index.shape[1], sine.shape[-1]
    dense = sine.new_zeros(latents, count, 2, 2, width)
    place = torch.arange(count, device=index.device)
    for corner, at in enumerate(index):  # the two corners may be the same latent
        dense[at, place, 0, 0] += sine[corner]
        dense[at, place, 1, 0] += cosine[corner]
        dense[at, place, 0, 1] += cosine[corner]
        dense[at, place, 1, 1] -= sine[corner]
    return dense.permute(3, 4, 0, 2, 1).flatten(2, 3).contiguous()


class ColumnGroups(NamedTuple):
    """Output columns, grouped by the latents that they look up.

    Attributes:
        waves: Cosines and sines of each group's columns, (T, G, n, 2 (K + 1)); a group of fewer
            than n columns ends with zeros.
        latents: Input column that each corner of a group looks up, (T, G), on the host.
        starts: First output column of each group, and the number of columns, (G + 1,).
        places: Where each output column is among the G n, (C,).
    """

    waves: Tensor
    latents: np.ndarray
    starts: np.ndarray
    places: Tensor

    @classmethod
    def of(cls, waves: AxisWaves, lookup: AxisLookup) -> 'ColumnGroups':
        """Group the columns of a regular grid."""
        host = lookup.host
        changes = (host[:, 1:] != host[:, :-1]).any(0)
        starts = np.concatenate([[0], np.flatnonzero(changes) + 1, [host.shape[1]]])
        counts = np.diff(starts)
        most, groups = counts.max(), len(counts)
        within = np.arange(host.shape[1]) - np.repeat(starts[:-1], counts)
        places = torch.from_numpy(np.repeat(np.arange(groups) * most, counts) + within)
        places = from_host(places, waves.sine.device)
        pair = torch.cat([waves.cosine, waves.sine], dim=-1)
        padded = pair.new_zeros(len(pair), groups * int(most), pair.shape[-1])
        padded[:, places] = pair
        shape = (groups, int(most))
        return cls(padded.unflatten(1, shape), host[:, starts[:-1]], starts, places)

    def blocks(self, size: int) -> Iterator[tuple[slice, slice]]:
        """All groups, some at a time: groups and their output columns."""
        groups = self.latents.shape[1]
        for first in range(0, groups, size):
            last = min(groups, first + size)
            yield slice(first, last), slice(int(self.starts[first]), int(self.starts[last]))


def grid_table(waves: int, codes: Tensor, dtype: torch.dtype) -> Tensor:
    """The numbers a and b of every latent, channel and wave; b of the last wave is the image.

    Args:
        waves: Number of waves K.
        codes: (B, K out + K + out, h, w), see `decode.heat_field`.
        dtype: Of the result.

    Returns:
        (B, h, 2, K + 1, w, out).
    """
    amplitude, phase, image = split_codes(codes, waves, dim=1)
    b, out, h, w = image.shape
    table = codes.new_empty(b, h, 2, waves + 1, w, out, dtype=dtype)
    amplitude = amplitude.unflatten(1, (waves, out)).permute(0, 3, 1, 4, 2)  # (B, h, K, w, out)
    phase = phase.permute(0, 2, 1, 3).unsqueeze(-1)  # (B, h, K, w, 1)
    table[:, :, 0, :-1] = amplitude * torch.cos(phase)
    table[:, :, 1, :-1] = amplitude * torch.sin(phase)
    table[:, :, 0, -1] = 0
    table[:, :, 1, -1] = image.permute(0, 2, 3, 1)
    return table


def render_field(
    waves: Waves,
    table: Tensor,
    grid: Grid,
    floats: int,
    progress: Callable[[int], None] | None = None,
) -> Tensor:
    """Colours of a regular grid, band by band, without gradients.

    Args:
        waves: Waves.
        table: See `grid_table`; its type is that of the products.
        grid: Look-ups of R rows and C columns in it.
        floats: How many of the brackets may be alive at once, about.
        progress: Called with the number of output pixels of each band that is done.

    Returns:
        (B, out, R, C), float32, in the image's range.
    """
    by_row = AxisWaves.of(waves, 0, grid.rows, grid.row_weight, grid.cell[0])
    by_col = AxisWaves.of(waves, 1, grid.cols, grid.col_weight, grid.cell[1])
    columns = ColumnGroups.of(by_col, grid.cols)
    columns = columns._replace(waves=columns.waves.to(table.dtype))
    height, width = grid.shape
    image = grid.row_weight.new_empty(len(table), table.shape[-1], height, width)
    size = max(1, floats // (2 * table.shape[3] * table.shape[-1] * min(BAND_ROWS, height)))

    def fill(band: tuple[int, slice]) -> None:
        i, rows = band
        lookup = grid.rows.window(rows.start, rows.stop)
        low, high = lookup.span()
        matrices = row_matrices(by_row, rows, lookup.index - low, high - low).to(table.dtype)
        _fill_band(image[i, :, rows], table[i, low:high], matrices, columns, size)

    def report(band: tuple[int, slice]) -> None:
        progress((band[1].stop - band[1].start) * width)

    bands = []
    for i in range(len(table)):
        for start in range(0, height, BAND_ROWS):
            bands.append((i, slice(start, min(start + BAND_ROWS, height))))
    for_each(fill, bands, image.device, report if progress else None)
    return image


def _fill_band(band: Tensor, table: Tensor, rows: Tensor, columns: ColumnGroups, size: int) -> None:
    """Decode a band of output rows, (out, R, C), from the input rows (L, 2, K + 1, w, out)."""
    out, count, _ = band.shape
    for groups, pixels in columns.blocks(size):
        latents = columns.latents[:, groups]
        low, high = int(latents.min()), int(latents.max()) + 1
        part = table[:, :, :, low:high].flatten(3).flatten(0, 1).permute(1, 2, 0)
        brackets = part.new_empty(2, *part.shape[:2], count)  # (2, K + 1, w' out, R)
        for bracket, matrix in zip(brackets, rows, strict=True):
            torch.bmm(part, matrix, out=bracket)
        brackets = brackets.view(-1, high - low, out * count)
        colours = None
        for waves, latent in zip(columns.waves[:, groups], latents - low, strict=True):
            found = _pick(brackets, latent).transpose(0, 1)  # (G, 2 (K + 1), out R)
            if colours is None:
                colours = torch.bmm(waves, found)
            else:
                colours = torch.baddbmm(colours, waves, found)
        colours = colours.view(-1, out, count)
        if len(colours) != pixels.stop - pixels.start:
            first = groups.start * columns.waves.shape[2]
            colours = colours.index_select(0, columns.places[pixels] - first)
        band[:, :, pixels] = colours.permute(1, 2, 0)


def _pick(brackets: Tensor, latents: np.ndarray) -> Tensor:
    """Those of (2 (K + 1), w', out R) that belong to some input columns; a view where it can be."""
    first, last = int(latents[0]), int(latents[-1])
    if last - first == len(latents) - 1 and (np.diff(latents) == 1).all():
        return brackets[:, first : last + 1]
    return brackets.index_select(1, from_host(torch.from_numpy(latents), brackets.device))
