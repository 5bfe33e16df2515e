"""TIFF files written window by window, so that an image may be larger than memory."""
import math
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import tifffile
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2
from tifffile import DATATYPE

from liif_arch.atomic import output_file
from liif_arch.errors import UserError
from liif_arch.metadata import DESCRIPTIONS, EXIF_IFD, GPS_IFD, Metadata, exif_directories

EXTENSIONS = ('.tif', '.tiff')
STRIP_BYTES = 2**20  # readers take a strip at once: this much, or one row


@contextmanager
def tiff_writer(path: str | Path, shape: tuple[int, int, int], dtype: np.dtype, metadata: Metadata | None = None,
                ) -> Iterator[Callable[[slice, slice, np.ndarray], None]]:
    """A function that writes one window of an uncompressed TIFF; the file is there when the block ends well.

    Args:
        path: The file. Its folder is made; until the end it lies beside it under a temporary name.
        shape: (H, W, C) of the image: 1 gray, 2 gray and alpha, 3 RGB, 4 RGBA, alpha not multiplied into the colours.
        dtype: 8 or 16 bit, or float.
        metadata: What the file shall say beside its pixels; text of PNG files has no place in it.

    Yields:
        `write(rows, cols, pixels)`: output rows and columns (slices with start), and their pixels (rows, columns, C).

    Raises:
        UserError: The disk has too little space, before anything is written or on the way; or no file can be there.
    """
    path, dtype = Path(path), np.dtype(dtype).newbyteorder('=')
    _require_space(path, math.prod(shape) * dtype.itemsize)
    with output_file(path) as file:
        first = _write_header(file, shape, dtype, metadata or Metadata())
        pixel = shape[2] * dtype.itemsize

        def write(rows: slice, cols: slice, pixels: np.ndarray) -> None:
            pixels = np.ascontiguousarray(pixels, dtype)
            pieces = pixels[None] if pixels.shape[1] == shape[1] else pixels  # whole rows lie side by side
            for i, piece in enumerate(pieces):
                file.seek(first + ((rows.start + i) * shape[1] + cols.start) * pixel)
                file.write(piece.data)

        yield write


def _write_header(file: BinaryIO, shape: tuple[int, int, int], dtype: np.dtype, metadata: Metadata) -> int:
    """Write all but the pixels, which follow one another; returns where they start. Above 4 GB it is a BigTIFF."""
    channels = shape[2]
    exif = exif_directories(metadata, shape[:2])
    first, size = tifffile.imwrite(
        file, shape=shape if channels > 1 else shape[:2], dtype=dtype, returnoffset=True, metadata=None, software=False,
        photometric='rgb' if channels > 2 else 'minisblack', planarconfig='contig' if channels > 1 else None,
        extrasamples=['unassalpha'] if channels in (2, 4) else None, iccprofile=metadata.icc,
        resolution=metadata.dpi, resolutionunit='INCH' if metadata.dpi else None, extratags=_description_tags(exif),
        rowsperstrip=max(1, min(shape[0], STRIP_BYTES // (shape[1] * channels * dtype.itemsize))))
    _append_directories(file, exif, first + size)
    return first


def _description_tags(exif: Image.Exif) -> list[tuple]:
    """EXIF's tags of a TIFF file's own directory, and places for the offsets of its directories."""
    tags = [(tag, *_typed(exif[tag]), True) for tag in DESCRIPTIONS if tag in exif]
    return tags + [(int(tag), DATATYPE.LONG, 1, 0, True) for tag in (EXIF_IFD, GPS_IFD) if exif.get_ifd(tag)]


def _typed(value: object) -> tuple[DATATYPE, int, object]:
    """TIFF's type and count of a description, and its value."""
    if isinstance(value, int):
        return DATATYPE.SHORT, 1, value
    data = value if isinstance(value, bytes) else str(value).encode() + b'\0'
    return (DATATYPE.BYTE if isinstance(value, bytes) else DATATYPE.ASCII), len(data), data


def _append_directories(file: BinaryIO, exif: Image.Exif, end: int) -> None:
    """Write EXIF's own directories behind the pixels, and their offsets into the tags that await them."""
    present = [tag for tag in (EXIF_IFD, GPS_IFD) if exif.get_ifd(tag)]
    if not present:
        return
    file.flush()
    with tifffile.TiffFile(file.name, mode='r+b') as written:
        head = b'II*\0' if written.byteorder == '<' else b'MM\0*'
        for tag in present:
            end += end % 2
            directory = ImageFileDirectory_v2(head + bytes(4), group=int(tag))
            for key, value in exif.get_ifd(tag).items():
                directory[key] = value
            data = directory.tobytes(end)
            file.seek(end)
            file.write(data)
            written.pages.first.tags[int(tag)].overwrite(end)
            end += len(data)


def _require_space(path: Path, needed: int) -> None:
    """Raise UserError where the disk under `path` has fewer bytes free than `needed`."""
    folder = next(p for p in path.absolute().parents if p.is_dir())
    found = shutil.disk_usage(folder).free
    if found < needed:
        raise UserError(f'{path}: found {found / 1e6:,.1f} MB free on this disk; needed {needed / 1e6:,.1f} MB. '
                        'Free some, name another place (-o) or a smaller size (--scale, --size).')
