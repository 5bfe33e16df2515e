"""Which files came through a lossy compression, by what they contain."""

import io

import numpy as np
import pytest
from helpers import photo
from PIL import Image, features

from liif_arch import read_picture
from liif_arch.files.lossy import lossy_format

FILES = {
    'JPEG': ('JPEG', {}),
    'PNG': (None, {}),
    'WEBP': ('WebP', {}),
    'WEBP, lossless': (None, {'lossless': True}),
    'WEBP, with EXIF': ('WebP', {'exif': b'Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0'}),
    'WEBP, lossless with EXIF': (
        None,
        {'lossless': True, 'exif': b'Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0'},
    ),
    'AVIF': ('AVIF', {}),
    'JPEG2000': (None, {}),
    'JPEG2000, irreversible': ('JPEG 2000', {'irreversible': True}),
    'JPEG2000, bare': ('JPEG 2000', {'irreversible': True, 'no_jp2': True}),
    'TIFF': (None, {}),
    'TIFF, JPEG in it': ('TIFF', {'compression': 'jpeg'}),
    'TIFF, LZW': (None, {'compression': 'tiff_lzw'}),
    'GIF': (None, {}),
    'BMP': (None, {}),
    'PPM': (None, {}),
}


def file_of(kind: str, **more) -> bytes:
    """A photograph as a file, written by Pillow."""
    if kind.startswith('AVIF') and not features.check('avif'):
        pytest.skip('this Pillow writes no AVIF')
    file = io.BytesIO()
    Image.fromarray(photo(24, 32)).save(file, kind.split(',')[0], **{**FILES[kind][1], **more})
    return file.getvalue()


@pytest.mark.parametrize('kind', FILES)
def test_lossy_format__of_every_kind(kind, tmp_path):
    data = file_of(kind)
    assert lossy_format(data) == FILES[kind][0]
    path = tmp_path / 'wrong.png'  # the content counts, not the name
    path.write_bytes(data)
    if kind != 'JPEG2000, bare':  # which Pillow alone reads
        assert read_picture(path).metadata.lossy == FILES[kind][0]


@pytest.mark.parametrize('lossless', [False, True])
def test_lossy_format__of_an_animated_webp(lossless):
    frames = [Image.fromarray(photo(24, 32, seed)) for seed in range(3)]
    data = file_of('WEBP', lossless=lossless, save_all=True, append_images=frames)
    assert lossy_format(data) == (None if lossless else 'WebP')


@pytest.mark.parametrize('kind', FILES)
def test_lossy_format__of_damaged_files_is_an_answer(kind):
    """Whatever is cut off or changed: no exception; the reader says what is wrong."""
    data, rng = file_of(kind), np.random.default_rng(0)
    for _ in range(60):
        changed = bytearray(data[: rng.integers(len(data) + 1)])
        if changed:
            changed[rng.integers(min(len(changed), 64))] ^= int(rng.integers(256))
        assert lossy_format(bytes(changed)) in (None, 'JPEG', 'WebP', 'AVIF', 'JPEG 2000', 'TIFF')
