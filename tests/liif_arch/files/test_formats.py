"""The table of formats: what is written is read back equal, the rest is refused with a way out."""

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from liif_arch.errors import UserError
from liif_arch.files.formats import (
    DTYPES,
    EXTENSIONS,
    FORMATS,
    TIFF,
    format_of,
    is_image_file,
    lossless_extension,
)
from liif_arch.files.images import Metadata, image_writer, read_image, write_image

CELLS = [
    (suffix, dtype, channels)
    for suffix in FORMATS
    for dtype in (*DTYPES, 'int32')
    for channels in range(1, 6)
]
HELD = [
    cell
    for cell in CELLS
    if cell[1] in FORMATS[cell[0]].dtypes and cell[2] in FORMATS[cell[0]].channels
]
REFUSED = [cell for cell in CELLS if cell not in HELD]


def picture(dtype: str, channels: int, smooth: bool = False) -> np.ndarray:
    """Every value of noise, or a ramp that a lossy format keeps nearly."""
    rng, shape = np.random.default_rng(0), (13, 17, channels)
    values = (
        np.linspace(0.2, 0.8, 13 * 17 * channels).reshape(shape) if smooth else rng.random(shape)
    )
    top = np.iinfo(dtype).max if np.dtype(dtype).kind in 'ui' else 1
    image = (values * top).astype(dtype)
    if channels in (2, 4):
        image[:4, :, -1], image[4:8, :, -1] = 0, top  # colours under full transparency are kept too
    return image


@pytest.mark.parametrize('suffix,dtype,channels', HELD)
def test_write_read__every_cell_the_table_names(tmp_path, suffix, dtype, channels):
    path, lossy = tmp_path / f'a{suffix}', FORMATS[suffix].lossy
    image = picture(dtype, channels, smooth=lossy)
    write_image(path, image)
    found = read_image(path)
    assert found.dtype == dtype and found.shape == image.shape and found.flags.c_contiguous
    assert np.abs(found.astype(float) - image).max() <= (4 if lossy else 0)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize('suffix,dtype,channels', HELD)
