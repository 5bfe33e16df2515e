"""Upscaling an image of any kind to any size within a memory budget: windows of the input, encoded and rendered."""
import math
import os
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from liif_arch import tiff
from liif_arch.coordinates import as_scale, grid_lookup, scaled_size
from liif_arch.errors import UserError, require_whole
from liif_arch.images import require_format, require_unit_range, unit_range, write_image
from liif_arch.metadata import Metadata

DTYPES = ('uint8', 'uint16', 'float32', 'float64')
MIN_WINDOW = 64  # latents; below this almost all work would go into the windows' margins


class Window(NamedTuple):
    """Output [start, stop) along one axis, and the input [first, last) that it depends on."""
    start: int
    stop: int
    first: int
    last: int


def axis_windows(n_out: int, n: int, length: int, margin: int, start: int = 0, stop: int | None = None,
                 most: int | None = None) -> Iterator[Window]:
    """Cut outputs start..stop of one axis into windows of about `length` latents, of at most `most` outputs.

    Each input range reaches `margin` latents further.
    """
    index = grid_lookup(n_out, n, local_ensemble=True).index
    low, high = index[0].numpy(), index[1].numpy()  # non-decreasing
    end = n_out if stop is None else stop
    while start < end:
        stop = max(start + 1, int(np.searchsorted(high, low[start] + length, 'left')))
        stop = min(stop, end, start + (most or n_out))
        yield Window(start, stop, max(0, low[start] - margin), min(n, high[stop - 1] + 1 + margin))
        start = stop


