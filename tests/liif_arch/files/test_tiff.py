"""TIFF files written in windows: every reader finds the pixels, and a run that fails leaves
nothing.
"""

import errno

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from liif_arch import read_image
from liif_arch.errors import UserError
from liif_arch.files import atomic, tiff
from liif_arch.files.tiff import tiff_writer

DTYPES = (np.uint8, np.uint16, np.float32, np.float64)


def noise(shape, dtype):
    rng = np.random.default_rng(0)
    return (rng.random(shape) * (np.iinfo(dtype).max if np.dtype(dtype).kind == 'u' else 1)).astype(
        dtype
    )


def write_in_windows(path, image, height=4, width=5):
    with tiff_writer(path, image.shape, image.dtype) as write:
        for y in reversed(range(0, image.shape[0], height)):
            for x in range(0, image.shape[1], width):
                rows, cols = (
                    slice(y, min(y + height, image.shape[0])),
                    slice(x, min(x + width, image.shape[1])),
                )
                write(rows, cols, image[rows, cols])


@pytest.mark.parametrize('strip', [64, 2**20])
@pytest.mark.parametrize('width', [5, 13])
@pytest.mark.parametrize('channels', [1, 2, 3, 4])
@pytest.mark.parametrize('dtype', DTYPES)
def test_tiff_writer__readers_find_the_pixels(tmp_path, monkeypatch, dtype, channels, width, strip):
    monkeypatch.setattr(tiff, 'STRIP_BYTES', strip)
    image = noise((11, 13, channels), dtype)
    write_in_windows(tmp_path / 'a.tif', image, width=width)
    assert np.array_equal(tifffile.imread(tmp_path / 'a.tif').reshape(image.shape), image)
    if channels != 2 and (channels, dtype) != (
        4,
        np.uint8,
    ):  # OpenCV drops gray's alpha and multiplies by 8-bit alpha
        found = np.atleast_3d(cv2.imread(str(tmp_path / 'a.tif'), cv2.IMREAD_UNCHANGED))
        assert found.dtype == dtype and np.array_equal(
            found[..., [2, 1, 0, 3][:channels] if channels > 1 else [0]], image
        )
        assert np.array_equal(read_image(tmp_path / 'a.tif'), image)
    if dtype == np.uint8 or (channels == 1 and dtype != np.float64):  # Pillow has no other modes
        assert np.array_equal(
            np.asarray(Image.open(tmp_path / 'a.tif')).reshape(image.shape), image
        )


@pytest.mark.parametrize('channels', [2, 4])
def test_read_image__alpha_of_a_tiff_does_not_touch_the_colours(tmp_path, channels):
    image = noise((7, 6, channels), np.uint8)
    write_in_windows(tmp_path / 'a.tif', image)
    assert np.array_equal(read_image(tmp_path / 'a.tif'), image)
    Image.fromarray(image).save(tmp_path / 'b.tif', compression='tiff_lzw')  # another program's
    assert np.array_equal(read_image(tmp_path / 'b.tif'), read_image(tmp_path / 'a.tif'))


def test_tiff_writer__above_4_gb_it_is_a_bigtiff(tmp_path):
    """A sparse file: it takes no space, and only one corner of it is written."""
    shape, corner = (40000, 40000, 3), noise((2, 3, 3), np.uint8)
    with tiff_writer(tmp_path / 'a.tif', shape, np.uint8) as write:
        write(slice(39998, 40000), slice(39997, 40000), corner)
    assert (tmp_path / 'a.tif').stat().st_blocks * 512 < 2**22
    with tifffile.TiffFile(tmp_path / 'a.tif') as file:
        page = file.pages[0]
        assert (
            file.is_bigtiff and page.shape == shape and max(page.databytecounts) <= tiff.STRIP_BYTES
        )
        assert np.array_equal(tifffile.memmap(tmp_path / 'a.tif', mode='r')[-2:, -3:], corner)


class FullDisk:
    """A file that takes so many bytes and then finds no space."""

    def __init__(self, file, left):
        self.file, self.left = file, left

    def __getattr__(self, name):
        return getattr(self.file, name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def write(self, data):
        self.left -= memoryview(data).nbytes
        if self.left < 0:
            raise OSError(errno.ENOSPC, 'No space left on device')
        return self.file.write(data)


@pytest.mark.parametrize('left', [10, 800])
def test_tiff_writer__a_full_disk_leaves_what_was_there(tmp_path, monkeypatch, left):
    (tmp_path / 'a.tif').write_bytes(b'old')
    monkeypatch.setattr(atomic, 'open', lambda *a: FullDisk(open(*a), left), raising=False)
    with pytest.raises(
        UserError, match=r'a\.tif: cannot write here \(No space left on device\)'
    ) as error:
        write_in_windows(tmp_path / 'a.tif', noise((40, 40, 3), np.uint8))
    assert '\n' not in str(error.value)
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [('a.tif', b'old')]


@pytest.mark.parametrize('exception', [KeyboardInterrupt, ZeroDivisionError])
def test_tiff_writer__an_aborted_run_leaves_nothing(tmp_path, exception):
    with pytest.raises(exception), tiff_writer(tmp_path / 'a.tif', (9, 9, 3), np.uint8) as write:
        write(slice(0, 9), slice(0, 4), noise((9, 4, 3), np.uint8))
        raise exception
    assert not list(tmp_path.iterdir())


def test_tiff_writer__too_little_space_is_said_first(tmp_path, monkeypatch):
    monkeypatch.setattr(
        tiff.shutil, 'disk_usage', lambda path: type('Usage', (), {'free': 2_000_000})
    )
    with pytest.raises(UserError, match=r'found 2\.0 MB free.*needed 3\.0 MB.*--scale') as error:
        write_in_windows(tmp_path / 'new/a.tif', np.zeros((1000, 1000, 3), np.uint8))
    assert '\n' not in str(error.value) and not list(tmp_path.iterdir())
    write_in_windows(tmp_path / 'new/a.tif', np.zeros((600, 1000, 3), np.uint8), 600, 1000)
