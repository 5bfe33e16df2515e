"""Image files of every kind: the right pixels, or a refusal that says what was found."""

from io import BytesIO

import cv2
import numpy as np
import profiles
import pytest
import tifffile
from image_files import frames, netpbm, noise, pillow, png, tiff
from PIL import Image, ImageCms

from liif_arch.errors import UserError
from liif_arch.files.images import convert_color, decode_image, require_unit_range

CMYK = Image.fromarray(noise(8, 9, 4), 'CMYK')
REFUSED = {
    'bands8.tif': (
        tiff(noise(8, 9, 4), photometric='minisblack', planarconfig='contig'),
        'found 4 bands',
    ),
    'bands16.tif': (
        tiff(noise(8, 9, 4, dtype='uint16'), photometric='minisblack', planarconfig='contig'),
        r'found 4 bands \(MINISBLACK',
    ),
    'bands_planar.tif': (
        tiff(noise(4, 8, 9), photometric='minisblack', planarconfig='separate'),
        'found 4 bands',
    ),
    'two_bands.tif': (
        tiff(noise(8, 9, 2), photometric='minisblack', planarconfig='contig'),
        'found 2 bands',
    ),
    'infrared.tif': (
        tiff(noise(8, 9, 4), photometric='rgb', extrasamples=['unspecified']),
        'found 4 bands.*alpha: 0',
    ),
    'five.tif': (
        tiff(noise(8, 9, 5), photometric='rgb', extrasamples=['unassalpha', 0]),
        'found 5 bands',
    ),
    'stack.tif': (tiff(noise(3, 8, 9), photometric='minisblack'), 'found a stack of 3 pages'),
    'imagej.tif': (
        tiff(noise(3, 8, 9), imagej=True, metadata={'axes': 'ZYX'}),
        'found a stack of 3 pages',
    ),
    'raw.nef': (tiff(noise(8, 9, 3), subfiletype=1), 'preview of another image.*Develop it'),
    'raw.dng': (
        tiff(noise(8, 9, 3), extratags=[(50706, 1, 4, (1, 4, 0, 0), True)]),
        'preview of another image.*Develop it',
    ),
    'volume.tif': (
        tiff(noise(3, 16, 16), photometric='minisblack', volumetric=True, tile=(1, 16, 16)),
        'found a volume of 3 slices',
    ),
    'int16.tif': (tiff(noise(8, 9, dtype='int16')), 'found int16 of 16 bits; needed uint8, uint16'),
    'uint32.tif': (tiff(noise(8, 9, dtype='uint32')), 'found uint32 of 32 bits'),
    'lab.tif': (tiff(noise(8, 9, 3), photometric='cielab'), 'found CIELAB colours'),
    'cmyk.tif': (pillow(CMYK, 'TIFF'), 'found CMYK without a CMYK colour profile'),
    'cmyk.jpg': (
        pillow(CMYK, 'JPEG'),
        'found CMYK without a CMYK colour profile.*convert it to RGB',
    ),
    'cmyk16.tif': (
        tiff(noise(8, 9, 4, dtype='uint16'), photometric='separated'),
        'found SEPARATED colours of 16 bits; needed 8',
    ),
    'a.gif': (frames('GIF'), 'found an animation or a stack of 3 pictures'),
    'a.png': (frames('PNG'), 'found an animation or a stack of 3 pictures; needed one'),
    'a.webp': (frames('WEBP'), 'found an animation or a stack of 3 pictures'),
    'a.avif': (frames('AVIF'), 'found an animation or a stack of 3 pictures'),
    'dark.ppm': (
        netpbm(b'P6 9 8 1023', noise(8, 9, 3, dtype='uint16')),
        'found values up to 1023; needed 255 or',
    ),
    'dark.pgm': (netpbm(b'P5\n# by hand\n9 8\n15', noise(8, 9)), 'found values up to 15'),
    'odd.ppm': (netpbm(b'PyRGBA 9 8 255', noise(8, 9, 4)), 'found a PyRGBA file'),
    'a.ico': (pillow(noise(16, 16, 3), 'ICO'), 'found a ICO file; needed one of AVIF, BMP'),
    'no.avif': (b'\0\0\0\x20ftypavif' + bytes(40), r'not a readable image.*; replace or remove'),
}


@pytest.mark.parametrize('color', ['rgb', 'gray', 'unchanged'])
@pytest.mark.parametrize('name', REFUSED)
def test_decode__what_would_be_wrong_is_refused(name, color):
    data, message = REFUSED[name]
    with pytest.raises(UserError, match=message) as error:
        decode_image(data, name, color)
    assert str(error.value).startswith(f'{name}: ') and '\n' not in str(error.value)


