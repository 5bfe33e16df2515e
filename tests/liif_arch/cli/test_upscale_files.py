"""`basicsr upscale` of files with a profile, EXIF, alpha, or another range of values."""

import numpy as np
import profiles
import pytest
from helpers import photo, run_here
from PIL import Image

from liif_arch import load_network, read_image, upscale, write_image
from liif_arch.errors import UserError

CLAMPED = (
    'a.tif: found float32 values from 278 to 528; needed 0 (black) to 1 (white). '
    'Before, divide them by 528'
)


@pytest.fixture
def doubled(monkeypatch, tmp_path, weights):
    """`doubled(source, target)`: the command's exit status."""

    def run(source: str, target: str) -> int:
        return run_here(
            monkeypatch,
            tmp_path,
            'upscale',
            source,
            '-o',
            target,
            '--weights',
            weights,
            '--scale',
            2,
        )

    return run


@pytest.mark.parametrize(
    'target,note',
    [
        ('b.png', ''),
        ('b.tif', ''),
        ('b.jpg', ''),
        ('b.webp', ''),
        ('b.ppm', '; not kept: ICC profile, EXIF, dpi'),
    ],
)
def test_upscale__what_a_photograph_says_is_kept_or_named(doubled, tmp_path, capsys, target, note):
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = 'Maker', 6  # turned by 90 degrees
    kept = {'exif': exif, 'icc_profile': profiles.adobe_rgb(), 'dpi': (300, 300)}
    Image.fromarray(photo(12, 10)).save(tmp_path / 'a.jpg', **kept)
    assert doubled('a.jpg', target) == 0
    expected = f'{target}  12x10 -> 24x20 (width x height){note}\n'
    assert capsys.readouterr().out == expected
    if note:
        return
    with Image.open(tmp_path / target) as image:
        found = image.getexif()
        assert image.size == (24, 20) and image.info['icc_profile'] == kept['icc_profile']
        assert found[0x010F] == 'Maker' and found.get(0x0112, 1) == 1
        resolution = image.info.get('dpi', (found.get(282), found.get(283)))
        assert resolution == pytest.approx((300, 300), abs=0.01)


@pytest.mark.parametrize('dtype', ['uint8', 'uint16'])
@pytest.mark.parametrize(
    'source,target', [('a.png', 'b.png'), ('a.png', 'b.tif'), ('a.tif', 'b.png')]
)
def test_upscale__gray_and_alpha_stay_two_channels(doubled, tmp_path, source, target, dtype):
    image = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (9, 8, 2), dtype)
    write_image(tmp_path / source, image)
    assert doubled(source, target) == 0
    found = read_image(tmp_path / target)
    assert found.shape == (18, 16, 2) and found.dtype == dtype


def test_upscale__float_values_that_would_be_clamped(doubled, tmp_path, weights, capsys):
    image = np.linspace(278, 528, 90, dtype=np.float32).reshape(9, 10, 1)
    write_image(tmp_path / 'a.tif', image)
    assert doubled('a.tif', 'b.tif') == 2
    assert CLAMPED in capsys.readouterr().err and not (tmp_path / 'b.tif').exists()
    with pytest.raises(UserError, match='image: found float32 values from 278 to 528'):
        upscale(load_network(weights), image, scale=2)
