"""What the page shows: tiles are parts of `upscale`'s results, and PSNR is of what is seen."""

from io import BytesIO

import cv2
import numpy as np
import profiles
import pytest
from helpers import photo
from PIL import Image, ImageCms

from liif_arch import load_network, upscale, write_image
from liif_arch.errors import UserError
from liif_arch.files.metadata import Metadata
from liif_arch.view import pictures
from liif_arch.view.pictures import TILE, Gallery, Shown, TileKey, size_at


@pytest.fixture
def shown(tmp_path):
    gt = photo(120, 160)
    write_image(tmp_path / 'gt.png', gt)
    small = Image.fromarray(gt).resize((40, 30), Image.Resampling.BICUBIC)
    small.save(tmp_path / 'a.png')
    return Shown(tmp_path / 'a.png', {'fast': lambda: load_network('fast')}, tmp_path / 'gt.png')


@pytest.mark.parametrize('channels', [3, 4])
def test_shown__of_other_primaries_is_in_srgb(tmp_path, channels):
    """Adobe RGB's green is beyond sRGB's; a page shows numbers as sRGB's."""
    pixels = np.dstack([photo(12, 10), np.full((12, 10), 77, np.uint8)])[..., :channels]
    write_image(tmp_path / 'a.png', pixels, Metadata(icc=profiles.adobe_rgb()))
    image = Image.open(tmp_path / 'a.png')
    own = ImageCms.ImageCmsProfile(BytesIO(profiles.adobe_rgb()))
    expected = ImageCms.profileToProfile(image.convert('RGB'), own, ImageCms.createProfile('sRGB'))
    found = Shown(tmp_path / 'a.png', {}).pixels
    assert np.array_equal(found[..., :3], np.asarray(expected)) and found.shape[2] == channels
    assert np.array_equal(found[..., 3:], pixels[..., 3:])
    assert not np.array_equal(found[..., :3], pixels[..., :3])
    write_image(tmp_path / 'b.png', pixels)
    assert np.array_equal(Shown(tmp_path / 'b.png', {}).pixels, pixels)


def decoded(data: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


@pytest.mark.parametrize('level', [0, 3, 14])
def test_tile__is_that_part_of_the_result(shown, level):
    size = size_at((30, 40), level)
    whole = upscale(load_network('fast'), shown.pixels, size=size)
    for row in range(-(-size[0] // TILE)):
        for col in range(-(-size[1] // TILE)):
            tile = decoded(shown.tile('fast', level, row, col))
            expected = whole[row * TILE : (row + 1) * TILE, col * TILE : (col + 1) * TILE]
            assert np.abs(tile.astype(int) - expected).max() <= 1
    assert shown.tile('fast', level, size[0] // TILE + 1, 0) is None


@pytest.mark.parametrize('name,way', [('nearest', 0), ('bicubic', Image.Resampling.BICUBIC)])
@pytest.mark.parametrize('level', [-3, 0, 15])
def test_tile__of_a_filter_is_pillows(shown, name, way, level):
    height, width = size_at((30, 40), level)
    whole = np.asarray(Image.fromarray(shown.pixels).resize((width, height), way))
    for row, col in ((0, 0), (1, 1)):
        data = shown.tile(name, level, row, col)
        if data is None:
            assert level < 15
            continue
        expected = whole[row * TILE : (row + 1) * TILE, col * TILE : (col + 1) * TILE]
        difference = np.abs(decoded(data).astype(int) - expected).max(2)
        assert np.mean(difference > 1) <= (0.02 if name == 'nearest' else 0)  # ties, by Pillow


def test_tile__below_the_images_size_is_its_reduction(shown):
    expected = upscale(load_network('fast'), shown.pixels, size=size_at((30, 40), -4))
    assert np.array_equal(decoded(shown.tile('fast', -4, 0, 0)), expected)


@pytest.mark.parametrize('part', [(0, 1, 0, 1), (0.25, 0.75, 0.1, 0.6), (-1, 0.5, 0.5, 3)])
def test_psnr__is_of_the_part_that_is_seen(shown, part):
    gt = photo(120, 160)
    whole = upscale(load_network('fast'), shown.pixels, size=(120, 160))
    top, bottom = (min(120, max(0, round(120 * share))) for share in part[:2])
    left, right = (min(160, max(0, round(160 * share))) for share in part[2:])
    error = (whole.astype(float) - gt)[top:bottom, left:right]
    expected = 10 * np.log10(255**2 / np.mean(error**2))
    assert shown.psnr('fast', part) == pytest.approx(expected, abs=0.02)
    assert shown.psnr('original', part) is None  # nothing differs
    assert shown.psnr('fast', (0.5, 0.5, 0, 1)) is None


def test_psnr__without_ground_truth(tmp_path):
    write_image(tmp_path / 'a.png', photo(20, 20))
    shown = Shown(tmp_path / 'a.png', {})
    assert shown.psnr('bicubic', (0, 1, 0, 1)) is None and shown.names == ['nearest', 'bicubic']


@pytest.mark.parametrize('size', [(20, 90), (10, 14)])
def test_ground_truth__of_another_shape_is_refused(tmp_path, size):
    write_image(tmp_path / 'a.png', photo(30, 40))
    write_image(tmp_path / 'gt.png', photo(*size))
    with pytest.raises(UserError, match='--gt: .*needed the same picture with more pixels'):
        Shown(tmp_path / 'a.png', {}, tmp_path / 'gt.png')


@pytest.mark.parametrize('kind', ['gray', 'RGBA', '16 bits', 'light'])
def test_tile__of_every_kind_of_image(tmp_path, kind):
    image = photo(12, 16)
    name = 'a.png'
    if kind == 'gray':
        image = image[..., :1]
    elif kind == 'RGBA':
        image = np.dstack([image, np.full((12, 16), 99, np.uint8)])
    elif kind == '16 bits':
        image = image.astype(np.uint16) * 257
    else:
        name, image = 'a.exr', (image / 255).astype(np.float32) * 9
    write_image(tmp_path / name, image)
    shown = Shown(tmp_path / name, {'small': lambda: load_network('small')})
    for method in shown.names:
        data = shown.tile(method, 8, 0, 0)
        found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        assert found.dtype == np.uint8 and found.shape[:2] == (48, 64)
    assert shown.thumbnail().startswith(b'\x89PNG')


def test_gallery__keeps_tiles_within_its_budget(shown, monkeypatch):
    monkeypatch.setattr(pictures, 'CACHE_BYTES', 200_000)
    gallery = Gallery([shown])
    for level in range(12, 24):
        for col in range(2):
            assert gallery.tile(TileKey(0, 'bicubic', level, 0, col)) is not None
        assert gallery.bytes <= 200_000 + 2 * TILE * TILE * 3
    assert gallery.bytes == sum(map(len, gallery.tiles.values()))
    assert gallery.cached(TileKey(0, 'bicubic', 23, 0, 1)) is not None
    assert gallery.cached(TileKey(0, 'bicubic', 12, 0, 0)) is None


@pytest.mark.parametrize(
    'key', [(1, 'fast', 0), (-1, 'fast', 0), (0, 'none', 0), (0, 'fast', 41), (0, 'fast', -99)]
)
def test_gallery__knows_what_there_is(shown, key):
    gallery = Gallery([shown])
    assert not gallery.known(TileKey(*key, 0, 0)) and gallery.known(TileKey(0, 'fast', 0, 0, 0))
