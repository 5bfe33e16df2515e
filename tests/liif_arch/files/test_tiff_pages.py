"""Pages of TIFF files, each as if it were a file of its own."""

import numpy as np
import pytest
import tifffile
from image_files import noise
from PIL import Image

from liif_arch.errors import UserError
from liif_arch.files.images import read_picture
from liif_arch.files.tiff_pages import picture_pages

PAGES = [noise(8, 9, 3), noise(11, 7), noise(5, 6, 3, dtype='uint16')]


@pytest.mark.parametrize('bigtiff', [False, True])
@pytest.mark.parametrize('byteorder', ['<', '>'])
@pytest.mark.parametrize('compression', [None, 'zlib'])
def test_page__is_what_was_written(tmp_path, bigtiff, byteorder, compression):
    path = tmp_path / 'a.tif'
    with tifffile.TiffWriter(path, bigtiff=bigtiff, byteorder=byteorder) as file:
        for page in PAGES:
            file.write(page, compression=compression, metadata=None)
    assert picture_pages(path) == [0, 1, 2]
    for number, page in enumerate(PAGES):
        found = read_picture(path, page=number).pixels
        assert found.dtype == page.dtype and np.array_equal(found.squeeze(), page)
    with pytest.raises(UserError, match='found a stack of 3 pages; needed one image'):
        read_picture(path)


def test_page__of_a_scanner(tmp_path):
    """Single bits, compressed as faxes are, by Pillow."""
    bits = [Image.fromarray(noise(30, 40) > level) for level in (50, 100)]
    options = {'save_all': True, 'append_images': bits[1:], 'compression': 'group4'}
    bits[0].save(tmp_path / 'scan.tif', dpi=(300, 300), **options)
    for number, page in enumerate(bits):
        found = read_picture(tmp_path / 'scan.tif', page=number)
        assert np.array_equal(found.pixels[..., 0], np.where(page, 255, 0))
        assert found.metadata.dpi == (300, 300)


def test_pages__without_smaller_copies(tmp_path):
    with tifffile.TiffWriter(tmp_path / 'a.tif') as file:
        file.write(PAGES[0], metadata=None)
        file.write(PAGES[0][::2, ::2], subfiletype=1, metadata=None)
        file.write(PAGES[1], metadata=None)
    assert picture_pages(tmp_path / 'a.tif') == [0, 2]
    assert np.array_equal(read_picture(tmp_path / 'a.tif', page=2).pixels[..., 0], PAGES[1])


@pytest.mark.parametrize('content', [b'', b'II*\0', b'II*\0\xff\xff\xff\x7f', b'\x89PNG'])
def test_pages__of_anything_else(tmp_path, content):
    (tmp_path / 'a.tif').write_bytes(content)
    assert picture_pages(tmp_path / 'a.tif') == picture_pages(tmp_path / 'no.tif') == [0]


def test_page__of_an_imagej_stack(tmp_path):
    """Whose first page says how many the file has."""
    stack = noise(3, 8, 9)
    tifffile.imwrite(tmp_path / 'a.tif', stack, imagej=True)
    pages = picture_pages(tmp_path / 'a.tif')
    if len(pages) == 1:  # one page stands for all, at one place: not read as one image
        with pytest.raises(UserError, match='found a stack of 3 pages'):
            read_picture(tmp_path / 'a.tif', page=0)
        return
    for number in pages:
        found = read_picture(tmp_path / 'a.tif', page=number).pixels[..., 0]
        assert np.array_equal(found, stack[number])
