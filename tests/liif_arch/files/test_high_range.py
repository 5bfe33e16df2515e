"""Linear light: OpenEXR, Radiance and PFM files, what is read of them and what is refused."""

import cv2
import numpy as np
import OpenEXR
import pytest

from liif_arch.errors import UserError
from liif_arch.files import high_range
from liif_arch.files.formats import ATTRIBUTES
from liif_arch.files.images import decode_image, read_image, read_picture, write_image

LIGHT = (np.random.default_rng(0).random((9, 12, 3)) * 20 - 1).astype(np.float32)
HEADER = {'compression': OpenEXR.ZIP_COMPRESSION, 'type': OpenEXR.scanlineimage}


def write_exr(path, channels: dict) -> None:
    with OpenEXR.File(HEADER, channels) as file:
        file.write(str(path))


@pytest.mark.parametrize('suffix', ['.exr', '.pfm'])
def test_read__values_of_any_range_are_kept(tmp_path, suffix):
    write_image(tmp_path / f'a{suffix}', LIGHT)
    pixels, metadata = read_picture(tmp_path / f'a{suffix}')
    assert metadata.linear and pixels.dtype == np.float32
    assert np.array_equal(pixels, LIGHT) and pixels.min() < 0 and pixels.max() > 1


def test_read__a_radiance_file_holds_8_bits_and_an_exponent(tmp_path):
    light = np.abs(LIGHT)
    write_image(tmp_path / 'a.hdr', light)
    pixels, metadata = read_picture(tmp_path / 'a.hdr')
    assert metadata.linear
    assert (np.abs(pixels - light) <= light.max(2, keepdims=True) / 128).all()


def test_read__half_floats_as_float32(tmp_path):
    write_exr(tmp_path / 'a.exr', {'RGB': LIGHT.astype(np.float16)})
    assert np.array_equal(read_image(tmp_path / 'a.exr'), LIGHT.astype(np.float16))


def test_read__alpha_is_taken_out_of_the_colours(tmp_path):
    alpha = np.full((9, 12, 1), 0.5, np.float32)
    alpha[:3] = 0
    write_exr(tmp_path / 'a.exr', {'RGBA': np.concatenate([LIGHT * alpha, alpha], 2)})
    found = read_image(tmp_path / 'a.exr')
    np.testing.assert_allclose(found[3:, :, :3], LIGHT[3:], rtol=1e-6)
    assert not found[:3].any()


@pytest.mark.parametrize(
    'channels',
    [{'Z': LIGHT[..., 0]}, {'RGB': LIGHT, 'Z': LIGHT[..., 0]}, {'beauty.R': LIGHT[..., 0]}],
)
def test_read__other_channels_are_refused(tmp_path, channels):
    write_exr(tmp_path / 'a.exr', channels)
    with pytest.raises(UserError, match=r'a\.exr: found the channels .*; needed one part with RGB'):
        read_image(tmp_path / 'a.exr')


def test_read__several_parts_are_refused(tmp_path):
    parts = [OpenEXR.Part({'name': name}, {'RGB': LIGHT}) for name in 'ab']
    with OpenEXR.File(parts) as file:
        file.write(str(tmp_path / 'a.exr'))
    with pytest.raises(UserError, match=r'in 2 part\(s\); needed one part'):
        read_image(tmp_path / 'a.exr')


@pytest.mark.parametrize('suffix', ['.exr', '.pfm'])
@pytest.mark.parametrize('value', [np.nan, np.inf])
def test_read__what_is_no_number_is_refused(tmp_path, suffix, value):
    broken = LIGHT.copy()
    broken[2, 3, 1] = value
    write_image(tmp_path / f'a{suffix}', broken)
    with pytest.raises(UserError, match='not finite numbers'):
        read_image(tmp_path / f'a{suffix}')


def test_exr__what_it_says_of_the_picture_is_kept(tmp_path):
    """ACES's primaries, a pixel that is twice as wide as high, and what a program noted."""
    primaries = (0.7347, 0.2653, 0.0, 1.0, 0.0001, -0.077, 0.32168, 0.33767)
    said = {'chromaticities': primaries, 'pixelAspectRatio': 2.0, 'comments': 'a cat'}
    with OpenEXR.File({**HEADER, **said}, {'RGB': LIGHT}) as file:
        file.write(str(tmp_path / 'a.exr'))
    pixels, metadata = read_picture(tmp_path / 'a.exr')
    assert metadata.left_out('.exr') == () and metadata.left_out('.pfm') == (ATTRIBUTES,)
    write_image(tmp_path / 'b.exr', np.repeat(pixels, 2, 0), metadata)
    with OpenEXR.File(str(tmp_path / 'b.exr')) as file:
        header = dict(file.header())
    assert header['chromaticities'] == pytest.approx(primaries)
    assert header['pixelAspectRatio'] == 2 and header['comments'] == 'a cat'
    write_image(tmp_path / 'plain.exr', LIGHT)
    assert read_picture(tmp_path / 'plain.exr').metadata.left_out('.pfm') == ()


