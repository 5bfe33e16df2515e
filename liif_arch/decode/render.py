"""LIIF's decoder on a regular grid, without gradients: the same function as `decode.plain`, to
float rounding.

One exception, on purpose: the weights where all four areas vanish, see `coordinates.axis_weights`.

Beside what `decode.fast` saves, on a grid the cell is constant, so that it joins the first layer's
bias, the relative coordinate is a row term plus a column term, and the four look-ups are two row
indices times two column indices. So the first layer's response to latent and column is computed
once for the output rows that share a row of latents. Coordinates, the first layer's sum and the
last layer are float32 in every precision.
"""

import warnings
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from liif_arch.coordinates import AxisLookup, axis_weights
from liif_arch.decode.blocks import render_blocks
from liif_arch.decode.fast import FirstLayer, sum_corners
from liif_arch.decode.mlp import MLP, Weights
from liif_arch.devices import constant

_unfused: list[Exception] = []  # why the Triton kernel is no longer tried
BLOCK_ROWS = 16  # more rows share more of a block's first layer, fewer have longer runs of memory


class Decoder(NamedTuple):
    """imnet's weights as rendering needs them.

    Attributes:
        rel: First layer's weight of the relative coordinate, (D, 2), at least float32.
        rest: The layers behind it.
    """

    rel: Tensor
    rest: Weights

    @classmethod
    def of(cls, imnet: MLP, first: FirstLayer, dtype: torch.dtype) -> 'Decoder':
        """The weights of an `MLP` whose first layer is `first`."""
        return cls(
            first.rel.to(torch.promote_types(first.rel.dtype, torch.float32)),
            imnet.weights(1, dtype),
        )


def cell_bias(first: FirstLayer, cell: tuple[float, float]) -> Tensor:
    """The first layer's bias with the constant term of a cell, in latents (h * 2/H, w * 2/W),
    folded in: (D,).
    """
    if first.cell is None:
        return first.bias
    return first.bias + first.cell @ constant(cell, first.cell)


def render_grid(
    decoder: Decoder,
    table: Tensor,
    rows: AxisLookup,
    cols: AxisLookup,
    chunk: int,
    progress: Callable[[int], None] | None = None,
) -> Tensor:
    """Colours on the regular grid rows x cols.

    Args:
        decoder: What follows the first layer.
        table: First-layer response of each latent, cell folded in, (B, h, w, D), float32.
        rows: Look-ups of the H output rows in the table's h rows.
        cols: Look-ups of the W output columns in the table's w columns.
        chunk: Output pixels decoded at a time (each holds about three D-wide vectors per corner).
        progress: Called with the number of output pixels after each of them.

    Returns:
        (B, out, H, W), float32, in imnet's range.
    """
    if (fused := render_fused(decoder, table, rows, cols, progress)) is not None:
        return fused
    height, width = rows.index.shape[1], cols.index.shape[1]
    out = table.new_empty(table.shape[0], len(decoder.rest.last[0]), height, width)
    step_x = _even(width, max(64, chunk // BLOCK_ROWS))
    step_y = _even(height, max(1, chunk // step_x))
    low, high = rows.span()
    if (
        high - low > height
    ):  # an output smaller than its input: a block must not span too many latents
        step_y = max(1, step_y * height // (high - low))
    row_weight, col_weight = axis_weights(rows.rel), axis_weights(cols.rel)

    def render(images: slice, y: slice, x: slice) -> Tensor:
        low, high = rows.window(y.start, y.stop).span()
        weight = row_weight[:, y, None, None] * col_weight[:, x]
        return _render_block(
            decoder,
            table[images.start, low:high],
            rows.window(y.start, y.stop, low),
            cols.window(x.start, x.stop),
            weight,
        )[None]

    return render_blocks(render, out, (step_y, step_x), progress)


def render_fused(
    decoder: Decoder,
    table: Tensor,
    rows: AxisLookup,
    cols: AxisLookup,
    progress: Callable[[int], None] | None = None,
) -> Tensor | None:
    """`render_grid` by the Triton kernel, or None where it cannot run; one warning says why if it
    should.
    """
    hidden = decoder.rest.hidden
    if table.device.type != 'cuda' or _unfused or not hidden or hidden[0][0].dtype == torch.float32:
        return None
    try:
        from liif_arch.decode import fused

        if not fused.supports(decoder, table.device):
            return None
        out = fused.render_grid(decoder, table, rows, cols)
    except torch.cuda.OutOfMemoryError:
        raise
    except (
        Exception
    ) as error:  # no Triton or no C compiler here, or a GPU that the kernel does not suit
        _unfused.append(error)
        warnings.warn(
            f'the fused decoder does not run here, a slower one does: {error}', stacklevel=2
        )
        return None
    if progress:
        progress(out.shape[0] * out.shape[2] * out.shape[3])
    return out


def _even(n: int, most: int) -> int:
    """Length of n's parts when it is cut into as few of at most `most` as possible, all about
    alike.
    """
    return -(-n // -(-n // most))


def _render_block(
    decoder: Decoder, table: Tensor, rows: AxisLookup, cols: AxisLookup, weight: Tensor
) -> Tensor:
    """One block of `render_grid`: table (h, w, D), the ensemble's weights (I, R, J, C) -> (out, R,
    C).

    Corner signs are I for rows, J for columns.
    """
    (i, r), (j, c), d = rows.index.shape, cols.index.shape, table.shape[-1]
    # The first layer: once for each row of latents, then for each output row.
    by_column = table.index_select(1, cols.index.flatten()).view(-1, j, c, d)  # (h, J, C, D)
    by_column += cols.rel[..., None] * decoder.rel[:, 1]
    hidden = by_column.index_select(0, rows.index.flatten()).view(i, r, j, c, d)
    hidden += (rows.rel[..., None] * decoder.rel[:, 0])[:, :, None, None]
    hidden = decoder.rest.run_hidden(decoder.rest.activate_(hidden).view(-1, d))  # (I R J C, D)
    # The last layer is linear and the ensemble's weights sum to 1: it runs once, on the weighted
    # hidden state.
    total = sum_corners(hidden, _corner_rows(i, r, j, c, weight.device), _by_query(weight))
    return F.linear(total, *decoder.rest.last).view(r, c, -1).permute(2, 0, 1)


def _by_query(x: Tensor) -> Tensor:
    """(I, R, J, C) -> (R C, I J)."""
    return x.permute(1, 3, 0, 2).reshape(x.shape[1] * x.shape[3], -1)


@lru_cache(maxsize=16)
def _corner_rows(i: int, r: int, j: int, c: int, device: torch.device) -> Tensor:
    """Which rows of a block's hidden state, (I R J C, D), are a query's: (R C, I J)."""
    return _by_query(torch.arange(i * r * j * c, device=device).view(i, r, j, c))
