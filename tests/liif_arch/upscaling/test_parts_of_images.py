"""Parts of an image, enlarged as the whole is."""

import pytest
from helpers import photo

from liif_arch import upscale
from liif_arch.errors import UserError


@pytest.mark.parametrize('scale', [3.3, (2, 4.7), 1, 0.6, (0.5, 3)])
@pytest.mark.parametrize('crop', [(3.2, 5.9, 11, 7.6), (0, 0, 41, 52), (40, 51, 1, 1)])
def test_upscale__a_crop_is_that_part_of_the_whole(net, scale, crop):
    image = photo(41, 52)
    whole, part = upscale(net, image, scale=scale), upscale(net, image, scale=scale, crop=crop)
    top, left = (round(crop[k] * whole.shape[k] / image.shape[k]) for k in (0, 1))
    top, left = min(top, len(whole) - 1), min(left, whole.shape[1] - 1)
    expected = whole[top:, left:][: part.shape[0], : part.shape[1]]
    assert abs(part.astype(int) - expected).max() <= 1
    for axis in (0, 1):
        length = crop[2 + axis] * whole.shape[axis] / image.shape[axis]
        assert abs(part.shape[axis] - length) <= 1


def test_upscale__a_crop_encodes_only_what_it_depends_on(net, monkeypatch):
    encoded, encode = [], net.encode
    monkeypatch.setattr(net, 'encode', lambda x: encoded.append(tuple(x.shape[-2:])) or encode(x))
    upscale(net, photo(200, 210), scale=40, crop=(90, 100, 3, 4))
    margin = net.reach + net.encoder.receptive_radius
    [(height, width)] = encoded
    assert height <= 3 + 2 * margin + 4 and width <= 4 + 2 * margin + 4


def test_upscale__a_crop_of_a_size(net):
    part = upscale(net, photo(41, 52), size=(90, 70), crop=(10.5, 20.25, 3, 2))
    assert part.shape == (90, 70, 3)


@pytest.mark.parametrize(
    'crop', [(-1, 0, 5, 5), (0, 0, 42, 5), (0, 50, 5, 3), (0, 0, 0, 5), (0, 0, 5, -1)]
)
def test_upscale__a_crop_outside_is_refused(net, crop):
    with pytest.raises(UserError, match='crop: found y .*which is 41 high and 52 wide'):
        upscale(net, photo(41, 52), scale=2, crop=crop)


def test_upscale__a_crop_of_too_large_a_whole_is_refused(net):
    with pytest.raises(UserError, match='crop: the whole image would have .* pixels a side'):
        upscale(net, photo(41, 52), scale=10**6, crop=(1, 1, 0.001, 0.001))