GRAY, COLOURS, DEEP = noise(8, 12, 1), noise(8, 12, 3), noise(8, 12, 3, dtype='uint16')
FOUR = noise(8, 12, 1) % 4  # of 2 bits
PALETTE = Image.fromarray(COLOURS).quantize(16)
CLEAR = tuple(map(int, COLOURS[2, 3])), tuple(map(int, DEEP[2, 3]))
COVERED, DEEP_COVERED = noise(8, 12, 4), noise(8, 12, 4, dtype='uint16')
COVERED[:2, :, 3], COVERED[2:4, :, 3] = 0, 255


def keyed(image: np.ndarray, key: object) -> np.ndarray:
    """With alpha that is none where all channels are the key."""
    clear = (image == np.asarray(key)).all(2, keepdims=True)
    assert clear.any()
    return np.concatenate(
        [image, np.where(clear, 0, np.iinfo(image.dtype).max).astype(image.dtype)], 2
    )


def rgb_of(image: Image.Image, mode: str = 'RGB') -> np.ndarray:
    return np.asarray(image.convert(mode)).reshape(image.height, image.width, -1)


RIGHT = {
    'palette.png': (pillow(PALETTE, 'PNG'), rgb_of(PALETTE)),
    'palette_clear.png': (pillow(PALETTE, 'PNG', transparency=bytes([0, 90] + [255] * 14)), None),
    'one_bit.png': (pillow(Image.fromarray(GRAY[..., 0] > 99), 'PNG'), np.where(GRAY > 99, 255, 0)),
    'two_bits.png': (png(FOUR, 2, 0), FOUR * 85),
    'two_bits_clear.png': (png(FOUR, 2, 0, (1,)), keyed(FOUR * 85, [85])),
    'gray_clear.png': (png(GRAY, 8, 0, (int(GRAY[1, 1, 0]),)), keyed(GRAY, GRAY[1, 1])),
    'gray16_clear.png': (
        png(DEEP[..., :1], 16, 0, CLEAR[1][:1]),
        keyed(DEEP[..., :1], CLEAR[1][:1]),
    ),
    'rgb_clear.png': (png(COLOURS, 8, 2, CLEAR[0]), keyed(COLOURS, CLEAR[0])),
    'rgb16_clear.png': (png(DEEP, 16, 2, CLEAR[1]), keyed(DEEP, CLEAR[1])),
    'la.png': (png(COVERED[..., 2:], 8, 4), COVERED[..., 2:]),
    'la16.png': (png(DEEP_COVERED[..., 2:], 16, 4), DEEP_COVERED[..., 2:]),
    'rgba16.png': (png(DEEP_COVERED, 16, 6), DEEP_COVERED),
    'still.gif': (pillow(PALETTE, 'GIF'), rgb_of(PALETTE)),
    'rle.tga': (pillow(COLOURS, 'TGA', compression='tga_rle'), COLOURS),
    'la.tga': (pillow(COVERED[..., 2:], 'TGA'), COVERED[..., 2:]),
    'rgba.tga': (pillow(COVERED, 'TGA'), COVERED),
    'rle.bmp': (pillow(PALETTE, 'BMP'), rgb_of(PALETTE)),
    'gray.bmp': (pillow(GRAY[..., 0], 'BMP'), GRAY),
    'bits.pbm': (pillow(Image.fromarray(GRAY[..., 0] > 99), 'PPM'), np.where(GRAY > 99, 255, 0)),
    'text.pgm': (b'P2 # by hand\n2 2 255\n25 255\n0 1\n', np.array([[[25], [255]], [[0], [1]]])),
    'deep.jp2': (pillow(Image.fromarray(DEEP[..., 0]), 'JPEG2000'), DEEP[..., :1]),
    'white_is_zero.tif': (tiff(GRAY[..., 0], photometric='miniswhite'), 255 - GRAY),
    'white_is_zero16.tif': (tiff(DEEP[..., 0], photometric='miniswhite'), 65535 - DEEP[..., :1]),
    'white_is_zero16_deflate.tif': (
        tiff(DEEP[..., 0], photometric='miniswhite', compression='deflate'),
        65535 - DEEP[..., :1],
    ),
    'palette.tif': (pillow(PALETTE, 'TIFF'), rgb_of(PALETTE)),
    'one_bit.tif': (
        pillow(Image.fromarray(GRAY[..., 0] > 99), 'TIFF'),
        np.where(GRAY > 99, 255, 0),
    ),
    'fax.tif': (
        pillow(Image.fromarray(GRAY[..., 0] > 99), 'TIFF', compression='group4'),
        np.where(GRAY > 99, 255, 0),
    ),
    'lzw.tif': (pillow(COVERED, 'TIFF', compression='tiff_lzw'), COVERED),
    'la_lzw.tif': (pillow(COVERED[..., 2:], 'TIFF', compression='tiff_lzw'), COVERED[..., 2:]),
    'la16_deflate.tif': (
        tiff(
            DEEP_COVERED[..., 2:],
            photometric='minisblack',
            planarconfig='contig',
            extrasamples=['unassalpha'],
            compression='deflate',
        ),
        DEEP_COVERED[..., 2:],
    ),
    'rgba16_deflate.tif': (
        tiff(DEEP_COVERED, photometric='rgb', extrasamples=['unassalpha'], compression='deflate'),
        DEEP_COVERED,
    ),
    'planar16.tif': (
        tiff(np.moveaxis(DEEP, 2, 0), photometric='rgb', planarconfig='separate'),
        DEEP,
    ),
    'planar16_deflate.tif': (
        tiff(
            np.moveaxis(DEEP, 2, 0),
            photometric='rgb',
            planarconfig='separate',
            compression='deflate',
        ),
        DEEP,
    ),
    'big_endian.tif': (tiff(DEEP, photometric='rgb', byteorder='>'), DEEP),
    'bigtiff.tif': (
        tiff(DEEP_COVERED, photometric='rgb', extrasamples=['unassalpha'], bigtiff=True),
        DEEP_COVERED,
    ),
    'tiles.tif': (tiff(DEEP, photometric='rgb', tile=(16, 16)), DEEP),
    'half.tif': (tiff(np.float16([[0.25, 0.5]])), np.float32([[[0.25], [0.5]]])),
    'opencv.tif': (cv2.imencode('.tif', COVERED[..., [2, 1, 0, 3]])[1].tobytes(), COVERED),
}


