"""TIFF files read: which of them are one image of 1 to 4 channels, and their pixels."""

import logging
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
import tifffile
from tifffile import PHOTOMETRIC

from liif_arch.errors import UserError
from liif_arch.files.damage import damage_named
from liif_arch.files.exif import (
    EXIF_IFD,
    ORIENTATION,
    RESOLUTION,
    UNITS_PER_INCH,
    load_exif,
    orientation_number,
)
from liif_arch.files.formats import DTYPES
from liif_arch.files.metadata import Metadata, collect
from liif_arch.files.pillow_reading import open_image, pillow_pixels
from liif_arch.files.pixels import (
    divide_by_alpha,
    full_scale,
    swap_red_and_blue,
    with_channel_axis,
)

logging.getLogger('tifffile').addHandler(logging.NullHandler())  # damage is said in an error

_MAGIC = (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+')  # classic TIFF and BigTIFF
_SAVE_AS = 'save it as gray, gray and alpha, RGB or RGBA'
_PREMULTIPLIED, _STRAIGHT = 1, 2  # ExtraSamples: alpha, in the colours or beside them
_DEFLATE = (8, 32946)
_NOT_COMPRESSED = 1
_INTERLEAVED, _PLANES = 1, 2  # PlanarConfiguration: a pixel's bands together, or apart
_COLOURS = {  # bands of colours, without alpha
    PHOTOMETRIC.MINISWHITE: 1,
    PHOTOMETRIC.MINISBLACK: 1,
    PHOTOMETRIC.PALETTE: 1,
    PHOTOMETRIC.RGB: 3,
    PHOTOMETRIC.YCBCR: 3,
    PHOTOMETRIC.SEPARATED: 4,
}
# Colours that are stored as others, which Pillow converts, 8 bits of them.
_BY_PILLOW = (PHOTOMETRIC.PALETTE, PHOTOMETRIC.YCBCR, PHOTOMETRIC.SEPARATED)
_DNG_VERSION = 50706  # the tag that says that a file is a camera's raw one, Adobe DNG
_ICC_PROFILE = 34675
_NOT_CARRIED = {700: 'XMP', 33723: 'IPTC', 34735: 'georeference'}  # in words, by tag
_REDUCED, _MASK = 1, 4  # NewSubfileType: a smaller copy of another page, or its mask


def is_tiff(head: bytes) -> bool:
    """Whether a file that begins with these bytes, 4 or more, is a TIFF file."""
    return head[:4] in _MAGIC


@contextmanager
def open_tiff(source: str | Path | BinaryIO, name: str) -> Iterator[tifffile.TiffPage]:
    """The one page of a TIFF file.

    Args:
        source: The file, or its path.
        name: What an error message calls it.

    Raises:
        UserError: It has several pages, or what is done within finds that it is damaged.
    """
    with damage_named(name), tifffile.TiffFile(source) as file:
        _require_no_preview(file.pages.first, name)
        pages = _count_pages(file)
        if pages > 1:
            raise UserError(
                f'{name}: found a stack of {pages} pages; needed one image. '
                'Save its pages as files of their own.'
            )
        yield file.pages.first


def _count_pages(file: tifffile.TiffFile) -> int:
    """Pictures in a file, without smaller copies and masks of others; ImageJ counts its own."""
    pages = sum(is_picture(page) for page in file.pages)
    counted = file.imagej_metadata or {}
    return max(pages, int(counted.get('images', 1)))


def is_picture(page: tifffile.TiffPage) -> bool:
    """Whether a page is neither a smaller copy nor a mask of another."""
    return not int(page.subfiletype) & (_REDUCED | _MASK)


def _require_no_preview(page: tifffile.TiffPage, name: str) -> None:
    if int(page.subfiletype) & _REDUCED or _DNG_VERSION in page.tags:
        raise UserError(
            f'{name}: its first page is a preview of another image, as in the raw files of cameras '
            '(.dng, .nef, ...). Develop it, and save the picture as PNG or TIFF.'
        )


def page_orientation(page: tifffile.TiffPage) -> int:
    """How the pixels must be turned, 1 (not) to 8, as EXIF numbers it."""
    tag = page.tags.get(int(ORIENTATION))
    if tag is None:
        return 1
    return orientation_number(tag.value)


def is_plain(page: tifffile.TiffPage) -> bool:
    """Whether any reader finds the same: 8-bit gray or RGB, upright, without alpha."""
    kinds = ((PHOTOMETRIC.RGB, 3), (PHOTOMETRIC.MINISBLACK, 1))
    return (
        page.dtype == np.uint8
        and page.bitspersample == 8
        and page.planarconfig == _INTERLEAVED
        and page.imagedepth == 1
        and (page.photometric, page.samplesperpixel) in kinds
        and page_orientation(page) == 1
    )


def require_one_image(page: tifffile.TiffPage, name: str) -> None:
    """Raise UserError where a page's bands or values are none that this package knows."""
    kind, bands, alphas = page.photometric, page.samplesperpixel, tuple(page.extrasamples)
    kind_name = getattr(kind, 'name', kind)
    if page.imagedepth != 1:
        raise UserError(
            f'{name}: found a volume of {page.imagedepth} slices; needed one image. '
            'Save its slices as files of their own.'
        )
    colours = _COLOURS.get(kind)
    if colours is None:
        raise UserError(f'{name}: found {kind_name} colours; {_SAVE_AS}.')
    if colours == 3 and bands == 4 and not alphas:
        alphas = (_STRAIGHT,)  # OpenCV leaves the tag out; every reader takes the band for alpha
    has_alpha = bands == colours + 1 and alphas[:1] in ((_PREMULTIPLIED,), (_STRAIGHT,))
    if bands != colours and (not has_alpha or kind == PHOTOMETRIC.SEPARATED):
        found = alphas.count(_PREMULTIPLIED) + alphas.count(_STRAIGHT)
        raise UserError(
            f'{name}: found {bands} bands ({kind_name}, of which alpha: {found}); '
            f'{_SAVE_AS}, or its bands as files of their own.'
        )
    _require_values(page, kind_name, name)


def _require_values(page: tifffile.TiffPage, kind_name: str, name: str) -> None:
    """Raise UserError where a page's values are of a type that this package does not know."""
    bits = page.bitspersample
    if page.photometric in _BY_PILLOW and bits > 8:
        raise UserError(
            f'{name}: found {kind_name} colours of {bits} bits; needed 8. Convert it to 16-bit RGB.'
        )
    if bits in (1, 2, 4) and page.samplesperpixel == 1:  # Pillow unpacks these
        return
    known = page.dtype is not None and page.dtype.name in (*DTYPES, 'float16')
    if not known or bits != 8 * page.dtype.itemsize:
        found = 'values'
        if page.dtype is not None and bits % 8 == 0:
            found = page.dtype.name
        raise UserError(f'{name}: found {found} of {bits} bits; needed {", ".join(DTYPES)}.')


def read_pixels(page: tifffile.TiffPage, data: bytes, name: str) -> np.ndarray:
    """The pixels of a page that `require_one_image` lets pass, not turned.

    tifffile reads what is not compressed. Of the rest, Pillow decodes 8 bits, and OpenCV more.

    Returns:
        (H, W, C), C = 1 to 4, alpha not multiplied into the colours.

    Raises:
        UserError: They are compressed in a way that nothing here decodes.
    """
    compressed = page.compression != _NOT_COMPRESSED
    pillow_knows_it = not (page.parent.is_bigtiff and page.parent.byteorder == '>')
    compressed_bytes = compressed and page.dtype == np.uint8 and pillow_knows_it
    if page.photometric in _BY_PILLOW or page.bitspersample < 8 or compressed_bytes:
        return _by_pillow(_marked_upright(page, data), name)
    if not compressed:
        _require_whole(page, data)
        pixels = _by_tifffile(page)
    elif page.samplesperpixel != 2 and page.planarconfig == _INTERLEAVED:
        pixels = _by_opencv(_marked_upright(page, data))
    else:
        pixels = _by_tifffile_if_able(page)
    expected = (page.imagelength, page.imagewidth, page.samplesperpixel)
    if pixels is None or pixels.shape != expected or pixels.dtype != page.dtype.newbyteorder('='):
        way = getattr(page.compression, 'name', page.compression)
        raise UserError(
            f'{name}: {page.samplesperpixel} bands of {page.dtype} compressed by {way} '
            'cannot be read; save it without compression.'
        )
    return _straight(page, pixels)


def require_checksums(page: tifffile.TiffPage, data: bytes) -> None:
    """Raise zlib.error where Deflate's checksums, which Pillow and OpenCV do not read, say that
    pixels are damaged.
    """
    if page.compression in _DEFLATE:
        for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
            if count:  # else a part that is left empty
                zlib.decompress(data[offset : offset + count])


def _require_whole(page: tifffile.TiffPage, data: bytes) -> None:
    """Raise ValueError where pixels lie behind the file's end, which tifffile takes for zeros."""
    needed = page.imagelength * page.imagewidth * page.samplesperpixel * page.dtype.itemsize
    for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
        if offset <= 0 or count <= 0 or offset + count > len(data):
            raise ValueError('it is cut off')
    if sum(page.databytecounts) < needed:
        raise ValueError('it is cut off')


def _by_tifffile(page: tifffile.TiffPage) -> np.ndarray:
    pixels = page.asarray()
    if page.samplesperpixel == 1:
        return pixels.reshape(*pixels.shape[:2], 1)
    if page.planarconfig == _PLANES:
        return np.moveaxis(pixels, 0, -1)
    return pixels


def _by_tifffile_if_able(page: tifffile.TiffPage) -> np.ndarray | None:
    try:
        return _by_tifffile(page)
    except Exception:  # damaged, or a compression that tifffile does not know
        return None


def _marked_upright(page: tifffile.TiffPage, data: bytes) -> bytes:
    """The file with an orientation of 1, so that Pillow and OpenCV do not turn its pixels."""
    if page_orientation(page) == 1:
        return data
    at = page.tags[int(ORIENTATION)].valueoffset
    return data[:at] + struct.pack(page.parent.byteorder + 'H', 1) + data[at + 2 :]


def _by_opencv(data: bytes) -> np.ndarray | None:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        return None
    return swap_red_and_blue(with_channel_axis(pixels))


def _by_pillow(data: bytes, name: str) -> np.ndarray:
    with open_image(BytesIO(data)) as image:
        return pillow_pixels(image, name)


def _straight(page: tifffile.TiffPage, pixels: np.ndarray) -> np.ndarray:
    """Values where 0 is black and colours are not multiplied by alpha."""
    if page.dtype == np.float16:
        pixels = pixels.astype(np.float32)
    pixels = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder('='))
    top = full_scale(pixels.dtype)
    if page.photometric == PHOTOMETRIC.MINISWHITE:
        pixels[..., 0] = top - pixels[..., 0]
    if page.extrasamples and page.extrasamples[0] == _PREMULTIPLIED:
        divide_by_alpha(pixels, top)
    return pixels


