"""Image files of many kinds, as other programs write them."""

import struct
import zlib
from io import BytesIO

import numpy as np
import tifffile
from PIL import Image

RNG = np.random.default_rng(3)


def noise(*shape: int, dtype: str = 'uint8') -> np.ndarray:
    """Values of the whole range."""
    return (
        RNG.random(shape) * (np.iinfo(dtype).max if np.dtype(dtype).kind in 'ui' else 1)
    ).astype(dtype)


def tiff(image: np.ndarray, **options) -> bytes:
    """A TIFF file of tifffile's."""
    file = BytesIO()
    tifffile.imwrite(file, image, **{'metadata': None, **options})
    return file.getvalue()


def pillow(image: Image.Image | np.ndarray, kind: str, **options) -> bytes:
    """A file of Pillow's."""
    file = BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(
        file, kind, **options
    )
    return file.getvalue()


def png_chunk(name: bytes, body: bytes) -> bytes:
    """A chunk of a PNG file."""
    check = struct.pack('>I', zlib.crc32(name + body))
    return struct.pack('>I', len(body)) + name + body + check


def png(image: np.ndarray, depth: int, kind: int, key: tuple[int, ...] = ()) -> bytes:
    """A PNG file written from the specification.

    Args:
        image: (H, W, C).
        depth: Bits of a sample: 2, 8 or 16.
        kind: The specification's colour type: 0 gray, 2 RGB, 4 gray and alpha, 6 RGBA.
        key: The colour that is transparent.
    """
    height, width = image.shape[:2]
    rows = image.reshape(height, -1)
    if depth == 2:
        rows = (rows.reshape(height, -1, 4) << np.array([6, 4, 2, 0], np.uint8)).sum(
            2, dtype=np.uint8
        )
    rows = rows.astype('>u2' if depth == 16 else 'u1')
    body = zlib.compress(b''.join(b'\0' + row.tobytes() for row in rows))
    clear = png_chunk(b'tRNS', struct.pack(f'>{len(key)}H', *key)) if key else b''
    return (
        b'\x89PNG\r\n\x1a\n'
        + png_chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, depth, kind, 0, 0, 0))
        + clear
        + png_chunk(b'IDAT', body)
        + png_chunk(b'IEND', b'')
    )


def frames(kind: str, **options) -> bytes:
    """An animation of three pictures."""
    first, *others = [Image.fromarray(noise(8, 9, 3)) for _ in range(3)]
    return pillow(first, kind, save_all=True, append_images=others, duration=100, **options)


def netpbm(head: bytes, values: np.ndarray) -> bytes:
    return head + b'\n' + values.tobytes()
