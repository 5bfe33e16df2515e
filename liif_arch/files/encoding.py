"""Image files written, all but TIFF: encoded pixels, and metadata beside them."""

import math
import struct
import zlib
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from liif_arch.errors import UserError
from liif_arch.files.exif import EXIF_MARK, LONGEST_JPEG_EXIF
from liif_arch.files.formats import AVIF, JPEG, PNG, WEBP, Format, format_of
from liif_arch.files.high_range import encode_high_range
from liif_arch.files.metadata import Metadata, exif_block
from liif_arch.files.pixels import swap_red_and_blue

DEFAULT_QUALITY = 95  # of JPEG and AVIF
_SIGNATURE = b'\x89PNG\r\n\x1a\n'
_PNG_HEAD = 33  # bytes of signature and IHDR, behind which metadata stands
_FAST_PNG = (cv2.IMWRITE_PNG_COMPRESSION, 1)
_JFIF_HEAD = 20  # bytes of start and JFIF segment
_INCH = 0.0254  # metres
_JPEG_SEGMENT = 65519  # bytes of a profile in a segment of a JPEG file


def encode(path: Path, pixels: np.ndarray, metadata: Metadata, quality: int | None = None) -> bytes:
    """The bytes of an image file.

    Args:
        path: Its extension says the format; errors name it.
        pixels: (H, W, C) that `require_format` lets pass.
        metadata: Written as far as the format holds it; its colour profile is one of such pixels.
        quality: Of a lossy compression, 1 to 100, see `require_quality`. None: WebP without loss,
            JPEG and AVIF at `DEFAULT_QUALITY`.

    Raises:
        UserError: The encoder refuses them.
    """
    able = format_of(path)
    if able is not None and able.linear:
        return encode_high_range(path, pixels, metadata.exr)
    if able in (WEBP, AVIF):
        return _pillow(able, pixels, metadata, quality)
    if able is PNG:
        return encode_png(pixels, metadata)
    flags = ()
    if able is JPEG:
        flags = (cv2.IMWRITE_JPEG_QUALITY, DEFAULT_QUALITY if quality is None else quality)
    data = _opencv(path, pixels, flags)
    if able is JPEG:
        return _with_jpeg_segments(data, metadata, pixels.shape[:2])
    return data


def _opencv(path: Path, pixels: np.ndarray, flags: tuple[int, ...] = ()) -> bytes:
    try:
        ok, data = cv2.imencode(path.suffix, swap_red_and_blue(pixels), flags)
    except cv2.error as error:
        raise UserError(f'{path}: cannot encode this image ({error.err}); use .tif.') from None
    if not ok:
        raise UserError(f'{path}: cannot encode this image; use .tif.')
    return data.tobytes()


def encode_png(pixels: np.ndarray, metadata: Metadata | None = None, fast: bool = False) -> bytes:
    """The bytes of a PNG file.

    Args:
        pixels: (H, W, C), C = 1 to 4, of 8 or 16 bit.
        metadata: What it shall say beside its pixels.
        fast: Whether to compress less, which takes less time and makes a larger file.

    Raises:
        UserError: The encoder refuses them.
    """
    if pixels.shape[2] == 2:
        data = _gray_alpha_png(pixels)
    else:
        data = _opencv(Path('image.png'), pixels, _FAST_PNG if fast else ())
    if metadata is None:
        return data
    return with_png_metadata(data, metadata, pixels.shape[:2])


def with_png_metadata(data: bytes, metadata: Metadata, size: tuple[int, int]) -> bytes:
    """A PNG file without metadata, of pixels (H, W), that says what it shall."""
    chunks = _png_metadata(metadata, size)
    return b''.join([data[:_PNG_HEAD], *chunks, data[_PNG_HEAD:]])


