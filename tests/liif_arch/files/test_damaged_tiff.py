"""TIFF files without some of their pixels, with wrong ones, or compressed in an unknown way."""

from io import BytesIO

import numpy as np
import pytest
import tifffile
from helpers import photo
from image_files import noise, tiff

from liif_arch.errors import UserError
from liif_arch.files.images import decode_image


@pytest.mark.parametrize('color', ['rgb', 'unchanged'])
@pytest.mark.parametrize('dtype', ['uint8', 'uint16'])
@pytest.mark.parametrize('compression', [None, 'deflate'])
def test_decode__a_tiff_without_some_of_its_pixels(tmp_path, compression, dtype, color):
    """tifffile takes strips that are missing for zeros."""
    image = noise(64, 50, 3, dtype=dtype)
    options = {'photometric': 'rgb', 'rowsperstrip': 8, 'compression': compression}
    tifffile.imwrite(tmp_path / 'a.tif', image, metadata=None, **options)
    data = (tmp_path / 'a.tif').read_bytes()
    with tifffile.TiffFile(tmp_path / 'a.tif', mode='r+b') as file:
        counts = file.pages.first.tags['StripByteCounts']
        counts.overwrite((*counts.value[:-1], 0))
    for broken in (data[:-1], data[: len(data) // 2], (tmp_path / 'a.tif').read_bytes()):
        with pytest.raises(UserError, match=r'a\.tif: '):
            decode_image(broken, 'a.tif', color)


def test_decode__a_compression_that_nothing_here_knows():
    data = tiff(
        noise(8, 9, 2, dtype='uint16'),
        photometric='minisblack',
        planarconfig='contig',
        extrasamples=['unassalpha'],
        compression='deflate',
    )
    with tifffile.TiffFile(BytesIO(data)) as file:
        at = file.pages.first.tags['Compression'].valueoffset
    lzw = data[:at] + (5).to_bytes(2, 'little') + data[at + 2 :]
    with pytest.raises(UserError, match='2 bands of uint16 compressed by LZW .* without compr'):
        decode_image(lzw, 'a.tif', 'unchanged')


@pytest.mark.parametrize('color', ['unchanged', 'rgb'])
@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
def test_decode__deflate_whose_checksum_is_wrong_is_damaged(tmp_path, dtype, color):
    """Neither Pillow nor OpenCV looks at it."""
    path = tmp_path / 'a.tif'
    image = (photo(64, 64) // 9).astype(dtype)
    tifffile.imwrite(path, image, compression='zlib', rowsperstrip=16, photometric='rgb')
    whole = path.read_bytes()
    assert np.array_equal(decode_image(whole, 'a', 'unchanged'), image)
    with tifffile.TiffFile(path) as file:
        end = file.pages.first.dataoffsets[2] + file.pages.first.databytecounts[2]
    damaged = bytearray(whole)
    damaged[end - 1] ^= 1  # of the checksum itself
    with pytest.raises(UserError, match='a: not a readable image'):
        decode_image(bytes(damaged), 'a', color)
