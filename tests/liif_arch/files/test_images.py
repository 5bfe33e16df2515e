"""Image files: colour order, depth, orientation, errors; Pillow's bicubic reduction."""

import sys

import cv2
import numpy as np
import pillow_heif
import pytest
from helpers import photo
from PIL import Image

from liif_arch.errors import UserError
from liif_arch.files.images import (
    decode_image,
    read_image,
    read_picture,
    resize_bicubic,
    to_uint8,
    write_image,
)


@pytest.mark.parametrize(
    'channels,dtype',
    [(1, np.uint8), (3, np.uint8), (4, np.uint8), (1, np.uint16), (3, np.uint16), (4, np.uint16)],
)
def test_write_read__keep_channels_and_depth(tmp_path, channels, dtype):
    image = np.random.default_rng(0).integers(
        0, np.iinfo(dtype).max, (6, 5, channels), dtype=dtype, endpoint=True
    )
    write_image(tmp_path / 'a.png', image)
    assert np.array_equal(read_image(tmp_path / 'a.png'), image)
    if dtype == np.uint8 and channels in (3, 4):  # Pillow agrees on the colour order
        assert np.array_equal(np.asarray(Image.open(tmp_path / 'a.png')), image)
    assert [p.name for p in tmp_path.iterdir()] == ['a.png']


def test_read_image__colours(tmp_path):
    image = photo(8, 9)
    write_image(tmp_path / 'a.png', image)
    assert np.array_equal(read_image(tmp_path / 'a.png', 'rgb'), image)
    assert read_image(tmp_path / 'a.png', 'gray').shape == (8, 9, 1)


@pytest.mark.parametrize('color', ['rgb', 'unchanged'])
def test_read_image__applies_the_cameras_orientation(tmp_path, color):
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees
    Image.fromarray(photo(20, 30)).save(tmp_path / 'a.jpg', exif=exif)
    assert read_image(tmp_path / 'a.jpg', color).shape == (30, 20, 3)


@pytest.mark.parametrize(
    'data', [b'', b'not an image', cv2.imencode('.png', photo(9, 9))[1].tobytes()[:40]]
)
def test_decode_image__names_what_does_not_decode(data):
    with pytest.raises(UserError, match=r'photos/x.png: not a readable image'):
        decode_image(data, 'photos/x.png')


def test_read_image__missing_file():
    with pytest.raises(UserError, match='nowhere.png: cannot read'):
        read_image('nowhere.png')


def test_write_image__impossible_format(tmp_path):
    with pytest.raises(UserError, match=r'use \.png'):
        write_image(tmp_path / 'a.xyz', photo(4, 4))
    with pytest.raises(UserError, match='cannot write here'):
        (tmp_path / 'file').write_text('')
        write_image(tmp_path / 'file' / 'a.png', photo(4, 4))
    assert [p.name for p in tmp_path.iterdir()] == ['file']


@pytest.mark.parametrize('size', [(10, 13), (7, 30), (60, 60)])
@pytest.mark.parametrize('channels', [1, 3, 4, 5])
def test_resize_bicubic__is_pillows_per_channel(size, channels):
    image = np.random.default_rng(1).integers(0, 256, (40, 33, channels), dtype=np.uint8)
    expected = [
        np.asarray(Image.fromarray(image[..., c]).resize(size[::-1], Image.Resampling.BICUBIC))
        for c in range(channels)
    ]
    assert np.array_equal(resize_bicubic(image, size), np.stack(expected, -1))


def test_resize_bicubic__accepts_crops_and_refuses_16_bit():
    image = photo(40, 40)
    crop = image[3:30, 5:31]
    assert np.array_equal(resize_bicubic(crop, (9, 9)), resize_bicubic(crop.copy(), (9, 9)))
    with pytest.raises(UserError, match='uint16'):
        resize_bicubic(image.astype(np.uint16), (9, 9))


@pytest.mark.parametrize(
    'name,shape,dtype',
    [
        ('a.jpg', (4, 4, 3), np.uint16),
        ('a.png', (4, 4, 3), np.float32),
        ('a.jpg', (4, 4, 4), np.uint8),
        ('a.webp', (4, 4, 3), np.uint16),
    ],
)
def test_write_image__refuses_what_a_format_would_lose(tmp_path, name, shape, dtype):
    with pytest.raises(UserError, match='cannot hold'):
        write_image(tmp_path / name, np.zeros(shape, dtype))
    assert not list(tmp_path.iterdir())


def test_to_uint8__clamps_and_rounds():
    assert to_uint8(np.array([-1, 0, 0.5, 0.9999, 2])).tolist() == [0, 0, 128, 255, 255]


def test_header__that_asks_for_more_than_there_is(tmp_path, monkeypatch):
    """A few bytes that would make a reader reserve gigabytes."""
    import struct
    import zlib

    def png(width: int, height: int) -> bytes:
        chunks = [
            b'IHDR' + struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0),
            b'IDAT' + zlib.compress(bytes(99)),
        ]
        return b'\x89PNG\r\n\x1a\n' + b''.join(
            struct.pack('>I', len(chunk) - 4) + chunk + struct.pack('>I', zlib.crc32(chunk))
            for chunk in chunks
        )

    for width, height in [(30000, 30000), (10000, 60000)]:
        (tmp_path / 'bomb.png').write_bytes(png(width, height))
        with pytest.raises(
            UserError, match=rf'bomb\.png: its header says {width * height:,} pixels'
        ):
            read_image(tmp_path / 'bomb.png')
    write_image(tmp_path / 'a.png', np.zeros((20, 30, 3), np.uint8))
    monkeypatch.setenv('LIIF_MAX_IMAGE_PIXELS', '599')
    with pytest.raises(UserError, match='600 pixels; 599 are allowed'):
        read_image(tmp_path / 'a.png')
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 100)  # Pillow's own limit gives way
    monkeypatch.setenv('LIIF_MAX_IMAGE_PIXELS', '600')
    assert read_image(tmp_path / 'a.png').shape == (20, 30, 3)
    monkeypatch.setenv('LIIF_MAX_IMAGE_PIXELS', 'many')
    with pytest.raises(UserError, match='LIIF_MAX_IMAGE_PIXELS: found'):
        read_image(tmp_path / 'a.png')


