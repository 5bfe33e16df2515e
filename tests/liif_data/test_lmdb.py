"""Databases of encoded images: what they hold, who reads them, and what is refused."""

import gc
import os
import shutil
from pathlib import Path

import cv2
import lmdb
import numpy as np
import profiles
import pytest
from helpers import photo
from PIL import Image

from liif_arch.errors import UserError
from liif_arch.files.images import write_image
from liif_arch.files.lmdb_environments import environment, forget_replaced
from liif_arch.training.remedies import LmdbBackend
from liif_data.lmdb_writer import create_lmdb, lmdb_key
from liif_data.store import open_store


def test_lmdb__holds_what_the_folder_holds(photos):
    target = photos.parent / 'gt.lmdb'
    assert create_lmdb(photos, target, workers=2) == 4
    folder, store = open_store(str(photos)), open_store(str(target))
    assert folder.keys == store.keys
    for key in store.keys:
        assert np.array_equal(folder.read(key), store.read(key)) and folder.size(key) == store.size(
            key
        )
        assert folder.read_bytes(key) == store.read_bytes(key)  # PNG files are stored as they are
    assert sorted(p.name for p in photos.parent.iterdir()) == ['gt', 'gt.lmdb']


def test_lmdb__read_by_basicsrs_own_dataset(photos):
    from basicsr.data import build_dataset

    gc.collect()  # BasicSR's own environments of earlier tests may have had the same inode
    create_lmdb(photos, photos.parent / 'gt.lmdb')
    shutil.copytree(photos.parent / 'gt.lmdb', photos.parent / 'lq.lmdb')
    dataset = build_dataset(
        {
            'name': 'x',
            'type': 'PairedImageDataset',
            'phase': 'val',
            'scale': 1,
            'dataroot_gt': str(photos.parent / 'gt.lmdb'),
            'dataroot_lq': str(photos.parent / 'lq.lmdb'),
            'io_backend': {'type': 'lmdb'},
        }
    )
    gt = dataset[2]['gt'].numpy().transpose(1, 2, 0) * 255
    assert np.array_equal(np.rint(gt), photo(71, 60, 2))


def mapped(folder) -> bool:
    """Whether this process has a file of a folder in its memory, also one that is deleted."""
    return str(folder) in Path('/proc/self/maps').read_text()


def test_lmdb__built_again_is_read_anew(tmp_path, monkeypatch):
    """An environment stays open for the life of a process, unless its database has gone."""
    monkeypatch.chdir(tmp_path)
    target = tmp_path / 'd.lmdb'
    for value in (10, 200):
        write_image(tmp_path / 'd/a.png', np.full((8, 8, 3), value, np.uint8))
        create_lmdb(tmp_path / 'd', target)
        store, backend = open_store(str(target)), LmdbBackend('d.lmdb')  # BasicSR's datasets'
        assert store.read('a').max() == value
        assert backend.get('a', 'default') == (tmp_path / 'd/a.png').read_bytes()
        environment_before = environment(store.root)
        assert environment(store.root) is environment_before  # one, as long as it is there
        shutil.rmtree(target)
    with pytest.raises(UserError, match='does not exist'):
        open_store(str(target))


def test_lmdb__that_is_gone_stays_for_those_who_read_and_no_longer(photos):
    target = photos.parent / 'd.lmdb'
    create_lmdb(photos, target)
    store = open_store(str(target))
    with store._value('im00') as value:
        expected = bytes(value)
        shutil.rmtree(target)
        forget_replaced()
        assert bytes(value) == expected and mapped(target)  # or the process would be killed
    assert not mapped(target)


def test_lmdb__other_formats_become_png_and_names_become_keys(tmp_path):
    folder = tmp_path / 'd'
    image = photo(9, 7)
    for name in ('a.b.bmp', 'é.tif', 'c (1).jpg'):
        write_image(folder / name, image)
    create_lmdb(folder, tmp_path / 'd.lmdb')
    store = open_store(str(tmp_path / 'd.lmdb'))
    assert store.keys == ['_', 'a_b', 'c (1)'] and np.array_equal(store.read('a_b'), image)
    assert lmdb_key(folder / '0801x2.png') == '0801x2'