@pytest.mark.parametrize('name', RIGHT)
def test_decode__the_right_pixels(name):
    data, expected = RIGHT[name]
    if expected is None:
        expected = rgb_of(Image.open(BytesIO(data)), 'RGBA')
    found = decode_image(data, name, 'unchanged')
    assert found.shape == expected.shape and np.array_equal(found, expected)
    assert found.dtype == (expected.dtype if expected.dtype in ('uint16', 'float32') else 'uint8')
    for color, channels in (('rgb', 3), ('gray', 1)):
        plain = decode_image(data, name, color)
        assert plain.shape == (*expected.shape[:2], channels) and plain.dtype == np.uint8
        if (
            found.dtype == np.uint8
        ):  # OpenCV's gray of some formats differs from cvtColor's by a level
            assert np.abs(plain.astype(int) - convert_color(found, color)).max() <= (
                color == 'gray'
            )


@pytest.mark.parametrize('dtype', ['uint8', 'uint16', 'float32'])
def test_decode__alpha_that_is_multiplied_into_the_colours_is_taken_out(dtype):
    top = np.iinfo(dtype).max if dtype != 'float32' else 1
    straight = noise(20, 30, 4, dtype=dtype)
    alpha = straight[..., 3:].astype(float) / top
    colours = straight[..., :3] * alpha
    stored = np.concatenate(
        [np.rint(colours) if top > 1 else colours, straight[..., 3:]], 2
    ).astype(dtype)
    found = decode_image(
        tiff(stored, photometric='rgb', extrasamples=['assocalpha']), 'a.tif', 'unchanged'
    )
    seen = alpha[..., 0] > 0.02
    error = np.abs(found.astype(float) - straight)[seen] * alpha[seen]
    assert found.dtype == dtype and error.max() <= (1.01 if top > 1 else 1e-6)


def test_decode__a_smaller_copy_is_no_second_page():
    file = BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(COLOURS, photometric='rgb', metadata=None)
        writer.write(COLOURS[::2, ::2], photometric='rgb', subfiletype=1, metadata=None)
    assert np.array_equal(decode_image(file.getvalue(), 'a.tif', 'unchanged'), COLOURS)


def test_decode__a_cameras_preview_is_no_second_picture(monkeypatch):
    first, second = Image.fromarray(COLOURS), Image.fromarray(COLOURS[::2, ::2])
    data = pillow(first, 'MPO', save_all=True, append_images=[second])
    assert Image.open(BytesIO(data)).n_frames == 2
    assert decode_image(data, 'a.jpg', 'unchanged').shape == (8, 12, 3)
    from liif_arch.files import decoding

    monkeypatch.setattr(decoding, '_is_further_view', lambda entry: True)
    with pytest.raises(UserError, match='stack of 2 pictures'):
        decode_image(data, 'a.jpg')


