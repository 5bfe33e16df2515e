"""Whether a file's pixels came through a lossy compression, from its first bytes."""

import struct
from collections.abc import Iterator

from liif_arch.files.formats import AVIF, HEIF, sniff

_JPEG_2000 = (b'\0\0\0\x0cjP  ', b'\xff\x4f\xff\x51')  # a file, a bare stream
_CODING_STYLE = b'\xff\x52'  # JPEG 2000's marker of how it was compressed
_TRANSFORM = 13  # bytes behind that marker: 0 is the irreversible transform
_WEBP_HEADER = 12
_TIFF_COMPRESSION, _TIFF_JPEG = 259, (6, 7)  # a tag, and its values of old and new files


def lossy_format(data: bytes) -> str | None:
    """The name of the lossy format that an image file is in.

    Args:
        data: The file's contents.

    Returns:
        JPEG, WebP, AVIF, HEIC, JPEG 2000 or TIFF; None where the format is lossless, or none of
        these. (A PNG that was a JPEG once does not say so.)
    """
    if data.startswith(b'\xff\xd8\xff'):
        return 'JPEG'
    if data[:4] == b'RIFF' and data[8:12] == b'WEBP':
        # Of an animation the pictures lie within b'ANMF'; all of them are there.
        return 'WebP' if b'VP8 ' in _webp_chunks(data) else None
    if sniff(data) in (AVIF, HEIF):
        return 'AVIF' if sniff(data) is AVIF else 'HEIC'
    if data.startswith(_JPEG_2000):
        found = data.find(_CODING_STYLE)
        irreversible = found >= 0 and data[found + _TRANSFORM : found + _TRANSFORM + 1] == b'\0'
        return 'JPEG 2000' if irreversible else None
    if data[:4] in (b'II*\0', b'MM\0*') and _is_jpeg_in_tiff(data):
        return 'TIFF'
    return None


def _webp_chunks(data: bytes) -> set[bytes]:
    """The kinds of a WebP file's chunks."""
    return {kind for kind, _ in _chunks(data, _WEBP_HEADER, len(data))}


def _chunks(data: bytes, at: int, end: int) -> Iterator[tuple[bytes, int]]:
    """Kind and place of RIFF's chunks, those within an animation's frames too."""
    while at + 8 <= end:
        kind, (size,) = data[at : at + 4], struct.unpack_from('<I', data, at + 4)
        yield kind, at
        if kind == b'ANMF':
            yield from _chunks(data, at + 24, min(end, at + 8 + size))
        at += 8 + size + size % 2


def _is_jpeg_in_tiff(data: bytes) -> bool:
    """Whether the first picture of a TIFF file is a JPEG."""
    order = '<' if data.startswith(b'II') else '>'
    try:
        (at,) = struct.unpack_from(f'{order}I', data, 4)
        (count,) = struct.unpack_from(f'{order}H', data, at)
        for entry in range(at + 2, at + 2 + 12 * count, 12):
            tag, _, _, value = struct.unpack_from(f'{order}HHIH', data, entry)
            if tag == _TIFF_COMPRESSION:
                return value in _TIFF_JPEG
    except struct.error:  # it ends before that; the reader says so
        pass
    return False
