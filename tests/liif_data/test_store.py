"""Folders, LMDBs and the embedded photographs."""

import os
import shutil

import cv2
import lmdb
import numpy as np
import profiles
import pytest
import tifffile
from helpers import photo, write_photos
from PIL import Image

from liif_arch.errors import UserError
from liif_arch.files.images import write_image
from liif_arch.files.lmdb_environments import _environments, environment
from liif_data.lmdb_writer import create_lmdb, lmdb_key
from liif_data.store import open_store


def test_folder__sorted_names_sizes_and_pixels(tmp_path):
    write_photos(tmp_path / 'd', [(8, 9), (7, 5)], ['b', 'a'])
    (tmp_path / 'd/notes.txt').write_text('')
    store = open_store(str(tmp_path / 'd'))
    assert store.keys == ['a', 'b'] and len(store) == 2 and store.size('a') == (7, 5)
    assert np.array_equal(store.read('b'), photo(8, 9, 0)) and store.path('a').endswith('d/a.png')


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
    environment(store.root).close()
    _environments.clear()
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


@pytest.mark.parametrize('name', ['a.jpg', 'a.png', 'a.webp', 'a.tif'])
def test_folder__size_of_a_photograph_on_its_side(tmp_path, name):
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / 'd').mkdir()
    Image.fromarray(photo(20, 30)).save(tmp_path / 'd' / name, exif=exif)
    store = open_store(str(tmp_path / 'd'))
    assert store.size('a') == (30, 20) == store.read('a').shape[:2]


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


def test_verify__names_a_broken_file(photos):
    (photos / 'im02.png').write_bytes((photos / 'im02.png').read_bytes()[:300])
    with pytest.raises(UserError, match=r'im02\.png: not a readable image'):
        open_store(str(photos)).verify()