def test_lmdb__map_grows(tmp_path, monkeypatch):
    from liif_data import lmdb_writer

    monkeypatch.setattr(lmdb_writer, '_FIRST_MAP_SIZE', 2**16)
    rng = np.random.default_rng(0)
    for i in range(6):
        write_image(tmp_path / f'd/{i}.png', rng.integers(0, 256, (150, 150, 3), dtype=np.uint8))
    assert create_lmdb(tmp_path / 'd', tmp_path / 'd.lmdb') == 6


def test_lmdb__opened_twice_in_one_process_and_across_a_fork(photos):
    target = str(photos.parent / 'gt.lmdb')
    create_lmdb(photos, target)
    first, second = open_store(target), open_store(target)
    assert np.array_equal(first.read('im00'), second.read('im00'))
    assert environment(first.root) is environment(second.root)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:  # the child reads through an environment of its own
        try:
            same = np.array_equal(open_store(target).read('im01'), photo(64, 64, 1))
        except BaseException as error:
            same = repr(error)
        os.write(writer, str(same).encode())
        os._exit(0)
    assert os.read(reader, 1000) == b'True'
    assert np.array_equal(first.read('im01'), photo(64, 64, 1))  # the parent's still works


def test_lmdb__opened_by_many_threads_at_once(photos):
    from concurrent.futures import ThreadPoolExecutor

    for i in range(5):
        target = photos.parent / f'{i}.lmdb'
        create_lmdb(photos, target)
        with ThreadPoolExecutor(8) as pool:
            environments = set(
                pool.map(lambda store: environment(store.root), [open_store(str(target))] * 8)
            )
        assert len(environments) == 1


def test_lmdb__second_run_says_what_it_finds(photos):
    target = photos.parent / 'gt.lmdb'
    create_lmdb(photos, target)
    before = (target / 'data.mdb').read_bytes()
    with pytest.raises(UserError, match='holds the same 4 image names'):
        create_lmdb(photos, target)
    (photos / 'im00.png').unlink()
    with pytest.raises(UserError, match=r'holds 4 images \(3 of the 3 in the folder\)'):
        create_lmdb(photos, target)
    assert (target / 'data.mdb').read_bytes() == before
    (photos.parent / 'other.lmdb').mkdir()
    with pytest.raises(UserError, match='not a BasicSR-format LMDB'):
        create_lmdb(photos, photos.parent / 'other.lmdb')


def test_lmdb__nothing_is_left_of_a_failed_build(photos):
    (photos / 'im03.png').write_bytes((photos / 'im03.png').read_bytes()[:100])
    with pytest.raises(UserError, match=r'im03\.png: not a readable image'):
        create_lmdb(photos, photos.parent / 'gt.lmdb', workers=2)
    assert [p.name for p in photos.parent.iterdir()] == ['gt']


def test_lmdb__one_key_for_two_images(tmp_path):
    write_image(tmp_path / 'd/a.b.png', photo(4, 4))
    write_image(tmp_path / 'd/a_b.png', photo(4, 4))
    with pytest.raises(UserError, match='both be "a_b"'):
        create_lmdb(tmp_path / 'd', tmp_path / 'd.lmdb')


def test_lmdb__missing_key_and_foreign_files(photos):
    target = photos.parent / 'gt.lmdb'
    create_lmdb(photos, target)
    (target / 'meta_info.txt').write_text('ghost.png (5,5,3) 1\n')
    with pytest.raises(UserError, match='key "ghost" is in meta_info.txt and not in the database'):
        open_store(str(target)).read('ghost')
    (target / 'meta_info.txt').write_text('nonsense\n')
    with pytest.raises(UserError, match='meta_info.txt: found the line'):
        open_store(str(target))
    shutil.rmtree(target)
    target.mkdir()
    with pytest.raises(UserError, match='no BasicSR-format LMDB'):
        open_store(str(target))


