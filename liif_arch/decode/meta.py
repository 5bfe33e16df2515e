"""MetaSR's decoder (Hu et al., CVPR 2019, as LIIF compares with it): plain, and as users run it.

For every query an MLP predicts a matrix that maps the nearest unfolded latent, 9C wide, to the
colour. The matrix is linear in the MLP's last hidden state g, so the colour is bilinear in latent
and g: what the latent contributes is one 3x3 convolution C -> out * (D + 1) on the low-resolution
grid, and a query costs a D-wide product per colour instead of a 9C x out matrix.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from liif_arch.coordinates import SHIFT_EPS
from liif_arch.decode.lookup import Grid, Lookups, by_latent
from liif_arch.decode.mlp import MLP
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


def meta_table(imnet: MLP, feat: Tensor, num_out: int) -> Tensor:
    """What each latent gives the colour for each hidden unit, and by itself.

    Args:
        imnet: See `query_meta_plain`.
        feat: Latent codes, (B, C, h, w).
        num_out: Channels of the colour.

    Returns:
        (B, h, w, out, D + 1), at least float32.
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
    return by_latent(table).unflatten(-1, (num_out, -1))


def contract(rows: Tensor, hidden: Tensor) -> Tensor:
    """Table rows (N, out, D + 1) and hidden states (N, D) to colours (N, out)."""
    return torch.matmul(rows[..., :-1], hidden.unsqueeze(-1)).squeeze(-1) + rows[..., -1]


def query_meta(imnet: MLP, table: Tensor, found: Lookups) -> Tensor:
    """`query_meta_plain`, differentiable.

    What follows the table is float32 in every precision: it is small.

    Args:
        imnet: See `query_meta_plain`.
        table: See `meta_table`.
        found: Look-ups of N queries.

    Returns:
        (N, out), in imnet's range.
    """
    with autocast(table.device, torch.float32):
        inputs = torch.cat([found.rel[0], found.cell[:, :1] / 2], dim=-1)
        picked = F.embedding(found.index[0], table.flatten(0, 2).flatten(1))
        rows = picked.unflatten(-1, table.shape[-2:])  # (N, out, D + 1)
        return contract(rows, _hidden(imnet, inputs, table.dtype))


def _hidden(imnet: MLP, inputs: Tensor, dtype: torch.dtype) -> Tensor:
    """The MLP's last hidden state, in its parameters' type and then in `dtype`."""
    return imnet.layers[:-1](inputs.to(imnet.layers[0].weight.dtype)).to(dtype)


def decode_meta_tile(imnet: MLP, table: Tensor, grid: Grid) -> Tensor:
    """Colours of one tile of every image, without gradients; a `TileDecoder` for an `MLP`.

    Args:
        imnet: See `query_meta_plain`.
        table: See `meta_table`.
        grid: Look-ups of the tile's R rows and C columns.

    Returns:
        (B, out, R, C), in imnet's range.
    """
    rel_y, rel_x = torch.broadcast_tensors(grid.rows.rel[0][:, None], grid.cols.rel[0])
    inverse_scale = torch.full_like(rel_y, grid.cell[0] / 2)
    inputs = torch.stack([rel_y, rel_x, inverse_scale], dim=-1)  # (R, C, 3)
    hidden = _hidden(imnet, inputs, table.dtype).flatten(0, 1)  # the same for every image
    index = grid.index(table.shape[2]).flatten()
    colours = []
    for image in table.flatten(1, 2):
        colours.append(contract(image.index_select(0, index), hidden))
    return torch.stack(colours).unflatten(1, grid.shape).permute(0, 3, 1, 2)
