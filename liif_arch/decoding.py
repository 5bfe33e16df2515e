"""Image files read: Pillow tells what a file is and OpenCV decodes it; where OpenCV would err, Pillow does.

The rules, for every format: one picture a file, its orientation applied once, 1 to 4 channels (gray, gray and alpha,
RGB, RGBA) of 8 or 16 bit or float, and otherwise a refusal that says what was found.
"""
import os
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageCms

from liif_arch import tiff_reading
from liif_arch.errors import UserError
from liif_arch.formats import READABLE
from liif_arch.metadata import Metadata, orientation_of, picture_exif, read_metadata

warnings.filterwarnings('ignore', category=Image.DecompressionBombWarning)  # see most_pixels

_FLAGS = {'rgb': cv2.IMREAD_COLOR, 'gray': cv2.IMREAD_GRAYSCALE}
_OPENCV = ('PNG', 'JPEG', 'MPO', 'WEBP', 'BMP', 'PPM')  # formats that OpenCV reads as 8-bit RGB and gray
_TO_RGB = {3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGBA}


def most_pixels() -> int:
    """Pixels that an image may have: LIIF_MAX_IMAGE_PIXELS in the environment, else 2**28 (16384 squared).

    Raises:
        UserError: The variable is no whole number.
    """
    text = os.environ.get('LIIF_MAX_IMAGE_PIXELS', str(2**28))
    if not text.isdecimal():
        raise UserError(f'LIIF_MAX_IMAGE_PIXELS: found {text!r} in the environment; needed a number of pixels.')
    return int(text)


def require_pixels(pixels: int, name: str) -> None:
    """Raise UserError where a header asks for more pixels than `most_pixels`: writing it costs a stranger nothing."""
    if pixels > most_pixels():
        raise UserError(f'{name}: its header says {pixels:,} pixels; {most_pixels():,} are allowed. If it is right, '
                        'set the environment variable LIIF_MAX_IMAGE_PIXELS.')


def decode_color(data: bytes, name: str, color: str) -> np.ndarray | None:
    """A file as 8-bit 'rgb' or 'gray' by OpenCV, upright, (H, W, C); None where OpenCV would get it wrong.

    Raises:
        UserError: The bytes are not one whole picture.
    """
    if data[:4] in tiff_reading.MAGIC:
        with tiff_reading.open_tiff(BytesIO(data), name) as page:
            require_pixels(page.imagelength * page.imagewidth, name)
            if not tiff_reading.is_plain(page):
                return None
            orientation = 1
    else:
        image = open_picture(data, name)
        if image.format not in _OPENCV or image.mode == 'CMYK':
            return None
        if image.format == 'PPM':
            _require_full_range(data, name)
        orientation = orientation_of(picture_exif(image, BytesIO(data)))
    return upright(_opencv(data, name, _FLAGS[color]), orientation)


def decode_unchanged(data: bytes, name: str, with_metadata: bool = False) -> tuple[np.ndarray, Metadata]:
    """A file as it is, upright: (H, W, C), C = 1 to 4, RGB order, straight alpha; and what it says beside.

    Raises:
        UserError: The bytes are not one whole picture of these kinds.
    """
    if data[:4] in tiff_reading.MAGIC:
        return _decode_tiff(data, name, with_metadata)
    image = open_picture(data, name)
    with _damage_named(name):
        read = _READERS.get('CMYK' if image.mode == 'CMYK' else image.format, _pillow)
        pixels = upright(read(image, data, name), orientation_of(picture_exif(image, BytesIO(data))))
        metadata = read_metadata(image, data, pixels.shape[2]) if with_metadata else Metadata()
    return pixels, metadata


def _decode_tiff(data: bytes, name: str, with_metadata: bool) -> tuple[np.ndarray, Metadata]:
    with tiff_reading.open_tiff(BytesIO(data), name) as page:
        require_pixels(page.imagelength * page.imagewidth, name)
        tiff_reading.require_one_image(page, name)
        pixels = upright(tiff_reading.read_pixels(page, data, name), tiff_reading.page_orientation(page))
        return pixels, tiff_reading.page_metadata(page, data, pixels.shape[2]) if with_metadata else Metadata()