def test_decode__inks_become_colours_by_their_profile():
    profile = profiles.cmyk()
    targets = ImageCms.ImageCmsProfile(BytesIO(profile)), ImageCms.createProfile('sRGB')
    expected = np.asarray(ImageCms.profileToProfile(CMYK, *targets, outputMode='RGB'))
    for color in ('unchanged', 'rgb'):
        found = decode_image(pillow(CMYK, 'TIFF', icc_profile=profile), 'a.tif', color)
        assert np.array_equal(found, expected)
        lossy = decode_image(pillow(CMYK, 'JPEG', icc_profile=profile, quality=100), 'a.jpg', color)
        assert np.abs(lossy.astype(int) - expected).mean() < 6
    with Image.open(BytesIO(pillow(CMYK, 'TIFF'))) as naive:
        assert np.abs(np.asarray(naive.convert('RGB')).astype(int) - expected).mean() > 15


@pytest.mark.parametrize('depth', [10, 12])
def test_decode__avif_of_more_than_8_bits_keeps_its_range(depth):
    top = 2**depth - 1
    ramp = np.tile(np.linspace(0, top, 32).round().astype(np.uint16)[None, :, None], (16, 1, 3))
    flags = [cv2.IMWRITE_AVIF_DEPTH, depth, cv2.IMWRITE_AVIF_QUALITY, 100]
    found = decode_image(cv2.imencode('.avif', ramp, flags)[1].tobytes(), 'a.avif', 'unchanged')
    assert found.dtype == np.uint16 and np.abs(found * (top / 65535) - ramp).max() < 0.01 * top


def test_decode__jpeg_2000_of_other_depths_is_refused():
    data = bytearray(pillow(COLOURS, 'JPEG2000'))
    at = data.index(b'\xff\x4f\xff\x51') + 42
    data[at : at + 9 : 3] = bytes([11, 11, 11])
    with pytest.raises(UserError, match=r'a\.jp2: found 3 components of \[12\] bits'):
        decode_image(bytes(data), 'a.jp2', 'unchanged')


@pytest.mark.parametrize('flag', [(0.2, 0.9), (0, 1)])
def test_decode__float_colours_as_8_bits(flag):
    image = np.linspace(*flag, 24, dtype=np.float32).reshape(2, 4, 3)
    assert np.array_equal(
        decode_image(tiff(image, photometric='rgb'), 'a.tif'), np.rint(image * 255).astype(np.uint8)
    )


@pytest.mark.parametrize(
    'low,high,way_out',
    [
        (278, 528, 'divide them by 528'),
        (-1, 1, r'map them to \[0, 1\]'),
        (0, np.nan, 'no number'),
        (0, np.inf, 'no number'),
    ],
)
def test_float_range__is_named(low, high, way_out):
    image = np.array([[low, high]], np.float32)
    for call in (
        lambda: require_unit_range(image, 'a.tif'),
        lambda: decode_image(tiff(image), 'a.tif', 'gray'),
    ):
        with pytest.raises(
            UserError, match=rf'a\.tif: found float32 values from .* to .*; needed 0.*{way_out}'
        ):
            call()
    assert np.array_equal(
        decode_image(tiff(image), 'a.tif', 'unchanged')[..., 0], image, equal_nan=True
    )


@pytest.mark.parametrize('color,flag', [('rgb', cv2.IMREAD_COLOR), ('gray', cv2.IMREAD_GRAYSCALE)])
@pytest.mark.parametrize('channels', [1, 3])
@pytest.mark.parametrize('suffix', ['.png', '.jpg', '.bmp', '.tif', '.webp'])
def test_decode__ordinary_files_as_opencv_decodes_them(suffix, channels, color, flag):
    """What trainings have seen so far, bit for bit."""
    data = cv2.imencode(suffix, noise(40, 50, channels))[1].tobytes()
    expected = np.atleast_3d(cv2.imdecode(np.frombuffer(data, np.uint8), flag))
    assert np.array_equal(decode_image(data, 'a', color), expected[..., ::-1])


def test_decode__avif_that_pillow_does_not_know(monkeypatch):
    data, _ = REFUSED['no.avif']
    monkeypatch.setattr('liif_arch.files.decoding.features.check', lambda name: False)
    with pytest.raises(UserError, match='AVIF needs Pillow 11.3 or later'):
        decode_image(data, 'a', 'unchanged')
