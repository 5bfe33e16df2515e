"""Upscaling an image of any kind to any size within a memory budget."""

import math
import operator
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from liif_arch.archs.latent_network import LatentNetwork
from liif_arch.coordinates import as_scale, scaled_size
from liif_arch.errors import UserError, require_whole
from liif_arch.files.formats import DTYPES, require_format
from liif_arch.files.images import image_writer, require_unit_range
from liif_arch.files.metadata import Metadata
from liif_arch.files.pixels import with_channel_axis
from liif_arch.upscaling.memory import machine_memory
from liif_arch.upscaling.planes import fill_hidden, has_alpha, require_channels
from liif_arch.upscaling.reduction import reduce_bicubic
from liif_arch.upscaling.windows import Progress, render_windows


def upscale(
    net: nn.Module,
    image: np.ndarray,
    scale: object = None,
    size: tuple[int, int] | None = None,
    memory: float = 1536,
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Upscale an image to any scale or size; grayscale, alpha and 16 bits are kept.

    A gray image stays gray, also one whose red, green and blue are alike. Colours under alpha 0 are
    replaced by those of the nearest visible pixels, so that they do not show in the edge; alpha
    that is constant around a pixel is kept exactly. An axis along which the image becomes smaller
    is reduced by Pillow's antialiased bicubic filter (in float32, at any depth) before the network
    enlarges the other one; an image that becomes no larger on either axis,
    and smaller on one, is not shown to the network at all: there is nothing to add to it.

    Args:
        net: A `LatentNetwork`, for RGB or for the image's own channels.
        image: (H, W), or (H, W, C) with 1 gray, 2 gray and alpha, 3 RGB or 4 RGBA channels; 8 or 16
            bit, or float in [0, 1]. Alpha is not multiplied into the colours.
        scale: A number, or a pair (sy, sx): height first, as in NumPy, unlike the command line's
            WIDTHxHEIGHT.
        size: Output size (H, W), instead of scale; whole numbers of any kind.
        memory: Budget for activations, in MiB, beside the images themselves; more is done in
            windows, with the same result.
        progress: Called with (output pixels done, all), first with none done. What takes time
            without giving pixels counts by the time it takes.

    Returns:
        The image, of the same dtype and number of dimensions.

    Raises:
        UserError: Neither or both of scale and size; a size below 1, or of more bytes than there
            are; channels or a network that do not fit; not enough memory.
    """
    pixels, size = _checked(net, image, scale, size, memory)
    shape = (*size, pixels.shape[2])
    _require_memory(shape, pixels.dtype)
    out = np.empty(shape, pixels.dtype)
    for rows, cols, block in _render(net, pixels, size, memory, progress):
        out[rows, cols] = block
    if image.ndim == 2:
        return out[..., 0]
    return out


def upscale_to_file(
    net: nn.Module,
    image: np.ndarray,
    path: str | Path,
    scale: object = None,
    size: tuple[int, int] | None = None,
    memory: float = 1536,
    progress: Callable[[int, int], None] | None = None,
    metadata: Metadata | None = None,
) -> tuple[int, int]:
    """`upscale` into an image file.

    A .tif or .tiff is written while it is rendered, and may be larger than memory. Other formats
    are encoded from the whole image. Nothing takes the name `path` before it is complete.

    Args:
        net, image, scale, size, memory, progress: See `upscale`.
        metadata: What the file shall say beside its pixels, see `read_picture`.
        path: Image file; the format follows the extension.

    Returns:
        Size (H, W) of what was written.

    Raises:
        UserError: As `upscale`; and, before anything is rendered, where the format cannot hold the
            image, or neither can the disk. Also where the disk becomes full on the way.
    """
    path = Path(path)
    pixels, size = _checked(net, image, scale, size, memory)
    shape = (*size, pixels.shape[2])
    if not require_format(path, shape, pixels.dtype).in_windows:
        # Encoders take a copy in their own colour order.
        _require_memory(shape, pixels.dtype, copies=2)
    with image_writer(path, shape, pixels.dtype, metadata) as write:
        for rows, cols, block in _render(net, pixels, size, memory, progress):
            write(rows, cols, block)
    return size


def _render(
    net: nn.Module,
    pixels: np.ndarray,
    size: tuple[int, int],
    memory: float,
    progress: Callable[[int, int], None] | None,
) -> Iterator[tuple[slice, slice, np.ndarray]]:
    """Output rows, output columns and their pixels, as `render_windows` yields them."""
    channels: Any = net.num_in_ch
    if has_alpha(pixels.shape[2], channels):
        pixels = fill_hidden(pixels)
    height, width = pixels.shape[:2]
    smallest = (min(height, size[0]), min(width, size[1]))
    if smallest == (height, width):
        yield from render_windows(net, pixels, size, memory, progress)
    elif smallest != size:  # one axis becomes shorter, the other one longer
        yield from render_windows(net, reduce_bicubic(pixels, smallest), size, memory, progress)
    else:
        report = Progress(progress, size[0] * size[1], 0)
        yield slice(0, size[0]), slice(0, size[1]), reduce_bicubic(pixels, size)
        report.rendered(size[0] * size[1])


def _checked(
    net: nn.Module, image: np.ndarray, scale: object, size: tuple[int, int] | None, memory: float
) -> tuple[np.ndarray, tuple[int, int]]:
    """The image as (h, w, C), and its output size (H, W), after all that a user can get wrong."""
    # What torch.compile makes of a network stands around it, and asks it for all but `forward`.
    if not isinstance(getattr(net, '_orig_mod', net), LatentNetwork):
        raise UserError(
            f'{type(net).__name__} has one scale of its own; needed LIIF, LTE or MetaSR.'
        )
    _require_array(image)
    if not (isinstance(memory, (int, float)) and memory > 0):
        raise UserError(f'memory: found {memory!r}; needed MiB above 0.')
    pixels = with_channel_axis(image)
    require_unit_range(pixels)
    channels: Any = net.num_in_ch
    require_channels(pixels.shape[2], channels)
    return pixels, _target_size(pixels.shape[:2], scale, size)


def _require_array(image: object) -> None:
    """Raise UserError for anything but an array of pixels, (H, W) or (H, W, C)."""
    found = type(image).__name__
    if isinstance(image, np.ndarray):
        if image.ndim in (2, 3) and 0 not in image.shape and image.dtype.name in DTYPES:
            return
        found = f'{image.dtype} {image.shape}'
    raise UserError(
        f'image: found {found}; needed a NumPy array, (H, W) or (H, W, C), of {", ".join(DTYPES)}.'
    )


def _require_memory(shape: tuple[int, int, int], dtype: np.dtype, copies: int = 1) -> None:
    """Raise where the machine has less memory than an image (H, W, C), before it is killed."""
    needed = copies * math.prod(shape) * dtype.itemsize
    try:
        np.empty(needed, np.uint8)  # many systems refuse at once
        fits = needed <= machine_memory()
    except (MemoryError, ValueError):
        fits = False
    if not fits:
        raise UserError(
            f'size: an image of {shape[1]}x{shape[0]} (width x height) needs '
            f'{needed / 1e6:,.0f} MB and does not fit into memory; a .tif is written '
            'piece by piece (-o NAME.tif, upscale_to_file).'
        )


def _target_size(
    lq_size: tuple[int, int], scale: object, size: tuple[int, int] | None
) -> tuple[int, int]:
    if (scale is None) == (size is None):
        raise UserError('give one of scale and size.')
    if size is None:
        return scaled_size(lq_size, as_scale(scale))
    if not isinstance(size, (tuple, list, np.ndarray)) or len(size) != 2:
        raise UserError(f'size: found {size!r}; needed (height, width).')
    require_whole('size: ', height=size[0], width=size[1])
    return operator.index(size[0]), operator.index(size[1])
