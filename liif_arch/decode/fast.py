"""LIIF's decoder at any coordinates, differentiable once: the same function as `decode.plain`, to float rounding.

One exception, on purpose: the weights where all four areas vanish, see `coordinates.axis_weights`.

1. The first layer is linear in the unfolded feature, so over all latents it is one 3x3 convolution C -> D on the
   low-resolution grid. The 9C-wide tensor never exists, and the layer costs h*w evaluations instead of 4*Q.
2. The last layer is linear and the ensemble's weights sum to 1, so it runs once, on the weighted hidden state.
3. What lies between is one autograd function over pieces that stay in the cache, its gradients written out.

Under autocast matrix products run in its type; coordinates, the first layer's sum and the last layer stay float32.
"""
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

from liif_arch.coordinates import axis_lookup, axis_weights
from liif_arch.precision import ambient_dtype, autocast


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
        """The layer's response to each latent, (B, C, h, w) -> (B, h, w, D), at least float32."""
        out = F.conv2d(feat, self.feature.to(feat.dtype), bias.to(feat.dtype), padding=self.feature.shape[-1] // 2)
        return out.permute(0, 2, 3, 1).to(torch.promote_types(out.dtype, torch.float32)).contiguous()


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
    b, h, w, _ = table.shape
    last = imnet.layers[-1]
    if coord.numel() == 0:
        return table.new_zeros(*coord.shape[:2], last.out_features)
    own = last.weight.dtype
    dtype = ambient_dtype(table.device) if own == torch.float32 else own
    rows, cols = (axis_lookup(coord[..., i], n, local_ensemble) for i, n in ((0, h), (1, w)))  # (2 or 1, B, Q)
    index = (rows.index[:, None] * w + cols.index[None]).flatten(0, 1)  # (T, B, Q)
    rel = torch.stack(torch.broadcast_tensors(rows.rel[:, None], cols.rel[None]), -1).flatten(0, 1)  # (T, B, Q, 2)
    weight = (axis_weights(rows.rel)[:, None] * axis_weights(cols.rel)[None]).flatten(0, 1)  # (T, B, Q)
    rel, weight = rel.to(table.dtype), weight.to(table.dtype)
    extent = None  # cells in latents, (B, Q, 2)
    if first.cell is not None:
        extent = torch.stack([cell[..., 0] * h, cell[..., 1] * w], dim=-1).to(table.dtype)
    w_rel, w_cell = (None if p is None else p.to(table.dtype) for p in (first.rel, first.cell))
    hidden = [p for layer in imnet.layers[2:-1:2] for p in (layer.weight, layer.bias)]
    on_cpu = table.device.type == 'cpu'
    with autocast(table.device, torch.float32):
        # On a CPU image by image, which is what its cache holds. (Slices would fill a whole gradient with zeros each.)
        pieces = [slice(i, i + 1) for i in range(b)] if on_cpu else [slice(0, b)]
        tables = table.flatten(0, 2).split(h * w if on_cpu else b * h * w)
        totals = [HiddenState.apply(dtype, latents, _flat_index(index[:, p], h * w),
                                    rel[:, p].flatten(1, 2), None if extent is None else extent[p].flatten(0, 1),
                                    weight[:, p].flatten(1), w_rel, w_cell, *hidden)
                  for p, latents in zip(pieces, tables, strict=True)]
        bias = last.bias.to(table.dtype)
        return F.linear(torch.cat(totals), last.weight.to(table.dtype), bias).view(b, -1, last.out_features)


def _flat_index(index: Tensor, latents: int) -> Tensor:
    """Latents counted through the images of a batch: (T, B, Q) -> (T, B Q)."""
    return (index + torch.arange(index.shape[1], device=index.device)[:, None] * latents).flatten(1)


class HiddenState(torch.autograd.Function):
    """The decoder from table to weighted last hidden state, with what autograd would keep and move written out.

    Arguments:
        dtype: Of the matrix products of the layers between the first and the last.
        table: First-layer response of each latent, (L, D), float32.
        index: Latent of each corner and query, (T, N), int64.
        rel: Relative coordinates, (T, N, 2).
        cell: Cells in latents, (N, 2); None without cell decoding.
        weight: The ensemble's weights, (T, N).
        w_rel, w_cell: The first layer's weights of the two, (D, 2); w_cell may be None.
        params: Weight (out, in) and bias of each layer between the first and the last.

    Returns:
        (N, D), float32.
    """

    @staticmethod
    def forward(ctx, dtype, table, index, rel, cell, weight, w_rel, w_cell, *params):
        t, n = index.shape
        hidden = table.index_select(0, index.flatten()).addmm_(rel.flatten(0, 1), w_rel.t())
        if cell is not None:
            hidden.view(t, n, -1).add_(cell @ w_cell.t())
        acts = [hidden.relu_().to(dtype)]  # (T N, D) each
        params = [p.to(dtype) for p in params]
        for w, b in zip(params[::2], params[1::2], strict=True):
            acts.append(linear_relu(acts[-1], w, b))
        ctx.save_for_backward(table, index, rel, cell, weight, w_rel, w_cell, *params[::2], *acts)
        return sum_corners(acts[-1], torch.arange(t * n, device=index.device).view(t, n).t(), weight.t())

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        table, index, rel, cell, weight, w_rel, w_cell, *rest = ctx.saved_tensors
        weights, acts = rest[:len(rest) // 2], rest[len(rest) // 2:]
        t, n = index.shape
        g_weight = None
        if ctx.needs_input_grad[5]:
            g_weight = torch.einsum('tnd,nd->tn', acts[-1].view(t, n, -1).to(grad.dtype), grad)
        g = (grad * weight[..., None]).flatten(0, 1).to(acts[-1].dtype)  # (T N, D)
        g_params = []
        for w, before, after in zip(reversed(weights), reversed(acts[:-1]), reversed(acts[1:]), strict=True):
            g = relu_backward_(g, after)
            g_params = [(g.t() @ before).to(table.dtype), g.sum(0, dtype=table.dtype), *g_params]
            g = g @ w
        g = relu_backward_(g, acts[0]).to(table.dtype)
        g_table = torch.ops.aten.embedding_dense_backward(g, index.flatten(), len(table), -1, False)
        g_w_rel = (rel.flatten(0, 1).t() @ g).t()
        g_rel = (g @ w_rel).view(rel.shape) if ctx.needs_input_grad[3] else None
        g_cell = g_w_cell = None
        if cell is not None:
            g = g.view(t, n, -1).sum(0)
            g_w_cell = (cell.t() @ g).t()
            g_cell = g @ w_cell if ctx.needs_input_grad[4] else None
        return None, g_table, None, g_rel, g_cell, g_weight, g_w_rel, g_w_cell, *g_params


def sum_corners(hidden: Tensor, corners: Tensor, weight: Tensor) -> Tensor:
    """Weighted sum of rows of hidden: (T N, D), corners and weight (N, T) -> (N, D), at least float32.

    Weights are rounded to hidden's type, and divided by what they sum to then, so that their rounding moves a query
    between its corners' predictions and not away from them.
    """
    wide = torch.promote_types(hidden.dtype, torch.float32)
    if weight.shape[1] == 1:
        return hidden.to(wide)
    rounded = weight.to(hidden.dtype)
    total = F.embedding_bag(corners, hidden, mode='sum', per_sample_weights=rounded)  # one pass over hidden
    return total if hidden.dtype == wide else total.to(wide) / rounded.to(wide).sum(1, keepdim=True)


def linear_relu(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """relu(x @ weight.T + bias), (N, in) -> (N, out); on CPUs with oneDNN in one pass over the result."""
    fused = x.device.type == 'cpu' and x.dtype in (torch.float32, torch.bfloat16)
    if fused and hasattr(torch.ops.mkldnn, '_linear_pointwise'):
        return torch.ops.mkldnn._linear_pointwise(x, weight, bias, 'relu', [], '')
    return F.linear(x, weight, bias).relu_()


def relu_backward_(grad: Tensor, out: Tensor) -> Tensor:
    """Zero grad where the ReLU's output was 0, in place where that is faster."""
    if grad.dtype == torch.bfloat16 and grad.device.type == 'cpu':  # -out >> 15: all bits where out > 0; exact
        return grad.view(torch.int16).bitwise_and_(out.view(torch.int16).neg().bitwise_right_shift_(15)).view(
            torch.bfloat16)
    return torch.ops.aten.threshold_backward(grad, out, 0)
