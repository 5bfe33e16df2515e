"""LIIF's decoder written out as in the paper: the reference that the fast form is compared with.

Every step stands alone and nothing is computed once that the equations compute per query. Users run
`decode.fast`.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from liif_arch.coordinates import AREA_EPS, CORNERS, SHIFT_EPS, make_coord


def unfold_features(feat: Tensor) -> Tensor:
    """Each latent's 3x3 neighbourhood (eq. 3), zero-padded, channel-major.

    Args:
        feat: (B, C, h, w).

    Returns:
        (B, 9C, h, w).
    """
    b, c, h, w = feat.shape
    return F.unfold(feat, 3, padding=1).view(b, c * 9, h, w)


def look_up(grid: Tensor, coord: Tensor) -> Tensor:
    """Nearest value of grid (B, C, h, w) at coord (B, Q, 2), (y, x): (B, Q, C)."""
    picked = F.grid_sample(
        grid, coord.flip(-1).unsqueeze(1), mode='nearest', align_corners=False
    )  # (B, C, 1, Q)
    return picked[:, :, 0].transpose(1, 2)


def corners(
    coord: Tensor, size: tuple[int, int], local_ensemble: bool
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """The latents that a query looks up, in CORNERS' order (one without local ensemble).

    Args:
        coord: Query pixel centres, (B, Q, 2), (y, x) in [-1, 1].
        size: Latents (h, w).
        local_ensemble: Four corners (eq. 4).

    Yields:
        Where to look it up, (B, Q, 2); the relative coordinate, (B, Q, 2); the area of the
        rectangle between query and latent, (B, Q, 1).
    """
    extent = coord.new_tensor(size)
    centres = make_coord(size, coord.device, coord.dtype).permute(2, 0, 1)
    centres = centres.expand(len(coord), 2, *size)
    signs, epsilon = [(0, 0)], 0
    if local_ensemble:
        signs, epsilon = CORNERS, SHIFT_EPS
    for sign in signs:
        shift = coord.new_tensor(sign) / extent + epsilon
        shifted = (coord + shift).clamp(-1 + SHIFT_EPS, 1 - SHIFT_EPS)
        rel = (coord - look_up(centres, shifted)) * extent
        yield shifted, rel, rel.prod(-1, keepdim=True).abs() + AREA_EPS


def ensemble(colours: list[Tensor], areas: list[Tensor]) -> Tensor:
    """Predictions of all corners as one, (B, Q, out) (eq. 4).

    Args:
        colours: What each corner predicts, (B, Q, out).
        areas: The area between query and each corner's latent, (B, Q, 1). A corner is weighted by
            the area of the one diagonal to it, which is the list backwards.
    """
    return sum(map(torch.mul, colours, reversed(areas))) / sum(areas)


def query_plain(
    imnet: nn.Module,
    feat: Tensor,
    coord: Tensor,
    cell: Tensor,
    local_ensemble: bool = True,
    feat_unfold: bool = True,
    cell_decode: bool = True,
) -> Tensor:
    """Colours at continuous coordinates (LIIF eq. 1-5).

    Args:
        imnet: Decoder f, maps (..., D_in) to (..., out).
        feat: Latent codes, (B, C, h, w).
        coord: Query pixel centres, (B, Q, 2), (y, x) in [-1, 1].
        cell: Height and width of the query pixel in coordinates, (B, Q, 2).
        local_ensemble: Average the predictions of the four nearest latents (eq. 4).
        feat_unfold: Concatenate each latent's 3x3 neighbourhood (eq. 3).
        cell_decode: Tell the decoder the cell (eq. 5).

    Returns:
        What imnet predicts, (B, Q, out), in imnet's range.
    """
    size = tuple(feat.shape[-2:])
    if feat_unfold:
        feat = unfold_features(feat)
    colours, areas = [], []
    for shifted, rel, area in corners(coord, size, local_ensemble):
        inputs = [look_up(feat, shifted), rel]
        if cell_decode:
            inputs.append(cell * coord.new_tensor(size))
        colours.append(imnet(torch.cat(inputs, dim=-1)))
        areas.append(area)
    return ensemble(colours, areas)
