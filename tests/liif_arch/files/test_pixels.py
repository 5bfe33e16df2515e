"""Arrays of pixels: their full scale, axes and orders of colours."""

import numpy as np
import pytest

from liif_arch.errors import UserError
from liif_arch.files.damage import damage_named
from liif_arch.files.pixels import full_scale, swap_red_and_blue, with_channel_axis


@pytest.mark.parametrize(
    'dtype,expected',
    [('uint8', 255), ('uint16', 65535), ('>u2', 65535), ('float32', 1), ('float64', 1)],
)
def test_full_scale__is_white(dtype, expected):
    assert full_scale(np.dtype(dtype)) == expected


@pytest.mark.parametrize('shape,expected', [((3, 4), (3, 4, 1)), ((3, 4, 2), (3, 4, 2))])
def test_with_channel_axis__shares_the_memory(shape, expected):
    image = np.zeros(shape)
    pixels = with_channel_axis(image)
    assert pixels.shape == expected and np.shares_memory(pixels, image)


@pytest.mark.parametrize(
    'pixel,expected',
    [([1], [1]), ([1, 2], [1, 2]), ([1, 2, 3], [3, 2, 1]), ([1, 2, 3, 4], [3, 2, 1, 4])],
)
def test_swap_red_and_blue__leaves_green_and_alpha(pixel, expected):
    pixels = np.array([[pixel]])
    assert swap_red_and_blue(pixels)[0, 0].tolist() == expected
    assert np.array_equal(swap_red_and_blue(swap_red_and_blue(pixels)), pixels)


@pytest.mark.parametrize(
    'error,message',
    [
        (ValueError('cut off\nat 7'), r'^a\.png: not a readable image \(cut off\); replace'),
        (KeyError(), r'^a\.png: not a readable image \(KeyError\); replace'),
        (UserError('b.png: too large.'), r'^b\.png: too large\.$'),
    ],
)
def test_damage_named__one_line_that_names_the_file(error, message):
    with pytest.raises(UserError, match=message), damage_named('a.png'):
        raise error
