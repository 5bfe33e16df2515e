"""A folder of images to a BasicSR-format LMDB: parallel, under a temporary name, verified, then renamed."""
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import cv2
import lmdb
import numpy as np
from tqdm import tqdm

from liif_arch.atomic import umask as _umask
from liif_arch.errors import UserError
from liif_arch.images import decode_image, is_image_file
from liif_data.store import LmdbStore

_KEPT = ('.png', '.jpg', '.jpeg')  # stored as they are; other formats become PNG
_FIRST_MAP_SIZE = 64 * 2**20


class Record(NamedTuple):
    """One image on its way into the database."""
    key: str
    data: bytes
    shape: tuple[int, int, int]


def lmdb_key(path: Path) -> str:
    """BasicSR reads keys up to the first dot and as ASCII; whatever else a name holds becomes an underscore."""
    return re.sub(r'[^0-9A-Za-z_ ()+-]', '_', path.stem)


def list_images(folder: Path) -> dict[str, Path]:
    """Images of a folder by key, sorted.

    Raises:
        UserError: No folder, no image in it, or two images with one key.
    """
    if not folder.is_dir():
        raise UserError(f'{folder}: not a folder; name a folder of images.')
    images: dict[str, Path] = {}
    for path in sorted(p for p in folder.iterdir() if is_image_file(p) and p.is_file()):
        key = lmdb_key(path)
        if key in images:
            raise UserError(f'{path.name} and {images[key].name} in {folder} would both be "{key}"; rename one.')
        images[key] = path
    if not images:
        raise UserError(f'{folder}: no images in this folder.')
    return images


def make_record(item: tuple[str, Path]) -> Record:
    """Read and decode one image, so that nothing unreadable enters the database."""
    key, path = item
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f'{path}: cannot read this image ({error.strerror}).') from None
    keep = path.suffix.lower() in _KEPT
    image = decode_image(data, str(path), 'rgb' if keep else 'unchanged')
    if not keep:
        order = {3: [2, 1, 0], 4: [2, 1, 0, 3]}.get(image.shape[2], [0])
        data = cv2.imencode('.png', image[..., order], [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()
    return Record(key, data, image.shape)


def create_lmdb(folder: str | Path, target: str | Path, workers: int = os.cpu_count() or 1) -> int:
    """Write a folder's images into an LMDB.

    The target appears only when it is complete and every value has been read back; until then everything lies in
    a temporary folder beside it, which is removed if anything fails.

    Args:
        folder: Images (not those in subfolders). PNG and JPEG files are stored as they are, others as PNG.
        target: Folder to make, named *.lmdb.
        workers: Processes that read and check images.

    Returns:
        Number of images.

    Raises:
        UserError: The target exists (says what it holds), or an image does not decode.
    """
    folder, target = Path(folder), Path(target)
    if target.suffix != '.lmdb':
        raise UserError(f'{target}: an LMDB folder is named *.lmdb.')
    images = list_images(folder)
    if target.exists():
        raise UserError(f'{target}: exists and {describe(target, images)}; remove it to build it again.')
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f'.{target.name}.', dir=target.parent))
    except OSError as error:
        raise UserError(f'{target}: cannot write here ({error.strerror}).') from None
    try:
        partial.chmod(0o777 & ~_umask())
        lines = _write(partial, images, workers)
        (partial / 'meta_info.txt').write_text(''.join(lines))
        _verify(partial, images)
        os.rename(partial, target)
    except (OSError, lmdb.Error) as error:
        raise UserError(f'{target}: cannot write here ({error}).') from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return len(images)


def describe(target: Path, images: dict[str, Path]) -> str:
    """What lies at an existing target, compared with the folder it would be built from."""
    try:
        keys = set(LmdbStore(target).keys)
    except (OSError, UserError):
        return 'is not a BasicSR-format LMDB'
    if keys == set(images):
        return f'holds the same {len(keys)} image names'
    return f'holds {len(keys)} images ({len(keys & set(images))} of the {len(images)} in the folder)'


def _records(images: dict[str, Path], workers: int) -> Iterator[Record]:
    if workers <= 1 or len(images) < 8:
        yield from map(make_record, images.items())
        return
    with ProcessPoolExecutor(workers) as pool:
        items: Iterable[tuple[str, Path]] = images.items()
        try:
            yield from pool.map(make_record, items, chunksize=4)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _write(partial: Path, images: dict[str, Path], workers: int) -> list[str]:
    """Put all records, growing the map when it is full; returns the lines of meta_info.txt."""
    lines, pending, pending_bytes = [], [], 0
    with lmdb.open(str(partial), map_size=_FIRST_MAP_SIZE) as env:
        for record in tqdm(_records(images, workers), total=len(images), unit='image', desc='write'):
            lines.append(f'{record.key}.png ({",".join(map(str, record.shape))}) 1\n')
            pending.append(record)
            pending_bytes += len(record.data)
            if pending_bytes > 2**26:
                _commit(env, pending)
                pending, pending_bytes = [], 0
        _commit(env, pending)
        env.sync(True)
    return lines


def _commit(env: lmdb.Environment, records: list[Record]) -> None:
    while True:
        try:
            with env.begin(write=True) as transaction:
                for record in records:
                    transaction.put(record.key.encode(), record.data)
            return
        except lmdb.MapFullError:
            env.set_mapsize(env.info()['map_size'] * 2)


def _verify(partial: Path, images: dict[str, Path]) -> None:
    """Read every value back and compare it with its file (other formats: decode it)."""
    env = lmdb.open(str(partial), readonly=True, lock=False)
    with env, env.begin() as transaction:
        for key, path in tqdm(images.items(), unit='image', desc='verify'):
            value = transaction.get(key.encode()) or b''
            if path.suffix.lower() in _KEPT:
                same = value == path.read_bytes()
            else:
                same = np.array_equal(decode_image(value, key, 'unchanged'),
                                      decode_image(path.read_bytes(), str(path), 'unchanged'))
            if not same:
                raise UserError(f'{path}: what was written for it differs from the file; is the disk full or failing?')
