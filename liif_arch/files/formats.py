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


class Format(NamedTuple):
    """What a file format, as it is written here, holds.

    Attributes:
        name: Of the format, as Pillow calls it.
        dtypes: Of pixels that are written; none for a format that is read only.
        channels: Numbers of channels that are written, see `BANDS`.
        metadata: What is kept beside the pixels.
        lossy: Whether pixels come back a little different.
        longest_side: In pixels.
        most_bytes: Of an image's pixels.
    """

    name: str
    dtypes: tuple[str, ...] = ()
    channels: tuple[int, ...] = ()
    metadata: tuple[str, ...] = ()
    lossy: bool = False
    longest_side: float = math.inf
    most_bytes: float = math.inf


PNG = Format(
    'PNG', ('uint8', 'uint16'), (1, 2, 3, 4), (ICC, EXIF, DPI, TEXT, GAMMA), longest_side=10**6
)
TIFF = Format('TIFF', DTYPES, (1, 2, 3, 4), (ICC, EXIF, DPI))
# The encoder's limit; the format's is 65535.
JPEG = Format('JPEG', ('uint8',), (1, 3), (ICC, EXIF, DPI), lossy=True, longest_side=65500)
# Lossless. An alpha that is opaque everywhere is left out of the file.
WEBP = Format('WEBP', ('uint8',), (3, 4), (ICC, EXIF, DPI), longest_side=16383)
# The encoders' limit is near 2 GiB.
BMP = Format('BMP', ('uint8',), (1, 3), most_bytes=2**31 - 2**16)
PPM = Format('PPM', ('uint8', 'uint16'), (3,), most_bytes=2**31 - 2**16)
PGM = PPM._replace(channels=(1,))
AVIF, GIF, JPEG_2000 = Format('AVIF'), Format('GIF'), Format('JPEG2000')

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
}
EXTENSIONS = tuple(FORMATS)
READABLE = {able.name for able in FORMATS.values()} | {'MPO'}  # a JPEG with further pictures


def is_image_file(path: Path) -> bool:
    """Whether the name is that of an image this package reads."""
    return path.suffix.lower() in EXTENSIONS and not path.name.startswith('.')


def require_format(path: Path, shape: tuple[int, int, int], dtype: np.dtype) -> None:
    """Raise UserError where a format cannot hold an image (H, W, C), its depth or its alpha."""
    suffix, dtype = path.suffix.lower(), np.dtype(dtype)
    able, bands = FORMATS.get(suffix), shape[2]
    if bands not in BANDS or dtype.name not in DTYPES:
        raise UserError(
            f'{path}: found {bands} channels of {dtype.name}; needed 1 to 4 channels '
            f'({", ".join(BANDS.values())}) of {", ".join(DTYPES)}.'
        )
    way_out = '.png' if dtype.name in PNG.dtypes else '.tif'
    if able is None or not able.dtypes:
        known = ', '.join(name for name, other in FORMATS.items() if other.dtypes)
        raise UserError(
            f'{path}: images are not written as "{suffix}"; use {way_out} (known: {known}).'
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
