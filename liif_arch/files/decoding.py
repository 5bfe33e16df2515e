"""Image files read: Pillow tells what a file is, and OpenCV or Pillow decodes it.

The rules, for every format: one picture a file; its orientation is applied once; 1 to 4 channels
(gray, gray and alpha, RGB, RGBA) of 8 or 16 bit or float. Otherwise a refusal says what was found.
Files of linear light are `high_range`'s, TIFF files `tiff_reading`'s.
"""

import re
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, features

from liif_arch.errors import UserError
from liif_arch.files import tiff_reading
from liif_arch.files.damage import damage_named
from liif_arch.files.exif import orientation_of
from liif_arch.files.formats import HEIF, READABLE, sniff
from liif_arch.files.high_range import read_high_range
from liif_arch.files.metadata import Metadata, picture_exif, read_metadata
from liif_arch.files.pillow_reading import (
    open_image,
    pillow_pixels,
    require_pixels,
    use_heif,
)
from liif_arch.files.pixels import full_scale, with_channel_axis

_FLAGS = {'rgb': cv2.IMREAD_COLOR, 'gray': cv2.IMREAD_GRAYSCALE}
# Formats that OpenCV decodes as 8-bit RGB and gray, as trainings have always seen them.
_OPENCV = ('PNG', 'JPEG', 'MPO', 'WEBP', 'BMP', 'PPM')
_TO_RGB = {3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGBA}


def decode_color(data: bytes, name: str, color: str) -> np.ndarray | None:
    """Decode a file with OpenCV alone, which is the fastest.

    Args:
        data: Contents of the file.
        name: What an error message calls it.
        color: 'rgb' or 'gray'.

    Returns:
        (H, W, 3 or 1) uint8, upright; None where OpenCV would get it wrong.

    Raises:
        UserError: The bytes are not one whole picture.
    """
    if tiff_reading.is_tiff(data):
        with tiff_reading.open_tiff(BytesIO(data), name) as page:
            require_pixels(page.imagelength * page.imagewidth, name)
            if not tiff_reading.is_plain(page):
                return None
            tiff_reading.require_checksums(page, data)
        return _opencv(data, name, _FLAGS[color])
    if is_linear(data):
        raise UserError(
            f'{name}: found linear light, which has no 8 bits of its own; develop it (tone '
            'mapping) and save it as PNG.'
        )
    image = open_picture(data, name)
    if image.format not in _OPENCV or image.mode == 'CMYK':
        return None
    if image.format == 'PPM':
        _require_full_range(data, name)
    return upright(_opencv(data, name, _FLAGS[color]), _orientation(image, data))


def is_linear(data: bytes) -> bool:
    """Whether a file holds linear light."""
    kind = sniff(data)
    return kind is not None and kind.linear


def decode_unchanged(
    data: bytes, name: str, with_metadata: bool = False
) -> tuple[np.ndarray, Metadata]:
    """Decode a file as it is.

    Args:
        data: Contents of the file.
        name: What an error message calls it.
        with_metadata: Whether to read what it says beside its pixels.

    Returns:
        Pixels (H, W, C), C = 1 to 4, upright, of RGB order, alpha not multiplied into the colours;
        and metadata, which is empty where it is not asked for.

    Raises:
        UserError: The bytes are not one whole picture of these kinds.
    """
    if tiff_reading.is_tiff(data):
        return _decode_tiff(data, name, with_metadata)
    if is_linear(data):
        with damage_named(name):
            found = read_high_range(data, name)
        said = Metadata(linear=True, exr=found.attributes, unread=found.unread)
        return found.pixels, said
    image = open_picture(data, name)
    with damage_named(name):
        pixels = upright(_reader(image)(image, data, name), _orientation(image, data))
        if not with_metadata:
            return pixels, Metadata()
        return pixels, read_metadata(image, data, pixels.shape[2])


def _decode_tiff(data: bytes, name: str, with_metadata: bool) -> tuple[np.ndarray, Metadata]:
    with tiff_reading.open_tiff(BytesIO(data), name) as page:
        require_pixels(page.imagelength * page.imagewidth, name)
        tiff_reading.require_one_image(page, name)
        tiff_reading.require_checksums(page, data)
        pixels = tiff_reading.read_pixels(page, data, name)
        pixels = upright(pixels, tiff_reading.page_orientation(page))
        if not with_metadata:
            return pixels, Metadata()
        return pixels, tiff_reading.page_metadata(page, data, pixels.shape[2])


