"""The table of image file formats; the reader, the writer and the tests go by it."""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from liif_arch.errors import UserError

DTYPES = ('uint8', 'uint16', 'float32', 'float64')
BANDS = {1: 'gray', 2: 'gray and alpha', 3: 'RGB', 4: 'RGBA'}

# What a file may say beside its pixels, in the words of messages.
ICC, EXIF, DPI, TEXT, GAMMA = 'ICC profile', 'EXIF', 'dpi', 'text', 'gamma and primaries'
ATTRIBUTES = "OpenEXR's attributes"


class Format(NamedTuple):
    """What a file format, as it is written here, holds.

    Attributes:
        name: Of the format, as Pillow calls it.
        dtypes: Of pixels that are written; none for a format that is read only.
        channels: Numbers of channels that are written, see `BANDS`.
        metadata: What is kept beside the pixels.
        lossy: Whether pixels come back a little different.
        linear: Whether values are linear light, of any range; others are as displays take them.
        in_windows: Whether pixels are written window by window, so that an image may be larger
            than memory; other formats are encoded from the whole image.
        longest_side: In pixels.
        most_bytes: Of an image's pixels.
    """

    name: str
    dtypes: tuple[str, ...] = ()
    channels: tuple[int, ...] = ()
    metadata: tuple[str, ...] = ()
    lossy: bool = False
    linear: bool = False
    in_windows: bool = False
    longest_side: float = math.inf
    most_bytes: float = math.inf


PNG = Format(
    'PNG', ('uint8', 'uint16'), (1, 2, 3, 4), (ICC, EXIF, DPI, TEXT, GAMMA), longest_side=10**6
)
TIFF = Format('TIFF', DTYPES, (1, 2, 3, 4), (ICC, EXIF, DPI), in_windows=True)
# The encoder's limit; the format's is 65535.
JPEG = Format('JPEG', ('uint8',), (1, 3), (ICC, EXIF, DPI), lossy=True, longest_side=65500)
# Lossless. An alpha that is opaque everywhere is left out of the file.
WEBP = Format('WEBP', ('uint8',), (3, 4), (ICC, EXIF, DPI), longest_side=16383)
# The encoders' limit is near 2 GiB.
BMP = Format('BMP', ('uint8',), (1, 3), most_bytes=2**31 - 2**16)
PPM = Format('PPM', ('uint8', 'uint16'), (3,), most_bytes=2**31 - 2**16)
PGM = PPM._replace(channels=(1,))
AVIF = Format('AVIF', ('uint8',), (3, 4), (ICC, EXIF, DPI), lossy=True, longest_side=65535)
HEIF, GIF, JPEG_2000, TGA = Format('HEIF'), Format('GIF'), Format('JPEG2000'), Format('TGA')
EXR = Format('OpenEXR', ('float32',), (1, 3, 4), (ATTRIBUTES,), linear=True)
HDR = Format('Radiance HDR', ('float32',), (3,), lossy=True, linear=True)  # 8 bits and an exponent
PFM = Format('PFM', ('float32',), (1, 3), linear=True)

FORMATS = {
    '.png': PNG,
    '.jpg': JPEG,
    '.jpeg': JPEG,
    '.bmp': BMP,
    '.tif': TIFF,
    '.tiff': TIFF,
    '.webp': WEBP,
    '.ppm': PPM,
    '.pgm': PGM,
    '.avif': AVIF,
    '.gif': GIF,
    '.jp2': JPEG_2000,
    '.tga': TGA,
    '.pbm': Format('PPM'),
    '.jfif': Format('JPEG'),
    '.jpe': Format('JPEG'),
    '.mpo': Format('JPEG'),
    '.heic': HEIF,
    '.heif': HEIF,
    '.exr': EXR,
    '.hdr': HDR,
    '.pfm': PFM,
}
EXTENSIONS = tuple(FORMATS)
WRITTEN_EXTENSIONS = tuple(suffix for suffix, able in FORMATS.items() if able.dtypes)
READABLE = {able.name for able in FORMATS.values() if not able.linear} | {
    'MPO'
}  # a JPEG with further pictures


def format_of(path: str | Path) -> Format | None:
    """The format that a file's extension names, in any case; None for an unknown extension."""
    return FORMATS.get(Path(path).suffix.lower())


def is_image_file(path: Path) -> bool:
    """Whether the name is that of an image this package reads; hidden files are none."""
    return format_of(path) is not None and not path.name.startswith('.')


