"""MetaSR's decoder (Hu et al., CVPR 2019, as LIIF compares with it): plain, and as users run it.

For every query an MLP predicts a matrix that maps the nearest unfolded latent, 9C wide, to the
colour. The matrix is linear in the MLP's last hidden state g, so the colour is bilinear in latent
and g: what the latent contributes is one 3x3 convolution C -> out * (D + 1) on the low-resolution
grid, and a query costs a D-wide product per colour instead of a 9C x out matrix.
"""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from liif_arch.coordinates import SHIFT_EPS, AxisLookup, corner_lookup
from liif_arch.decode.blocks import render_blocks
from liif_arch.decode.plain import look_up, unfold_features
from liif_arch.precision import autocast


def query_meta_plain(imnet: nn.Module, feat: Tensor, coord: Tensor, cell: Tensor) -> Tensor:
    """Colours at coordinates, as the comparison in LIIF defines MetaSR.

    Args:
        imnet: Maps (rel_y, rel_x, 1 / scale) to the 9C x out matrix, row-major.
        feat: Latent codes, (B, C, h, w).
        coord: Query pixel centres, (B, Q, 2), (y, x) in [-1, 1].
        cell: Height and width of the query pixel in coordinates, (B, Q, 2).

    Returns:
        (B, Q, out), in imnet's range.
    """
    b, _, h, w = feat.shape
    extent = coord.new_tensor([h, w])
    latents = unfold_features(feat)
    # Top-left corners of the latents' cells.
    axes = [-1 + 2 * torch.arange(n, dtype=feat.dtype, device=feat.device) / n for n in (h, w)]
    corners = torch.stack(torch.meshgrid(*axes, indexing='ij')).expand(b, 2, h, w)
    corner = coord - cell / 2
    shifted = (corner + SHIFT_EPS).clamp(-1 + SHIFT_EPS, 1 - SHIFT_EPS)
    latent = look_up(latents, shifted)  # (B, Q, 9C)
    rel = (corner - look_up(corners, shifted)) * extent / 2
    matrix = imnet(torch.cat([rel, cell[..., :1] * h / 2], dim=-1))  # (B, Q, 9C * out)
    return torch.einsum('bqf,bqfk->bqk', latent, matrix.unflatten(-1, (latent.shape[-1], -1)))


def meta_table(imnet: nn.Module, feat: Tensor, num_out: int) -> Tensor:
    """What each latent gives the colour per hidden unit, and by itself: (B, C, h, w) -> (B, h, w,
    out, D + 1).
    """
    last = imnet.layers[-1]
    weight = torch.cat([last.weight, last.bias[:, None]], dim=1)  # (9C * out, D + 1)
    kernel = (
        weight.view(feat.shape[1], 9, num_out, -1)
        .permute(2, 3, 0, 1)
        .flatten(0, 1)
        .unflatten(-1, (3, 3))
    )
    table = F.conv2d(feat, kernel.to(feat.dtype), padding=1)  # (B, out * (D + 1), h, w)
    table = table.permute(0, 2, 3, 1).to(torch.promote_types(table.dtype, torch.float32))
    return table.contiguous().unflatten(-1, (num_out, -1))


def contract(rows: Tensor, hidden: Tensor) -> Tensor:
    """Table rows (N, out, D + 1) and hidden states (N, D) to colours (N, out)."""
    return torch.matmul(rows[..., :-1], hidden.unsqueeze(-1)).squeeze(-1) + rows[..., -1]


def query_meta(
    imnet: nn.Module,
    feat: Tensor,
    coord: Tensor,
    cell: Tensor,
    num_out: int,
    chunk: int | None = None,
) -> Tensor:
    """`query_meta_plain`, differentiable, `chunk` queries per image at a time (see
    `decode.fast.query_fast`).
    """
    table = meta_table(imnet, feat, num_out)
    if chunk is None or coord.shape[1] <= chunk:
        return _query_table(imnet, table, coord, cell)
    run = (
        partial(checkpoint, _query_table, use_reentrant=False)
        if torch.is_grad_enabled()
        else _query_table
    )
    pieces = [
        run(imnet, table, c, k)
        for c, k in zip(coord.split(chunk, 1), cell.split(chunk, 1), strict=True)
    ]
    return torch.cat(pieces, dim=1)


def _query_table(imnet: nn.Module, table: Tensor, coord: Tensor, cell: Tensor) -> Tensor:
    """What follows the table, float32 in every precision: it is small."""
    with autocast(table.device, torch.float32):
        return _decode(imnet, table, coord, cell)


def _decode(imnet: nn.Module, table: Tensor, coord: Tensor, cell: Tensor) -> Tensor:
    b, h, w = table.shape[:3]
    rows, cols = (
        corner_lookup(coord[..., i], cell[..., i], n) for i, n in ((0, h), (1, w))
    )  # (1, B, Q)
    inputs = torch.stack([rows.rel[0], cols.rel[0], cell[..., 0] * h / 2], dim=-1)
    index = (
        rows.index[0] * w
        + cols.index[0]
        + (torch.arange(b, device=coord.device) * (h * w))[:, None]
    )
    picked = F.embedding(index, table.flatten(0, 2).flatten(1)).unflatten(
        -1, table.shape[-2:]
    )  # (B, Q, out, D + 1)
    return contract(picked, _hidden(imnet, inputs, table.dtype))


def _hidden(imnet: nn.Module, inputs: Tensor, dtype: torch.dtype) -> Tensor:
    """The MLP's last hidden state, in its parameters' type and then in `dtype`."""
    return imnet.layers[:-1](inputs.to(imnet.layers[0].weight.dtype)).to(dtype)


def render_meta(
    imnet: nn.Module,
    table: Tensor,
    rows: AxisLookup,
    cols: AxisLookup,
    inverse_scale: float,
    chunk: int,
    progress: Callable[[int], None] | None = None,
) -> Tensor:
    """Colours on the regular grid rows x cols, without gradients: (B, h, w, out, D + 1) -> (B, out,
    H, W).
    """
    b, _, w, num_out, _ = table.shape
    height, width = rows.index.shape[1], cols.index.shape[1]
    flat = table.flatten(1, 2)
    out = table.new_empty(b, num_out, height, width)
    step_x = min(width, chunk)
    step_y = max(1, chunk // step_x)

    def render(images: slice, y: slice, x: slice) -> Tensor:
        r, c = rows.window(y.start, y.stop), cols.window(x.start, x.stop)
        rel_y, rel_x = torch.broadcast_tensors(r.rel[0][:, None], c.rel[0][None])
        inputs = torch.stack([rel_y, rel_x, torch.full_like(rel_y, inverse_scale)], dim=-1)
        hidden = _hidden(imnet, inputs, table.dtype).flatten(0, 1)  # the same for every image
        index = (r.index[0][:, None] * w + c.index[0][None]).flatten()
        colours = [contract(image.index_select(0, index), hidden) for image in flat[images]]
        return torch.stack(colours).unflatten(1, rel_y.shape).permute(0, 3, 1, 2)

    return render_blocks(render, out, (step_y, step_x), progress, images_at_once=b)