def window_lengths(size: tuple[int, int], margin: int, fits: Callable[[int, int], bool]) -> tuple[int, int]:
    """Height and width of the windows that cost the least work, of those whose input (height, width) fits.

    A window's input is it and a margin on each side, so many small windows do much of the work several times.
    """
    def cut(n: int, parts: int) -> tuple[int, int]:
        length = -(-n // parts)
        return length, min(n, length + 2 * margin)

    best, lengths = math.inf, (MIN_WINDOW, MIN_WINDOW)
    for ny, nx in product(*(range(1, max(1, n // MIN_WINDOW) + 1) for n in size)):
        (y, height), (x, width) = cut(size[0], ny), cut(size[1], nx)
        if ny * nx * height * width < best and fits(height, width):
            best, lengths = ny * nx * height * width, (y, x)
    return lengths


@torch.no_grad()
def render_windows(net: nn.Module, pixels: np.ndarray, size: tuple[int, int], memory: float,
                   progress: Callable[[int, int], None] | None = None) -> Iterator[tuple[slice, slice, np.ndarray]]:
    """Render an image at `size` window by window; together the windows equal the whole to float rounding.

    A window's input reaches beyond it by the encoder's receptive field, so no window sees a border that the image
    does not have. An encoder that does not say its `receptive_radius` encodes the whole image at once.

    Args:
        net: A `CoordinateNetwork`; in evaluation mode until the last window.
        pixels: Image (h, w, C) of channels that `_planes` knows; 8 or 16 bit, or float in [0, 1].
        size: Output size (H, W).
        memory: Budget for activations, in MiB (a window is at least 64 x 64 latents, whatever it says).
        progress: Called with (output pixels done, all); a pixel counts once for each pass through the network.

    Yields:
        Output rows, output columns, and their pixels (rows, columns, C), of the image's dtype.
    """
    full, planes, training = pixels.shape[:2], _planes(pixels.shape[2], net.num_in_ch), net.training
    report = None if progress is None else _Progress(progress, len(planes) * size[0] * size[1])
    floats = memory * 2**20 / 4
    # A quarter of it for what is rendered, and one for what the decoder holds per latent.
    pixels_at_once = floats / 4 / (net.num_out_ch + pixels.shape[2] * pixels.dtype.itemsize / 4)
    latents_at_once = floats / 4 / net.table_channels
    net.eval()
    try:
        for y, x in _input_windows(net, full, size, floats, len(planes)):
            feats = [_encode(net, pixels[y.first:y.last, x.first:x.last, channels]) for channels in planes]
            rows_at_once = max(1, int(pixels_at_once / (x.stop - x.start)))
            length = max(1, int(latents_at_once / (x.last - x.first)) - 2 * net.reach)
            for rows in axis_windows(size[0], full[0], length, net.reach, y.start, y.stop, rows_at_once):
                block = np.empty((rows.stop - rows.start, x.stop - x.start, pixels.shape[2]), pixels.dtype)
                for channels, feat in zip(planes, feats, strict=True):
                    band = feat[:, :, rows.first - y.first:rows.last - y.first]
                    colours = net.render_window(band, size, (rows.first, x.first), full, rows[:2], x[:2], report)
                    block[..., channels] = _as_pixels(colours, len(channels), pixels.dtype)
                yield slice(*rows[:2]), slice(*x[:2]), block
    finally:
        net.train(training)


def _input_windows(net: nn.Module, full: tuple[int, int], size: tuple[int, int], floats: float,
                   planes: int) -> Iterator[tuple[Window, Window]]:
    """Windows (y, x) of an input of size `full`, that are encoded holding no more than so many floats."""
    radius = getattr(net.encoder, 'receptive_radius', None)
    margin, kept = (radius or 0) + net.reach, planes * net.code_channels - net.encoder.num_out_feat

    def fits(height: int, width: int) -> bool:
        return net.encoder.peak_floats(height, width) + kept * height * width <= floats

    lengths = full if radius is None else window_lengths(full, margin, fits)
    whole = lengths[0] >= full[0] and lengths[1] >= full[1]
    lengths = tuple(n + 2 for n in full) if whole else lengths
    for y in axis_windows(size[0], full[0], lengths[0], margin):
        for x in axis_windows(size[1], full[1], lengths[1], margin):
            yield y, x


def _encode(net: nn.Module, plane: np.ndarray) -> Tensor:
    """Latent codes of one plane (h, w, c); fewer channels than the network takes are shown to it as gray."""
    if plane.shape[2] < net.num_in_ch:
        plane = np.broadcast_to(plane, (*plane.shape[:2], net.num_in_ch))
    lq = torch.from_numpy(unit_range(plane)).permute(2, 0, 1)[None]
    return net.encode(lq.to(next(net.parameters()).device))


def upscale(net: nn.Module, image: np.ndarray, scale: object = None, size: tuple[int, int] | None = None,
            memory: float = 1536, progress: Callable[[int, int], None] | None = None) -> np.ndarray:
    """Upscale an image to any scale or size; grayscale, alpha and 16 bits are kept.

    Args:
        net: A `CoordinateNetwork`, for RGB or for the image's own channels.
        image: (H, W), or (H, W, C) with 1 gray, 2 gray and alpha, 3 RGB or 4 RGBA channels; 8 or 16 bit, or float in
            [0, 1].
        scale: A number, or a pair (sy, sx).
        size: Output size (H, W), instead of scale.
        memory: Budget for activations, in MiB, beside the images themselves; more is done in windows, with the same
            result.
        progress: Called with (output pixels done, all), first with none done.

    Returns:
        The image, of the same dtype and number of dimensions.

    Raises:
        UserError: Neither or both of scale and size; a size below 1, or of more bytes than there are; channels or a
            network that do not fit.
    """
    pixels, size = _checked(net, image, scale, size, memory)
    shape = (*size, pixels.shape[2])
    _require_memory(shape, pixels.dtype)
    out = np.empty(shape, pixels.dtype)
    for rows, cols, block in render_windows(net, pixels, size, memory, progress):
        out[rows, cols] = block
    return out[..., 0] if image.ndim == 2 else out


def upscale_to_file(net: nn.Module, image: np.ndarray, path: str | Path, scale: object = None,
                    size: tuple[int, int] | None = None, memory: float = 1536,
                    progress: Callable[[int, int], None] | None = None,
                    metadata: Metadata | None = None) -> tuple[int, int]:
    """`upscale` into an image file; a .tif or .tiff is written while it is rendered, and may be larger than memory.

    Other formats are encoded from the whole image. Nothing takes the name `path` before it is complete.

    Args:
        net, image, scale, size, memory, progress: See `upscale`.
        path: Image file; the format follows the extension.
        metadata: What the file shall say beside its pixels, see `read_picture`.

    Returns:
        Size (H, W) of what was written.

    Raises:
        UserError: As `upscale`; and, before anything is rendered, where the format cannot hold the image, or neither
            can the disk. Also where the disk becomes full on the way.
    """
    path = Path(path)
    pixels, size = _checked(net, image, scale, size, memory)
    shape = (*size, pixels.shape[2])
    require_format(path, shape, pixels.dtype)
    if path.suffix.lower() not in tiff.EXTENSIONS:
        _require_memory(shape, pixels.dtype, copies=2)  # encoders take a copy in their own colour order
        image = upscale(net, image, size=size, memory=memory, progress=progress)
        write_image(path, image, metadata)
        return size
    with tiff.tiff_writer(path, shape, pixels.dtype, metadata) as write:
        for rows, cols, block in render_windows(net, pixels, size, memory, progress):
            write(rows, cols, block)
    return size


def _checked(net: nn.Module, image: np.ndarray, scale: object, size: tuple[int, int] | None,
             memory: float) -> tuple[np.ndarray, tuple[int, int]]:
    """The image as (h, w, C), and its output size (H, W), after everything that a user can get wrong."""
    if not hasattr(net, 'render_window'):
        raise UserError(f'{type(net).__name__} has one scale of its own; needed LIIF, LTE or MetaSR.')
    is_array = isinstance(image, np.ndarray)
    if not is_array or image.ndim not in (2, 3) or 0 in image.shape or image.dtype.name not in DTYPES:
        found = f'{image.dtype} {image.shape}' if is_array else type(image).__name__
        raise UserError(f'image: found {found}; needed a NumPy array, (H, W) or (H, W, C), of {", ".join(DTYPES)}.')
    if not (isinstance(memory, (int, float)) and memory > 0):
        raise UserError(f'memory: found {memory!r}; needed MiB above 0.')
    pixels = image[..., None] if image.ndim == 2 else image
    _planes(pixels.shape[2], net.num_in_ch)
    require_unit_range(pixels)
    return pixels, _target_size(pixels.shape[:2], scale, size)


def _require_memory(shape: tuple[int, int, int], dtype: np.dtype, copies: int = 1) -> None:
    """Raise where the machine has less memory than the image (H, W, C); a run that finds out later is killed."""
    needed = copies * math.prod(shape) * dtype.itemsize
    try:
        np.empty(needed, np.uint8)  # many systems refuse at once
        fits = not hasattr(os, 'sysconf') or needed <= os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
    except (MemoryError, ValueError):
        fits = False
    if not fits:
        raise UserError(f'size: an image of {shape[1]}x{shape[0]} (width x height) needs {needed / 1e6:,.0f} MB and '
                        'does not fit into memory; a .tif is written piece by piece (-o NAME.tif, upscale_to_file).')


class _Progress:
    """Adds up the pixels of many small steps."""

    def __init__(self, callback: Callable[[int, int], None], total: int) -> None:
        self.callback, self.total, self.done = callback, total, 0
        callback(0, total)

    def __call__(self, pixels: int) -> None:
        self.done += pixels
        self.callback(self.done, self.total)


def _as_pixels(colours: Tensor, channels: int, dtype: np.dtype) -> np.ndarray:
    """(1, C, h, w) in about [0, 1] -> (h, w, channels) in the range of dtype; gray is the mean of the colours."""
    if channels < colours.shape[1]:
        colours = colours.mean(1, keepdim=True)
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
