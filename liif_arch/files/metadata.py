"""What an image file says beside its pixels: colour profile, camera and place, resolution, text."""

import struct
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from PIL import Image

from liif_arch.errors import UserError
from liif_arch.files.exif import (
    DAMAGED_EXIF,
    EXIF_IFD,
    HEIGHT,
    LONGEST_JPEG_EXIF,
    WIDTH,
    ExifParts,
    exif_parts,
    exif_resolution,
    load_exif,
)
from liif_arch.files.formats import (
    ATTRIBUTES,
    BANDS,
    DPI,
    EXIF,
    FORMATS,
    GAMMA,
    ICC,
    JPEG,
    TEXT,
)

_TEXT_CHUNKS = {b'tEXt', b'zTXt', b'iTXt'}
_GAMMA_CHUNKS = {b'gAMA', b'cHRM', b'sRGB', b'cICP'}
_SRGB_GAMMA = struct.pack('>I', 45455)
_SRGB_CORNERS = struct.pack('>8I', 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
_IPTC = 0x0404  # among Photoshop's resources
# BT.709's primaries; BT.709's, BT.601's, sRGB's and BT.2020's curves; or not said (ITU-T H.273)
_SRGB_PRIMARIES, _SRGB_TRANSFERS = (1, 2), (1, 2, 6, 13, 14, 15)
_XMP_KEYWORD = b'XML:com.adobe.xmp\0'
_COLOUR_SPACES = {1: b'GRAY', 2: b'GRAY', 3: b'RGB ', 4: b'RGB '}  # of an ICC profile, by channels


class Metadata(NamedTuple):
    """What a file says beside its pixels.

    Attributes:
        icc: ICC colour profile, of the pixels' colour space.
        exif: EXIF ("II*..." or "MM*..."), of an upright picture, without a thumbnail.
        dpi: Pixels per inch, (x, y).
        png_chunks: PNG's text and colour chunks as they are, (kind, body).
        unread: What else the file holds and is not carried, in words.
        lossy: The lossy format that the pixels came in, see `files.lossy`; None where it is none.
        linear: Whether the pixels are linear light, of any range.
        exr: OpenEXR's attributes of the picture as they are, (name, value).
        notes: What a person has to know of how the file was read, in words.
    """

    icc: bytes | None = None
    exif: bytes | None = None
    dpi: tuple[float, float] | None = None
    png_chunks: tuple[tuple[bytes, bytes], ...] = ()
    unread: tuple[str, ...] = ()
    lossy: str | None = None
    linear: bool = False
    exr: tuple[tuple[str, Any], ...] = ()
    notes: tuple[str, ...] = ()

    def left_out(self, suffix: str) -> tuple[str, ...]:
        """In words, what of it a file of this extension, such as .jpg, will not say."""
        able = FORMATS[suffix.lower()]
        chunks = dict(self.png_chunks)
        found = {
            ICC: self.icc,
            EXIF: self.exif,
            DPI: self.dpi,
            TEXT: chunks.keys() & _TEXT_CHUNKS,
            GAMMA: self.icc is None and _is_unusual(chunks),
            ATTRIBUTES: self.exr,
        }
        lost = []
        for kind, value in found.items():
            if value and kind not in able.metadata:
                lost.append(kind)
        if able is JPEG and len(self.exif or b'') > LONGEST_JPEG_EXIF:
            lost.append('EXIF (longer than a JPEG file holds)')
        return (*lost, *self.unread)


def _is_unusual(chunks: dict[bytes, bytes]) -> bool:
    """Whether PNG's colour chunks say anything but sRGB, for which a file without them is taken."""
    if b'cICP' in chunks:
        return True
    if b'sRGB' in chunks:
        return False
    gamma, corners = chunks.get(b'gAMA', _SRGB_GAMMA), chunks.get(b'cHRM', _SRGB_CORNERS)
    return gamma != _SRGB_GAMMA or corners != _SRGB_CORNERS


def png_chunks(file: BinaryIO, kinds: set[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """The chunks (kind, body) of some kinds in a PNG file, wherever they stand."""
    file.seek(8)
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack('>I4s', head)
        if kind in kinds:
            yield kind, file.read(length)
            file.seek(4, 1)
        else:
            file.seek(length + 4, 1)


def sized_parts(metadata: Metadata, size: tuple[int, int]) -> ExifParts:
    """EXIF for a file of this size (H, W).

    Raises:
        UserError: `metadata.exif` is damaged.
    """
    try:
        parts = exif_parts(load_exif(metadata.exif))
    except DAMAGED_EXIF as error:
        raise UserError(
            f'metadata.exif: cannot be read ({error}); give EXIF that begins with '
            '"II*" or "MM*", or None.'
        ) from None
    exposure = parts.directories.get(EXIF_IFD, {})
    if WIDTH in exposure or HEIGHT in exposure:
        exposure |= {WIDTH: size[1], HEIGHT: size[0]}
    return parts


def exif_block(metadata: Metadata, size: tuple[int, int]) -> bytes | None:
    """EXIF for a file of this size (H, W), with its resolution, as "II*..." or "MM*..."."""
    return sized_parts(metadata, size).block(metadata.dpi)


def picture_exif(image: Image.Image, file: BinaryIO) -> Image.Exif:
    """EXIF of an opened image, all but TIFF; the file's position moves."""
    if image.format == 'PNG':
        _, block = next(png_chunks(file, {b'eXIf'}), (b'eXIf', None))
        return load_exif(block)
    return load_exif(image.info.get('exif'))  # AVIF's own rotation too, which Pillow puts here


def read_metadata(image: Image.Image, data: bytes, channels: int) -> Metadata:
    """What an image file of any format but TIFF says.

    Args:
        image: The file, opened by Pillow.
        data: Contents of the file.
        channels: Of the pixels that were read of it, of which its colour profile may not be one.
    """
    icc = image.info.get('icc_profile')
    if image.format == 'JPEG2000' and not icc:
        icc = _jp2_profile(data)
    chunks, xmp = [], image.info.get('xmp')
    for kind, body in _chunks(image, data, icc):
        if body.startswith(_XMP_KEYWORD):
            xmp = body
        else:
            chunks.append((kind, body))
    unread = []
    if xmp:
        unread.append('XMP')
    if _IPTC in image.info.get('photoshop', ()):
        unread.append('IPTC')
    if image.info.get('comment') and image.format != 'JPEG2000':  # whose encoder writes its name
        unread.append('comment')
    exif = picture_exif(image, BytesIO(data))
    return collect(
        icc,
        exif,
        image.info.get('dpi') or exif_resolution(exif),
        channels,
        chunks=tuple(chunks),
        unread=unread,
    )


def _chunks(image: Image.Image, data: bytes, icc: bytes | None) -> list[tuple[bytes, bytes]]:
    """What a file says in PNG's chunks of text and colour, (kind, body), or could say in them."""
    if image.format == 'PNG':
        return list(png_chunks(BytesIO(data), _TEXT_CHUNKS | _GAMMA_CHUNKS))
    if image.format in ('AVIF', 'HEIF') and not icc:  # which says more
        return _numbered_colours(data)
    return []


def require_profile(path: str | Path, icc: bytes | None, channels: int) -> None:
    """Raise UserError where a colour profile is none of pixels with so many channels."""
    if icc and icc[16:20] != _COLOUR_SPACES[channels]:
        raise UserError(
            f'{path}: found an ICC profile of {_space(icc)} for {BANDS[channels]} '
            'pixels; give one of their colours, or none (metadata._replace(icc=None)).'
        )


def _space(icc: bytes) -> str:
    """The colours that a profile is of, in words."""
    return icc[16:20].decode('ascii', 'replace').strip()


def collect(
    icc: bytes | None,
    exif: Image.Exif,
    dpi: object,
    channels: int,
    chunks: tuple[tuple[bytes, bytes], ...] = (),
    unread: Iterable[str] = (),
) -> Metadata:
    """Metadata of what a file says, each part of it checked; what is wrong is named as unread."""
    unread = list(unread)
    if icc and icc[16:20] == b'CMYK':  # the pixels were converted by it
        icc = None
    if icc and icc[16:20] != _COLOUR_SPACES[channels]:
        unread.append(f'ICC profile (of {_space(icc)}, not of {BANDS[channels]})')
        icc = None
    try:
        block = exif_parts(exif).block()
    except DAMAGED_EXIF:
        block = None
        unread.append('EXIF (damaged)')
    return Metadata(icc, block, _resolution(dpi), chunks, tuple(unread))


def _resolution(dpi: object) -> tuple[float, float] | None:
    """Pixels per inch (x, y), where it is that."""
    try:
        x, y = map(float, dpi)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    if 0 < x < 2**16 and 0 < y < 2**16:
        return x, y
    return None


def _jp2_profile(data: bytes) -> bytes | None:
    """The ICC profile of a JPEG 2000 file, which Pillow does not read."""
    at = data.find(b'colr')
    if at < 4 or data[at + 4 : at + 5] != b'\2':
        return None
    (length,) = struct.unpack('>I', data[at - 4 : at])
    return data[at + 7 : at - 4 + length]


def _numbered_colours(data: bytes) -> list[tuple[bytes, bytes]]:
    """Primaries and curve that AVIF and HEIC name by number, as PNG does; not those of sRGB."""
    at = data.find(b'colrnclx')
    if at < 0 or len(data) < at + 12:
        return []
    primaries, transfer = struct.unpack('>HH', data[at + 8 : at + 12])
    if primaries in _SRGB_PRIMARIES and transfer in _SRGB_TRANSFERS:
        return []
    return [(b'cICP', bytes([primaries % 256, transfer % 256, 0, 1]))]  # RGB, of the full range
