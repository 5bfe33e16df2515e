"""LIIF's decoder as users run it: the same function as `decode.plain`, to float rounding, at a fraction of the work.

One exception, on purpose: the weights where all four areas vanish, see `coordinates.axis_weights`.

1. The first layer is linear in the unfolded feature, so over all latents it is one 3x3 convolution C -> D on the
   low-resolution grid. The 9C-wide tensor never exists, and the layer costs h*w evaluations instead of 4*Q.
2. On a regular grid the cell is constant (it joins the bias), the relative coordinate is a row term plus a column
   term, and the four look-ups are two row indices times two column indices.
3. The last layer is linear and the ensemble's weights sum to 1, so it runs once, on the weighted hidden state.
"""
from collections.abc import Callable
from functools import partial
from itertools import product
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from liif_arch.coordinates import AxisLookup, axis_lookup, axis_weights


class FirstLayer(NamedTuple):
    """The decoder's first linear layer, split by input.

    Attributes:
        feature: Convolution kernel over the latents, (D, C, k, k), k = 3 with feature unfolding, else 1.
        rel: Weight of the relative coordinate, (D, 2).
        cell: Weight of the cell, (D, 2); None without cell decoding.
        bias: (D,).
    """
    feature: Tensor
    rel: Tensor
    cell: Tensor | None
    bias: Tensor

    @classmethod
    def split(cls, linear: nn.Linear, num_feat: int, feat_unfold: bool, cell_decode: bool) -> 'FirstLayer':
        """Split imnet's first layer, whose input is [feature, rel_y, rel_x, cell_y, cell_x]."""
        k = 3 if feat_unfold else 1
        feature, rel, cell = linear.weight.split([num_feat * k * k, 2, 2 if cell_decode else 0], dim=1)
        return cls(feature.reshape(-1, num_feat, k, k), rel, cell if cell_decode else None, linear.bias)

    def table(self, feat: Tensor, bias: Tensor) -> Tensor:
        """The layer's response to each latent, (B, C, h, w) -> (B, h, w, D)."""
        out = F.conv2d(feat, self.feature, bias, padding=self.feature.shape[-1] // 2)
        return out.permute(0, 2, 3, 1).contiguous()


def query_fast(imnet: nn.Module, feat: Tensor, coord: Tensor, cell: Tensor, local_ensemble: bool = True,
               feat_unfold: bool = True, cell_decode: bool = True, chunk: int | None = None) -> Tensor:
    """`decode.plain.query_plain`, differentiable, for imnet an `MLP`.

    `chunk` queries per image are decoded at a time (None: all at once); under autograd, where there are several
    chunks, each one's activations are computed again in the backward pass instead of being kept.
    """
    first = FirstLayer.split(imnet.layers[0], feat.shape[1], feat_unfold, cell_decode)
    table = first.table(feat, first.bias)
    if chunk is None or coord.shape[1] <= chunk:
        return _query_table(imnet, first, table, coord, cell, local_ensemble)
    run = partial(checkpoint, _query_table, use_reentrant=False) if torch.is_grad_enabled() else _query_table
    pieces = [run(imnet, first, table, c, k, local_ensemble)
              for c, k in zip(coord.split(chunk, 1), cell.split(chunk, 1), strict=True)]
    return torch.cat(pieces, dim=1)


def _query_table(imnet: nn.Module, first: FirstLayer, table: Tensor, coord: Tensor, cell: Tensor,
                 local_ensemble: bool) -> Tensor:
    b, h, w, d = table.shape
    rows, cols = (axis_lookup(coord[..., i], n, local_ensemble) for i, n in ((0, h), (1, w)))  # (2 or 1, B, Q)
    index = (rows.index[:, None] * w + cols.index[None]).flatten(0, 1)  # (T, B, Q)
    rel_y, rel_x = (r.flatten(0, 1) for r in torch.broadcast_tensors(rows.rel[:, None], cols.rel[None]))
    index = index + (torch.arange(b, device=index.device) * (h * w))[:, None]
    # The per-query terms of the first layer: rel differs per corner, the cell does not.
    hidden = F.embedding(index, table.view(-1, d))  # (T, B, Q, D)
    hidden = hidden + F.linear(torch.stack([rel_y, rel_x], dim=-1).to(table.dtype), first.rel)
    if first.cell is not None:
        extent = cell.new_tensor([h, w])
        hidden = hidden + F.linear((cell * extent).to(table.dtype), first.cell)
    hidden = imnet.layers[1:-1](hidden)
    weight = (axis_weights(rows.rel)[:, None] * axis_weights(cols.rel)[None]).flatten(0, 1)  # (T, B, Q)
    return imnet.layers[-1](torch.einsum('tbqd,tbq->bqd', hidden, weight.to(hidden.dtype)))


def cell_bias(first: FirstLayer, cell: tuple[float, float]) -> Tensor:
    """The first layer's bias with the constant term of a cell, in latents (h * 2/H, w * 2/W), folded in: (D,)."""
    if first.cell is None:
        return first.bias
    return first.bias + first.cell @ first.cell.new_tensor(cell)


def render_fast(imnet: nn.Module, first: FirstLayer, table: Tensor, rows: AxisLookup, cols: AxisLookup,
                chunk: int, progress: Callable[[int], None] | None = None) -> Tensor:
    """Colours on the regular grid rows x cols, without gradients.

    Args:
        imnet: The decoder's `MLP`.
        first: Its first layer, split.
        table: First-layer response of each latent, cell folded in, (B, h, w, D).
        rows: Look-ups of the H output rows in the table's h rows.
        cols: Look-ups of the W output columns in the table's w columns.
        chunk: Output pixels decoded at a time (each holds about four D-wide vectors).
        progress: Called with the number of output pixels after each of them.

    Returns:
        (B, out, H, W), in imnet's range.
    """
    height, width = rows.index.shape[1], cols.index.shape[1]
    out = table.new_empty(table.shape[0], imnet.layers[-1].out_features, height, width)
    step_x = min(width, chunk)
    step_y = max(1, chunk // step_x)
    for image, canvas in zip(table, out, strict=True):
        for y in range(0, height, step_y):
            for x in range(0, width, step_x):
                piece = _render_block(imnet, first, image, rows.window(y, y + step_y), cols.window(x, x + step_x))
                canvas[:, y:y + step_y, x:x + step_x] = piece
                if progress:
                    progress(piece.shape[1] * piece.shape[2])
    return out


def _render_block(imnet: nn.Module, first: FirstLayer, table: Tensor, rows: AxisLookup, cols: AxisLookup) -> Tensor:
    """One block of `render_fast`: table (h, w, D) -> (out, rows, cols)."""
    w, d = table.shape[1:]
    flat = table.view(-1, d)
    row_terms = rows.rel.to(table.dtype)[..., None] * first.rel[:, 0]  # (1 or 2, rows, D)
    col_terms = cols.rel.to(table.dtype)[..., None] * first.rel[:, 1]  # (1 or 2, cols, D)
    row_weights, col_weights = (axis_weights(axis.rel).to(table.dtype) for axis in (rows, cols))
    total = None
    for i, j in product(range(len(rows.index)), range(len(cols.index))):  # the corners
        index = rows.index[i][:, None] * w + cols.index[j][None]  # (rows, cols)
        hidden = flat.index_select(0, index.flatten()).view(*index.shape, d)
        hidden += row_terms[i][:, None]
        hidden += col_terms[j][None]
        weight = row_weights[i][:, None] * col_weights[j]
        hidden = _hidden_layers(imnet, hidden.flatten(0, 1)).mul_(weight.reshape(-1, 1))
        total = hidden if total is None else total.add_(hidden)
    return imnet.layers[-1](total).view(*weight.shape, -1).permute(2, 0, 1)


def _hidden_layers(imnet: nn.Module, hidden: Tensor) -> Tensor:
    """imnet's layers between the first and the last linear one, activations in place; hidden is (N, D)."""
    for layer in imnet.layers[1:-1]:
        hidden = hidden.relu_() if isinstance(layer, nn.ReLU) else layer(hidden)
    return hidden
