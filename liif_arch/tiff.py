"""TIFF files written window by window, so that an image may be larger than memory."""
import math
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import tifffile

from liif_arch.atomic import output_file
from liif_arch.errors import UserError

EXTENSIONS = ('.tif', '.tiff')
STRIP_BYTES = 2**20  # readers take a strip at once: this much, or one row


@contextmanager
def tiff_writer(path: str | Path, shape: tuple[int, int, int],
                dtype: np.dtype) -> Iterator[Callable[[slice, slice, np.ndarray], None]]:
    """A function that writes one window of an uncompressed TIFF; the file is there when the block ends well.

    Args:
        path: The file. Its folder is made; until the end it lies beside it under a temporary name.
        shape: (H, W, C) of the image: 1 gray, 2 gray and alpha, 3 RGB, 4 RGBA, alpha not multiplied into the colours.
        dtype: 8 or 16 bit, or float.

    Yields:
        `write(rows, cols, pixels)`: output rows and columns (slices with start), and their pixels (rows, columns, C).

    Raises:
        UserError: The disk has too little space, before anything is written or on the way; or no file can be there.
    """
    path, dtype = Path(path), np.dtype(dtype).newbyteorder('=')
    _require_space(path, math.prod(shape) * dtype.itemsize)
    with output_file(path) as file:
        first = _write_header(file, shape, dtype)
        pixel = shape[2] * dtype.itemsize

        def write(rows: slice, cols: slice, pixels: np.ndarray) -> None:
            pixels = np.ascontiguousarray(pixels, dtype)
            pieces = pixels[None] if pixels.shape[1] == shape[1] else pixels  # whole rows lie side by side
            for i, piece in enumerate(pieces):
                file.seek(first + ((rows.start + i) * shape[1] + cols.start) * pixel)
                file.write(piece.data)

        yield write


def _write_header(file: BinaryIO, shape: tuple[int, int, int], dtype: np.dtype) -> int:
    """Write all but the pixels, which follow one another; returns where they start. Above 4 GB it is a BigTIFF."""
    channels = shape[2]
    first, _ = tifffile.imwrite(
        file, shape=shape if channels > 1 else shape[:2], dtype=dtype, returnoffset=True, metadata=None, software=False,
        photometric='rgb' if channels > 2 else 'minisblack', planarconfig='contig' if channels > 1 else None,
        extrasamples=['unassalpha'] if channels in (2, 4) else None,
        rowsperstrip=max(1, min(shape[0], STRIP_BYTES // (shape[1] * channels * dtype.itemsize))))
    return first


def _require_space(path: Path, needed: int) -> None:
    """Raise UserError where the disk under `path` has fewer bytes free than `needed`."""
    folder = next(p for p in path.absolute().parents if p.is_dir())
    found = shutil.disk_usage(folder).free
    if found < needed:
        raise UserError(f'{path}: found {found / 1e6:,.1f} MB free on this disk; needed {needed / 1e6:,.1f} MB. '
                        'Free some, name another place (-o) or a smaller size (--scale, --size).')
