"""Sizes below the input's, on one axis or on both, are antialiased at every depth."""

import numpy as np
import pytest
from PIL import Image
from skimage import data

from liif_arch import load_network, read_image, upscale, upscale_to_file
from liif_arch.upscaling import windows
from liif_arch.upscaling.reduction import reduce_bicubic


@pytest.fixture(scope='module')
def net():
    return load_network('small')


def psnr(a: np.ndarray, b: np.ndarray, full: float) -> float:
    return 10 * np.log10(full**2 / np.mean((a.astype(float) - b.astype(float)) ** 2))


def pillow(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BICUBIC))


@pytest.mark.parametrize('size', [(256, 256), (154, 154), (1, 1), (511, 512), (100, 300)])
@pytest.mark.parametrize(
    'full,dtype', [(255, np.uint8), (65535, np.uint16), (1, np.float32), (1, np.float64)]
)
def test_upscale__to_fewer_pixels_is_antialiased(net, size, full, dtype):
    photo = data.astronaut()
    image = (photo / 255 * full).round(0 if full > 1 else 8).astype(dtype)
    result = upscale(net, image, size=size)
    assert result.shape == (*size, 3) and result.dtype == dtype
    assert psnr(result / full, pillow(photo, size) / 255, 1) > (45 if size != (1, 1) else 40)
    if full == 65535:
        assert len(np.unique(result)) > 256 or size == (1, 1)


def test_upscale__of_fine_stripes_is_their_mean(net):
    """Stripes of one pixel are gray at a third of the size; aliased, they are other stripes."""
    stripes = np.zeros((120, 120, 3), np.uint8)
    stripes[:, ::2] = 255
    for size in ((40, 40), (120, 40), (240, 40)):
        inner = upscale(net, stripes, size=size)[5:-5, 5:-5].astype(int)
        assert np.abs(inner - 127).max() < 12
    assert (
        np.ptp(upscale(net, stripes, size=(40, 240)).astype(int)) > 200
    )  # along the stripes they stay


def test_upscale__one_axis_shorter_and_one_longer(net):
    """Closer to the photograph that was reduced than a bicubic enlargement of the same input is."""
    photo = data.astronaut()[:300, 100:400]
    narrow = pillow(photo, (300, 100))
    truth = pillow(photo, (150, 300))
    result = upscale(net, narrow, size=(150, 300))
    assert psnr(result, truth, 255) > psnr(pillow(narrow, (150, 300)), truth, 255) + 1


@pytest.mark.parametrize('size', [(20, 30), (20, 120), (160, 30)])
def test_upscale_to_file__streamed_equals_the_array(net, tmp_path, monkeypatch, size):
    monkeypatch.setattr(windows, 'MIN_WINDOW', 16)
    image = np.dstack([data.astronaut()[:80, :60], np.full((80, 60), 255, np.uint8)])
    image[:20, :30, 3] = 0
    seen = []
    upscale_to_file(
        net, image, tmp_path / 'a.tif', size=size, memory=3, progress=lambda *a: seen.append(a)
    )
    assert (
        np.abs(read_image(tmp_path / 'a.tif').astype(int) - upscale(net, image, size=size)).max()
        <= 1
    )
    assert seen[0][0] == 0 and seen[-1][0] == seen[-1][1] > 0


def test_reduce__alpha_that_is_constant_stays_exact():
    image = np.full((37, 53, 4), 1, np.float32)
    assert (reduce_bicubic(image, (11, 53)) == 1).all() and (
        reduce_bicubic(image, (9, 7)) == 1
    ).all()


def test_reduce__leaves_an_axis_of_the_same_length_alone():
    image = np.random.default_rng(0).integers(0, 65535, (6, 40, 1), np.uint16)
    image[:] = image[:1]
    assert np.array_equal(reduce_bicubic(image, (3, 40)), image[:3])
