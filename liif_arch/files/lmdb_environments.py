"""One LMDB environment for each process and database: LMDB refuses a second one, and none may cross
a fork.
"""

import os
import threading

import lmdb

from liif_arch.errors import UserError

_environments: dict[str, lmdb.Environment] = {}
_opening = threading.Lock()


def _close_inherited() -> None:
    """The child of a fork closes its copies of its parent's environments."""
    global _opening
    _opening = threading.Lock()  # another thread of the parent may have held it
    for environment in _environments.values():
        environment.close()
    _environments.clear()


os.register_at_fork(after_in_child=_close_inherited)


def environment(root: str, label: str = '') -> lmdb.Environment:
    """This process's read-only environment of the database in the folder `root`, which errors call
    `label`.

    Raises:
        UserError: It is no LMDB, or is cut short.
    """
    if root in _environments:  # a real path; resolving one costs more than reading a crop
        return _environments[root]
    path = os.path.realpath(root)
    with _opening:
        if path not in _environments:
            try:
                opened = lmdb.open(path, readonly=True, lock=False, readahead=False)
            except lmdb.Error as error:
                raise UserError(
                    f'{label or root}: not a readable LMDB ({error}); build it with `basicsr lmdb`.'
                ) from None
            _require_whole(opened, path, label or root)
            _environments[path] = opened
        return _environments[path]


def _require_whole(opened: lmdb.Environment, root: str, label: str) -> None:
    """Reading a map that is shorter than its pages would kill the process."""
    needed = (opened.info()['last_pgno'] + 1) * opened.stat()['psize']
    found = os.path.getsize(os.path.join(root, 'data.mdb'))
    if found < needed:
        opened.close()
        raise UserError(
            f'{label}/data.mdb: cut short, {found} of {needed} bytes; copy or build it again.'
        )