def test_lmdb__a_database_cut_short_is_named(photos):
    target = photos.parent / 'cut.lmdb'
    create_lmdb(photos, target)
    (target / 'data.mdb').write_bytes(b'\0' * 8192)
    with pytest.raises(UserError, match='not a readable LMDB'):
        open_store(str(target)).read('im00')


def test_lmdb__a_truncated_database_is_refused_before_it_kills_the_process(photos):
    target = photos.parent / 'half.lmdb'
    create_lmdb(photos, target)
    data = (target / 'data.mdb').read_bytes()
    (target / 'data.mdb').write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match='data.mdb: cut short'):
        open_store(str(target)).read('im03')


@pytest.mark.parametrize('encoding', ['file', 'raw'])
def test_lmdb__what_was_not_written_as_read_is_found(photos, monkeypatch, encoding):
    from liif_data import lmdb_writer

    commit = lmdb_writer._commit
    monkeypatch.setattr(
        lmdb_writer,
        '_commit',
        lambda env, records: commit(env, [r._replace(data=r.data[:-1] + b'?') for r in records]),
    )
    with pytest.raises(UserError, match=r'im00\.png: what was written for it differs'):
        create_lmdb(photos, photos.parent / 'd.lmdb', encoding=encoding)
    assert [p.name for p in photos.parent.iterdir()] == ['gt']


@pytest.mark.parametrize('encoding', ['file', 'raw'])
def test_lmdb__a_full_disk_leaves_nothing(photos, monkeypatch, encoding):
    from liif_data import lmdb_writer

    def full(*_):
        raise lmdb.DiskError('No space left on device')

    monkeypatch.setattr(lmdb_writer, '_commit', full)
    with pytest.raises(UserError, match=r'd\.lmdb: cannot write here \(No space left'):
        create_lmdb(photos, photos.parent / 'd.lmdb', encoding=encoding)
    assert [p.name for p in photos.parent.iterdir()] == ['gt']


def every_kind(folder):
    """Images that one of the libraries alone would read as something else, or not at all."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for dtype in ('uint8', 'uint16'):
        for channels in (1, 2, 3, 4):
            image = (rng.random((9, 8, channels)) * np.iinfo(dtype).max).astype(dtype)
            for suffix in ('png', 'tif'):
                write_image(folder / f'{suffix}_{dtype}_{channels}.{suffix}', image)
    Image.fromarray(photo(9, 8)).quantize(9).save(folder / 'still.gif')
    Image.fromarray(photo(9, 8)).save(folder / 'a.avif')
    Image.fromarray(photo(9, 8)).save(folder / 'a2.jp2')
    inks = Image.fromarray(rng.integers(0, 255, (9, 8, 4), np.uint8), 'CMYK')
    inks.save(folder / 'inks.jpg', icc_profile=profiles.cmyk())
    return folder


@pytest.mark.parametrize('encoding', ['file', 'raw'])
def test_lmdb__holds_what_a_reader_of_the_file_sees(tmp_path, encoding):
    folder = open_store(str(every_kind(tmp_path / 'd')))
    create_lmdb(tmp_path / 'd', tmp_path / 'd.lmdb', workers=1, encoding=encoding)
    store = open_store(str(tmp_path / 'd.lmdb'))
    assert store.keys == folder.keys and len(store) == 20
    for key in store.keys:
        for color, tolerance in (('unchanged', 0), ('rgb', 0), ('gray', 1)):  # libpng's own gray
            expected, found = folder.read(key, color), store.read(key, color)
            assert found.shape == expected.shape and found.dtype == expected.dtype, key
            assert np.abs(found.astype(int) - expected).max() <= tolerance, key
        assert store.size(key) == folder.size(key) == (9, 8)
        if encoding == 'file':  # BasicSR's own datasets decode so
            plain = cv2.imdecode(np.frombuffer(store.read_bytes(key), np.uint8), cv2.IMREAD_COLOR)
            assert np.array_equal(plain[..., ::-1], folder.read(key, 'rgb'))
