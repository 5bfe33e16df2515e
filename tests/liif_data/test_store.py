"""Folders, LMDBs and the embedded photographs."""

import time

import numpy as np
import pytest
import tifffile
from helpers import photo, write_photos
from PIL import Image

from liif_arch.errors import UserError
from liif_arch.files.images import write_image
from liif_data.lmdb_writer import create_lmdb
from liif_data.store import open_store


def test_folder__sorted_names_sizes_and_pixels(tmp_path):
    write_photos(tmp_path / 'd', [(8, 9), (7, 5)], ['b', 'a'])
    (tmp_path / 'd/notes.txt').write_text('')
    store = open_store(str(tmp_path / 'd'))
    assert store.keys == ['a', 'b'] and len(store) == 2 and store.size('a') == (7, 5)
    assert np.array_equal(store.read('b'), photo(8, 9, 0)) and store.path('a').endswith('d/a.png')


@pytest.mark.parametrize('name', ['a.jpg', 'a.png', 'a.webp', 'a.tif'])
def test_folder__size_of_a_photograph_on_its_side(tmp_path, name):
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / 'd').mkdir()
    Image.fromarray(photo(20, 30)).save(tmp_path / 'd' / name, exif=exif)
    store = open_store(str(tmp_path / 'd'))
    assert store.size('a') == (30, 20) == store.read('a').shape[:2]


@pytest.mark.parametrize('color', ['rgb', 'unchanged'])
@pytest.mark.parametrize(
    'name,image,message',
    [
        ('bands.tif', np.zeros((9, 8, 4), np.uint16), 'found 4 bands'),
        ('stack.tif', np.zeros((3, 9, 8), np.uint8), 'found a stack of 3 pages'),
        (
            'range.tif',
            np.full((9, 8), 278, np.float32),
            'found float32 values from 278 to 278; .*divide',
        ),
    ],
)
def test_store__refuses_what_is_no_image(tmp_path, name, image, message, color):
    (tmp_path / 'd').mkdir()
    options = {'planarconfig': 'contig'} if name == 'bands.tif' else {}
    options |= {'photometric': 'minisblack', 'metadata': None}
    tifffile.imwrite(tmp_path / 'd' / name, image, **options)
    with pytest.raises(UserError, match=rf'{name}: .*{message}'):
        open_store(str(tmp_path / 'd')).verify(color)
    for encoding in ('file', 'raw'):
        with pytest.raises(UserError, match=rf'{name}: found'):
            create_lmdb(tmp_path / 'd', tmp_path / 'd.lmdb', workers=1, encoding=encoding)
    assert [p.name for p in tmp_path.iterdir()] == ['d']


def test_folder__size_without_decoding(tmp_path, monkeypatch):
    kinds = (('a.tif', 3, 'float32'), ('b.tif', 2, 'uint16'), ('c.png', 2, 'uint8'))
    for name, channels, dtype in kinds:
        write_image(tmp_path / 'd' / name, np.zeros((9, 8, channels), dtype))
    store = open_store(str(tmp_path / 'd'))
    monkeypatch.setattr(type(store), 'read', None)
    assert [store.size(key) for key in store.keys] == [(9, 8)] * 3


def test_read_window__outside_the_image(photos):
    store = open_store(str(photos))
    assert store.size('im00') == (60, 72)
    write_image(photos / 'im00.png', photo(50, 72))
    with pytest.raises(
        UserError, match=r'im00\.png: this image is 72x50 .* not 72x60 as it was listed'
    ):
        store.read_window('im00', slice(10, 60), slice(0, 72))


@pytest.mark.parametrize('split,count', [('train', 6), ('heldout', 2)])
def test_builtin_photos__are_there(split, count):
    store = open_store(f'builtin:photos/{split}')
    assert len(store) == count and all(
        min(store.size(k)) >= 300 and store.read(k).shape[2] == 3 for k in store.keys
    )


def test_builtin_photos__splits_share_nothing():
    assert not set(open_store('builtin:photos/train').keys) & set(
        open_store('builtin:photos/heldout').keys
    )


@pytest.mark.parametrize(
    'root,message',
    [
        ('datasets/nowhere', 'dataroot_gt: datasets/nowhere does not exist'),
        ('builtin:photo', 'builtin:photos/train'),
        (None, 'found None'),
        (3, 'found 3'),
    ],
)
def test_open_store__names_the_key_and_the_way_out(root, message):
    with pytest.raises(UserError, match=message):
        open_store(root)


def test_open_store__suggests_near_names_and_refuses_empty_folders(tmp_path):
    (tmp_path / 'DIV2K').mkdir()
    with pytest.raises(UserError, match='did you mean DIV2K'):
        open_store(str(tmp_path / 'DIV2k/HR'))
    with pytest.raises(UserError, match='holds no images'):
        open_store(str(tmp_path / 'DIV2K'))


def test_verify__that_is_interrupted_leaves_the_rest_out(monkeypatch, tmp_path):
    write_photos(tmp_path / 'd', [(8, 8)] * 200, [f'{n:03d}' for n in range(200)])
    store, read = open_store(str(tmp_path / 'd')), []
    monkeypatch.setattr(
        store, 'read', lambda key, color: (time.sleep(0.05), read.append(key), photo(8, 8))[2]
    )

    def interrupted(*images, **_):
        raise KeyboardInterrupt

    monkeypatch.setattr('liif_data.store.progress_bar', interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.verify()
    assert len(read) < 100


def test_verify__names_a_broken_file(photos):
    (photos / 'im02.png').write_bytes((photos / 'im02.png').read_bytes()[:300])
    with pytest.raises(UserError, match=r'im02\.png: not a readable image'):
        open_store(str(photos)).verify()