def _orientation(image: Image.Image, data: bytes) -> int:
    return orientation_of(picture_exif(image, BytesIO(data)))


def open_picture(data: bytes, name: str) -> Image.Image:
    """Pillow's view of a file, all but TIFF: its header is read, its pixels are not.

    Raises:
        UserError: No image, a format that is not read here, several frames, or too many pixels.
    """
    if sniff(data) is HEIF:
        use_heif(name)
    try:
        image = open_image(BytesIO(data))
        frames = getattr(image, 'n_frames', 1)
    except UserError:
        raise
    except Image.DecompressionBombError as error:
        require_pixels(int(re.search(r'\d+', str(error))[0]), name)
        raise UserError(f'{name}: {error}') from None
    except Exception:  # Pillow raises anything for bytes that are no image
        advice = 'replace or remove it.'
        if data[4:12] == b'ftypavif':
            if not features.check('avif'):
                advice += ' AVIF needs Pillow 11.3 or later.'
        elif data[4:8] == b'ftyp' or data.startswith(b'\x1aE\xdf\xa3'):
            advice = 'it is a film; name it so (.mp4, .mkv), for basicsr upscale.'
        raise UserError(f'{name}: not a readable image ({len(data)} bytes); {advice}') from None
    require_pixels(image.width * image.height, name)
    if image.format not in READABLE:
        raise UserError(
            f'{name}: found a {image.format} file; needed one of {", ".join(sorted(READABLE))}.'
        )
    if image.format == 'MPO':  # a preview or a gain map beside the photograph is no second picture
        frames = sum(_is_further_view(entry) for entry in image.mpinfo.get(0xB002, ()))
    if frames > 1:
        raise UserError(
            f'{name}: found an animation or a stack of {frames} pictures; needed one. '
            'Save its frames as files of their own.'
        )
    return image


def _is_further_view(entry: dict) -> bool:
    """Whether a picture in a camera's MPO file is one of a panorama, a pair or several angles."""
    return str(entry.get('Attribute', {}).get('MPType', '')).startswith('Multi-Frame')


def header_size(path: Path) -> tuple[int, int] | None:
    """Height and width of an upright image by its header; None where it must be decoded to know."""
    try:
        with open(path, 'rb') as file:
            if tiff_reading.is_tiff(file.read(4)):
                with tiff_reading.open_tiff(path, str(path)) as page:
                    size = page.imagelength, page.imagewidth
                    orientation = tiff_reading.page_orientation(page)
            else:
                with open_image(path) as image:
                    size = image.height, image.width
                    orientation = orientation_of(picture_exif(image, file))
    except Exception:  # decoding says what is wrong with it
        return None
    if orientation > 4:  # turned by a quarter
        return size[::-1]
    return size


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Pixels (h, w, C) turned as EXIF's orientation says, 1 (not) to 8."""
    if orientation > 4:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _opencv(data: bytes, name: str, flags: int) -> np.ndarray:
    """What OpenCV decodes, not turned, (H, W, C), RGB or RGBA order."""
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        image = None
    if image is None:
        raise UserError(f'{name}: not a readable image ({len(data)} bytes); replace or remove it.')
    if image.ndim == 2:
        return image[..., None]
    return cv2.cvtColor(image, _TO_RGB[image.shape[2]])


def _unchanged(image: Image.Image, data: bytes, name: str) -> np.ndarray:
    return _opencv(data, name, cv2.IMREAD_UNCHANGED)


def _png(image: Image.Image, data: bytes, name: str) -> np.ndarray:
    """A PNG file: OpenCV repeats gray that has alpha, and ignores a gray that is transparent."""
    pixels, depth, kind = _unchanged(image, data, name), data[24], data[25]
    if kind == 4:  # gray and alpha
        return pixels[..., [0, 3]]
    key = image.info.get('transparency')
    if kind == 0 and isinstance(key, int):  # one gray value is transparent
        top = full_scale(pixels.dtype)
        if depth < 8:  # OpenCV spreads 1, 2 and 4 bits over 0 to 255
            key = key * top // (2**depth - 1)
        alpha = np.where(pixels == key, 0, top).astype(pixels.dtype)
        return np.concatenate([pixels, alpha], axis=2)
    return pixels


