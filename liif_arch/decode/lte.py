"""LTE's decoder (Local Texture Estimator, Lee and Jin, CVPR 2022): plain, and as users run it.

Of every latent the encoder's features give D amplitudes and D/2 pairs of frequencies, once per
image. A query's distance from a latent then makes D/2 waves, whose cosines and sines the amplitudes
weigh; an MLP turns them into a colour, to which the input image, bilinear at the query, is added.

`codes` are [amplitude (D), frequency (D: y and x in turn), image (out)] of each latent, D = imnet's
input width. Waves, weights, the image and the last layer are float32 in every precision.
"""

import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from liif_arch.coordinates import AxisLookup, axis_weights
from liif_arch.decode.blocks import render_blocks
from liif_arch.decode.fast import Corners, by_chunks, decode_corners, sum_corners
from liif_arch.decode.mlp import MLP, Weights
from liif_arch.decode.plain import corners, ensemble, look_up


def query_lte_plain(
    imnet: nn.Module, phase: nn.Module, codes: Tensor, coord: Tensor, cell: Tensor
) -> Tensor:
    """Colours at continuous coordinates, step by step.

    Args:
        imnet: Decoder, maps (..., D) to (..., out).
        phase: Maps a cell in latents, (..., 2), to the waves' phases, (..., D/2).
        codes: See above, (B, 2D + out, h, w).
        coord: Query pixel centres, (B, Q, 2), (y, x) in [-1, 1].
        cell: Height and width of the query pixel in coordinates, (B, Q, 2).

    Returns:
        (B, Q, out), in the image's range.
    """
    size, width = tuple(codes.shape[-2:]), phase.out_features
    amplitude, frequency, image = codes.split(
        [2 * width, 2 * width, codes.shape[1] - 4 * width], dim=1
    )
    colours, areas = [], []
    for shifted, rel, area in corners(coord, size, local_ensemble=True):
        pairs = look_up(frequency, shifted).unflatten(-1, (width, 2))  # (B, Q, D/2, 2), (y, x)
        u = math.pi * ((pairs * rel.unsqueeze(-2)).sum(-1) + phase(cell * coord.new_tensor(size)))
        waves = torch.cat([torch.cos(u), torch.sin(u)], dim=-1)
        colours.append(imnet(look_up(amplitude, shifted) * waves))
        areas.append(area)
    skip = F.grid_sample(
        image,
        coord.flip(-1).unsqueeze(1),
        mode='bilinear',
        padding_mode='border',
        align_corners=False,
    )  # (B, out, 1, Q)
    return ensemble(colours, areas) + skip[:, :, 0].transpose(1, 2)


def decoder_input(amplitude: Tensor, frequency: Tensor, rel: Tensor, phase: Tensor) -> Tensor:
    """Amplitudes times waves.

    Args:
        amplitude, frequency: Of each look-up, (..., D) each, float32.
        rel: Relative coordinates, (..., 2), (y, x).
        phase: Phases, that (..., D/2) broadcasts with.

    Returns:
        (..., D).
    """
    y, x = frequency.unflatten(-1, (-1, 2)).unbind(-1)
    u = (y * rel[..., :1] + x * rel[..., 1:] + phase) * math.pi
    return amplitude * torch.cat([torch.cos(u), torch.sin(u)], dim=-1)


def query_lte(
    imnet: MLP,
    phase: nn.Linear,
    codes: Tensor,
    coord: Tensor,
    cell: Tensor,
    chunk: int | None = None,
) -> Tensor:
    """`query_lte_plain`, differentiable, the last layer behind the ensemble; for `chunk` see
    `by_chunks`.
    """
    rows = (
        codes.permute(0, 2, 3, 1).to(torch.promote_types(codes.dtype, torch.float32)).contiguous()
    )
    return by_chunks(partial(_query_images, imnet, phase, rows), coord, cell, chunk)


def _query_images(
    imnet: MLP, phase: nn.Linear, rows: Tensor, coord: Tensor, cell: Tensor
) -> Tensor:
    """On a CPU image by image, which is what its cache holds."""
    if rows.device.type != 'cpu' or torch.compiler.is_compiling():
        return _query_rows(imnet, phase, rows, coord, cell)
    images = zip(rows.split(1), coord.split(1), cell.split(1), strict=True)
    return torch.cat([_query_rows(imnet, phase, *image) for image in images])


