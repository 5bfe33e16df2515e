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
from PIL import Image
from tifffile import PHOTOMETRIC

from liif_arch.errors import UserError
from liif_arch.formats import DTYPES
from liif_arch.metadata import ORIENTATION, Metadata, collect, load_exif

logging.getLogger('tifffile').addHandler(logging.NullHandler())  # what is damaged is said in an error

MAGIC = (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+')
_SAVE_AS = 'save it as gray, gray and alpha, RGB or RGBA'
_PREMULTIPLIED, _STRAIGHT = 1, 2  # ExtraSamples: alpha, in the colours or beside them
_NOT_COMPRESSED = 1
# Colours that are stored as others, which Pillow converts, 8 bits of them.
_BY_PILLOW = (PHOTOMETRIC.PALETTE, PHOTOMETRIC.YCBCR, PHOTOMETRIC.SEPARATED)
_REDUCED, _MASK = 1, 4  # NewSubfileType: a smaller copy of another page, or its mask


@contextmanager
def open_tiff(source: str | Path | BinaryIO, name: str) -> Iterator[tifffile.TiffPage]:
    """The one page of a TIFF file.

    Raises:
        UserError: It has several, or is damaged.
    """
    try:
        with tifffile.TiffFile(source) as file:
            page = file.pages.first
            pages = sum(not int(other.subfiletype) & (_REDUCED | _MASK) for other in file.pages)
            pages = max(pages, int((file.imagej_metadata or {}).get('images', 1)))
            if pages > 1:
                raise UserError(f'{name}: found a stack of {pages} pages; needed one image. Save its pages as files '
                                'of their own.')
            yield page
    except UserError:
        raise
    except Exception as error:  # a damaged file makes tifffile raise anything
        raise UserError(f'{name}: not a readable image ({_first_line(error)}); replace or remove it.') from None


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]


def page_orientation(page: tifffile.TiffPage) -> int:
    """How the pixels must be turned, 1 (not) to 8, as EXIF numbers it."""
    tag = page.tags.get(int(ORIENTATION))
    return int(tag.value) if tag is not None and tag.value in range(1, 9) else 1


def is_plain(page: tifffile.TiffPage) -> bool:
    """Whether any reader finds the same: 8-bit gray or RGB, upright, without alpha."""
    kinds = ((PHOTOMETRIC.RGB, 3), (PHOTOMETRIC.MINISBLACK, 1))
    return (page.dtype == np.uint8 and page.bitspersample == 8 and page.planarconfig == 1 and page.imagedepth == 1 and
            (page.photometric, page.samplesperpixel) in kinds and page_orientation(page) == 1)


def require_one_image(page: tifffile.TiffPage, name: str) -> None:
    """Raise UserError where a page's bands or values are none that this package knows; names them."""
    kind, bands, alphas = page.photometric, page.samplesperpixel, tuple(page.extrasamples)
    if page.imagedepth != 1:
        raise UserError(f'{name}: found a volume of {page.imagedepth} slices; needed one image. Save its slices as '
                        'files of their own.')
    colours = {PHOTOMETRIC.MINISWHITE: 1, PHOTOMETRIC.MINISBLACK: 1, PHOTOMETRIC.PALETTE: 1, PHOTOMETRIC.RGB: 3,
               PHOTOMETRIC.YCBCR: 3, PHOTOMETRIC.SEPARATED: 4}.get(kind)
    if colours is None:
        raise UserError(f'{name}: found {getattr(kind, "name", kind)} colours; {_SAVE_AS}.')
    if colours == 3 and bands == 4 and not alphas:
        alphas = (_STRAIGHT,)  # a tag that OpenCV leaves out; every reader takes the fourth band for alpha
    known = bands == colours or (bands == colours + 1 and alphas and alphas[0] in (_PREMULTIPLIED, _STRAIGHT))
    if not known or (colours == 4 and bands != 4):
        raise UserError(f'{name}: found {bands} bands ({getattr(kind, "name", kind)}, of which alpha: '
                        f'{sum(a in (_PREMULTIPLIED, _STRAIGHT) for a in alphas)}); {_SAVE_AS}, or its bands as '
                        'files of their own.')
    if kind in _BY_PILLOW and page.bitspersample > 8:
        raise UserError(f'{name}: found {kind.name} colours of {page.bitspersample} bits; needed 8. Convert it to '
                        '16-bit RGB.')
    packed = page.bitspersample in (1, 2, 4) and bands == 1  # Pillow unpacks these
    if not packed and (page.dtype is None or page.dtype.name not in (*DTYPES, 'float16') or
                       page.bitspersample != 8 * page.dtype.itemsize):
        found = page.dtype.name if page.dtype is not None and page.bitspersample % 8 == 0 else 'values'
        raise UserError(f'{name}: found {found} of {page.bitspersample} bits; needed {", ".join(DTYPES)}.')