@contextmanager
def _damage_named(name: str) -> Iterator[None]:
    """Whatever a decoder makes of a damaged file becomes a UserError that names it."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        text = (str(error) or type(error).__name__).splitlines()[0][:200]
        raise UserError(f'{name}: not a readable image ({text}); replace or remove it.') from None


def open_picture(data: bytes, name: str) -> Image.Image:
    """Pillow's view of a file, all but TIFF: its header is read, its pixels are not.

    Raises:
        UserError: No image, of a format that is not read here, of several frames, or of too many pixels.
    """
    if Image.MAX_IMAGE_PIXELS is not None:  # Pillow's own limit gives way to this package's
        Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, most_pixels())
    try:
        image = Image.open(BytesIO(data))
        frames = getattr(image, 'n_frames', 1)
    except Image.DecompressionBombError as error:
        require_pixels(int(re.search(r'\d+', str(error))[0]), name)
        raise UserError(f'{name}: {error}') from None
    except Exception:  # Pillow raises anything for bytes that are no image
        update = ' AVIF needs Pillow 11.3 or later.' if data[4:12] == b'ftypavif' else ''
        raise UserError(f'{name}: not a readable image ({len(data)} bytes); replace or remove it.{update}') from None
    require_pixels(image.width * image.height, name)
    if image.format not in READABLE:
        raise UserError(f'{name}: found a {image.format} file; needed one of {", ".join(sorted(READABLE))}.')
    if image.format == 'MPO':  # a preview or a gain map beside the photograph is no second picture
        frames = sum(_is_further_view(entry) for entry in image.mpinfo.get(0xB002, ()))
    if frames > 1:
        raise UserError(f'{name}: found an animation or a stack of {frames} pictures; needed one. Save its frames '
                        'as files of their own.')
    return image


def _is_further_view(entry: dict) -> bool:
    """Whether a picture in a camera's MPO file is one of a panorama, a stereo pair or several angles."""
    return str(entry.get('Attribute', {}).get('MPType', '')).startswith('Multi-Frame')