def _netpbm(image: Image.Image, data: bytes, name: str) -> np.ndarray:
    """A PBM, PGM or PPM file."""
    _require_full_range(data, name)
    if image.mode == '1':
        return _pillow(image, data, name)
    return _unchanged(image, data, name)


def _require_full_range(data: bytes, name: str) -> None:
    """Raise UserError for another range of values, of which OpenCV and Pillow make other pixels."""
    words = re.sub(rb'#[^\r\n]*', b'', data[:4096]).split()
    if words[0] not in (b'P2', b'P3', b'P5', b'P6', b'P1', b'P4'):
        kind = words[0].decode('ascii', 'replace')
        raise UserError(f'{name}: found a {kind} file; needed P1 to P6.')
    if words[0] not in (b'P1', b'P4') and words[3] not in (b'255', b'65535'):
        top = words[3].decode('ascii', 'replace')
        raise UserError(
            f'{name}: found values up to {top}; needed 255 or 65535. Save it with one '
            'of these as maximum.'
        )


def _avif(image: Image.Image, data: bytes, name: str) -> np.ndarray:
    """An AVIF file; Pillow decodes 8 bits, and OpenCV gives 10 or 12 bits as they are."""
    bits = _avif_bits(data)
    if bits == 8:
        return _pillow(image, data, name)
    top = 2**bits - 1
    pixels = _unchanged(image, data, name)
    if pixels.dtype != np.uint16 or pixels.max(initial=0) > top:
        raise UserError(
            f'{name}: this AVIF of more than 8 bits cannot be read; save it as a 16-bit PNG.'
        )
    return np.rint(pixels * (65535 / top)).astype(np.uint16)


def _avif_bits(data: bytes) -> int:
    """Bits of a value in an AVIF file: 8, 10 or 12; 8 where it does not say."""
    at = data.find(b'av1C')
    if not 0 <= at < len(data) - 6:
        return 8
    flags = data[at + 6]
    if flags & 0x40 and flags & 0x20:
        return 12
    if flags & 0x40:
        return 10
    return 8


def _jpeg_2000(image: Image.Image, data: bytes, name: str) -> np.ndarray:
    """A JPEG 2000 file; Pillow decodes 8 bits, OpenCV 16."""
    # The size marker holds the number of components, and three bytes for each, of which the first
    # is its bits less 1 (128 more where it is signed).
    at = data.find(b'\xff\x4f\xff\x51') + 40
    components = int.from_bytes(data[at : at + 2], 'big')
    sizes = data[at + 2 : at + 2 + 3 * components : 3]
    depths = {size + 1 for size in sizes}
    if depths == {8}:
        return _pillow(image, data, name)
    if depths != {16} or components not in (1, 3, 4):
        raise UserError(
            f'{name}: found {components} components of {sorted(depths)} bits in JPEG 2000; needed '
            "8, or 16 without gray's alpha. Save it as a 16-bit PNG or TIFF."
        )
    return _unchanged(image, data, name)


def _heif(image: Image.Image, data: bytes, name: str) -> np.ndarray:
    """A HEIC file; 10 and 12 bits become 16, of which pillow-heif would make 8."""
    import pillow_heif

    file = pillow_heif.open_heif(data, convert_hdr_to_8bit=False)
    if file.info.get('bit_depth', 8) == 8:
        return _pillow(image, data, name)
    return with_channel_axis(np.asarray(file[file.primary_index]))


def _pillow(image: Image.Image, data: bytes, name: str) -> np.ndarray:
    return pillow_pixels(image, name)


def _reader(image: Image.Image) -> Callable[[Image.Image, bytes, str], np.ndarray]:
    """The function that decodes an opened file as it is."""
    if image.mode == 'CMYK':
        return _pillow
    return _READERS[image.format]


_READERS: dict[str, Callable[[Image.Image, bytes, str], np.ndarray]] = {
    'PNG': _png,
    'JPEG': _unchanged,
    'MPO': _unchanged,
    'WEBP': _unchanged,
    'PPM': _netpbm,
    'AVIF': _avif,
    'JPEG2000': _jpeg_2000,
    'BMP': _pillow,
    'GIF': _pillow,
    'TGA': _pillow,
    'HEIF': _heif,
}
