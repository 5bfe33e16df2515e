"""Which latents a query looks up, and what every decoder does with them: chunks and sums."""

from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from liif_arch.coordinates import AxisLookup, axis_lookup, axis_weights, corner_lookup
from liif_arch.devices import constant


class Lookups(NamedTuple):
    """The T latents that each of N queries looks up: four with the local ensemble, else one.

    Attributes:
        index: Which latent of the batch's B h w, (T, N), int64; N = B Q, image by image.
        rel: Relative coordinates in latents, (T, N, 2), (y, x).
        weight: Weights of the local ensemble, (T, N); they sum to 1 over T.
        cell: Height and width of the query pixels in latents, (N, 2); twice 1 / scale.
    """

    index: Tensor
    rel: Tensor
    weight: Tensor
    cell: Tensor

    @classmethod
    def of(
        cls, rows: AxisLookup, cols: AxisLookup, cell: Tensor, size: tuple[int, int]
    ) -> 'Lookups':
        """Join the look-ups of the two axes.

        Args:
            rows: Look-ups along the vertical axis, (I, B, Q).
            cols: Look-ups along the horizontal axis, (J, B, Q); T = I J, rows outermost.
            cell: Height and width of the query pixels in coordinates, (B, Q, 2).
            size: Latents (h, w) of an image.
        """
        h, w = size
        index = (rows.index[:, None] * w + cols.index[None]).flatten(0, 1)  # (T, B, Q)
        index = index + torch.arange(index.shape[1], device=index.device)[:, None] * (h * w)
        pairs = torch.broadcast_tensors(rows.rel[:, None], cols.rel[None])
        rel = torch.stack(pairs, -1).flatten(0, 1)  # (T, B, Q, 2)
        weight = axis_weights(rows.rel)[:, None] * axis_weights(cols.rel)[None]
        weight = weight.flatten(0, 1)  # (T, B, Q)
        extent = torch.stack([cell[..., 0] * h, cell[..., 1] * w], dim=-1)
        return cls(index.flatten(1), rel.flatten(1, 2), weight.flatten(1), extent.flatten(0, 1))

    def to(self, dtype: torch.dtype) -> 'Lookups':
        """Everything but the index in `dtype`."""
        return Lookups(self.index, *(x.to(dtype) for x in self[1:]))

    def by_image(self, table: Tensor) -> Iterator[tuple[Tensor, 'Lookups']]:
        """Each image's part of a table (B, h, w, ...), and the look-ups in it."""
        latents = table.shape[1] * table.shape[2]
        queries = self.index.shape[1] // len(table)
        for i, own in enumerate(table.split(1)):
            part = slice(i * queries, (i + 1) * queries)
            index = self.index[:, part] - i * latents
            yield own, Lookups(index, self.rel[:, part], self.weight[:, part], self.cell[part])


def nearest(coord: Tensor, cell: Tensor, size: tuple[int, int], local_ensemble: bool) -> Lookups:
    """Look up the nearest latents, as LIIF does.

    Args:
        coord: Query pixel centres, (B, Q, 2), (y, x) in [-1, 1].
        cell: Height and width of the query pixels in coordinates, (B, Q, 2).
        size: Latents (h, w) of an image.
        local_ensemble: Look up the nearest latent on each side of the query along both axes, four
            in all; else the nearest one.
    """
    rows = axis_lookup(coord[..., 0], size[0], local_ensemble)
    cols = axis_lookup(coord[..., 1], size[1], local_ensemble)
    return Lookups.of(rows, cols, cell, size)


def top_left(coord: Tensor, cell: Tensor, size: tuple[int, int]) -> Lookups:
    """Look up the latent in which each query pixel's top-left corner lies, as MetaSR does.

    Relative coordinates are distances from that latent's top-left corner. See `nearest`.
    """
    rows = corner_lookup(coord[..., 0], cell[..., 0], size[0])
    cols = corner_lookup(coord[..., 1], cell[..., 1], size[1])
    return Lookups.of(rows, cols, cell, size)


