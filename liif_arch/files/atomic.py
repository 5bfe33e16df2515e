"""Files that are there whole or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from liif_arch.errors import UserError

LONGEST_NAME = 255  # bytes, on the usual file systems
MOST_OF_NAME = 200  # bytes of it in a temporary name


def umask() -> int:
    """The process's file mode mask."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


@contextmanager
def atomic_write(path: str | Path) -> Iterator[BinaryIO]:
    """A file to write to; it takes the name `path` when the block ends well, and vanishes when it
    does not.

    It lies in the same folder under a temporary name until then, and is flushed to the disk before
    it is renamed.

    Raises:
        OSError: The folder cannot be written to, or the disk is full.
    """
    path = Path(path)
    start = os.fsdecode(os.fsencode(path.name)[:MOST_OF_NAME])
    handle, partial = tempfile.mkstemp(prefix=f'.{start}.', dir=path.absolute().parent)
    os.close(handle)
    try:
        with open(partial, 'wb') as file:  # by name: some libraries want to know it
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(partial, 0o666 & ~umask())
        os.replace(partial, path)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise


@contextmanager
def output_file(path: str | Path) -> Iterator[BinaryIO]:
    """`atomic_write` where a user asked for a file: its folder is made, and a refusal is a line
    that names it.

    Raises:
        UserError: The folder cannot be written to, or the disk is full.
    """
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            yield file
    except OSError as error:
        raise UserError(f'{path}: cannot write here ({error.strerror or error}).') from None
