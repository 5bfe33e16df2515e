"""TIFF files written window by window, so that an image may be larger than memory."""

import math
import shutil
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import tifffile
from PIL.TiffImagePlugin import ImageFileDirectory_v2
from tifffile import DATATYPE

from liif_arch.errors import UserError
from liif_arch.files.atomic import output_file
from liif_arch.files.metadata import Metadata, sized_parts

_WINDOWS_TAGS = range(40091, 40096)  # titles and the like
_LONGEST_CLASSIC = 2**32 - 2**25  # bytes of pixels; offsets have 32 bits
_ALPHA = ['unassalpha']  # not multiplied into the colours
# What tifffile is told of an image, by its channels; `axes` of (H, W, C) that it has.
_BANDS = {
    1: {'axes': 2, 'photometric': 'minisblack'},
    2: {'axes': 3, 'photometric': 'minisblack', 'planarconfig': 'contig', 'extrasamples': _ALPHA},
    3: {'axes': 3, 'photometric': 'rgb', 'planarconfig': 'contig'},
    4: {'axes': 3, 'photometric': 'rgb', 'planarconfig': 'contig', 'extrasamples': _ALPHA},
}
STRIP_BYTES = 2**20  # readers take a strip at once: this much, or one row


@contextmanager
def tiff_writer(
    path: str | Path,
    shape: tuple[int, int, int],
    dtype: np.dtype,
    metadata: Metadata | None = None,
) -> Iterator[Callable[[slice, slice, np.ndarray], None]]:
    """A function that writes one window of an uncompressed TIFF; the file is there when the block
    ends well.

    Args:
        path: The file. Its folder is made; until the end it lies beside it under a temporary name.
        shape: (H, W, C) of the image: 1 gray, 2 gray and alpha, 3 RGB, 4 RGBA, alpha not multiplied
            into the colours.
        dtype: 8 or 16 bit, or float.
        metadata: What the file shall say beside its pixels, with a colour profile of such pixels;
            text of PNG files has no place in it.

    Yields:
        `write(rows, cols, pixels)`: output rows and columns (slices with start), and their pixels
        (rows, columns, C).

    Raises:
        UserError: The disk has too little space, before anything is written or on the way; or no
            file can be there.
    """
    path, dtype = Path(path), np.dtype(dtype).newbyteorder('=')
    metadata = metadata or Metadata()
    _require_space(path, math.prod(shape) * dtype.itemsize)
    with output_file(path) as file:
        first = _write_header(file, shape, dtype, metadata)
        pixel = shape[2] * dtype.itemsize

        def write(rows: slice, cols: slice, pixels: np.ndarray) -> None:
            pixels = np.ascontiguousarray(pixels, dtype)
            if pixels.shape[1] == shape[1]:  # whole rows follow one another in the file
                file.seek(first + rows.start * shape[1] * pixel)
                file.write(pixels.data)
                return
            for row, piece in enumerate(pixels, rows.start):
                file.seek(first + (row * shape[1] + cols.start) * pixel)
                file.write(piece.data)

        yield write


def _write_header(
    file: BinaryIO, shape: tuple[int, int, int], dtype: np.dtype, metadata: Metadata
) -> int:
    """Write all but the pixels, which follow one another; returns where they start.

    Above 4 GB it is a BigTIFF.
    """
    height, width, channels = shape
    row_bytes = width * channels * dtype.itemsize
    big = height * row_bytes > _LONGEST_CLASSIC
    descriptions, directories = sized_parts(metadata, shape[:2])
    options = dict(_BANDS[channels])
    if metadata.dpi:
        options |= {'resolution': metadata.dpi, 'resolutionunit': 'INCH'}
    first, size = tifffile.imwrite(
        file,
        shape=shape[: options.pop('axes')],
        dtype=dtype,
        bigtiff=big,
        returnoffset=True,
        metadata=None,
        software=False,
        iccprofile=metadata.icc,
        extratags=_extra_tags(descriptions, directories, big),
        rowsperstrip=max(1, min(height, STRIP_BYTES // row_bytes)),
        **options,
    )
    _append_directories(file, directories, first + size)
    return first


def _extra_tags(
    descriptions: dict[int, object], directories: dict[int, dict], big: bool
) -> list[tuple]:
    """tifffile's (number, type, count, value, on the first page alone) of descriptions, and of the
    tags that `_append_directories` will make pointers of.
    """
    offset_type = DATATYPE.LONG
    if big:
        offset_type = DATATYPE.LONG8
    tags = []
    for tag, value in descriptions.items():
        tags.append((tag, *_typed(tag, value), True))
    for tag in directories:
        tags.append((tag - 1, offset_type, 1, 0, True))
    return tags


def _append_directories(file: BinaryIO, directories: dict[int, dict], end: int) -> None:
    """Write EXIF's directories (by tag) at the end of a file, and their offsets into its first one.

    tifffile writes no tag that holds an offset; it has written one with the number before, whose
    number and value are set here.
    """
    if not directories:
        return
    file.flush()
    with tifffile.TiffFile(file.name) as written:
        big, order, tags = written.is_bigtiff, written.byteorder, written.pages.first.tags
    head, offset = _head(order, big), f'{order}L'
    if big:
        offset = f'{order}Q'
    for tag, entries in directories.items():
        end += end % 2
        directory = ImageFileDirectory_v2(head, group=tag)
        for key, value in entries.items():
            directory[key] = value
        data = directory.tobytes(end)
        stand_in = tags[tag - 1]
        _write_at(file, end, data)
        _write_at(file, stand_in.offset, struct.pack(f'{order}H', tag))
        _write_at(file, stand_in.valueoffset, struct.pack(offset, end))
        end += len(data)


def _head(order: str, big: bool) -> bytes:
    """The head of a TIFF file, by which Pillow knows how to write a directory.

    Args:
        order: Of bytes, as struct writes it: '<' or '>'.
        big: Whether it is a BigTIFF.
    """
    mark = {'<': b'II', '>': b'MM'}[order]
    if big:
        return mark + struct.pack(f'{order}HHHQ', 43, 8, 0, 0)
    return mark + struct.pack(f'{order}HL', 42, 0)


def _write_at(file: BinaryIO, place: int, content: bytes) -> None:
    file.seek(place)
    file.write(content)


def _typed(tag: int, value: object) -> tuple[DATATYPE, int, object]:
    """TIFF's type and count of a description, and its value."""
    if isinstance(value, int):
        return DATATYPE.SHORT, 1, value
    data = value
    if not isinstance(value, bytes):
        data = str(value).encode('latin-1', 'replace')
    if tag in _WINDOWS_TAGS:  # UTF-16, as bytes
        return DATATYPE.BYTE, len(data), data
    return DATATYPE.ASCII, len(data) + 1, data + b'\0'


def _require_space(path: Path, needed: int) -> None:
    """Raise UserError where the disk under `path` has fewer bytes free than `needed`."""
    folder = next(p for p in path.absolute().parents if p.is_dir())
    found = shutil.disk_usage(folder).free
    if found < needed:
        raise UserError(
            f'{path}: found {found / 1e6:,.1f} MB free on this disk; '
            f'needed {needed / 1e6:,.1f} MB. '
            'Free some, name another place (-o) or a smaller size (--scale, --size).'
        )