def test_write__other_programs_find_the_pixels(tmp_path, suffix, dtype, channels):
    path, image = tmp_path / f'a{suffix}', picture(dtype, channels, smooth=FORMATS[suffix].lossy)
    write_image(path, image)
    with tifffile.TiffFile(path) if FORMATS[suffix] is TIFF else Image.open(path) as file:
        if isinstance(file, tifffile.TiffFile):
            found = file.asarray()
        elif dtype == 'uint8':
            found = np.asarray(file)
        else:  # Pillow has no 16-bit colours
            assert file.size == (17, 13) and file.format == FORMATS[suffix].name
            found = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
            found = (
                found[..., {2: [0, 3], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[channels]]
                if channels > 1
                else found
            )
    assert np.abs(found.reshape(image.shape).astype(float) - image).max() <= (
        4 if FORMATS[suffix].lossy else 0
    )


@pytest.mark.parametrize('suffix,dtype,channels', REFUSED)
def test_write__every_other_cell_is_refused_with_a_way_out(tmp_path, suffix, dtype, channels):
    path, image = tmp_path / f'a{suffix}', np.zeros((4, 5, channels), dtype)
    with pytest.raises(UserError, match=rf'a\{suffix}: ') as error:
        write_image(path, image)
    assert not list(tmp_path.iterdir()) and '\n' not in str(error.value)
    if dtype == 'int32' or channels == 5:
        assert 'needed 1 to 4 channels' in str(error.value)
    else:  # the way out is one
        way_out = '.png' if 'use .png' in str(error.value) else '.tif'
        assert f'use {way_out}' in str(error.value)
        write_image(tmp_path / f'a{way_out}', image)


def test_write__an_unknown_extension(tmp_path):
    with pytest.raises(UserError, match=r'images are not written as "\.hdr"; use \.png'):
        write_image(tmp_path / 'a.hdr', picture('uint8', 3))


def test_extensions__are_the_tables(tmp_path):
    assert set(EXTENSIONS) >= {'.png', '.jpg', '.tif', '.webp', '.avif', '.gif', '.jp2', '.pgm'}
    assert is_image_file(tmp_path / 'A.JP2') and not is_image_file(tmp_path / '.a.png')
    assert not is_image_file(tmp_path / 'a.txt')


@pytest.mark.parametrize(
    'name,lossless', [('a.tif', '.tif'), ('A.TIFF', '.tif'), ('a.jpg', '.png'), ('a.gif', '.png')]
)
def test_lossless_extension__a_tiff_stays_one(name, lossless):
    assert lossless_extension(name) == lossless


WRITTEN = [suffix for suffix in FORMATS if FORMATS[suffix].dtypes]


@pytest.mark.parametrize('suffix', [*WRITTEN, '.TIF', '.Png'])
def test_image_writer__windows_make_the_file_that_the_whole_image_makes(tmp_path, suffix):
    image = picture('uint8', max(format_of(f'a{suffix}').channels))
    whole, windows = tmp_path / f'whole{suffix}', tmp_path / f'windows{suffix}'
    write_image(whole, image)
    with image_writer(windows, image.shape, image.dtype) as write:
        for rows in (slice(8, 13), slice(0, 8)):
            for cols in (slice(0, 9), slice(9, 17)):
                write(rows, cols, image[rows, cols])
        assert not windows.exists()
    assert windows.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize('suffix', WRITTEN)
def test_image_writer__what_is_not_written_is_zero(tmp_path, suffix):
    shape = (13, 17, FORMATS[suffix].channels[0])
    with image_writer(tmp_path / f'a{suffix}', shape, 'uint8') as write:
        write(slice(0, 2), slice(0, 2), np.zeros((2, 2, shape[2]), np.uint8))
    found = read_image(tmp_path / f'a{suffix}')
    assert found.shape == shape and not found.any()


@pytest.mark.parametrize('suffix', WRITTEN)
def test_image_writer__a_profile_of_other_colours_is_refused_before_the_block(tmp_path, suffix):
    shape = (13, 17, max(FORMATS[suffix].channels))
    other = b'\0' * 16 + (b'RGB ' if shape[2] < 3 else b'GRAY')
    with pytest.raises(UserError, match='found an ICC profile'):
        with image_writer(tmp_path / f'a{suffix}', shape, 'uint8', Metadata(icc=other)):
            pytest.fail('the block has begun')
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('suffix', ['.png', '.tif', '.ppm'])
def test_write__another_byte_order(tmp_path, suffix):
    image = picture('uint16', 3)
    write_image(tmp_path / f'a{suffix}', image.astype('>u2'))
    assert np.array_equal(read_image(tmp_path / f'a{suffix}'), image)


@pytest.mark.parametrize('suffix', [s for s in FORMATS if not FORMATS[s].dtypes])
@pytest.mark.parametrize('mode', ['L', 'LA', 'RGB', 'RGBA'])
def test_read__formats_that_are_read_only(tmp_path, suffix, mode):
    """GIF and AVIF have no gray, and GIF has one transparent colour."""
    channels = len(mode)
    image = picture('uint8', channels, smooth=True)
    options = {'quality': 100, 'subsampling': '4:4:4'} if suffix == '.avif' else {}
    with Image.fromarray(image.squeeze()) as source:
        source.save(tmp_path / f'a{suffix}', **options)
        with Image.open(tmp_path / f'a{suffix}') as file:
            colour = mode.replace('L', 'RGB') if suffix in ('.avif', '.gif') else mode
            if suffix == '.gif':
                colour = 'RGBA' if 'transparency' in file.info else 'RGB'
            expected = np.asarray(file.convert(colour))
    found = read_image(tmp_path / f'a{suffix}')
    assert np.array_equal(found, expected.reshape(13, 17, -1)) and found.shape[2] == len(colour)
    if suffix == '.jp2':
        assert np.array_equal(found, image)  # Pillow writes it without loss
    for color, shape in (('rgb', (13, 17, 3)), ('gray', (13, 17, 1))):
        assert read_image(tmp_path / f'a{suffix}', color).shape == shape
