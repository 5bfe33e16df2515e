"""A folder of images to a BasicSR-format LMDB: parallel, under a temporary name, verified, then
renamed.
"""

import hashlib
import os
import re
import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import NamedTuple

import lmdb
import numpy as np

from liif_arch.errors import UserError, suggest
from liif_arch.files.atomic import umask as _umask
from liif_arch.files.decoding import decode_color
from liif_arch.files.encoding import encode_png
from liif_arch.files.formats import PNG, is_image_file
from liif_arch.files.images import decode_image
from liif_arch.files.lmdb_environments import forget_replaced
from liif_arch.progress import progress_bar
from liif_data.parallel import in_processes
from liif_data.store import RAW_DTYPES, LmdbRecord, LmdbStore

ENCODINGS = ('file', 'raw')
_KEPT = ('.png', '.jpg', '.jpeg')  # stored as they are; other formats become PNG
_FIRST_MAP_SIZE = 64 * 2**20


class Record(NamedTuple):
    """One image on its way into the database: its key, the value, and what meta_info.txt will say
    of it.
    """

    key: str
    data: bytes
    meta: LmdbRecord


def lmdb_key(path: Path) -> str:
    """BasicSR reads keys up to the first dot and as ASCII; whatever else a name holds becomes an
    underscore.
    """
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
            raise UserError(
                f'{path.name} and {images[key].name} in {folder} would both be "{key}"; rename one.'
            )
        images[key] = path
    if not images:
        raise UserError(f'{folder}: no images in this folder.')
    return images


def make_record(item: tuple[str, Path], encoding: str = 'file') -> Record:
    """Read and decode one image, so that nothing unreadable enters the database.

    Raises:
        UserError: The image does not decode, or cannot be stored so.
    """
    key, path = item
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f'{path}: cannot read this image ({error.strerror}).') from None
    if encoding == 'raw':
        return _raw_record(key, path, data)
    if path.suffix.lower() in _KEPT:
        image = decode_color(data, str(path), 'rgb')
        if image is not None:  # and so any reader finds these pixels
            return Record(key, data, LmdbRecord(image.shape, None))
    image = decode_image(data, str(path), 'unchanged')
    if image.dtype.name not in PNG.dtypes:
        raise UserError(
            f'{path}: found {image.dtype} pixels; an LMDB holds '
            f'{" and ".join(PNG.dtypes)}. Store it as an 8- or 16-bit image.'
        )
    png = encode_png(image, fast=True)
    if not np.array_equal(decode_image(png, key, 'unchanged'), image):
        raise UserError(
            f'{path}: PNG gives back other pixels than this image has; store it as PNG yourself.'
        )
    return Record(key, png, LmdbRecord(image.shape, None))


def _raw_record(key: str, path: Path, data: bytes) -> Record:
    image = decode_image(data, str(path), 'unchanged')
    if image.dtype.name not in RAW_DTYPES:
        raise UserError(
            f'{path}: found {image.dtype} pixels; --encoding raw holds {" and ".join(RAW_DTYPES)}.'
        )
    return Record(key, image.tobytes(), LmdbRecord(image.shape, image.dtype.name))


def create_lmdb(
    folder: str | Path,
    target: str | Path,
    workers: int = os.cpu_count() or 1,
    encoding: str = 'file',
) -> int:
    """Write a folder's images into an LMDB.

    The target appears only when it is complete and every value has been read back; until then
    everything lies in a temporary folder beside it, which is removed if anything fails.

    Args:
        folder: Images (not those in subfolders). PNG and JPEG files are stored as they are, others
            as PNG.
        target: Folder to make, named *.lmdb.
        workers: Processes that read and check images.
        encoding: 'file': image files as above, which BasicSR's own datasets read too. 'raw':
            decoded pixels (h*w*c values, 8 or 16 bit, RGB), larger, of which training reads its
            crop alone.

    Returns:
        Number of images.

    Raises:
        UserError: The target exists (says what it holds), an image does not decode, or an unknown
            encoding.
    """
    if encoding not in ENCODINGS:
        raise UserError(f'encoding: found {encoding!r}; {suggest(encoding, ENCODINGS)}')
    folder, target = Path(folder), Path(target)
    if target.suffix != '.lmdb':
        raise UserError(f'{target}: an LMDB folder is named *.lmdb.')
    images = list_images(folder)
    if target.exists():
        raise UserError(
            f'{target}: exists and {describe(target, images)}; remove it to build it again.'
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f'.{target.name}.', dir=target.parent))
    except OSError as error:
        raise UserError(f'{target}: cannot write here ({error.strerror}).') from None
    try:
        temporary.chmod(0o777 & ~_umask())
        lines, digests = _write(temporary, images, workers, encoding)
        (temporary / 'meta_info.txt').write_text(''.join(lines))
        _verify(temporary, images, digests)
        os.rename(temporary, target)
    except (OSError, lmdb.Error) as error:
        raise UserError(f'{target}: cannot write here ({error}).') from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return len(images)


def describe(target: Path, images: dict[str, Path]) -> str:
    """What lies at an existing target, compared with the folder it would be built from."""
    try:
        keys = set(LmdbStore(target).keys)
    except (OSError, UserError):
        return 'is not a BasicSR-format LMDB'
    if keys == set(images):
        return f'holds the same {len(keys)} image names'
    return (
        f'holds {len(keys)} images ({len(keys & set(images))} of the {len(images)} in the folder)'
    )


def _write(
    folder: Path, images: dict[str, Path], workers: int, encoding: str
) -> tuple[list[str], dict[str, bytes]]:
    """Put all records, growing the map when it is full; returns meta_info.txt's lines, and digests
    of the values.
    """
    lines, digests, pending, pending_bytes = [], {}, [], 0
    records = in_processes(partial(make_record, encoding=encoding), images.items(), workers)
    forget_replaced()
    with lmdb.open(str(folder), map_size=_FIRST_MAP_SIZE) as env:
        for record in progress_bar(records, total=len(images), unit='image', desc='write'):
            lines.append(record.meta.line(record.key))
            digests[record.key] = _digest(record.data)
            pending.append(record)
            pending_bytes += len(record.data)
            if pending_bytes > 2**26:
                _commit(env, pending)
                pending, pending_bytes = [], 0
        _commit(env, pending)
        env.sync(True)
    return lines, digests


def _digest(value: bytes | memoryview) -> bytes:
    return hashlib.blake2b(value, digest_size=16).digest()


def _commit(env: lmdb.Environment, records: list[Record]) -> None:
    while True:
        try:
            with env.begin(write=True) as transaction:
                for record in records:
                    transaction.put(record.key.encode(), record.data)
            return
        except lmdb.MapFullError:
            env.set_mapsize(env.info()['map_size'] * 2)


def _verify(folder: Path, images: dict[str, Path], digests: dict[str, bytes]) -> None:
    """Read every value back and compare it with what was made of its file."""
    env = lmdb.open(str(folder), readonly=True, lock=False)
    with env, env.begin(buffers=True) as transaction:
        for key, path in progress_bar(images.items(), unit='image', desc='verify'):
            if _digest(transaction.get(key.encode()) or b'') != digests[key]:
                raise UserError(
                    f'{path}: what was written for it differs from the file; is the disk full or '
                    'failing?'
                )
