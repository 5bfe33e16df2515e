"""Image files and arrays: reading and writing, colours, 8 bits, and Pillow's bicubic reduction.

The table of formats is in `formats`. `decoding` and `tiff_reading` read; `encoding` and `tiff`
write. `metadata` is what a file says beside its pixels, EXIF in `exif`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from liif_arch.errors import UserError
from liif_arch.files.atomic import output_file
from liif_arch.files.decoding import decode_color, decode_unchanged
from liif_arch.files.encoding import encode, require_quality
from liif_arch.files.formats import (
    EXTENSIONS,
    FORMATS,
    JPEG,
    is_image_file,
    require_format,
    sniff,
)
from liif_arch.files.lossy import lossy_format
from liif_arch.files.metadata import Metadata, require_profile
from liif_arch.files.pixels import full_scale, with_channel_axis
from liif_arch.files.tiff import tiff_writer
from liif_arch.files.tiff_pages import only_page
from liif_arch.files.tiff_reading import is_tiff

__all__ = [
    'COLORS',
    'EXTENSIONS',
    'FORMATS',
    'Metadata',
    'Picture',
    'convert_color',
    'decode_image',
    'image_writer',
    'is_image_file',
    'read_image',
    'read_picture',
    'require_8_bits',
    'require_format',
    'require_unit_range',
    'resize_bicubic',
    'to_uint8',
    'unit_range',
    'write_image',
]
COLORS = ('rgb', 'gray', 'unchanged')
_END_OF_JPEG = b'\xff\xd9'
# Pillow's modes by channels; RGBX is four channels of which none is alpha.
_MODES = {3: 'RGB', 4: 'RGBX'}


class Picture(NamedTuple):
    """An image file's content.

    Attributes:
        pixels: (H, W, C), see `decode_image` 'unchanged'.
        metadata: Colour profile, EXIF, resolution, text.
    """

    pixels: np.ndarray
    metadata: Metadata


def decode_image(data: bytes, name: str, color: str = 'rgb') -> np.ndarray:
    """Decode an image file's bytes.

    Args:
        data: Contents of the file.
        name: What an error message calls it.
        color: 'rgb' (8-bit, 3 channels), 'gray' (8-bit, 1 channel), or 'unchanged': 1 gray,
            2 gray and alpha, 3 RGB or 4 RGBA channels, of 8 or 16 bit, or float. The camera's
            orientation tag is applied.

    Returns:
        (H, W, C).

    Raises:
        UserError: The bytes are not one whole image of these kinds; names it and the way out.
    """
    if color == 'unchanged':
        image, _ = decode_unchanged(data, name)
        return image
    decoded = decode_color(data, name, color)
    if decoded is not None:
        return decoded
    image, _ = decode_unchanged(data, name)
    if image.dtype.kind == 'f':
        require_unit_range(image, name)
        image = to_uint8(image)
    return convert_color(image, color)


def convert_color(image: np.ndarray, color: str) -> np.ndarray:
    """Decoded pixels (`decode_image` 'unchanged') in another colour, as OpenCV makes it of a PNG
    file.

    16 bits lose their lower half, alpha is dropped, gray is repeated. (OpenCV's gray of a colour
    file depends on the format: PNG's differs from this one, which is cvtColor's, by up to 1 level,
    JPEG's does not.)

    Args:
        image: (H, W, C), C = 1 to 4 as in `decode_image`, uint8 or uint16.
        color: One of `COLORS`.

    Returns:
        (H, W, C).
    """
    if color == 'unchanged':
        return image
    if image.dtype == np.uint16:
        image = (image >> 8).astype(np.uint8)
    if image.shape[2] < 3:
        gray = np.ascontiguousarray(image[..., :1])
        if color == 'gray':
            return gray
        return np.repeat(gray, 3, axis=2)
    colours = np.ascontiguousarray(image[..., :3])
    if color == 'gray':
        return with_channel_axis(cv2.cvtColor(colours, cv2.COLOR_RGB2GRAY))
    return colours


def read_picture(path: str | Path, strict: bool = True, page: int | None = None) -> Picture:
    """Read an image file unchanged, with what it says beside its pixels.

    Args:
        path: The file.
        strict: Whether to refuse a JPEG that is cut off. Otherwise what is missing is gray, and
            `Metadata.notes` says so.
        page: Of a TIFF file with several, from 0; None: it must be the only one.

    Raises:
        UserError: There is no such file, or it does not decode.
    """
    return decode_picture(_read_bytes(path), str(path), strict, page)


def decode_picture(data: bytes, name: str, strict: bool = True, page: int | None = None) -> Picture:
    """`read_picture` of a file's contents; errors call it by `name`."""
    if page is not None and is_tiff(data):
        data = only_page(data, page, name)
    notes: tuple[str, ...] = ()
    try:
        pixels, metadata = decode_unchanged(data, name, with_metadata=True)
    except UserError as error:
        if sniff(data) is not JPEG:
            raise
        try:
            pixels, metadata = decode_unchanged(data + _END_OF_JPEG, name, with_metadata=True)
        except UserError:
            raise error from None
        if strict:
            raise UserError(
                f'{name}: not a readable image (it is cut off); replace it, or read it as far as '
                'it goes (strict=False; at the command, without --strict).'
            ) from None
        notes = ('it is cut off, and what is missing is gray (--strict refuses it)',)
    return Picture(pixels, metadata._replace(lossy=lossy_format(data), notes=notes))


def read_image(path: str | Path, color: str = 'unchanged') -> np.ndarray:
    """Read an image file's pixels, (H, W, C), RGB; see `decode_image`.

    Raises:
        UserError: There is no such file, or it does not decode.
    """
    return decode_image(_read_bytes(path), str(path), color)


def _read_bytes(path: str | Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UserError(f'{path}: cannot read this image ({error.strerror}).') from None


def write_image(
    path: str | Path,
    image: np.ndarray,
    metadata: Metadata | None = None,
    quality: int | None = None,
) -> None:
    """Write an image file; the format is the extension's.

    Args:
        path: The file; its folder is made.
        image: (H, W), or (H, W, C) with 1 gray, 2 gray and alpha, 3 RGB or 4 RGBA channels; 8 or
            16 bit, or float.
        metadata: What the file shall say beside its pixels, as far as the format holds it, see
            `Metadata.left_out`.
        quality: Of a lossy compression, 1 to 100. None: WebP without loss, JPEG and AVIF at 95.

    Raises:
        UserError: The format cannot hold the image or has no quality, or the file cannot be
            written.
    """
    pixels = with_channel_axis(image)
    height, width, _ = pixels.shape
    with image_writer(path, pixels.shape, pixels.dtype, metadata, quality) as write:
        write(slice(0, height), slice(0, width), pixels)


@contextmanager
def image_writer(
    path: str | Path,
    shape: tuple[int, int, int],
    dtype: np.dtype,
    metadata: Metadata | None = None,
    quality: int | None = None,
) -> Iterator[Callable[[slice, slice, np.ndarray], None]]:
    """Write an image file from windows; the format is the extension's.

    Pixels go to the disk as they come where the format is written `Format.in_windows`. Other
    formats keep the whole image in memory, and it is encoded when the block ends. The file is there
    when the block ends well; what was there before stays otherwise.

    Args:
        path: The file; its folder is made.
        shape: (H, W, C) of the image, C as in `write_image`.
        dtype: Of its pixels: 8 or 16 bit, or float.
        metadata, quality: See `write_image`.

    Yields:
        `write(rows, cols, pixels)`: output rows and columns (slices with start and stop), and their
        pixels (rows, columns, C). Pixels that are never written are 0.

    Raises:
        UserError: Before the block begins, where the format cannot hold the image, where the
            colour profile is none of these pixels, or where a disk has too little space for a
            format in windows. Later, where the file cannot be written.
    """
    path, dtype = Path(path), np.dtype(dtype).newbyteorder('=')
    metadata = metadata or Metadata()
    kind = require_format(path, shape, dtype)
    require_quality(path, quality)
    require_profile(path, metadata.icc, shape[2])
    if kind.in_windows:
        with tiff_writer(path, shape, dtype, metadata) as write:
            yield write
        return
    whole = np.zeros(shape, dtype)

    def write_into_whole(rows: slice, cols: slice, pixels: np.ndarray) -> None:
        whole[rows, cols] = pixels

    yield write_into_whole
    data = encode(path, whole, metadata, quality)
    with output_file(path) as file:
        file.write(data)


def require_unit_range(pixels: np.ndarray, name: str = 'image') -> None:
    """Raise UserError where float values are not in [0, 1], and would be clamped.

    Args:
        pixels: Of any dtype.
        name: What the message calls them.
    """
    if pixels.dtype.kind != 'f' or not pixels.size:
        return
    low, high = float(pixels.min()), float(pixels.max())
    if not (low >= 0 and high <= 1):  # NaN too
        way_out = 'map them to [0, 1], and replace what is no number'
        if low >= 0 and high < np.inf:
            way_out = f'divide them by {high:g} or by their full scale'
        raise UserError(
            f'{name}: found {pixels.dtype} values from {low:g} to {high:g}; needed 0 '
            f'(black) to 1 (white). Before, {way_out}.'
        )


def unit_range(pixels: np.ndarray) -> np.ndarray:
    """8- or 16-bit values to float32 in [0, 1]; float values as they are."""
    return pixels.astype(np.float32) / np.float32(full_scale(pixels.dtype))


def to_uint8(image: np.ndarray) -> np.ndarray:
    """Colours in [0, 1] (clamped) to 8 bits, rounded to nearest."""
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)


def require_8_bits(image: np.ndarray) -> None:
    """Raise UserError for an image that low-resolution inputs cannot be made from."""
    if image.dtype != np.uint8:
        raise UserError(
            f'found a {image.dtype} image; low-resolution inputs are made from 8-bit images. '
            'Set color: rgb or gray, or give dataroot_lq.'
        )


def resize_bicubic(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Pillow's bicubic resize of an 8-bit image, antialiased when it reduces.

    Args:
        image: (h, w, C) uint8; each channel is resized by itself, alpha like a colour.
        size: (H, W) of the result.

    Returns:
        (H, W, C) uint8.

    Raises:
        UserError: The image is not of 8 bits.
    """
    require_8_bits(image)
    width_height = (size[1], size[0])
    mode = _MODES.get(image.shape[2])
    if mode is not None:  # all channels at once, which is faster
        source = Image.frombuffer(
            mode, image.shape[1::-1], np.ascontiguousarray(image).tobytes(), 'raw', mode, 0, 1
        )
        return np.array(source.resize(width_height, Image.Resampling.BICUBIC))
    resized = np.empty((*size, image.shape[2]), np.uint8)
    for channel in range(image.shape[2]):
        source = Image.fromarray(np.ascontiguousarray(image[..., channel]))
        resized[..., channel] = np.asarray(source.resize(width_height, Image.Resampling.BICUBIC))
    return resized
