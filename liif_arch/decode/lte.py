"""LTE's decoder (Local Texture Estimator, Lee and Jin, CVPR 2022): plain, and as users run it.

Of every latent the encoder's features give D amplitudes and D/2 pairs of frequencies, once per
image. A query's distance from a latent then makes D/2 waves, whose cosines and sines the amplitudes
weigh; an MLP turns them into a colour, to which the input image, bilinear at the query, is added.

`codes` are [amplitude (D), frequency (D: y and x in turn), image (out)] of each latent, D = imnet's
input width. Waves, weights, the image and the last layer are float32 in every precision.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from liif_arch.decode.fast import decode_corners
from liif_arch.decode.lookup import Grid, Lookups, by_query, corner_rows, sum_corners
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


def query_lte(imnet: MLP, phase: nn.Linear, table: Tensor, found: Lookups) -> Tensor:
    """`query_lte_plain`, differentiable, with the last layer behind the ensemble.

    Args:
        imnet, phase: See `query_lte_plain`.
        table: Codes of each latent, (B, h, w, 2D + out), at least float32.
        found: Look-ups of N queries, of whose cells none is too small.

    Returns:
        (N, out), in the image's range, at least float32.
    """
    if table.device.type != 'cpu' or torch.compiler.is_compiling():
        return _query_rows(imnet, phase, table, found)
    # On a CPU image by image, which is what its cache holds.
    colours = [_query_rows(imnet, phase, *image) for image in found.by_image(table)]
    return torch.cat(colours)


def _query_rows(imnet: MLP, phase: nn.Linear, table: Tensor, found: Lookups) -> Tensor:
    found = found.to(table.dtype)
    phases = found.cell @ phase.weight.t().to(table.dtype)  # (N, D/2)
    picked = F.embedding(found.index, table.flatten(0, 2))  # (T, N, 2D + out)
    amplitude, frequency, image = _split(picked, phase.out_features)
    # Bilinear weights are the ensemble's, and both corners beyond a border find its latent: the
    # image joins the sum.
    skip = (image * found.weight[..., None]).sum(0)
    hidden = decoder_input(amplitude, frequency, found.rel, phases)
    return decode_corners(imnet.layers, hidden, found.weight, imnet.dtype(table.device)) + skip


def decode_lte_tile(weights: Weights, phases: Tensor, table: Tensor, grid: Grid) -> Tensor:
    """Colours of one tile, without gradients; a `TileDecoder` once weights and phases are given.

    Args:
        weights: All of imnet's layers.
        phases: Of the cell of all pixels, (D/2,), float32.
        table: Codes of each latent of one image, (1, h, w, 2D + out).
        grid: Look-ups of the tile's R rows and C columns.

    Returns:
        (1, out, R, C), in the image's range.
    """
    index, weight = grid.index(table.shape[2]), grid.weight()  # (I, R, J, C)
    picked = table.flatten(0, 2).index_select(0, index.flatten())  # (I R J C, 2D + out)
    amplitude, frequency, image = _split(picked, len(phases))
    rel = grid.rel().view(-1, 2)
    hidden = weights.run_hidden(decoder_input(amplitude, frequency, rel, phases))
    order, weight = corner_rows(*index.shape, weight.device), by_query(weight)
    colours = F.linear(sum_corners(hidden, order, weight), *weights.last)
    skip = sum_corners(image.contiguous(), order, weight)
    return (colours + skip).view(1, *grid.shape, -1).permute(0, 3, 1, 2)


def _split(codes: Tensor, waves: int) -> tuple[Tensor, ...]:
    """Amplitude, frequency and image of codes, (..., 2D + out), of D/2 waves."""
    return codes.split([2 * waves, 2 * waves, codes.shape[-1] - 4 * waves], dim=-1)