def _gray_alpha_png(pixels: np.ndarray) -> bytes:
    """Gray and alpha, which OpenCV does not write: each row less the one above."""
    height, width, _ = pixels.shape
    samples = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder('>'))
    rows = samples.view(np.uint8).reshape(height, -1)
    filtered = np.full((height, 1 + rows.shape[1]), 2, np.uint8)  # 2: the filter "Up"
    filtered[:, 1:] = np.diff(rows, axis=0, prepend=np.zeros((1, rows.shape[1]), np.uint8))
    header = struct.pack('>IIBBBBB', width, height, 8 * pixels.dtype.itemsize, 4, 0, 0, 0)
    image_data = zlib.compress(filtered)
    return _SIGNATURE + _chunk(b'IHDR', header) + _chunk(b'IDAT', image_data) + _chunk(b'IEND', b'')


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack('>I', len(body)) + kind + body + struct.pack('>I', zlib.crc32(kind + body))


def _png_metadata(metadata: Metadata, size: tuple[int, int]) -> list[bytes]:
    """Chunks that stand between a PNG file's header and its pixels."""
    chunks = [_chunk(kind, body) for kind, body in metadata.png_chunks]
    if metadata.icc:
        chunks.append(_chunk(b'iCCP', b'ICC profile\0\0' + zlib.compress(metadata.icc)))
    if metadata.dpi:
        x, y = metadata.dpi
        per_metre = struct.pack('>IIB', round(x / _INCH), round(y / _INCH), 1)  # 1: metres
        chunks.append(_chunk(b'pHYs', per_metre))
    if metadata.exif:
        chunks.append(_chunk(b'eXIf', exif_block(metadata, size)))
    return chunks


def _with_jpeg_segments(data: bytes, metadata: Metadata, size: tuple[int, int]) -> bytes:
    """A JPEG file, as OpenCV writes it, with resolution, EXIF and profile."""
    head, rest = bytearray(data[:_JFIF_HEAD]), data[_JFIF_HEAD:]
    if metadata.dpi:
        x, y = metadata.dpi
        head[13:18] = struct.pack('>BHH', 1, _jpeg_dpi(x), _jpeg_dpi(y))  # 1: per inch
    exif = b''
    if metadata.exif:
        exif = exif_block(metadata, size) or b''
    segments = bytearray()
    if 0 < len(exif) <= LONGEST_JPEG_EXIF:
        segments += _segment(0xE1, EXIF_MARK + exif)
    segments += _profile_segments(metadata.icc or b'')
    return bytes(head + segments) + rest


def _jpeg_dpi(value: float) -> int:
    """Pixels per inch as JPEG's head holds it, in 16 bits, not 0."""
    return min(65535, max(1, round(value)))


def _profile_segments(icc: bytes) -> bytes:
    """A JPEG file's segments with the pieces of a colour profile, which may be empty."""
    count = math.ceil(len(icc) / _JPEG_SEGMENT)
    segments = bytearray()
    for number in range(count):
        piece = icc[number * _JPEG_SEGMENT : (number + 1) * _JPEG_SEGMENT]
        place = bytes([number + 1, count])
        segments += _segment(0xE2, b'ICC_PROFILE\0' + place + piece)
    return bytes(segments)


def _segment(marker: int, body: bytes) -> bytes:
    return struct.pack('>BBH', 0xFF, marker, len(body) + 2) + body


def _pillow(able: Format, pixels: np.ndarray, metadata: Metadata, quality: int | None) -> bytes:
    """A WebP or AVIF file, colours under full transparency too, which OpenCV would drop."""
    buffer = BytesIO()
    options = {'quality': DEFAULT_QUALITY if quality is None else quality}
    if able is WEBP:
        options |= {'exact': True}
        if quality is None:
            options = {'lossless': True, 'exact': True}
    if metadata.icc:
        options['icc_profile'] = metadata.icc
    exif = exif_block(metadata, pixels.shape[:2])
    if exif:
        options['exif'] = exif
    image = Image.fromarray(np.ascontiguousarray(pixels))
    image.save(buffer, able.name, **options)
    return buffer.getvalue()


def require_quality(path: Path, quality: int | None) -> None:
    """Raise UserError for a quality of a format that has none, or beyond 1 to 100."""
    if quality is None:
        return
    able = format_of(path)
    if able not in (JPEG, WEBP, AVIF):
        raise UserError(
            f'{path}: quality is of .jpg, .webp and .avif; leave it out, or choose one of these.'
        )
    if not 1 <= quality <= 100:
        raise UserError(f'{path}: found the quality {quality}; needed 1 to 100.')
