"""Image files and 8-bit arrays: decoding, colour order (RGB from here on), writing, and Pillow's bicubic reduction."""
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from liif_arch.atomic import atomic_write
from liif_arch.errors import UserError

EXTENSIONS = ('.png', '.jpg', '.jpeg', '.bmp', '.tif', '.tiff', '.webp', '.ppm', '.pgm')
COLORS = ('rgb', 'gray', 'unchanged')


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
    image = None
    if buffer.size:
        if color == 'unchanged':
            image = cv2.imdecode(buffer, cv2.IMREAD_UNCHANGED)
            if image is not None and (image.ndim == 2 or image.shape[2] == 3):  # this flag applies the orientation
                image = cv2.imdecode(buffer, cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH)
        else:
            image = cv2.imdecode(buffer, cv2.IMREAD_COLOR if color == 'rgb' else cv2.IMREAD_GRAYSCALE)
    if image is None:
        raise UserError(f'{name}: not a readable image ({len(data)} bytes); replace or remove it.')
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
    """Write (H, W, C) RGB or RGBA, (H, W, 1) or (H, W), 8 or 16 bit; the format follows the extension.

    Raises:
        UserError: The format cannot hold the image, or the file cannot be written.
    """
    path = Path(path)
    require_format(path, image)
    order = {3: [2, 1, 0], 4: [2, 1, 0, 3]}.get(image.shape[2] if image.ndim == 3 else 1)
    try:
        ok, data = cv2.imencode(path.suffix, image[..., order] if order else image)
    except cv2.error as error:
        raise UserError(f'{path}: cannot write a {image.dtype} {image.shape} image as "{path.suffix}" '
                        f'({error.err}); use .png.') from None
    if not ok:
        raise UserError(f'{path}: cannot encode as "{path.suffix}"; use .png.')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            file.write(data)
    except OSError as error:
        raise UserError(f'{path}: cannot write here ({error.strerror}).') from None


def require_format(path: Path, image: np.ndarray) -> None:
    """Raise where a format would silently lose depth or alpha: OpenCV saturates, truncates and drops."""
    suffix, alpha = path.suffix.lower(), image.ndim == 3 and image.shape[2] == 4
    depths = {'.png': 'uint8 uint16', '.tif': 'uint8 uint16 float32', '.tiff': 'uint8 uint16 float32',
              '.ppm': 'uint8 uint16', '.pgm': 'uint8 uint16'}.get(suffix, 'uint8').split()
    if image.dtype.name not in depths:
        raise UserError(f'{path}: {suffix} cannot hold {image.dtype} values; '
                        f'use {".tif" if image.dtype.kind == "f" else ".png"}.')
    if alpha and suffix not in ('.png', '.tif', '.tiff', '.webp'):
        raise UserError(f'{path}: {suffix} cannot hold alpha; use .png.')


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
