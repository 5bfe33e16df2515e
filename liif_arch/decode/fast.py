"""LIIF's decoder at any coordinates, differentiable once: `decode.plain`, to float rounding.

One exception, on purpose: the weights where all four areas vanish, see `coordinates.axis_weights`.

Three things make it fast:

1. The first layer is linear in the unfolded feature, so over all latents it is one 3x3 convolution
   C -> D on the low-resolution grid (see `decode.first_layer`). The 9C-wide tensor never exists,
   and the layer costs h w evaluations instead of 4 Q.
2. The last layer is linear and the ensemble's weights sum to 1, so it runs once, on the weighted
   hidden state.
3. What lies between is one autograd function over pieces that stay in the cache, with its gradients
   written out.

Under autocast, matrix products run in its type; coordinates, the first layer's sum and the last
layer stay float32.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from liif_arch.decode.first_layer import FirstLayer
from liif_arch.decode.lookup import Lookups, sum_corners
from liif_arch.decode.mlp import MLP, linear_relu, product
from liif_arch.precision import autocast

# Bytes of one activation that stay in a CPU's cache together with what is made of them.
CACHED = 5 * 2**20


def query_fast(imnet: MLP, first: FirstLayer, table: Tensor, found: Lookups) -> Tensor:
    """Colours of queries, differentiable once.

    ReLU decoders are one autograd function; others, and those that are being exported, are
    autograd's own operations.

    Args:
        imnet: The decoder.
        first: Its first layer.
        table: The first layer's response to each latent, without cells, (B, h, w, D).
        found: Look-ups of N queries.

    Returns:
        What imnet predicts, (N, out), in imnet's range, at least float32.
    """
    dtype, found = imnet.dtype(table.device), found.to(table.dtype)
    w_rel, w_cell = (None if p is None else p.to(table.dtype) for p in (first.rel, first.cell))
    if imnet.activation != 'relu' or torch.compiler.is_compiling() or torch.jit.is_tracing():
        hidden = table.flatten(0, 2)[found.index] + found.rel @ w_rel.t()  # (T, N, D)
        if w_cell is not None:
            hidden = hidden + found.cell @ w_cell.t()
        return decode_corners(imnet.layers[1:], hidden, found.weight, dtype)
    params = [p for layer in imnet.layers[2::2] for p in (layer.weight, layer.bias)]
    with autocast(table.device, torch.float32):
        return Decode.apply(
            dtype,
            len(table),
            table.flatten(0, 2),
            found.index,
            found.rel,
            None if w_cell is None else found.cell,
            found.weight,
            w_rel,
            w_cell,
            *params,
        )


def decode_corners(
    layers: nn.Sequential, hidden: Tensor, weight: Tensor, dtype: torch.dtype
) -> Tensor:
    """A decoder's layers, the ensemble before the last one, in autograd's own operations: any
    activation, exportable.

    Args:
        layers: Of an `MLP`.
        hidden: What goes into the first of them, (T, N, D).
        weight: The ensemble's weights, (T, N).
        dtype: Of the matrix products of all layers but the last.

    Returns:
        (N, out), at least float32.
    """
    with autocast(hidden.device, dtype):
        hidden = layers[:-1](hidden)
    with autocast(hidden.device, torch.float32):
        total = (hidden.to(weight.dtype) * weight[..., None]).sum(0)
        return F.linear(total, *(p.to(total.dtype) for p in (layers[-1].weight, layers[-1].bias)))


class Decode(torch.autograd.Function):
    """The decoder from the first layer's table to colours, with what autograd would keep and move
    written out.

    On a CPU it works image by image, which is what its cache holds, and adds each one's gradients
    where they lie.

    Arguments:
        dtype: Of the matrix products of the layers between the first and the last.
        images: B.
        table: First-layer response of each latent, (B L, D), float32.
        index: Latent of each corner and query, (T, N), int64, N = B Q.
        rel: Relative coordinates, (T, N, 2).
        cell: Cells in latents, (N, 2); None without cell decoding.
        weight: The ensemble's weights, (T, N).
        w_rel, w_cell: The first layer's weights of the two, (D, 2); w_cell may be None.
        params: Weight (out, in) and bias of each layer behind the first.

    Returns:
        (N, out), float32.
    """

    @staticmethod
    def forward(ctx, dtype, images, table, index, rel, cell, weight, w_rel, w_cell, *params):
        *hidden, w_last, b_last = params
        hidden, w_last, b_last = (
            [p.to(dtype) for p in hidden],
            w_last.to(table.dtype),
            b_last.to(table.dtype),
        )
        colours, kept = table.new_empty(index.shape[1], len(w_last)), []
        ctx.pieces = _pieces(table, index, images, dtype)
        for _, q in ctx.pieces:
            picked = index[:, q]  # (T, n)
            x = table.index_select(0, picked.flatten()).addmm_(rel[:, q].flatten(0, 1), w_rel.t())
            if cell is not None:
                x.view(*picked.shape, -1).add_(cell[q] @ w_cell.t())
            acts = [x.relu_().to(dtype)]  # (T n, D) each
            for w, b in zip(hidden[::2], hidden[1::2], strict=True):
                acts.append(linear_relu(acts[-1], w, b))
            rows = torch.arange(picked.numel(), device=index.device).view(picked.shape)
            total = sum_corners(acts[-1], rows.t(), weight[:, q].t())
            torch.addmm(b_last, total, w_last.t(), out=colours[q])
            kept += [total, *acts]
        ctx.save_for_backward(
            table, index, rel, cell, weight, w_rel, w_cell, w_last, *hidden[::2], *kept
        )
        return colours

    @staticmethod
    def backward(ctx, grad):
        if torch.is_grad_enabled():  # create_graph
            raise RuntimeError('the fast decoder has no second derivatives; net.query_plain has.')
        table, index, rel, cell, weight, w_rel, w_cell, w_last, *rest = ctx.saved_tensors
        pieces, needed = ctx.pieces, ctx.needs_input_grad
        layers = (len(rest) - 2 * len(pieces)) // (len(pieces) + 1)
        weights, kept = rest[:layers], iter(rest[layers:])
        g_table = torch.zeros_like(table).view(
            pieces[-1][0] + 1, -1, table.shape[1]
        )  # by image, or all as one
        g_rel, g_cell, g_weight = (
            torch.empty_like(x) if need else None
            for x, need in zip((rel, cell, weight), needed[4:7], strict=True)
        )
        g_w_rel, g_w_cell, g_w_last = (
            None if w is None else torch.zeros_like(w) for w in (w_rel, w_cell, w_last)
        )
        g_hidden = [
            (torch.zeros_like(w, dtype=table.dtype), table.new_zeros(len(w))) for w in weights
        ]
        latents = g_table.shape[1]
        for image, q in pieces:
            total, *acts = (next(kept) for _ in range(layers + 2))
            corners, n = index[:, q].shape
            g_w_last.addmm_(grad[q].t(), total)
            g_total = grad[q] @ w_last  # (n, D)
            if g_weight is not None:
                g_weight[:, q] = torch.einsum(
                    'tnd,nd->tn', acts[-1].view(corners, n, -1).to(g_total.dtype), g_total
                )
            g = (g_total * weight[:, q, None]).flatten(0, 1).to(acts[-1].dtype)  # (T n, D)
            for k in reversed(range(layers)):
                g = relu_backward_(g, acts[k + 1])
                add_product_(g_hidden[k][0], g, acts[k])
                g_hidden[k][1].add_(g.sum(0, dtype=table.dtype))
                g = product(g, weights[k])
            g = relu_backward_(g, acts[0]).to(table.dtype)
            picked = index[:, q].flatten() - image * latents
            g_table[image].add_(
                torch.ops.aten.embedding_dense_backward(g, picked, latents, -1, False)
            )
            g_w_rel.addmm_(g.t(), rel[:, q].flatten(0, 1))
            if g_rel is not None:
                g_rel[:, q] = (g @ w_rel).view(corners, n, 2)
            if cell is not None:
                g = g.view(corners, n, -1).sum(0)
                g_w_cell.addmm_(g.t(), cell[q])
                if g_cell is not None:
                    g_cell[q] = g @ w_cell
        return (
            None,
            None,
            g_table.flatten(0, 1),
            None,
            g_rel,
            g_cell,
            g_weight,
            g_w_rel,
            g_w_cell,
            *[g for pair in g_hidden for g in pair],
            g_w_last,
            grad.sum(0),
        )


def _pieces(
    table: Tensor, index: Tensor, images: int, dtype: torch.dtype
) -> list[tuple[int, slice]]:
    """Which queries of index (T, B Q) are decoded at a time, and of which image; all at once where
    it is no CPU.
    """
    corners, queries = index.shape
    if table.device.type != 'cpu':
        return [(0, slice(0, queries))]
    own = queries // images
    step = -(-own // -(-corners * own * table.shape[1] * dtype.itemsize // CACHED))
    return [
        (image, slice(start, min(start + step, (image + 1) * own)))
        for image in range(images)
        for start in range(image * own, (image + 1) * own, step)
    ]


def add_product_(total: Tensor, a: Tensor, b: Tensor) -> None:
    """total += a.T @ b, (in, out) from (N, in) and (N, out) of a type that may be smaller than
    total's.
    """
    if a.dtype == total.dtype:
        total.addmm_(a.t(), b)
    else:
        total.add_(a.t() @ b)


def relu_backward_(grad: Tensor, out: Tensor) -> Tensor:
    """Zero grad, in place, where the ReLU's output was 0."""
    if (
        grad.dtype == torch.bfloat16 and grad.device.type == 'cpu'
    ):  # -out >> 15: all bits where out > 0; exact
        return (
            grad.view(torch.int16)
            .bitwise_and_(out.view(torch.int16).neg().bitwise_right_shift_(15))
            .view(torch.bfloat16)
        )
    return torch.ops.aten.threshold_backward.grad_input(grad, out, 0, grad_input=grad)
