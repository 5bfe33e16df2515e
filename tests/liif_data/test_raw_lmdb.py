"""Databases of raw pixels: windows, colours and what is refused."""

import cv2
import numpy as np
import pytest
from helpers import photo

from liif_arch.errors import UserError
from liif_arch.files.images import write_image
from liif_arch.files.lmdb_environments import forget_replaced
from liif_data.lmdb_writer import create_lmdb
from liif_data.store import open_store


def raw_lmdb(folder):
    """The folder as a raw LMDB beside it, opened."""
    create_lmdb(folder, folder.parent / 'raw.lmdb', encoding='raw')
    return open_store(str(folder.parent / 'raw.lmdb'))


def test_raw_lmdb__holds_what_the_folder_holds(photos):
    create_lmdb(photos, photos.parent / 'raw.lmdb', workers=2, encoding='raw')
    folder, store = open_store(str(photos)), open_store(str(photos.parent / 'raw.lmdb'))
    store.verify()
    assert folder.keys == store.keys and store.read_bytes('im02') == photo(71, 60, 2).tobytes()
    assert 'im02.raw (71,60,3) uint8\n' in (photos.parent / 'raw.lmdb/meta_info.txt').read_text()
    for key in store.keys:
        assert np.array_equal(folder.read(key), store.read(key)) and folder.size(key) == store.size(
            key
        )
    with pytest.raises(UserError, match='holds the same 4 image names'):
        create_lmdb(photos, photos.parent / 'raw.lmdb', encoding='raw')


@pytest.mark.parametrize('encoding', [None, 'file', 'raw'])
def test_read_window__is_a_slice_of_the_image(photos, encoding):
    if encoding:
        create_lmdb(photos, photos.parent / 'd.lmdb', encoding=encoding)
    store = open_store(str(photos.parent / 'd.lmdb' if encoding else photos))
    window = store.read_window('im02', slice(3, 50), slice(7, 60))
    assert np.array_equal(window, photo(71, 60, 2)[3:50, 7:60])
    assert store.read_window('im02', slice(3, 50), slice(7, 60), 'gray').shape == (47, 53, 1)


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
@pytest.mark.parametrize('channels', [1, 2, 3, 4])
def test_raw_lmdb__colours_are_those_of_the_file(tmp_path, dtype, channels):
    image = (
        np.random.default_rng(0)
        .integers(0, np.iinfo(dtype).max + 1, (21, 33, channels))
        .astype(dtype)
    )
    write_image(tmp_path / 'd/a.png', image)
    folder, store = open_store(str(tmp_path / 'd')), raw_lmdb(tmp_path / 'd')
    for color in ('rgb', 'unchanged', 'gray'):
        expected, found = folder.read('a', color), store.read('a', color)
        assert found.dtype == expected.dtype and found.shape == expected.shape
        difference = np.abs(found.astype(int) - expected).max()
        assert difference == 0 or (
            color == 'gray' and channels > 1 and difference == 1
        )  # libpng's own gray
    if channels > 2:
        expected = cv2.cvtColor(folder.read('a', 'rgb'), cv2.COLOR_RGB2GRAY)
        assert np.array_equal(store.read('a', 'gray')[..., 0], expected)


def test_raw_lmdb__a_window_outlives_the_database(photos):
    store = raw_lmdb(photos)
    window = store.read_window('im00', slice(1, 9), slice(2, 9), 'unchanged')
    assert window.flags.owndata  # or what follows would kill the process
    (photos.parent / 'raw.lmdb').rename(photos.parent / 'away.lmdb')
    forget_replaced()
    assert np.array_equal(window, photo(60, 72, 0)[1:9, 2:9])


@pytest.mark.parametrize(
    'line,message',
    [
        (
            'im00.raw (60,72,4) uint8',
            r'key "im00" holds 12960 bytes, .* needs 17280; .*`basicsr lmdb --encoding raw`',
        ),
        ('im00.raw (60,72,3) uint16', 'holds 12960 bytes, .* needs 25920'),
        (
            'im00.raw (60,72,3) float16',
            'found \'float16\' for the decoded image "im00"; needed uint8 or uint16',
        ),
        ('im00.raw (60,72) uint8', 'found the line'),
    ],
)
def test_raw_lmdb__a_record_that_is_not_what_meta_info_says(photos, line, message):
    raw_lmdb(photos)
    (photos.parent / 'raw.lmdb/meta_info.txt').write_text(line + '\n')
    with pytest.raises(UserError, match=message) as caught:
        open_store(str(photos.parent / 'raw.lmdb')).read('im00')
    assert '\n' not in str(caught.value)


def test_raw_lmdb__refuses(photos):
    with pytest.raises(UserError, match="encoding: found 'rew'; did you mean raw"):
        create_lmdb(photos, photos.parent / 'd.lmdb', encoding='rew')
    write_image(photos / 'f.tif', np.full((9, 9, 3), 0.3, np.float32))
    for encoding, message in (
        ('raw', r'f\.tif: found float32 pixels; --encoding raw holds uint8 and uint16'),
        ('file', r'f\.tif: found float32 pixels; an LMDB holds uint8 and uint16'),
    ):
        with pytest.raises(UserError, match=message):
            create_lmdb(photos, photos.parent / 'd.lmdb', encoding=encoding)
    assert [p.name for p in photos.parent.iterdir()] == ['gt']