def header_size(path: Path) -> tuple[int, int] | None:
    """Height and width of an upright image by its file's header; None where it must be decoded to know."""
    try:
        with open(path, 'rb') as file:
            if file.read(4) in tiff_reading.MAGIC:
                with tiff_reading.open_tiff(path, str(path)) as page:
                    size, orientation = (page.imagelength, page.imagewidth), tiff_reading.page_orientation(page)
            else:
                with Image.open(path) as image:
                    size, orientation = (image.height, image.width), orientation_of(picture_exif(image, file))
    except Exception:  # decoding says what is wrong with it
        return None
    return size[::-1] if orientation > 4 else size


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
    """A PNG file: OpenCV repeats gray that has alpha, and leaves out the value that gray calls transparent."""
    pixels, depth, kind = _unchanged(image, data, name), data[24], data[25]
    if kind == 4:  # gray and alpha
        return pixels[..., [0, 3]]
    key = image.info.get('transparency')
    if kind == 0 and isinstance(key, int):
        top = np.iinfo(pixels.dtype).max
        transparent = pixels == (key if depth >= 8 else key * top // (2**depth - 1))
        return np.concatenate([pixels, np.where(transparent, 0, top).astype(pixels.dtype)], axis=2)
    return pixels


def _netpbm(image: Image.Image, data: bytes, name: str) -> np.ndarray:
    """A PBM, PGM or PPM file; of values that have another range, OpenCV and Pillow make different pixels."""
    _require_full_range(data, name)
    return _pillow(image, data, name) if image.mode == '1' else _unchanged(image, data, name)


def _require_full_range(data: bytes, name: str) -> None:
    words = re.sub(rb'#[^\r\n]*', b'', data[:4096]).split()
    if words[0] not in (b'P2', b'P3', b'P5', b'P6', b'P1', b'P4'):
        raise UserError(f'{name}: found a {words[0].decode("ascii", "replace")} file; needed P1 to P6.')
    if words[0] not in (b'P1', b'P4') and words[3] not in (b'255', b'65535'):
        raise UserError(f'{name}: found values up to {words[3].decode("ascii", "replace")}; needed 255 or 65535. '
                        'Save it with one of these as maximum.')


def _avif(image: Image.Image, data: bytes, name: str) -> np.ndarray:
    """An AVIF file; Pillow decodes 8 bits, and OpenCV gives 10 or 12 bits as they are."""
    at = data.find(b'av1C')
    flags = data[at + 6] if 0 <= at < len(data) - 6 else 0
    if not flags & 0x40:
        return _pillow(image, data, name)
    top = 4095 if flags & 0x20 else 1023
    pixels = _unchanged(image, data, name)
    if pixels.dtype != np.uint16 or pixels.max(initial=0) > top:
        raise UserError(f'{name}: this AVIF of more than 8 bits cannot be read; save it as a 16-bit PNG.')
    return np.rint(pixels * (65535 / top)).astype(np.uint16)


def _jpeg_2000(image: Image.Image, data: bytes, name: str) -> np.ndarray:
    """A JPEG 2000 file; Pillow decodes 8 bits, OpenCV 16."""
    at = data.find(b'\xff\x4f\xff\x51') + 40  # the codestream's size marker: components, and bits of each
    components = int.from_bytes(data[at:at + 2], 'big')
    depths = {byte + 1 for byte in data[at + 2:at + 2 + 3 * min(components, 4):3]}  # above 128: signed
    if depths == {8}:
        return _pillow(image, data, name)
    if depths != {16} or components not in (1, 3, 4):
        raise UserError(f'{name}: found {components} components of {sorted(depths)} bits in JPEG 2000; needed 8, or '
                        "16 without gray's alpha. Save it as a 16-bit PNG or TIFF.")
    return _unchanged(image, data, name)


def _pillow(image: Image.Image, data: bytes, name: str) -> np.ndarray:
    return pillow_pixels(image, name)


_READERS: dict[str, Callable[[Image.Image, bytes, str], np.ndarray]] = {
    'PNG': _png, 'JPEG': _unchanged, 'MPO': _unchanged, 'WEBP': _unchanged, 'PPM': _netpbm, 'AVIF': _avif,
    'JPEG2000': _jpeg_2000, 'BMP': _pillow, 'GIF': _pillow, 'CMYK': _pillow,
}


def pillow_pixels(image: Image.Image, name: str) -> np.ndarray:
    """8-bit pixels of an image that Pillow opened, not turned: (H, W, C), C = 1 to 4, straight alpha.

    Raises:
        UserError: Colours that are none of these.
    """
    if image.mode == 'CMYK':
        return np.asarray(_cmyk_to_srgb(image, name))
    clear = 'transparency' in image.info
    targets = {'1': 'L', 'L': 'LA' if clear else 'L', 'LA': 'LA', 'La': 'LA', 'P': 'RGBA' if clear else 'RGB',
               'PA': 'RGBA', 'RGB': 'RGBA' if clear else 'RGB', 'RGBX': 'RGB', 'RGBA': 'RGBA', 'RGBa': 'RGBA'}
    if image.mode not in targets:
        raise UserError(f'{name}: found {image.mode} pixels in {image.format}; save it as gray, RGB or RGBA of 8 or '
                        '16 bits.')
    image.load()
    pixels = np.array(image.convert(targets[image.mode]))
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _cmyk_to_srgb(image: Image.Image, name: str) -> Image.Image:
    """Inks to colours, by the profile that says how these inks look."""
    icc = image.info.get('icc_profile') or b''
    if icc[16:20] != b'CMYK':
        raise UserError(f'{name}: found CMYK without a CMYK colour profile, so that its colours are not known; '
                        'convert it to RGB.')
    profiles = ImageCms.ImageCmsProfile(BytesIO(icc)), ImageCms.createProfile('sRGB')
    return ImageCms.profileToProfile(image, *profiles, outputMode='RGB')
