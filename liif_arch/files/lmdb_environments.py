"""One LMDB environment for each process and database: LMDB refuses a second one, and none may cross
a fork.
"""

import os
import threading
from pathlib import Path
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
    """This process's read-only environment of the database in a folder.

    Args:
        root: What `current_root` returned; another path of it takes longer than reading a crop.
        label: What errors call it; the path where it is left out.

    Raises:
        UserError: It is no LMDB, or is cut short.
    """
    known = _opened.get(root)
    if known is not None:
        return known.environment
    path = os.path.realpath(root)
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


def current_root(root: str | Path) -> str:
    """The real path of a database that is about to be read, as it is now on the disk."""
    forget_replaced()
    return os.path.realpath(root)


def forget_replaced() -> None:
    """Forget environments whose files have been removed or replaced, for instance built again.

    They would go on with the old images, and LMDB would refuse a new database that has got the
    inode of a removed one. They close themselves as soon as no thread reads from them any more.
    """
    with _opening:
        replaced = [path for path, (_, file) in _opened.items() if _file_of(path) != file]
        for path in replaced:
            del _opened[path]


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