class Grid(NamedTuple):
    """The look-ups of a regular grid of R x C output pixels.

    Attributes:
        rows: Look-ups of the R rows, (I, R); I = 2 with the local ensemble, else 1.
        cols: Look-ups of the C columns, (J, C).
        row_weight: The rows' factor of the local ensemble's weights, (I, R).
        col_weight: The columns' factor, (J, C).
        cell: Height and width of every output pixel in latents.
    """

    rows: AxisLookup
    cols: AxisLookup
    row_weight: Tensor
    col_weight: Tensor
    cell: tuple[float, float]

    @classmethod
    def of(cls, rows: AxisLookup, cols: AxisLookup, cell: tuple[float, float]) -> 'Grid':
        """A grid of the look-ups of its rows and columns."""
        return cls(rows, cols, axis_weights(rows.rel), axis_weights(cols.rel), cell)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns, (R, C)."""
        return self.rows.index.shape[1], self.cols.index.shape[1]

    def window(self, rows: slice, cols: slice, origin: int = 0) -> 'Grid':
        """Some rows and columns; rows of latents are counted from `origin`."""
        return Grid(
            self.rows.window(rows.start, rows.stop, origin),
            self.cols.window(cols.start, cols.stop),
            self.row_weight[:, rows],
            self.col_weight[:, cols],
            self.cell,
        )

    def index(self, width: int) -> Tensor:
        """Which latent of an image of `width` columns each corner looks up, (I, R, J, C)."""
        return self.rows.index[:, :, None, None] * width + self.cols.index

    def rel(self) -> Tensor:
        """Relative coordinates of all corners and pixels, (I, R, J, C, 2)."""
        pairs = torch.broadcast_tensors(self.rows.rel[:, :, None, None], self.cols.rel)
        return torch.stack(pairs, -1)

    def weight(self) -> Tensor:
        """Weights of the local ensemble, (I, R, J, C)."""
        return self.row_weight[:, :, None, None] * self.col_weight

    def lookups(self, width: int) -> Lookups:
        """The same as queries of one image, row by row; latents lie in rows of `width`."""
        index, rel, weight = self.index(width), self.rel(), self.weight()
        flat = [x.permute(0, 2, 1, 3).flatten(2).flatten(0, 1) for x in (index, weight)]
        rel = rel.permute(0, 2, 1, 3, 4).flatten(2, 3).flatten(0, 1)
        cell = constant(self.cell, rel).expand(rel.shape[1], 2)
        return Lookups(flat[0], rel, flat[1], cell)


def by_chunks(
    query: Callable[[Tensor, Tensor], Tensor], coord: Tensor, cell: Tensor, chunk: int | None
) -> Tensor:
    """Ask for the colours of many queries, some at a time.

    Under autograd, where there are several chunks, each one's activations are computed again in the
    backward pass instead of being kept.

    Args:
        query: Maps coordinates and cells, (B, q, 2) each, to colours (B, q, out).
        coord: All coordinates, (B, Q, 2).
        cell: All cells, (B, Q, 2).
        chunk: Queries of each image at a time. None: all at once.

    Returns:
        All colours, (B, Q, out).
    """
    if chunk is None or coord.shape[1] <= chunk:
        return query(coord, cell)
    run = partial(checkpoint, query, use_reentrant=False) if torch.is_grad_enabled() else query
    pairs = zip(coord.split(chunk, 1), cell.split(chunk, 1), strict=True)
    return torch.cat([run(*pair) for pair in pairs], dim=1)


def by_latent(x: Tensor) -> Tensor:
    """Values of latents as a table: (B, C, h, w) -> (B, h, w, C), contiguous, at least float32."""
    wide = torch.promote_types(x.dtype, torch.float32)
    return x.permute(0, 2, 3, 1).to(wide).contiguous()


def sum_corners(hidden: Tensor, corners: Tensor, weight: Tensor) -> Tensor:
    """Weighted sums of rows of a matrix: the local ensemble.

    Weights are rounded to hidden's type, and divided by what they sum to then, so that their
    rounding moves a query between its corners' predictions and not away from them.

    Args:
        hidden: A row for each corner and query, (T N, D).
        corners: Which rows are a query's, (N, T), int64.
        weight: Their weights, (N, T).

    Returns:
        (N, D), at least float32.
    """
    wide = torch.promote_types(hidden.dtype, torch.float32)
    if weight.shape[1] == 1:
        return hidden.to(wide)
    rounded = weight.to(hidden.dtype)
    # One pass over hidden.
    total = F.embedding_bag(corners, hidden, mode='sum', per_sample_weights=rounded)
    if hidden.dtype == wide:
        return total
    return total.to(wide) / rounded.to(wide).sum(1, keepdim=True)


def by_query(x: Tensor) -> Tensor:
    """A grid's values by corner as values by query, (I, R, J, C) -> (R C, I J)."""
    return x.permute(1, 3, 0, 2).reshape(x.shape[1] * x.shape[3], -1)


@lru_cache(maxsize=16)
def corner_rows(i: int, r: int, j: int, c: int, device: torch.device) -> Tensor:
    """Which rows of a tile's hidden state, (I R J C, D), are a query's: (R C, I J), int64."""
    return by_query(torch.arange(i * r * j * c, device=device).view(i, r, j, c))