def test_exr__a_picture_within_a_larger_one_says_so(tmp_path):
    window = {'displayWindow': (np.array([0, 0], 'i4'), np.array([99, 99], 'i4'))}
    with OpenEXR.File({**HEADER, **window}, {'RGB': LIGHT}) as file:
        file.write(str(tmp_path / 'a.exr'))
    assert read_picture(tmp_path / 'a.exr').metadata.left_out('.exr') == ('display window',)


def test_radiance__exposure_and_primaries_are_named(tmp_path):
    write_image(tmp_path / 'a.hdr', np.abs(LIGHT))
    data = (tmp_path / 'a.hdr').read_bytes()
    said = b'EXPOSURE=2.5\nPRIMARIES=0.64 0.33 0.29 0.60 0.15 0.06 0.333 0.333\n\n'
    (tmp_path / 'b.hdr').write_bytes(data.replace(b'\n\n', b'\n' + said, 1))
    picture = read_picture(tmp_path / 'b.hdr')
    assert np.array_equal(picture.pixels, read_picture(tmp_path / 'a.hdr').pixels)
    assert picture.metadata.left_out('.hdr') == ('EXPOSURE', 'PRIMARIES')


@pytest.mark.parametrize('suffix', ['.exr', '.hdr', '.pfm'])
def test_read__a_file_that_is_cut_off(tmp_path, suffix):
    path = tmp_path / f'a{suffix}'
    write_image(path, np.abs(LIGHT))
    for length in (20, 60, path.stat().st_size - 30):
        with pytest.raises(UserError, match='not a readable image'):
            decode_image(path.read_bytes()[:length], 'a', 'unchanged')


@pytest.mark.parametrize('suffix', ['.exr', '.hdr', '.pfm'])
@pytest.mark.parametrize('color', ['rgb', 'gray'])
def test_read__as_8_bits_is_refused(tmp_path, suffix, color):
    write_image(tmp_path / f'a{suffix}', np.abs(LIGHT))
    with pytest.raises(UserError, match='found linear light.*tone mapping'):
        read_image(tmp_path / f'a{suffix}', color)


@pytest.mark.parametrize('suffix', ['.exr', '.hdr', '.pfm'])
def test_read__a_header_that_asks_for_too_much(tmp_path, suffix, monkeypatch):
    monkeypatch.setenv('LIIF_MAX_IMAGE_PIXELS', '100')
    write_image(tmp_path / f'a{suffix}', np.abs(LIGHT))
    with pytest.raises(UserError, match='its header says 108 pixels; 100 are allowed'):
        read_image(tmp_path / f'a{suffix}')


def test_exr__without_its_package_names_it(tmp_path, monkeypatch):
    write_image(tmp_path / 'a.exr', LIGHT)
    monkeypatch.setattr(high_range, 'find_spec', lambda name: None)
    for act in (lambda: read_image(tmp_path / 'a.exr'), lambda: write_image('b.exr', LIGHT)):
        with pytest.raises(UserError, match=r"pip install 'basicsr-liif\[files\]'"):
            act()


def test_radiance__opencv_reads_what_is_written(tmp_path):
    write_image(tmp_path / 'a.hdr', np.abs(LIGHT))
    found = cv2.imread(str(tmp_path / 'a.hdr'), cv2.IMREAD_UNCHANGED)[..., ::-1]
    assert np.array_equal(found, read_image(tmp_path / 'a.hdr'))


@pytest.mark.parametrize('place', [0.2, 0.5, 0.9])
def test_read__pixels_that_do_not_decode(tmp_path, capfd, place):
    """OpenEXR leaves them as they were in memory, and says so on standard error alone."""
    light = np.linspace(0, 9, 200 * 60 * 3, dtype=np.float32).reshape(200, 60, 3)
    write_image(tmp_path / 'a.exr', light.round(1))  # compressed, so that damage is seen
    content = bytearray((tmp_path / 'a.exr').read_bytes())
    at = int(len(content) * place)
    content[at : at + 100] = bytes(100)
    with pytest.raises(UserError, match='a.exr: not a readable image'):
        decode_image(bytes(content), 'a.exr', 'unchanged')
    assert not capfd.readouterr().err