def _query_rows(imnet: MLP, phase: nn.Linear, rows: Tensor, coord: Tensor, cell: Tensor) -> Tensor:
    b, h, w = rows.shape[:3]
    found = Corners.of(coord, cell, (h, w), local_ensemble=True).to(rows.dtype)
    phases = found.cell @ phase.weight.t().to(rows.dtype)  # (N, D/2)
    picked = F.embedding(found.index, rows.flatten(0, 2))  # (T, N, 2D + out)
    amplitude, frequency, image = _split(picked, phase.out_features)
    # Bilinear weights are the ensemble's, and both corners beyond a border find its latent: the
    # image joins the sum.
    skip = (image * found.weight[..., None]).sum(0)
    hidden = decoder_input(amplitude, frequency, found.rel, phases)
    return (
        decode_corners(imnet.layers, hidden, found.weight, imnet.dtype(rows.device)) + skip
    ).unflatten(0, (b, -1))


def render_lte(
    weights: Weights,
    phases: Tensor,
    codes: Tensor,
    rows: AxisLookup,
    cols: AxisLookup,
    chunk: int,
    progress: Callable[[int], None] | None = None,
) -> Tensor:
    """Colours on the regular grid rows x cols, without gradients.

    Args:
        weights: All of imnet's layers.
        phases: Of the image's cell, (D/2,), float32.
        codes: (B, 2D + out, h, w).
        rows, cols: Look-ups of the H output rows and W output columns.
        chunk: Output pixels decoded at a time.
        progress: Called with the number of output pixels after each of them.

    Returns:
        (B, out, H, W), in the image's range.
    """
    table = (
        codes.permute(0, 2, 3, 1).to(torch.promote_types(codes.dtype, torch.float32)).contiguous()
    )
    height, width = rows.index.shape[1], cols.index.shape[1]
    out = table.new_empty(len(table), len(weights.last[0]), height, width)
    step_x = min(width, max(64, chunk // 16))
    step_y = max(1, chunk // step_x)

    def render(images: slice, y: slice, x: slice) -> Tensor:
        block = rows.window(y.start, y.stop), cols.window(x.start, x.stop)
        return _render_block(weights, phases, table[images.start], *block)[None]

    return render_blocks(render, out, (step_y, step_x), progress)


def _split(codes: Tensor, waves: int) -> tuple[Tensor, ...]:
    """Amplitude, frequency and image of codes, (..., 2D + out), of D/2 waves."""
    return codes.split([2 * waves, 2 * waves, codes.shape[-1] - 4 * waves], dim=-1)


def _render_block(
    weights: Weights, phases: Tensor, table: Tensor, rows: AxisLookup, cols: AxisLookup
) -> Tensor:
    """One block: table (h, w, 2D + out) -> (out, R, C). Corner signs are I for rows, J for
    columns.
    """
    (i, r), (j, c) = rows.index.shape, cols.index.shape
    index = rows.index[:, :, None, None] * table.shape[1] + cols.index  # (I, R, J, C)
    picked = table.flatten(0, 1).index_select(0, index.flatten())  # (I R J C, 2D + out)
    rel = torch.stack(torch.broadcast_tensors(rows.rel[:, :, None, None], cols.rel), -1).view(-1, 2)
    amplitude, frequency, image = _split(picked, len(phases))
    hidden = weights.run_hidden(decoder_input(amplitude, frequency, rel, phases))
    weight = axis_weights(rows.rel)[:, :, None, None] * axis_weights(cols.rel)  # (I, R, J, C)
    order = torch.arange(i * r * j * c, device=weight.device).view(i, r, j, c)
    order, weight = (x.permute(1, 3, 0, 2).reshape(r * c, i * j) for x in (order, weight))
    colours = F.linear(sum_corners(hidden, order, weight), *weights.last)
    skip = sum_corners(image.contiguous(), order, weight)
    return (colours + skip).view(r, c, -1).permute(2, 0, 1)
