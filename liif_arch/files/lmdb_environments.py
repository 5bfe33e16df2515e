"""One LMDB environment for each process and database: LMDB refuses a second one, and none may cross
a fork.
"""

import os
import threading
from typing import NamedTuple

import lmdb

from liif_arch.errors import UserError


class Opened(NamedTuple):
    """An environment, and the device and inode of the file it was opened from."""

    environment: lmdb.Environment
    file: tuple[int, int] | None


_opened: dict[str, Opened] = {}  # by the real path of the folder
_opening = threading.Lock()


def _close_inherited() -> None:
    """The child of a fork closes its copies of its parent's environments."""
    global _opening
    _opening = threading.Lock()  # another thread of the parent may have held it
    for opened in _opened.values():
        opened.environment.close()
    _opened.clear()


os.register_at_fork(after_in_child=_close_inherited)


def environment(root: str, label: str = '') -> lmdb.Environment:
    """This process's read-only environment of the database in the folder `root`, which errors call
    `label`.

    Raises:
        UserError: It is no LMDB, or is cut short.
    """
    known = _opened.get(root)  # a real path; resolving one costs more than reading a crop
    if known is not None:
        return known.environment
    path = os.path.realpath(root)
    close_replaced()
    with _opening:
        if path not in _opened:
            try:
                found = lmdb.open(path, readonly=True, lock=False, readahead=False)
            except lmdb.Error as error:
                raise UserError(
                    f'{label or root}: not a readable LMDB ({error}); build it with `basicsr lmdb`.'
                ) from None
            _require_whole(found, path, label or root)
            _opened[path] = Opened(found, _file_of(path))
        return _opened[path].environment


def close_replaced() -> None:
    """Close environments whose files have been removed or replaced, for instance built again.

    They would go on with the old images, and LMDB would refuse a new database that has got the
    inode of a removed one. Call it before a database is opened or built.
    """
    with _opening:
        for path, opened in list(_opened.items()):
            if _file_of(path) != opened.file:
                del _opened[path]
                opened.environment.close()


def _file_of(folder: str) -> tuple[int, int] | None:
    """The device and inode of the file of a database; None where there is none."""
    try:
        found = os.stat(os.path.join(folder, 'data.mdb'))
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _require_whole(opened: lmdb.Environment, root: str, label: str) -> None:
    """Reading a map that is shorter than its pages would kill the process."""
    needed = (opened.info()['last_pgno'] + 1) * opened.stat()['psize']
    found = os.path.getsize(os.path.join(root, 'data.mdb'))
    if found < needed:
        opened.close()
        raise UserError(
            f'{label}/data.mdb: cut short, {found} of {needed} bytes; copy or build it again.'
        )
