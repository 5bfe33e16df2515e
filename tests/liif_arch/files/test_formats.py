"""The table of formats: what is written is read back equal, the rest is refused with a way out."""

from pathlib import Path

import cv2
import numpy as np
import OpenEXR
import pytest
import tifffile
from PIL import Image
from pillow_heif import register_heif_opener

from liif_arch.errors import UserError
from liif_arch.files.formats import (
    DTYPES,
    EXR,
    EXTENSIONS,
    FORMATS,
    HDR,
    HEIF,
    PFM,
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


def kept(suffix: str, image: np.ndarray) -> np.ndarray:
    """What a format keeps of an image: OpenEXR no colours under alpha 0."""
    if FORMATS[suffix] is EXR and image.shape[2] == 4:
        return image * (image[..., 3:] > 0)
    return image


def tolerance(suffix: str, dtype: str) -> float:
    """How far values may come back from what they were."""
    if FORMATS[suffix] is EXR:
        return 1e-7  # colours are multiplied by alpha, and divided by it
    if not FORMATS[suffix].lossy:
        return 0
    return 4 if dtype == 'uint8' else 0.004  # half of 1/256: a value's share in .hdr


@pytest.mark.parametrize('suffix,dtype,channels', HELD)
def test_write_read__every_cell_the_table_names(tmp_path, suffix, dtype, channels):
    path, lossy = tmp_path / f'a{suffix}', FORMATS[suffix].lossy
    image = picture(dtype, channels, smooth=lossy)
    write_image(path, image)
    found = read_image(path)
    assert found.dtype == dtype and found.shape == image.shape and found.flags.c_contiguous
    assert np.abs(found.astype(float) - kept(suffix, image)).max() <= tolerance(suffix, dtype)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize('suffix,dtype,channels', HELD)
def test_write__other_programs_find_the_pixels(tmp_path, suffix, dtype, channels):
    path, image = tmp_path / f'a{suffix}', picture(dtype, channels, smooth=FORMATS[suffix].lossy)
    write_image(path, image)
    found = by_another_program(path, dtype, channels)
    difference = np.abs(found.reshape(image.shape).astype(float) - kept(suffix, image)).max()
    assert difference <= tolerance(suffix, dtype)


def by_another_program(path: Path, dtype: str, channels: int) -> np.ndarray:
    """A file's pixels, in the order of this package, by a library that has not written it."""
    kind = FORMATS[path.suffix]
    if kind is TIFF:
        return tifffile.imread(path)
    if kind is EXR:
        with OpenEXR.File(str(path)) as file:
            [channel] = file.channels().values()
        pixels = channel.pixels.copy()
        if channels == 4:  # colours are multiplied by alpha
            np.divide(pixels[..., :3], pixels[..., 3:], pixels[..., :3], where=pixels[..., 3:] > 0)
        return pixels
    if kind is PFM:
        mark, size, _, values = path.read_bytes().split(b'\n', 3)
        assert (mark, size) == (b'PF' if channels == 3 else b'Pf', b'17 13')
        return np.frombuffer(values, '<f4').reshape(13, 17, channels)[::-1]
    if dtype == 'uint8':
        with Image.open(path) as file:
            return np.asarray(file)
    if kind is not HDR:  # Pillow has no 16-bit colours
        with Image.open(path) as file:
            assert file.size == (17, 13) and file.format == kind.name
    found = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if channels == 1:
        return found
    return found[..., {2: [0, 3], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[channels]]


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
    with pytest.raises(UserError, match=r'images are not written as "\.xcf"; use \.png'):
        write_image(tmp_path / 'a.xcf', picture('uint8', 3))


def test_extensions__are_the_tables(tmp_path):
    assert set(EXTENSIONS) >= {'.png', '.jpg', '.tif', '.webp', '.avif', '.gif', '.jp2', '.pgm'}
    assert is_image_file(tmp_path / 'A.JP2') and not is_image_file(tmp_path / '.a.png')
    assert not is_image_file(tmp_path / 'a.txt')


@pytest.mark.parametrize(
    'name,lossless', [('a.tif', '.tif'), ('A.TIFF', '.tif'), ('a.jpg', '.png'), ('a.gif', '.png')]
)
def test_lossless_extension__a_tiff_stays_one(name, lossless):
    assert lossless_extension(format_of(name)) == lossless


WRITTEN = [suffix for suffix in FORMATS if FORMATS[suffix].dtypes]


@pytest.mark.parametrize('suffix', [*WRITTEN, '.TIF', '.Png'])
def test_image_writer__windows_make_the_file_that_the_whole_image_makes(tmp_path, suffix):
    kind = format_of(f'a{suffix}')
    image = picture(kind.dtypes[0], max(kind.channels))
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
    dtype = FORMATS[suffix].dtypes[0]
    with image_writer(tmp_path / f'a{suffix}', shape, dtype) as write:
        write(slice(0, 2), slice(0, 2), np.zeros((2, 2, shape[2]), dtype))
    found = read_image(tmp_path / f'a{suffix}')
    assert found.shape == shape and not found.any()


@pytest.mark.parametrize('suffix', WRITTEN)
def test_image_writer__a_profile_of_other_colours_is_refused_before_the_block(tmp_path, suffix):
    shape = (13, 17, max(FORMATS[suffix].channels))
    other = b'\0' * 16 + (b'RGB ' if shape[2] < 3 else b'GRAY')
    with pytest.raises(UserError, match='found an ICC profile'):
        dtype = FORMATS[suffix].dtypes[0]
        with image_writer(tmp_path / f'a{suffix}', shape, dtype, Metadata(icc=other)):
            pytest.fail('the block has begun')
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('suffix', ['.png', '.tif', '.ppm'])
def test_write__another_byte_order(tmp_path, suffix):
    image = picture('uint16', 3)
    write_image(tmp_path / f'a{suffix}', image.astype('>u2'))
    assert np.array_equal(read_image(tmp_path / f'a{suffix}'), image)


OTHER_NAMES = ('.pbm', '.jfif', '.jpe', '.mpo')  # of formats that are written as well


@pytest.mark.parametrize(
    'suffix', [s for s in FORMATS if not FORMATS[s].dtypes and s not in OTHER_NAMES]
)
@pytest.mark.parametrize('mode', ['L', 'LA', 'RGB', 'RGBA'])
def test_read__formats_that_are_read_only(tmp_path, suffix, mode):
    """GIF has no gray, and one transparent colour; HEIC has no gray and alpha."""
    channels = len(mode)
    image = picture('uint8', channels, smooth=True)
    if FORMATS[suffix] is HEIF:
        register_heif_opener()
    with Image.fromarray(image.squeeze()) as source:
        source.save(tmp_path / f'a{suffix}')
        with Image.open(tmp_path / f'a{suffix}') as file:
            colour = mode
            if suffix == '.gif' or (FORMATS[suffix] is HEIF and mode == 'LA'):
                colour = mode.replace('L', 'RGB')
            if suffix == '.gif':
                colour = 'RGBA' if 'transparency' in file.info else 'RGB'
            expected = np.asarray(file.convert(colour))
    found = read_image(tmp_path / f'a{suffix}')
    assert np.array_equal(found, expected.reshape(13, 17, -1)) and found.shape[2] == len(colour)
    if suffix == '.jp2':
        assert np.array_equal(found, image)  # Pillow writes it without loss
    for color, shape in (('rgb', (13, 17, 3)), ('gray', (13, 17, 1))):
        assert read_image(tmp_path / f'a{suffix}', color).shape == shape
