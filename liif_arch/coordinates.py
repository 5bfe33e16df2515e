"""The one owner of every convention about where a pixel is: coordinates, cells, look-ups, scales
and sizes.

A coordinate is (y, x) in [-1, 1]; the centre of pixel i of n is -1 + (2i + 1) / n. A size is (H,
W), a scale (sy, sx). Letters in shapes: B batch, C channels, h w low-resolution size, H W output
size, Q queries, T corners (1 or 4).
"""

import math
from numbers import Real
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from liif_arch.devices import from_host
from liif_arch.errors import UserError

Array = TypeVar('Array', Tensor, np.ndarray)  # a grid's look-ups are made on the host, in NumPy

SHIFT_EPS = 1e-6  # moves a look-up off the border between two latents, as the reference does
AREA_EPS = 1e-9  # keeps the ensemble's weights defined where a length or an area vanishes
CORNERS = ((-1, -1), (-1, 1), (1, -1), (1, 1))  # (y, x), the order of the local ensemble


def pixel_centers(
    n: int, device: torch.device | str = 'cpu', dtype: torch.dtype = torch.float32
) -> Tensor:
    """Centres of n pixels along one axis, (n,), in (-1, 1)."""
    centres = -1 + (2 * torch.arange(n, dtype=torch.float64) + 1) / n
    return from_host(centres.to(dtype), device)  # no device lacks float32


def _host_centers(n: int, part: tuple[int, int] | None) -> np.ndarray:
    """`pixel_centers` on the host, float64; of a part [start, stop), or of all n."""
    return -1 + (2 * np.arange(*(part or (0, n)), dtype=np.float64) + 1) / n


def make_coord(
    size: tuple[int, int], device: torch.device | str = 'cpu', dtype: torch.dtype = torch.float32
) -> Tensor:
    """Pixel centres of an H x W image, (H, W, 2), (y, x)."""
    rows = pixel_centers(size[0], device, dtype)
    cols = pixel_centers(size[1], device, dtype)
    return torch.stack(torch.meshgrid(rows, cols, indexing='ij'), dim=-1)


def make_cell(
    size: tuple[int, int], device: torch.device | str = 'cpu', dtype: torch.dtype = torch.float32
) -> Tensor:
    """Height and width of one pixel of an H x W image in coordinates, (2,): (2/H, 2/W)."""
    return from_host(torch.tensor([2 / size[0], 2 / size[1]], dtype=dtype), device)


def nearest_index(coord: Array, n: int) -> Array:
    """Index of the pixel of n nearest to each coordinate, any shape, int64 (ties to even, as
    `grid_sample`).
    """
    position = (((coord + 1) * n - 1) / 2).round()
    if isinstance(position, np.ndarray):
        return position.astype(np.int64).clip(0, n - 1)
    return position.long().clamp(0, n - 1)


def _inside(coord: Array) -> Array:
    """Coordinates of look-ups, kept within the image."""
    if isinstance(coord, np.ndarray):
        return coord.clip(-1 + SHIFT_EPS, 1 - SHIFT_EPS)
    return coord.clamp(-1 + SHIFT_EPS, 1 - SHIFT_EPS)


def _corner_signs(coord: Array) -> Array:
    """-1 and +1, of the type of coord and where it is."""
    if isinstance(coord, np.ndarray):
        return np.arange(2, dtype=coord.dtype) * 2 - 1
    return torch.arange(2, device=coord.device, dtype=coord.dtype) * 2 - 1


class AxisLookup(NamedTuple):
    """Look-ups along one axis: corner sign t = -1, +1 in the first dimension (one row without local
    ensemble).

    Attributes:
        index: Nearest latent, (1 or 2, N), int64: a tensor, or a NumPy array where a grid's
            look-ups are being made on the host.
        rel: Relative coordinate (coord - latent centre) * n, (1 or 2, N), in about [-2, 2], of the
            same type.
        host: `index` again, where the host reads it without waiting for a device; of regular
            grids alone.
    """

    index: Any
    rel: Any
    host: np.ndarray | None = None

    def window(self, start: int, stop: int, origin: int = 0) -> 'AxisLookup':
        """Outputs start..stop, with the latents counted from `origin`."""
        host = self.host
        if host is not None:
            host = host[:, start:stop]
        part = AxisLookup(self.index[:, start:stop], self.rel[:, start:stop], host)
        return part.counted_from(origin)

    def counted_from(self, origin: int) -> 'AxisLookup':
        """The same, with the latents counted from `origin`."""
        host = self.host
        if host is not None:
            host = host - origin
        return AxisLookup(self.index - origin, self.rel, host)

    def span(self) -> tuple[int, int]:
        """First and past-last latent of a regular grid's look-ups; nothing waits for the device.

        Raises:
            ValueError: They are not a regular grid's.
        """
        if self.host is None:
            raise ValueError('found look-ups of free coordinates; needed those of a regular grid.')
        return int(self.host.min()), int(self.host.max()) + 1


def axis_lookup(coord: Array, n: int, local_ensemble: bool) -> AxisLookup:
    """Nearest latents of n along one axis for query coordinates (N,), shifted by -1/n and +1/n with
    the local ensemble.

    Source: LIIF eq. 4 and its reference conventions (shift + 1e-6, clamp to [-1 + 1e-6, 1 - 1e-6],
        nearest).
    """
    shifted = coord[None]
    if local_ensemble:
        shift = _corner_signs(coord) / n + SHIFT_EPS
        shifted = shifted + shift.reshape(2, *[1] * coord.ndim)
    index = nearest_index(_inside(shifted), n)
    # (coord - centre) * n; the centre times n is a whole number.
    return AxisLookup(index, coord[None] * n - (2 * index + (1 - n)))