HEAD = 64  # bytes by which a format is told
_MARKS = (  # the first bytes of a file, and where they begin
    (b'\x89PNG\r\n\x1a\n', 0, PNG),
    (b'\xff\xd8\xff', 0, JPEG),
    (b'II*\0', 0, TIFF),
    (b'MM\0*', 0, TIFF),
    (b'II+\0', 0, TIFF),
    (b'MM\0+', 0, TIFF),
    (b'WEBP', 8, WEBP),
    (b'BM', 0, BMP),
    (b'GIF8', 0, GIF),
    (b'ftypavif', 4, AVIF),
    (b'ftypavis', 4, AVIF),
    (b'ftyphe', 4, HEIF),  # heic, heix, heim, hevc, ...
    (b'ftypmif1', 4, HEIF),
    (b'ftypmsf1', 4, HEIF),
    (b'\0\0\0\x0cjP  ', 0, JPEG_2000),
    (b'\xff\x4f\xff\x51', 0, JPEG_2000),
    (b'v/1\1', 0, EXR),
    (b'#?RADIANCE', 0, HDR),
    (b'#?RGBE', 0, HDR),
    (b'PF', 0, PFM),
    (b'Pf', 0, PFM),
)


def sniff(head: bytes) -> Format | None:
    """The format of a file that begins with these bytes, `HEAD` or more, or all of a shorter one.

    None for those that do not say it there, PPM's family and TGA among them.
    """
    if head[4:8] == b'ftyp' and b'avi' in head[16 : min(HEAD, int.from_bytes(head[:4], 'big'))]:
        return AVIF  # among the compatible brands, avif or avis
    for mark, at, kind in _MARKS:
        if head[at : at + len(mark)] == mark:
            return kind
    return None


def content_format(path: str | Path) -> Format | None:
    """The format of a file's content; where that does not say it, of the name."""
    try:
        with open(path, 'rb') as file:
            return sniff(file.read(HEAD)) or format_of(path)
    except OSError:  # reading it says why
        return format_of(path)


def lossless_extension(kind: Format | None) -> str:
    """The extension under which an image that was read from a format is written without loss.

    Returns:
        '.tif' for TIFF, which may hold float values; its own for linear light, which other formats
        do not mark; '.png' for any other.
    """
    if kind is TIFF:
        return '.tif'
    if kind is not None and kind.linear:
        return next(suffix for suffix, able in FORMATS.items() if able is kind)
    return '.png'


def require_linear(path: Path) -> None:
    """Raise UserError where a file's format does not say that it holds linear light."""
    able = format_of(path)
    if able is None or not able.linear:
        known = ', '.join(suffix for suffix, kind in FORMATS.items() if kind.linear)
        raise UserError(
            f'{path}: found linear light for "{path.suffix}", which is as displays take it; use '
            f'one of {known}, or develop the image before (tone mapping).'
        )


def require_format(path: Path, shape: tuple[int, int, int], dtype: np.dtype) -> Format:
    """The format of a file that is to hold an image.

    Args:
        path: The file; its extension names the format.
        shape: (H, W, C) of the image.
        dtype: Of its pixels.

    Returns:
        The format that the extension names.

    Raises:
        UserError: The format is not written here, or cannot hold the depth, the channels or so
            many pixels; says which format can.
    """
    suffix, dtype = path.suffix.lower(), np.dtype(dtype)
    able, bands = format_of(path), shape[2]
    if bands not in BANDS or dtype.name not in DTYPES:
        raise UserError(
            f'{path}: found {bands} channels of {dtype.name}; needed 1 to 4 channels '
            f'({", ".join(BANDS.values())}) of {", ".join(DTYPES)}.'
        )
    way_out = '.tif'
    if dtype.name in PNG.dtypes:
        way_out = '.png'
    if able is None or not able.dtypes:
        raise UserError(
            f'{path}: images are not written as "{suffix}"; use {way_out} '
            f'(known: {", ".join(WRITTEN_EXTENSIONS)}).'
        )
    if dtype.name not in able.dtypes:
        raise UserError(f'{path}: {suffix} cannot hold {dtype.name} values; use {way_out}.')
    if bands not in able.channels:
        raise UserError(f'{path}: {suffix} cannot hold {BANDS[bands]}; use {way_out}.')
    found = f'found {shape[1]}x{shape[0]} (width x height)'
    if max(shape[:2]) > able.longest_side:
        raise UserError(
            f'{path}: {found}; {suffix} holds at most {able.longest_side} pixels a side. Use .tif.'
        )
    if math.prod(shape) * dtype.itemsize > able.most_bytes:
        raise UserError(
            f'{path}: {found}; {suffix} holds at most {able.most_bytes / 1e6:,.0f} MB. Use .tif.'
        )
    return able
