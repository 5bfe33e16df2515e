"""LIIF's decoder on a regular grid, without gradients: `decode.plain`, to float rounding.

One exception, on purpose: the weights where all four areas vanish, see `coordinates.axis_weights`.

Beside what `decode.fast` saves, on a grid the cell is constant, so that it joins the first layer's
bias, the relative coordinate is a row term plus a column term, and the four look-ups are two row
indices times two column indices. So the first layer's response to latent and column is computed
once for the output rows that share a row of latents. Coordinates, the first layer's sum and the
last layer are float32 in every precision.
"""

import warnings

import torch
import torch.nn.functional as F
from torch import Tensor

from liif_arch.decode.first_layer import GridDecoder
from liif_arch.decode.lookup import Grid, by_query, corner_rows, sum_corners

_unfused: list[Exception] = []  # why the Triton kernel is no longer tried


def decode_tile(decoder: GridDecoder, table: Tensor, grid: Grid) -> Tensor:
    """Colours of one tile; a `TileDecoder` once the weights are given.

    Args:
        decoder: What follows the table.
        table: The first layer's response to each latent of one image, cell included,
            (1, h, w, D), float32.
        grid: Look-ups of the tile's R rows and C columns.

    Returns:
        (1, out, R, C), at least float32, in imnet's range.
    """
    rows, cols = grid.rows, grid.cols
    (i, r), (j, c), d = rows.index.shape, cols.index.shape, table.shape[-1]
    # The first layer: once for each row of latents, then for each output row.
    by_column = table[0].index_select(1, cols.index.flatten()).view(-1, j, c, d)  # (h, J, C, D)
    by_column += cols.rel[..., None] * decoder.rel[:, 1]
    hidden = by_column.index_select(0, rows.index.flatten()).view(i, r, j, c, d)
    hidden += (rows.rel[..., None] * decoder.rel[:, 0])[:, :, None, None]
    hidden = decoder.rest.run_hidden(decoder.rest.activate_(hidden).view(-1, d))  # (I R J C, D)
    # The last layer is linear and the ensemble's weights sum to 1: it runs once, on the weighted
    # hidden state.
    weight = grid.weight()
    total = sum_corners(hidden, corner_rows(i, r, j, c, weight.device), by_query(weight))
    return F.linear(total, *decoder.rest.last).view(1, r, c, -1).permute(0, 3, 1, 2)


def render_fused(decoder: GridDecoder, table: Tensor, grid: Grid) -> Tensor | None:
    """All of a grid by the Triton kernel, where it runs.

    Args:
        decoder: What follows the table.
        table: See `decode_tile`, of B images, (B, h, w, D).
        grid: Look-ups of the output's rows and columns.

    Returns:
        (B, out, H, W), float32, in imnet's range; None where the kernel cannot run. One warning
        says why if it should.
    """
    hidden = decoder.rest.hidden
    if table.device.type != 'cuda' or _unfused or not hidden or hidden[0][0].dtype == torch.float32:
        return None
    try:
        from liif_arch.decode import fused

        if not fused.supports(decoder, table.device):
            return None
        return fused.render_grid(decoder, table, grid)
    except torch.cuda.OutOfMemoryError:
        raise
    except Exception as error:  # no Triton, no C compiler, or a GPU that the kernel does not suit
        if 'out of memory' in str(error):  # as Triton says it
            raise torch.cuda.OutOfMemoryError(str(error)) from error
        _unfused.append(error)
        warnings.warn(
            f'the fused decoder does not run here, a slower one does: {error}', stacklevel=2
        )
        return None
