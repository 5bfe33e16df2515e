"""A camera's orientation is applied once: every format, every number of channels, every depth."""

import numpy as np
import pytest
from image_files import noise, png, png_chunk, tiff
from PIL import Image, ImageOps

from liif_arch.files.decoding import header_size, upright
from liif_arch.files.images import convert_color, decode_image

MODES = {
    'JPEG': ('L', 'RGB'),
    'PNG': ('L', 'LA', 'RGB', 'RGBA'),
    'WEBP': ('RGB', 'RGBA'),
    'AVIF': ('RGB', 'RGBA'),
    'TIFF': ('L', 'LA', 'RGB', 'RGBA'),
}
TURNED = [(kind, mode) for kind, modes in MODES.items() for mode in modes]


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('kind,mode', TURNED)
def test_orientation__is_applied_once(tmp_path, kind, mode, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = np.kron(noise(3, 4, len(mode)), np.ones((8, 8, 1), np.uint8)).squeeze()
    options = {
        'JPEG': {'quality': 100, 'subsampling': 0},
        'AVIF': {'quality': 100, 'subsampling': '4:4:4'},
        'WEBP': {'lossless': True, 'exact': True},
    }
    with Image.fromarray(image) as source:
        source.save(tmp_path / 'a', kind, exif=exif, **options.get(kind, {}))
        source.getexif()[0x0112] = orientation
        expected = np.asarray(ImageOps.exif_transpose(source)).astype(int)
    data = (tmp_path / 'a').read_bytes()
    tolerance = {'JPEG': 6, 'AVIF': 6}.get(kind, 0)
    found = decode_image(data, 'a', 'unchanged')
    assert found.shape == (*expected.shape[:2], len(mode))
    assert header_size(tmp_path / 'a') == found.shape[:2]
    assert np.abs(found.squeeze() - expected).max() <= tolerance
    for color in ('rgb', 'gray'):
        plain = decode_image(data, 'a', color).astype(int)
        assert np.abs(plain - convert_color(found, color)).max() <= 1


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('compression', [None, 'deflate'])
@pytest.mark.parametrize('channels', [1, 2, 3, 4])
@pytest.mark.parametrize('dtype', ['uint8', 'uint16', 'float32'])
def test_orientation__of_tiff_of_every_depth(tmp_path, dtype, channels, compression, orientation):
    image = noise(5, 7, channels, dtype=dtype)
    data = tiff(
        image.squeeze(),
        photometric='rgb' if channels > 2 else 'minisblack',
        compression=compression,
        planarconfig='contig' if channels > 1 else None,
        extratags=[(274, 3, 1, orientation, True)],
        extrasamples=['unassalpha'] if channels in (2, 4) else None,
    )
    (tmp_path / 'a.tif').write_bytes(data)
    found = decode_image(data, 'a.tif', 'unchanged')
    assert np.array_equal(found, upright(image, orientation))
    assert header_size(tmp_path / 'a.tif') == found.shape[:2]


def test_orientation__of_16_bit_png_and_behind_the_pixels(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    chunk = png_chunk(b'eXIf', exif.tobytes()[6:])
    for kind, channels in ((0, 1), (4, 2), (2, 3), (6, 4)):
        image = noise(8, 12, channels, dtype='uint16')
        data = png(image, 16, kind)
        for at in (33, len(data) - 12):
            turned = data[:at] + chunk + data[at:]
            (tmp_path / 'a.png').write_bytes(turned)
            assert np.array_equal(decode_image(turned, 'a.png', 'unchanged'), np.rot90(image, -1))
            assert decode_image(turned, 'a.png').shape == (12, 8, 3)
            assert header_size(tmp_path / 'a.png') == (12, 8)
