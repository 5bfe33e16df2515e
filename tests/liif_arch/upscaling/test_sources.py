"""What `upscale` takes beside arrays: images of Pillow's, and paths of files."""

import numpy as np
import pytest
from helpers import photo
from PIL import Image

from liif_arch import upscale, write_image
from liif_arch.errors import UserError


@pytest.mark.parametrize('mode', ['L', 'RGB', 'RGBA', 'P', 'I;16'])
def test_upscale__an_image_of_pillows(net, mode):
    source = Image.fromarray(photo(20, 30))
    if mode == 'I;16':
        source = Image.fromarray(photo(20, 30)[..., 0].astype(np.uint16) * 257)
    else:
        source = source.convert(mode)
    source.getexif()[274] = 6
    larger = upscale(net, source, scale=2)
    assert isinstance(larger, Image.Image) and larger.size == (40, 60)  # upright
    assert larger.mode == ('RGB' if mode == 'P' else mode)


def test_upscale__an_image_of_pillows_in_linear_light_and_with_a_profile(net):
    light = (photo(20, 30)[..., 0] / 255).astype(np.float32) * 7
    larger = upscale(net, Image.fromarray(light), scale=2, linear=True)
    assert np.array_equal(np.asarray(larger), upscale(net, light, scale=2, linear=True))
    source = Image.fromarray(photo(20, 30))
    source.info['icc_profile'] = b'a profile'
    assert upscale(net, source, scale=2).info['icc_profile'] == b'a profile'


def test_upscale__a_path(net, tmp_path):
    write_image(tmp_path / 'a.png', photo(20, 30))
    larger = upscale(net, str(tmp_path / 'a.png'), scale=2)
    assert np.array_equal(larger, upscale(net, photo(20, 30), scale=2))
    light = (photo(20, 30) / 255).astype(np.float32) * 7
    write_image(tmp_path / 'a.exr', light)
    assert np.array_equal(
        upscale(net, tmp_path / 'a.exr', scale=2), upscale(net, light, scale=2, linear=True)
    )
    with pytest.raises(UserError, match='no.png: cannot read this image'):
        upscale(net, 'no.png', scale=2)
