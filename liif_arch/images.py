"""Image files and 8-bit arrays: decoding, colour order (RGB from here on), writing, and Pillow's bicubic reduction."""
import math
import os
import re
import warnings
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from liif_arch import tiff
from liif_arch.atomic import output_file
from liif_arch.errors import UserError

warnings.filterwarnings('ignore', category=Image.DecompressionBombWarning)  # see most_pixels
EXTENSIONS = ('.png', '.jpg', '.jpeg', '.bmp', '.tif', '.tiff', '.webp', '.ppm', '.pgm')
COLORS = ('rgb', 'gray', 'unchanged')


class Format(NamedTuple):
    """What a file format, as it is written here, holds without loss: sides in pixels, images in bytes."""
    dtypes: tuple[str, ...] = ('uint8', )
    channels: tuple[int, ...] = (1, 3)
    longest_side: float = math.inf
    most_bytes: float = math.inf


TIFF = Format(('uint8', 'uint16', 'float32', 'float64'), (1, 2, 3, 4))
JPEG = Format(longest_side=65500)  # the encoder's limit; the format's is 65535
NETPBM = Format(('uint8', 'uint16'), most_bytes=2**31 - 2**16)  # the encoder's, as BMP's, is near 2 GiB
FORMATS = {'.tif': TIFF, '.tiff': TIFF, '.jpg': JPEG, '.jpeg': JPEG, '.ppm': NETPBM, '.pgm': NETPBM,
           '.png': Format(('uint8', 'uint16'), (1, 3, 4), longest_side=10**6),
           '.webp': Format(channels=(1, 3, 4), longest_side=16383), '.bmp': Format(most_bytes=2**31 - 2**16)}


def is_image_file(path: Path) -> bool:
    """Whether the name is that of an image this package reads."""
    return path.suffix.lower() in EXTENSIONS and not path.name.startswith('.')


def decode_image(data: bytes, name: str, color: str = 'rgb') -> np.ndarray:
    """Decode an image file's bytes.

    Args:
        data: Contents of the file.
        name: What an error message calls it.
        color: 'rgb' (8-bit, 3 channels), 'gray' (8-bit, 1 channel), or 'unchanged' (1, 3 or 4 channels, 8 or 16 bit,
            or float; RGB or RGBA order). The camera's orientation tag is applied.

    Returns:
        (H, W, C).

    Raises:
        UserError: The bytes are not a whole image; names it.
    """
    buffer = np.frombuffer(data, np.uint8)
    require_pixels(data, name)
    try:
        image = _decode(buffer, data, color)
    except cv2.error:
        image = None
    if image is None:
        raise UserError(f'{name}: not a readable image ({len(data)} bytes); replace or remove it.')
    return image


def require_pixels(data: bytes, name: str) -> None:
    """Raise UserError where an image's header asks for more pixels than `most_pixels`: it costs a stranger nothing."""
    try:
        with Image.open(BytesIO(data)) as image:  # reads the header alone
            pixels = image.width * image.height
    except Image.DecompressionBombError as error:  # Pillow's own limit
        pixels = int(re.search(r'\d+', str(error))[0])
    except Exception:  # whatever Pillow makes of bytes that are no image; OpenCV has its say
        return
    if pixels > most_pixels():
        raise UserError(f'{name}: its header says {pixels:,} pixels; {most_pixels():,} are allowed. If it is right, '
                        'set the environment variable LIIF_MAX_IMAGE_PIXELS.')


def most_pixels() -> int:
    """Pixels that an image may have: LIIF_MAX_IMAGE_PIXELS in the environment, else 2**28 (16384 squared).

    Raises:
        UserError: The variable is no whole number.
    """
    text = os.environ.get('LIIF_MAX_IMAGE_PIXELS', str(2**28))
    if not text.isdecimal():
        raise UserError(f'LIIF_MAX_IMAGE_PIXELS: found {text!r} in the environment; needed a number of pixels.')
    return int(text)


def _decode(buffer: np.ndarray, data: bytes, color: str) -> np.ndarray | None:
    image = None
    if buffer.size:
        if color == 'unchanged':
            image = cv2.imdecode(buffer, cv2.IMREAD_UNCHANGED)
            if image is not None and (image.ndim == 2 or image.shape[2] == 3):  # this flag applies the orientation
                image = cv2.imdecode(buffer, cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH)
            straight = _tiff_alpha(data) if image is not None and image.dtype == np.uint8 else None
            if straight is not None:
                return straight
        else:
            image = cv2.imdecode(buffer, cv2.IMREAD_COLOR if color == 'rgb' else cv2.IMREAD_GRAYSCALE)
    if image is None:
        return None
    if image.ndim == 2:
        return image[..., None]
    order = {3: [2, 1, 0], 4: [2, 1, 0, 3]}.get(image.shape[2])
    return np.ascontiguousarray(image[..., order]) if order else image


