"""Upscaling an image of any kind to any size within a memory budget."""

import math
import operator
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from liif_arch.archs.latent_network import LatentNetwork
from liif_arch.archs.self_ensemble import SelfEnsemble, ensemble_mean
from liif_arch.coordinates import as_scale, scaled_size
from liif_arch.errors import UserError, require_mebibytes, require_whole
from liif_arch.files.formats import DTYPES, require_format, require_linear
from liif_arch.files.images import image_writer, read_picture, require_unit_range
from liif_arch.files.metadata import Metadata
from liif_arch.files.pillow_reading import upright_pixels
from liif_arch.files.pixels import with_channel_axis
from liif_arch.upscaling.light import LightCurve
from liif_arch.upscaling.memory import machine_memory
from liif_arch.upscaling.planes import fill_hidden, has_alpha, require_channels
from liif_arch.upscaling.progress import Progress
from liif_arch.upscaling.reduction import reduce_bicubic
from liif_arch.upscaling.windows import Area, render_windows

Crop = tuple[float, float, float, float]
MOST_PIXELS_A_SIDE = 2**24  # of a whole output of which a crop is rendered


def upscale(
    net: nn.Module,
    image: np.ndarray | Image.Image | str | Path,
    scale: object = None,
    size: tuple[int, int] | None = None,
    memory: float = 1536,
    progress: Callable[[int, int], None] | None = None,
    crop: Crop | None = None,
    linear: bool = False,
) -> np.ndarray | Image.Image:
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
            bit, or float in [0, 1]. Alpha is not multiplied into the colours. Or an image of
            Pillow's, or the path of a file.
        scale: A number, or a pair (sy, sx): height first, as in NumPy, unlike the command line's
            WIDTHxHEIGHT.
        size: Output size (H, W), instead of scale; whole numbers of any kind. With `crop`, of what
            is rendered.
        memory: Budget for activations, in MiB, beside the images themselves; more is done in
            windows, with the same result.
        progress: Called with (output pixels done, all), first with none done. What takes time
            without giving pixels counts by the time it takes.
        crop: The part of the image to render, (y, x, height, width) in its pixels, which need not
            be whole; the network sees what lies around it too. What comes out is the same part of
            the whole result, from and to the nearest of its pixels.
        linear: Whether float values are linear light, 0 or more, as in OpenEXR files; of a file,
            its format says it. Values below 0 become 0.

    Returns:
        The image, of the same dtype and number of dimensions; an image of Pillow's for one, with
        its colour profile.

    Raises:
        UserError: Neither or both of scale and size; a size below 1, or of more bytes than there
            are; channels, a crop or a network that do not fit; not enough memory; a file that does
            not decode.
    """
    if isinstance(image, Image.Image):
        pixels = upright_pixels(image)
        if pixels.shape[2] == 1:
            pixels = pixels[..., 0]
        larger = upscale(net, pixels, scale, size, memory, progress, crop, linear)
        result = Image.fromarray(np.asarray(larger))
        profile = image.info.get('icc_profile')
        if profile and image.mode != 'CMYK':  # whose pixels were converted by it
            result.info['icc_profile'] = profile
        return result
    if isinstance(image, (str, Path)):
        picture = read_picture(image)
        image, linear = picture.pixels, picture.metadata.linear
    job = _checked(net, image, scale, size, memory, crop, linear)
    shape = (*job.area.shape, job.pixels.shape[2])
    _require_memory(shape, job.pixels.dtype)
    out = np.empty(shape, job.pixels.dtype)
    for rows, cols, block in job.render(memory, progress):
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
    crop: Crop | None = None,
    quality: int | None = None,
) -> tuple[int, int]:
    """`upscale` into an image file.

    A .tif or .tiff is written while it is rendered, and may be larger than memory. Other formats
    are encoded from the whole image. Nothing takes the name `path` before it is complete.

    Args:
        net, image, scale, size, memory, progress, crop: See `upscale`; the image is an array.
        metadata: What the file shall say beside its pixels, see `read_picture`; and whether these
            are linear light.
        path: Image file; the format follows the extension.
        quality: See `write_image`.

    Returns:
        Size (H, W) of what was written.

    Raises:
        UserError: As `upscale`; and, before anything is rendered, where the format cannot hold the
            image, or neither can the disk. Also where the disk becomes full on the way.
    """
    path, metadata = Path(path), metadata or Metadata()
    if metadata.linear:
        require_linear(path)
    job = _checked(net, image, scale, size, memory, crop, metadata.linear)
    shape = (*job.area.shape, job.pixels.shape[2])
    if not require_format(path, shape, job.pixels.dtype).in_windows:
        # Encoders take a copy in their own colour order.
        _require_memory(shape, job.pixels.dtype, copies=2)
    with image_writer(path, shape, job.pixels.dtype, metadata, quality) as write:
        for rows, cols, block in job.render(memory, progress):
            write(rows, cols, block)
    return job.area.shape


class _Job(NamedTuple):
    """An image (h, w, C), the size (H, W) it gets, the area of that to render, and its light."""

    net: nn.Module
    pixels: np.ndarray
    size: tuple[int, int]
    area: Area
    curve: LightCurve | None

    def render(
        self, memory: float, progress: Callable[[int, int], None] | None
    ) -> Iterator[tuple[slice, slice, np.ndarray]]:
        """Rows and columns of the area, and their pixels (rows, columns, C)."""
        top, _, left, _ = self.area
        for rows, cols, block in self._blocks(memory, progress):
            yield _moved(rows, -top), _moved(cols, -left), block

    def _blocks(
        self, memory: float, progress: Callable[[int, int], None] | None
    ) -> Iterator[tuple[slice, slice, np.ndarray]]:
        """Rows and columns of the whole output, and their pixels."""
        net, pixels, size, area, curve = self
        if curve is not None:
            pixels = curve.in_range(pixels)
        channels: Any = net.num_in_ch
        if has_alpha(pixels.shape[2], channels):
            pixels = fill_hidden(pixels)
        full = pixels.shape[:2]
        smallest = (min(full[0], size[0]), min(full[1], size[1]))
        if smallest != full:  # of linear light, the mean of light: before any curve
            pixels = reduce_bicubic(pixels, smallest)
        if smallest == size != full:
            report = Progress(progress, math.prod(area.shape), 0)
            rows, cols = slice(*area[:2]), slice(*area[2:])
            yield rows, cols, pixels[rows, cols]
            report.rendered(math.prod(area.shape))
            return
        if curve is None:
            yield from render_windows(net, pixels, size, memory, progress, area)
            return
        coded = curve.to_display(pixels)
        for rows, cols, block in render_windows(net, coded, size, memory, progress, area):
            yield rows, cols, curve.to_light(block)


def _moved(span: slice, by: int) -> slice:
    return slice(span.start + by, span.stop + by)


@torch.no_grad()
def enlarged(
    net: Any, lq: Tensor, size: tuple[int, int], count: int | None = None
) -> tuple[Tensor, bool]:
    """A network's image (C, H, W) in [0, 1], on the host, as a validation measures it.

    Args:
        net: A `LatentNetwork`, in evaluation mode.
        lq: Its input, (1, C, h, w) in [0, 1].
        size: Output size (H, W).
        count: 4 or 8: the mean over so many turns of the input. None: the input alone.

    Returns:
        The image; and whether a GPU's memory holds the whole of it at once. Else `upscale` has made
        it in windows, in the same precision; it shows a gray image as gray.
    """
    try:
        sr = ensemble_mean(net, lq, size, count) if count else net(lq, size=size)
        return sr[0].clamp_(0, 1).cpu(), True
    except torch.OutOfMemoryError:
        pass
    torch.cuda.empty_cache()  # of what the attempt held, which the error no longer does
    made_by = SelfEnsemble(net, count).eval() if count else net
    precision = net.precision
    made_by.precision = 'bfloat16' if net.render_dtype() == torch.bfloat16 else 'float32'
    try:
        pixels = upscale(made_by, lq[0].permute(1, 2, 0).cpu().numpy(), size=size)
    finally:
        net.precision = precision
    return torch.from_numpy(pixels).permute(2, 0, 1), False


def _checked(
    net: nn.Module,
    image: np.ndarray,
    scale: object,
    size: tuple[int, int] | None,
    memory: float,
    crop: Crop | None,
    linear: bool,
) -> _Job:
    """What is to be rendered, after all that a user can get wrong."""
    # What torch.compile makes of a network stands around it, and asks it for all but `forward`.
    if not isinstance(getattr(net, '_orig_mod', net), LatentNetwork):
        raise UserError(
            f'{type(net).__name__} has one scale of its own; needed a network for any: LIIF, LTE, '
            'MetaSR or Thera.'
        )
    _require_array(image)
    require_mebibytes(memory=memory)
    pixels = with_channel_axis(image)
    channels: Any = net.num_in_ch
    require_channels(pixels.shape[2], channels)
    curve = None
    if linear and pixels.dtype.kind == 'f':
        curve = LightCurve(pixels, pixels.shape[2] - has_alpha(pixels.shape[2], channels))
    else:
        require_unit_range(pixels)
    if crop is None:
        size = _target_size(pixels.shape[:2], scale, size)
        return _Job(net, pixels, size, Area(0, size[0], 0, size[1]), curve)
    size, area = crop_area(pixels.shape[:2], crop, scale, size)
    return _Job(net, pixels, size, area, curve)


def crop_area(
    full: tuple[int, int], crop: Crop, scale: object, size: tuple[int, int] | None
) -> tuple[tuple[int, int], Area]:
    """The whole output (H, W) of which a crop is a part, and the area of it that the crop is.

    Args:
        full: Size (h, w) of the image.
        crop: (y, x, height, width) in its pixels.
        scale, size: One of them; the size is that of the area.

    Raises:
        UserError: The crop does not lie in the image, or the output would have too many pixels.
    """
    y, x, height, width = crop
    inside = 0 <= y and y + height <= full[0] and 0 <= x and x + width <= full[1]
    if not (inside and height > 0 and width > 0):
        raise UserError(
            f'found y {y:g}, x {x:g}, height {height:g} and width {width:g}; needed a part '
            f'of the image, which is {full[0]} high and {full[1]} wide.',
            key='crop',
        )
    if size is not None:
        size = _target_size(full, None, size)
        scale = (size[0] / height, size[1] / width)
    elif scale is not None:
        scale = as_scale(scale)
    whole = _target_size(full, scale, None)
    if max(whole) > MOST_PIXELS_A_SIDE:
        raise UserError(
            f'the whole image would have {max(whole):,} pixels a side; {MOST_PIXELS_A_SIDE:,} are '
            'allowed. Lower the scale.',
            key='crop',
        )
    area = []
    for axis, (start, length) in enumerate(((y, height), (x, width))):
        ratio = whole[axis] / full[axis]
        count = max(1, round(length * ratio)) if size is None else size[axis]
        first = min(round(start * ratio), whole[axis] - count)
        area += [max(0, first), min(whole[axis], max(0, first) + count)]
    return whole, Area(*area)


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
