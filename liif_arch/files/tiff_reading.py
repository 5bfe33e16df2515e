"""TIFF files read: which of them are one image of 1 to 4 channels, and their pixels."""

import logging
import struct
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
from liif_arch.files.formats import DTYPES
from liif_arch.files.metadata import ORIENTATION, Metadata, collect, load_exif
from liif_arch.files.pillow_reading import open_image, pillow_pixels

logging.getLogger('tifffile').addHandler(logging.NullHandler())  # damage is said in an error

_MAGIC = (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+')  # classic TIFF and BigTIFF
_SAVE_AS = 'save it as gray, gray and alpha, RGB or RGBA'
_PREMULTIPLIED, _STRAIGHT = 1, 2  # ExtraSamples: alpha, in the colours or beside them
_NOT_COMPRESSED = 1
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
_REDUCED, _MASK = 1, 4  # NewSubfileType: a smaller copy of another page, or its mask


def is_tiff(head: bytes) -> bool:
    """Whether a file that begins with these bytes, 4 or more, is a TIFF file."""
    return head[:4] in _MAGIC


@contextmanager
def open_tiff(source: str | Path | BinaryIO, name: str) -> Iterator[tifffile.TiffPage]:
    """The one page of a TIFF file.

    Raises:
        UserError: It has several, or is damaged.
    """
    try:
        with tifffile.TiffFile(source) as file:
            page = file.pages.first
            _require_no_preview(page, name)
            pages = sum(not int(other.subfiletype) & (_REDUCED | _MASK) for other in file.pages)
            pages = max(pages, int((file.imagej_metadata or {}).get('images', 1)))
            if pages > 1:
                raise UserError(
                    f'{name}: found a stack of {pages} pages; needed one image. '
                    'Save its pages as files of their own.'
                )
            yield page
    except UserError:
        raise
    except Exception as error:  # a damaged file makes tifffile raise anything
        text = (str(error) or type(error).__name__).splitlines()[0][:200]
        raise UserError(f'{name}: not a readable image ({text}); replace or remove it.') from None


def _require_no_preview(page: tifffile.TiffPage, name: str) -> None:
    if int(page.subfiletype) & _REDUCED or _DNG_VERSION in page.tags:
        raise UserError(
            f'{name}: its first page is a preview of another image, as in the raw files of cameras '
            '(.dng, .nef, ...). Develop it, and save the picture as PNG or TIFF.'
        )


def page_orientation(page: tifffile.TiffPage) -> int:
    """How the pixels must be turned, 1 (not) to 8, as EXIF numbers it."""
    tag = page.tags.get(int(ORIENTATION))
    return int(tag.value) if tag is not None and tag.value in range(1, 9) else 1


def is_plain(page: tifffile.TiffPage) -> bool:
    """Whether any reader finds the same: 8-bit gray or RGB, upright, without alpha."""
    kinds = ((PHOTOMETRIC.RGB, 3), (PHOTOMETRIC.MINISBLACK, 1))
    return (
        page.dtype == np.uint8
        and page.bitspersample == 8
        and page.planarconfig == 1
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
        found = sum(alpha in (_PREMULTIPLIED, _STRAIGHT) for alpha in alphas)
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
        found = page.dtype.name if page.dtype is not None and bits % 8 == 0 else 'values'
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
    compressed_bytes = compressed and page.dtype == np.uint8
    if page.photometric in _BY_PILLOW or page.bitspersample < 8 or compressed_bytes:
        return _by_pillow(_marked_upright(page, data), name)
    if not compressed:
        _require_whole(page, data)
        pixels = _by_tifffile(page)
    elif page.samplesperpixel != 2 and page.planarconfig == 1:
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


def _require_whole(page: tifffile.TiffPage, data: bytes) -> None:
    """Raise ValueError where pixels lie behind the file's end, which tifffile takes for zeros."""
    needed = page.imagelength * page.imagewidth * page.samplesperpixel * page.dtype.itemsize
    inside = all(
        0 < count and 0 < offset and offset + count <= len(data)
        for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True)
    )
    if not inside or sum(page.databytecounts) < needed:
        raise ValueError('it is cut off')


def _by_tifffile(page: tifffile.TiffPage) -> np.ndarray:
    pixels = page.asarray()
    if page.samplesperpixel == 1:
        return pixels.reshape(*pixels.shape[:2], 1)
    return np.moveaxis(pixels, 0, -1) if page.planarconfig == 2 else pixels


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
    order = {3: [2, 1, 0], 4: [2, 1, 0, 3]}.get(pixels.shape[2] if pixels.ndim == 3 else 1)
    return pixels[..., order] if order else np.atleast_3d(pixels)


def _by_pillow(data: bytes, name: str) -> np.ndarray:
    with open_image(BytesIO(data)) as image:
        return pillow_pixels(image, name)


def _straight(page: tifffile.TiffPage, pixels: np.ndarray) -> np.ndarray:
    """Values where 0 is black and colours are not multiplied by alpha."""
    if page.dtype == np.float16:
        pixels = pixels.astype(np.float32)
    pixels = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder('='))
    top = np.iinfo(pixels.dtype).max if pixels.dtype.kind == 'u' else 1
    if page.photometric == PHOTOMETRIC.MINISWHITE:
        pixels[..., 0] = top - pixels[..., 0]
    if page.extrasamples and page.extrasamples[0] == _PREMULTIPLIED:
        _divide_by_alpha(pixels, top)
    return pixels


def _divide_by_alpha(pixels: np.ndarray, top: int) -> None:
    """Take alpha out of colours that were multiplied by it, in place; black where it is 0."""
    alpha = pixels[..., -1:].astype(np.float64)
    colours = np.zeros((*pixels.shape[:2], pixels.shape[2] - 1))
    np.divide(pixels[..., :-1] * float(top), alpha, out=colours, where=alpha > 0)
    if pixels.dtype.kind == 'u':
        colours = np.clip(np.rint(colours), 0, top)
    pixels[..., :-1] = colours


def page_metadata(page: tifffile.TiffPage, data: bytes, channels: int) -> Metadata:
    """What a page says beside its pixels; `channels` they have."""
    big = page.parent.is_bigtiff  # Pillow reads the directories of EXIF in classic TIFF alone
    kinds = (('XMP', 700), ('IPTC', 33723), ('georeference', 34735))
    unread = [word for word, tag in kinds if tag in page.tags]
    if big and 34665 in page.tags:
        unread.append('EXIF (of a BigTIFF)')
    exif = load_exif(None if big else data)
    return collect(_value(page, 34675), exif, _page_dpi(page), channels, unread=unread)


def _page_dpi(page: tifffile.TiffPage) -> tuple[float, float] | None:
    """Pixels per inch, (x, y), where the page says so."""
    per_unit = {2: 1.0, 3: 2.54}.get(_value(page, 296, 2))  # inch, centimetre
    sides = _value(page, 282), _value(page, 283)
    fractions = all(isinstance(s, tuple) and len(s) == 2 and s[1] for s in sides)
    if per_unit is None or not fractions:
        return None
    return tuple(per_unit * numerator / denominator for numerator, denominator in sides)


def _value(page: tifffile.TiffPage, code: int, default: object = None) -> object:
    """A tag's value; the default where there is no such tag."""
    tag = page.tags.get(code)
    return default if tag is None else tag.value
