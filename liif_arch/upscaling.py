"""Upscaling an image of any kind to any size within a memory budget: windows of the input, encoded and rendered."""
import math
from collections.abc import Callable, Iterator
from itertools import product
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from liif_arch.coordinates import as_scale, grid_lookup, scaled_size
from liif_arch.errors import UserError, require_whole
from liif_arch.images import unit_range

DTYPES = ('uint8', 'uint16', 'float32', 'float64')
MIN_WINDOW = 64  # latents; below this almost all work would go into the windows' margins


class Window(NamedTuple):
    """Output [start, stop) along one axis, and the input [first, last) that it depends on."""
    start: int
    stop: int
    first: int
    last: int


def axis_windows(n_out: int, n: int, length: int, margin: int) -> Iterator[Window]:
    """Cut one axis into windows of about `length` latents; each input range reaches `margin` latents further."""
    index = grid_lookup(n_out, n, local_ensemble=True).index
    low, high = index[0].numpy(), index[1].numpy()  # non-decreasing
    start = 0
    while start < n_out:
        stop = max(start + 1, int(np.searchsorted(high, low[start] + length, 'left')))
        yield Window(start, stop, max(0, low[start] - margin), min(n, high[stop - 1] + 1 + margin))
        start = stop


def window_lengths(size: tuple[int, int], margin: int, budget: int) -> tuple[int, int]:
    """Height and width of the windows that cost the least work, of those whose input stays within `budget` latents.

    A window's input is it and a margin on each side, so many small windows do much of the work several times.
    """
    def cut(n: int, parts: int) -> tuple[int, int]:
        length = -(-n // parts)
        return length, min(n, length + 2 * margin)

    best, lengths = math.inf, (MIN_WINDOW, MIN_WINDOW)
    for ny, nx in product(*(range(1, max(1, n // MIN_WINDOW) + 1) for n in size)):
        (y, height), (x, width) = cut(size[0], ny), cut(size[1], nx)
        if height * width <= budget and ny * nx * height * width < best:
            best, lengths = ny * nx * height * width, (y, x)
    return lengths


def render_windows(net: nn.Module, pixels: np.ndarray, size: tuple[int, int],
                   memory: float, progress: Callable[[int], None] | None = None
                   ) -> Iterator[tuple[slice, slice, Tensor]]:
    """Render an image at `size` window by window; together the windows equal the whole to float rounding.

    A window's input reaches beyond it by the encoder's receptive field, so no window sees a border that the image
    does not have. An encoder that does not say its `receptive_radius` encodes the whole image at once.

    Args:
        net: A `CoordinateNetwork`.
        pixels: Image of net.num_in_ch channels, (h, w, C); 8 or 16 bit, or float in [0, 1].
        size: Output size (H, W).
        memory: Budget for activations, in MiB (a window is at least 64 x 64 latents, whatever it says).
        progress: Called now and then with the number of output pixels done since.

    Yields:
        Output rows, output columns, and their colours (1, C, rows, columns), about [0, 1].
    """
    full = pixels.shape[:2]
    device = next(net.parameters()).device
    radius = getattr(net.encoder, 'receptive_radius', None)
    margin = (radius or 0) + net.reach
    lengths = full
    if radius is not None:
        bytes_per_latent = 4 * (net.encoder.peak_channels + net.table_channels)
        lengths = window_lengths(full, margin, int(memory * 2**20 / bytes_per_latent))
    whole = lengths[0] >= full[0] and lengths[1] >= full[1]
    lengths = tuple(n + 2 for n in full) if whole else lengths
    pixels_at_once = max(1, int(memory * 2**20 / 4 / (4 * net.num_out_ch)))  # a quarter of it for what is rendered
    for y in axis_windows(size[0], full[0], lengths[0], margin):
        for x in axis_windows(size[1], full[1], lengths[1], margin):
            lq = unit_range(pixels[y.first:y.last, x.first:x.last])
            feat = net.encode(torch.from_numpy(lq).permute(2, 0, 1)[None].to(device))
            step = max(1, pixels_at_once // (x.stop - x.start))
            for start in range(y.start, y.stop, step):
                rows = (start, min(start + step, y.stop))
                image = net.render_window(feat, size, (y.first, x.first), full, rows, (x.start, x.stop), progress)
                yield slice(*rows), slice(x.start, x.stop), image


@torch.no_grad()
def upscale(net: nn.Module, image: np.ndarray, scale: object = None, size: tuple[int, int] | None = None,
            memory: float = 1536, progress: Callable[[int, int], None] | None = None) -> np.ndarray:
    """Upscale an image to any scale or size; grayscale, alpha and 16 bits are kept.

    Args:
        net: A `CoordinateNetwork`, for RGB or for the image's own channels.
        image: (H, W), or (H, W, C) with 1 gray, 3 RGB or 4 RGBA channels; 8 or 16 bit, or float in [0, 1].
        scale: A number, or a pair (sy, sx).
        size: Output size (H, W), instead of scale.
        memory: Budget for activations, in MiB, beside the images themselves; more is done in windows, with the same
            result.
        progress: Called with (output pixels done, all).

    Returns:
        The image, of the same dtype and number of dimensions.

    Raises:
        UserError: Neither or both of scale and size; a size below 1, or of more bytes than there are; channels or a
            network that do not fit.
    """
    if not hasattr(net, 'render_window'):
        raise UserError(f'{type(net).__name__} has one scale of its own; upscaling to any size needs LIIF or MetaSR.')
    is_array = isinstance(image, np.ndarray)
    if not is_array or image.ndim not in (2, 3) or 0 in image.shape or image.dtype.name not in DTYPES:
        found = f'{image.dtype} {image.shape}' if is_array else type(image).__name__
        raise UserError(f'image: found {found}; needed a NumPy array, (H, W) or (H, W, C), of {", ".join(DTYPES)}.')
    if not (isinstance(memory, (int, float)) and memory > 0):
        raise UserError(f'memory: found {memory!r}; needed MiB above 0.')
    pixels = image[..., None] if image.ndim == 2 else image
    size = _target_size(pixels.shape[:2], scale, size)
    try:
        out = np.empty((*size, pixels.shape[2]), image.dtype)
    except (MemoryError, ValueError):
        raise UserError(f'size: an image of {size[1]}x{size[0]} (width x height) does not fit into memory.') from None
    planes, training = _planes(pixels.shape[2], net.num_in_ch), net.training
    report = None if progress is None else _Progress(progress, len(planes) * size[0] * size[1])
    net.eval()
    try:
        for channels in planes:
            plane = pixels[..., channels]
            if len(channels) < net.num_in_ch:  # shown to the network as gray
                plane = np.broadcast_to(plane, (*plane.shape[:2], net.num_in_ch))
            for rows, cols, colours in render_windows(net, plane, size, memory, report):
                if len(channels) < net.num_in_ch:
                    colours = colours.mean(1, keepdim=True)
                out[rows, cols, channels] = _as_dtype(colours, image.dtype)
    finally:
        net.train(training)
    return out[..., 0] if image.ndim == 2 else out


class _Progress:
    """Adds up the pixels of many small steps."""

    def __init__(self, callback: Callable[[int, int], None], total: int) -> None:
        self.callback, self.total, self.done = callback, total, 0

    def __call__(self, pixels: int) -> None:
        self.done += pixels
        self.callback(self.done, self.total)


def _as_dtype(colours: Tensor, dtype: np.dtype) -> np.ndarray:
    """(1, C, h, w) in about [0, 1] -> (h, w, C) in the range of dtype."""
    colours = colours[0].clamp_(0, 1).permute(1, 2, 0)
    if dtype.kind == 'u':
        colours = colours.mul_(np.iinfo(dtype).max).round_()
    return colours.cpu().numpy()


def _target_size(lq_size: tuple[int, int], scale: object, size: tuple[int, int] | None) -> tuple[int, int]:
    if (scale is None) == (size is None):
        raise UserError('give one of scale and size.')
    if size is None:
        return scaled_size(lq_size, as_scale(scale))
    if not isinstance(size, (tuple, list)) or len(size) != 2:
        raise UserError(f'size: found {size!r}; needed (height, width).')
    require_whole('size: ', height=size[0], width=size[1])
    return tuple(size)


def _planes(image_ch: int, num_in_ch: int) -> list[list[int]]:
    """Which channels go through the network together: colours at once, gray and alpha alone."""
    if image_ch == num_in_ch:
        return [list(range(image_ch))]
    if num_in_ch == 1:
        return [[i] for i in range(image_ch)]
    if num_in_ch == 3 and image_ch in (1, 2, 4):
        return {1: [[0]], 2: [[0], [1]], 4: [[0, 1, 2], [3]]}[image_ch]
    raise UserError(f'the image has {image_ch} channels and the network takes {num_in_ch}.')