def page_metadata(page: tifffile.TiffPage, data: bytes, channels: int) -> Metadata:
    """What a page says beside its pixels.

    Args:
        page: Of the file.
        data: Contents of the file.
        channels: Of the pixels that were read of it, of which its colour profile may not be one.
    """
    unread = []
    for tag, word in _NOT_CARRIED.items():
        if tag in page.tags:
            unread.append(word)
    if page.parent.is_bigtiff:  # Pillow reads the directories of EXIF in classic TIFF alone
        exif = load_exif(None)
        if EXIF_IFD in page.tags:
            unread.append('EXIF (of a BigTIFF)')
    else:
        exif = load_exif(data)
    return collect(_value(page, _ICC_PROFILE), exif, _page_dpi(page), channels, unread=unread)


def _page_dpi(page: tifffile.TiffPage) -> tuple[float, float] | None:
    """Pixels per inch, (x, y), where the page says so."""
    x_tag, y_tag, unit_tag = RESOLUTION
    x, y = _fraction(page, x_tag), _fraction(page, y_tag)
    units_per_inch = UNITS_PER_INCH.get(_value(page, unit_tag, 2))
    if x is None or y is None or units_per_inch is None:
        return None
    return units_per_inch * x, units_per_inch * y


def _fraction(page: tifffile.TiffPage, code: int) -> float | None:
    """The number that a tag gives as a fraction; None where it gives none."""
    value = _value(page, code)
    if not isinstance(value, tuple) or len(value) != 2 or not value[1]:
        return None
    return value[0] / value[1]


def _value(page: tifffile.TiffPage, code: int, default: object = None) -> object:
    """A tag's value; the default where there is no such tag."""
    tag = page.tags.get(code)
    if tag is None:
        return default
    return tag.value