def convert_color(image: np.ndarray, color: str) -> np.ndarray:
    """Decoded pixels (`decode_image` 'unchanged') in another colour, as OpenCV makes it of a PNG file.

    16 bits lose their lower half, alpha is dropped, gray is repeated. (OpenCV's gray of a colour file depends on the
    format: PNG's differs from this one, which is cvtColor's, by up to 1 level, JPEG's does not.)

    Args:
        image: (H, W, C), C = 1, 3 or 4, RGB, uint8 or uint16.
        color: One of `COLORS`.

    Returns:
        (H, W, C).
    """
    if color == 'unchanged':
        return image
    if image.dtype == np.uint16:
        image = (image >> 8).astype(np.uint8)
    channels = image.shape[2]
    if color == 'gray':
        return image if channels == 1 else cv2.cvtColor(np.ascontiguousarray(image[..., :3]),
                                                        cv2.COLOR_RGB2GRAY)[..., None]
    return np.repeat(image, 3, axis=2) if channels == 1 else np.ascontiguousarray(image[..., :3])


def _tiff_alpha(data: bytes) -> np.ndarray | None:
    """An 8-bit TIFF with alpha as straight RGBA, (H, W, 4); OpenCV multiplies its colours by alpha, or drops alpha."""
    if data[:4] not in (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+'):
        return None
    try:
        image = Image.open(BytesIO(data))
        return np.array(image.convert('RGBA')) if image.mode in ('LA', 'RGBA') else None
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError):
        return None


def read_image(path: str | Path, color: str = 'unchanged') -> np.ndarray:
    """Read an image file, (H, W, C), RGB; see `decode_image`.

    Raises:
        UserError: There is no such file, or it does not decode.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f'{path}: cannot read this image ({error.strerror}).') from None
    return decode_image(data, str(path), color)


def write_image(path: str | Path, image: np.ndarray) -> None:
    """Write (H, W, C) RGB or RGBA, (H, W, 1) or (H, W), 8 or 16 bit or float; the format is the extension's.

    Raises:
        UserError: The format cannot hold the image, or the file cannot be written.
    """
    path = Path(path)
    pixels = image[..., None] if image.ndim == 2 else image
    require_format(path, pixels.shape, pixels.dtype)
    if path.suffix.lower() in tiff.EXTENSIONS:
        with tiff.tiff_writer(path, pixels.shape, pixels.dtype) as write:
            write(slice(0, pixels.shape[0]), slice(0, pixels.shape[1]), pixels)
        return
    order = {3: [2, 1, 0], 4: [2, 1, 0, 3]}.get(pixels.shape[2])
    try:
        ok, data = cv2.imencode(path.suffix, pixels[..., order] if order else pixels)
    except cv2.error as error:
        raise UserError(f'{path}: cannot write a {image.dtype} {image.shape} image as "{path.suffix}" '
                        f'({error.err}); use .png or .tif.') from None
    if not ok:
        raise UserError(f'{path}: cannot encode as "{path.suffix}"; use .png or .tif.')
    with output_file(path) as file:
        file.write(data)


def require_format(path: Path, shape: tuple[int, int, int], dtype: np.dtype) -> None:
    """Raise where a format cannot hold an image (H, W, C), or would lose depth or alpha without a word."""
    suffix, dtype = path.suffix.lower(), np.dtype(dtype)
    able = FORMATS.get(suffix, Format())
    if dtype.name not in able.dtypes:
        raise UserError(f'{path}: {suffix} cannot hold {dtype.name} values; '
                        f'use {".tif" if dtype.kind == "f" else ".png"}.')
    if shape[2] not in able.channels:
        found = 'alpha' if shape[2] == 4 else f'{shape[2]} channels'
        raise UserError(f'{path}: {suffix} cannot hold {found}; use {".png" if shape[2] == 4 else ".tif"}.')
    size = f'found {shape[1]}x{shape[0]} (width x height)'
    if max(shape[:2]) > able.longest_side:
        raise UserError(f'{path}: {size}; {suffix} holds at most {able.longest_side} pixels a side. Use .tif.')
    if math.prod(shape) * dtype.itemsize > able.most_bytes:
        raise UserError(f'{path}: {size}; {suffix} holds at most {able.most_bytes / 1e6:,.0f} MB. Use .tif.')


def unit_range(pixels: np.ndarray) -> np.ndarray:
    """8- or 16-bit values to float32 in [0, 1]; float values as they are."""
    return pixels.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max if pixels.dtype.kind == 'u' else 1)


def to_uint8(image: np.ndarray) -> np.ndarray:
    """Colours in [0, 1] (clamped) to 8 bits, rounded to nearest."""
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)


def require_8_bits(image: np.ndarray) -> None:
    """Raise UserError for an image that low-resolution inputs cannot be made from."""
    if image.dtype != np.uint8:
        raise UserError(f'found a {image.dtype} image; low-resolution inputs are made from 8-bit images. '
                        'Set color: rgb or gray, or give dataroot_lq.')


def resize_bicubic(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Pillow's bicubic resize of an 8-bit image, antialiased when it reduces: (H, W, C) uint8 -> (*size, C) uint8."""
    require_8_bits(image)
    width_height = (size[1], size[0])
    if image.shape[2] in (3, 4):  # RGBX resizes four independent channels, without premultiplied alpha
        mode = 'RGB' if image.shape[2] == 3 else 'RGBX'
        source = Image.frombuffer(mode, image.shape[1::-1], np.ascontiguousarray(image).tobytes(), 'raw', mode, 0, 1)
        return np.array(source.resize(width_height, Image.Resampling.BICUBIC))
    channels = [Image.fromarray(np.ascontiguousarray(c)).resize(width_height, Image.Resampling.BICUBIC)
                for c in np.moveaxis(image, 2, 0)]
    return np.stack([np.asarray(c) for c in channels], axis=2)