def test_header__pillows_limit_gives_way_in_tiff_too(tmp_path, monkeypatch):
    Image.fromarray(np.zeros((20, 30), np.uint8)).save(tmp_path / 'a.tif', compression='tiff_lzw')
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 100)
    assert read_image(tmp_path / 'a.tif').shape == (20, 30, 1)


def test_header__of_a_tiff_that_asks_for_more_than_there_is(tmp_path):
    import tifffile

    from liif_arch.files.tiff import tiff_writer

    with tiff_writer(tmp_path / 'bomb.tif', (30000, 30000, 1), np.uint8):
        pass
    (tmp_path / 'bomb.tif').write_bytes((tmp_path / 'bomb.tif').open('rb').read(20000))
    for color in ('rgb', 'unchanged'):
        with pytest.raises(UserError, match=r'bomb\.tif: its header says 900,000,000 pixels'):
            read_image(tmp_path / 'bomb.tif', color)
    tifffile.imwrite(tmp_path / 'cut.tif', np.zeros((200, 300, 3), np.uint16), photometric='rgb')
    (tmp_path / 'cut.tif').write_bytes((tmp_path / 'cut.tif').read_bytes()[:-1])
    for color in ('rgb', 'unchanged'):
        with pytest.raises(UserError, match=r'cut\.tif: not a readable image'):
            read_image(tmp_path / 'cut.tif', color)


def test_read_picture__a_jpeg_that_is_cut_off(tmp_path):
    path = tmp_path / 'a.jpg'
    image = np.zeros((64, 48, 3), np.uint8) + np.arange(0, 192, 3, np.uint8)[:, None, None]
    write_image(path, image)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) - 2])  # without its end mark, nothing is missing
    assert np.abs(read_picture(path, strict=False).pixels.astype(int) - image).max() <= 4
    path.write_bytes(whole[: len(whole) * 9 // 10])
    with pytest.raises(UserError, match='not a readable image .it is cut off'):
        read_picture(path)
    pixels, metadata = read_picture(path, strict=False)
    assert pixels.shape == image.shape and 'cut off' in metadata.notes[0]
    assert np.abs(pixels[:16].astype(int) - image[:16]).max() <= 4
    path.write_bytes(whole[:30])
    with pytest.raises(UserError, match=r'a\.jpg: not a readable image \(30 bytes\)'):
        read_picture(path, strict=False)


@pytest.mark.parametrize('suffix', ['.jpg', '.webp', '.avif'])
def test_write_image__quality(tmp_path, suffix):
    image = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    sizes = []
    for quality in (20, 60, 100):
        write_image(tmp_path / f'a{suffix}', image, quality=quality)
        sizes.append((tmp_path / f'a{suffix}').stat().st_size)
    assert sizes[0] < sizes[1] < sizes[2]
    for quality in (0, 101):
        with pytest.raises(UserError, match=f'found the quality {quality}; needed 1 to 100'):
            write_image(tmp_path / f'b{suffix}', image, quality=quality)


def test_write_image__quality_of_a_lossless_format(tmp_path):
    with pytest.raises(UserError, match=r'quality is of \.jpg, \.webp and \.avif'):
        write_image(tmp_path / 'a.png', np.zeros((4, 4, 3), np.uint8), quality=90)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('orientation', [1, 3, 6])
@pytest.mark.parametrize('depth', [8, 16])
def test_read_picture__a_telephones_heic(tmp_path, orientation, depth):
    image = np.kron(np.random.default_rng(0).integers(0, 255, (4, 6, 3)), np.ones((8, 8, 1)))
    mode, values = ('RGB', image.astype(np.uint8)) if depth == 8 else ('RGB;16', None)
    if values is None:
        values = (image * 257).astype(np.uint16)
    exif = Image.Exif()
    exif[274], exif[271] = orientation, 'Maker'
    file = pillow_heif.from_bytes(mode=mode, size=(48, 32), data=values.tobytes())
    file.save(tmp_path / 'a.heic', quality=100, exif=exif.tobytes())
    pixels, metadata = read_picture(tmp_path / 'a.heic')
    assert metadata.lossy == 'HEIC' and b'Maker' in metadata.exif
    assert pixels.dtype == f'uint{depth}'
    expected = np.rot90(image, {1: 0, 3: 2, 6: 3}[orientation])
    assert pixels.shape == expected.shape
    scale = 1 if depth == 8 else 257
    assert np.abs(pixels / scale - expected).mean() < 8  # colours of half the size


def test_read_picture__a_heic_without_its_package_names_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'pillow_heif', None)
    (tmp_path / 'a.heic').write_bytes(b'\0\0\0\x1cftypheic' + bytes(40))
    with pytest.raises(UserError, match=r"pip install 'basicsr-liif\[files\]'"):
        read_picture(tmp_path / 'a.heic')