def grid_lookup(
    n_out: int,
    n: int,
    local_ensemble: bool,
    device: torch.device | str = 'cpu',
    part: tuple[int, int] | None = None,
) -> AxisLookup:
    """`axis_lookup` of the n_out pixel centres of a regular grid over n latents (made in float64,
    rel is float32), or of a part [start, stop) of them.
    """
    return _on_device(axis_lookup(_host_centers(n_out, part), n, local_ensemble), device)


def _on_device(lookup: AxisLookup, device: torch.device | str) -> AxisLookup:
    """Look-ups made on the host, in NumPy, for a device; `host` stays behind."""
    index, rel = torch.from_numpy(lookup.index), torch.from_numpy(lookup.rel.astype(np.float32))
    return AxisLookup(from_host(index, device), from_host(rel, device), lookup.index)


def corner_lookup(coord: Array, cell: Array, n: int) -> AxisLookup:
    """MetaSR's look-up along one axis: the latent of n in which the query pixel's top-left corner
    lies.

    Args:
        coord: Query pixel centres, (N,) or any shape.
        cell: Sizes of the query pixels in coordinates, of the same shape.
        n: Number of latents.

    Returns:
        Index, and distance from that latent's top-left corner in latents, about [0, 1); (1, ...).
    """
    corner = coord - cell / 2
    index = nearest_index(_inside(corner + SHIFT_EPS), n)
    return AxisLookup(index[None], ((corner + 1) * n / 2 - index)[None])


def corner_grid_lookup(
    n_out: int,
    n: int,
    device: torch.device | str = 'cpu',
    part: tuple[int, int] | None = None,
) -> AxisLookup:
    """`corner_lookup` of the n_out pixels of a regular grid over n latents (made in float64, rel is
    float32), or of a part [start, stop) of them.
    """
    centres = _host_centers(n_out, part)
    return _on_device(corner_lookup(centres, np.full_like(centres, 2 / n_out), n), device)


def axis_weights(rel: Tensor) -> Tensor:
    """One axis' factor of the local ensemble's weights (LIIF eq. 4), from the relative coordinates
    of its corners.

    A corner weighs as much as the rectangle between the query and the corner diagonal to it; areas
    are products, so the normalised weight is the product of two of these, one an axis. The two
    differ only where all four areas
    vanish: at odd scales one output row and column lie on the centre of the last latent, which both
        corners found.
    There the areas leave the other axis' weights to rounding noise (or, in exact arithmetic, to
    their 1e-9, which makes all four equal); the product keeps them. The reference's float32 figures
    agree with the product.

    Args:
        rel: Relative coordinates, (2, ...), or (1, ...) without local ensemble.

    Returns:
        Weights of the same shape, which sum to 1 over the first dimension.
    """
    length = rel.abs().clamp(min=AREA_EPS)  # exporters to ONNX take a sum with 1e-9 for one with 0
    return length.flip(0) / length.sum(0, keepdim=True)


# --------------------------------------------------------------------------------------------------
# Scales and sizes


def as_scale(value: object, key: str = 'scale') -> tuple[float, float]:
    """A number or a pair (sy, sx) as two positive floats.

    Raises:
        UserError: Not a number or pair, or not above 0; names `key`.
    """
    pair: tuple = (value, value)
    if isinstance(value, (list, tuple)):
        pair = tuple(value)
    if len(pair) != 2 or not _is_number(pair[0]) or not _is_number(pair[1]):
        raise UserError(
            f'found {value!r}; needed a number such as 2.5, or a pair [sy, sx].', key=key
        )
    for number in pair:
        if not 0 < number < math.inf:
            raise UserError(f'found {value!r}; a scale must be above 0.', key=key)
    return float(pair[0]), float(pair[1])


def _is_number(value: object) -> bool:
    """Whether a value is a real number; truth values are none."""
    return isinstance(value, Real) and not isinstance(value, bool)


def scale_label(scale: tuple[float, float]) -> str:
    """`x2`, `x2.5`, or `x2x3` for (2, 3)."""
    sy, sx = scale
    if sy == sx:
        return f'x{sy:g}'
    return f'x{sy:g}x{sx:g}'


def scaled_size(size: tuple[int, int], scale: tuple[float, float]) -> tuple[int, int]:
    """Output size (H, W) of an h x w input: round(h sy), round(w sx), at least one pixel."""
    return max(1, round(size[0] * scale[0])), max(1, round(size[1] * scale[1]))


def reduced_size(size: tuple[int, int], scale: tuple[float, float]) -> tuple[int, int]:
    """Input size (h, w) for an H x W ground truth: floor(H / sy), floor(W / sx).

    Raises:
        UserError: The image is smaller than the scale.
    """
    h = math.floor(size[0] / scale[0] + 1e-9)
    w = math.floor(size[1] / scale[1] + 1e-9)
    if h < 1 or w < 1:
        raise UserError(
            f'a {size[1]}x{size[0]} image (width x height) leaves no pixel at scale '
            f'{scale_label(scale)}; use larger images or smaller scales.'
        )
    return h, w