def read_pixels(page: tifffile.TiffPage, data: bytes, name: str) -> np.ndarray:
    """The pixels of a page that `require_one_image` lets pass, not turned: (H, W, C), C = 1 to 4, straight alpha.

    Raises:
        UserError: They are compressed in a way that nothing here decodes.
    """
    compressed = page.compression != _NOT_COMPRESSED
    if page.photometric in _BY_PILLOW or page.bitspersample < 8 or (page.dtype == np.uint8 and compressed):
        return _by_pillow(_marked_upright(page, data), name)
    if not compressed:
        _require_whole(page, data)
        pixels = _by_tifffile(page)
    elif page.samplesperpixel != 2 and page.planarconfig == 1:
        pixels = _by_opencv(_marked_upright(page, data))
    else:
        pixels = _by_tifffile(page)
    expected = (page.imagelength, page.imagewidth, page.samplesperpixel)
    if pixels is None or pixels.shape != expected or pixels.dtype != page.dtype.newbyteorder('='):
        raise UserError(f'{name}: {page.samplesperpixel} bands of {page.dtype} compressed by '
                        f'{getattr(page.compression, "name", page.compression)} cannot be read; save it without '
                        'compression.')
    return _straight(page, pixels)


def _require_whole(page: tifffile.TiffPage, data: bytes) -> None:
    """Raise ValueError where pixels lie behind the file's end; tifffile would take them for zeros."""
    needed = page.imagelength * page.imagewidth * page.samplesperpixel * page.dtype.itemsize
    inside = all(0 < count and 0 < offset and offset + count <= len(data)
                 for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True))
    if not inside or sum(page.databytecounts) < needed:
        raise ValueError('it is cut off')


def _by_tifffile(page: tifffile.TiffPage) -> np.ndarray:
    pixels = page.asarray()
    if page.samplesperpixel == 1:
        return pixels.reshape(*pixels.shape[:2], 1)
    return np.moveaxis(pixels, 0, -1) if page.planarconfig == 2 else pixels


def _marked_upright(page: tifffile.TiffPage, data: bytes) -> bytes:
    """The file with an orientation of 1: Pillow and OpenCV would turn its pixels, and they are turned later here."""
    if page_orientation(page) == 1:
        return data
    at = page.tags[int(ORIENTATION)].valueoffset
    return data[:at] + struct.pack(page.parent.byteorder + 'H', 1) + data[at + 2:]


def _by_opencv(data: bytes) -> np.ndarray | None:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        return None
    order = {3: [2, 1, 0], 4: [2, 1, 0, 3]}.get(pixels.shape[2] if pixels.ndim == 3 else 1)
    return pixels[..., order] if order else np.atleast_3d(pixels)


def _by_pillow(data: bytes, name: str) -> np.ndarray:
    from liif_arch.decoding import pillow_pixels
    with Image.open(BytesIO(data)) as image:
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
        alpha = pixels[..., -1:].astype(np.float64)
        colours = np.divide(pixels[..., :-1] * float(top), alpha, where=alpha > 0, out=np.zeros(
            (*pixels.shape[:2], pixels.shape[2] - 1)))
        pixels[..., :-1] = np.clip(np.rint(colours), 0, top) if pixels.dtype.kind == 'u' else colours
    return pixels


def page_metadata(page: tifffile.TiffPage, data: bytes, channels: int) -> Metadata:
    """What a page says beside its pixels."""
    big = data[2:4] in (b'+\0', b'\0+')  # Pillow reads the directories of EXIF from classic TIFF alone
    unread = [word for word, tag in (('XMP', 700), ('IPTC', 33723), ('georeference', 34735)) if tag in page.tags]
    if big and 34665 in page.tags:
        unread.append('EXIF (of a BigTIFF)')
    per_unit = {2: 1.0, 3: 2.54}.get(_value(page, 296, 2))  # inch, centimetre
    sides = [_value(page, tag, None) for tag in (282, 283)]
    dpi = [per_unit * side[0] / side[1] for side in sides] if per_unit and all(
        isinstance(side, tuple) and len(side) == 2 and side[1] for side in sides) else None
    exif = load_exif(None if big else data)
    return collect(_value(page, 34675, None), exif, dpi, channels, unread=unread)


def _value(page: tifffile.TiffPage, code: int, default: object) -> object:
    tag = page.tags.get(code)
    return default if tag is None else tag.value
