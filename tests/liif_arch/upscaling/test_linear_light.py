"""Images in linear light, of any range."""

import cv2
import numpy as np
import pytest
from helpers import photo

from liif_arch import load_network, upscale, upscale_to_file
from liif_arch.errors import UserError
from liif_arch.files.metadata import Metadata


def test_upscale__linear_light_of_any_range(net):
    light = (photo(20, 30) / 255).astype(np.float32) ** 2.2 * 7
    light[0, 0] = -0.5
    larger = upscale(net, light, scale=2, linear=True)
    top = 1 + np.log(light.max()) / 2.2
    coded = (
        np.where(light > 1, 1 + np.log(light.clip(1e-9)) / 2.2, light.clip(0) ** (1 / 2.2)) / top
    )
    coded = upscale(net, coded.astype(np.float32), scale=2) * top
    expected = np.where(coded > 1, np.exp(2.2 * (coded - 1)), coded**2.2)
    np.testing.assert_allclose(larger, expected, rtol=1e-4, atol=1e-5)
    assert larger.min() >= 0
    with pytest.raises(UserError, match='needed 0 .* to 1'):
        upscale(net, light, scale=2)
    light[3, 3] = np.nan
    with pytest.raises(UserError, match='not finite'):
        upscale(net, light, scale=2, linear=True)


def test_upscale__light_keeps_its_alpha(net):
    light = np.full((12, 12, 4), 3, np.float32)
    light[..., 3] = 0.25
    larger = upscale(net, light, scale=2, linear=True)
    assert np.allclose(larger[..., 3], 0.25)


def test_upscale__a_far_light_changes_little_else():
    """A sun in a corner, 60,000 times as bright as white."""
    net = load_network('fast')
    light = (photo(60, 60) / 255).astype(np.float32)
    light = cv2.GaussianBlur(light, (0, 0), 6) * 0.3 + 0.03
    alone = upscale(net, light, scale=2, linear=True)
    light[0, 0] = 60_000
    beside = upscale(net, light, scale=2, linear=True)
    ratio = beside[60:, 60:] / alone[60:, 60:]
    assert 0.98 < ratio.mean() < 1.02 and 0.85 < ratio.min() and ratio.max() < 1.15


@pytest.mark.parametrize('size', [(20, 30), (20, 60), (20, 120)])
def test_upscale__fewer_pixels_hold_the_mean_of_the_light(net, size):
    """Lamps of one pixel in the dark: their light is spread, whatever displays would make of it."""
    light = np.full((40, 60, 4), 0.01, np.float32)
    light[::2, ::2, :3] = 200
    light[1, 1, :3] = -5
    light[:4, :4, :3] = 200  # as bright when it is reduced: the same curve
    light[..., 3] = 1
    smaller = upscale(net, light, size=size, linear=True)
    inner = smaller[4:-4, 8:-8]
    if size[1] <= 60:  # the network is not asked
        assert inner[..., :3].mean() == pytest.approx(50, rel=0.02)
        assert 0 <= smaller.min() and smaller.max() <= 200
    else:
        rows = upscale(net, light, size=(20, 60), linear=True)
        assert np.array_equal(smaller, upscale(net, rows, size=size, linear=True))
    assert (smaller[..., 3] == 1).all()


@pytest.mark.parametrize('suffix', ['.png', '.tif', '.jpg'])
def test_upscale_to_file__linear_light_needs_a_format_that_says_so(net, tmp_path, suffix):
    light = np.full((8, 8, 3), 3, np.float32)
    with pytest.raises(
        UserError, match=r'found linear light for .*; use one of \.exr, \.hdr, \.pfm'
    ):
        upscale_to_file(
            net, light, tmp_path / f'a{suffix}', scale=2, metadata=Metadata(linear=True)
        )
    assert not list(tmp_path.iterdir())
