"""A teacher's colours of samples that come again, in a folder that several processes share.

The folder holds `made_of.json`, which says what the colours are made of, and `colours.bin`, with a
record of one size for each sample: its colours in float16, and a checksum of them. Nobody waits for
anybody: a record that is missing, or half written, does not fit its checksum and is made again.
"""

import json
import os
import tempfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from liif_arch.config.tables import LOADER
from liif_arch.errors import UserError
from liif_arch.training.changes import differences
from liif_arch.training.checkpoints import builtin

KEY = 'train.distill_opt.cache'
CHECKSUM = 4  # bytes of a record behind its colours
# What a loader reads, and yet decides which samples there are.
OF_SAMPLES = ('seed', 'dataset_enlarge_ratio')
# What a data set reads, and does not: where images lie is no matter, which they are is compared.
NOT_OF_SAMPLES = ('phase', 'cache', 'degrade', 'dataroot_gt', 'dataroot_lq')


class TeacherCache:
    """Colours by the number of their sample.

    Nothing is read or written before the first sample is asked for.

    Args:
        folder: Is made where it is not there.
        made_of: What the colours are made of, beside the images: the teacher, the options that
            decide the samples.
        is_rehearsed: Nothing is written; what is there is compared all the same.
    """

    def __init__(self, folder: str | Path, made_of: Mapping, is_rehearsed: bool = False) -> None:
        self.folder, self.made_of = Path(folder).expanduser(), dict(made_of)
        self.is_rehearsed = is_rehearsed
        self.shape: tuple[int, int] | None = None  # (Q, C), once it is open
        self._file: int | None = None

    def open(self, images: int, shape: tuple[int, int]) -> None:
        """Make the folder, or compare what it says with what is needed; once.

        Args:
            images: Fingerprint of the images that the samples are of.
            shape: (Q, C) of a sample's colours.

        Raises:
            UserError: Its colours are made of something else, or it cannot be read or written.
        """
        if self.shape is not None:
            return
        now: Any = builtin({**self.made_of, 'images': f'{images:x}', 'shape': shape})
        try:
            if self.is_rehearsed:
                self._require_room()
            else:
                self.folder.mkdir(parents=True, exist_ok=True)
                self._say(now)
            self._compare(now)
            self._file = self._opened()
        except OSError as error:
            raise self._failed(error) from None
        self.shape = shape

    def _require_room(self) -> None:
        """Raise UserError where the folder is not there and cannot be made."""
        place = self.folder
        while not place.exists() and place != place.parent:
            place = place.parent
        if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
            raise UserError(
                f'{KEY}: {self.folder}: {place} is no folder that can be written into; name '
                'another one.'
            )

    def _say(self, now: dict) -> None:
        """Write what the colours are made of, unless another process has; it is there whole."""
        path = self.folder / 'made_of.json'
        if path.exists():
            return
        handle, partial = tempfile.mkstemp(prefix='.made_of.', dir=self.folder)
        os.fchmod(handle, 0o644)  # as the colours; mkstemp's files are their owner's alone
        with os.fdopen(handle, 'w', encoding='utf-8') as file:
            json.dump(now, file, indent=1)
        try:
            os.link(partial, path)  # unlike a rename, it replaces nothing
        except FileExistsError:
            pass
        finally:
            os.unlink(partial)

    def _compare(self, now: dict) -> None:
        path = self.folder / 'made_of.json'
        if not path.exists():
            return
        try:
            saved = json.loads(path.read_text(encoding='utf-8'))
            changes = list(differences(saved, now))
        except (AttributeError, ValueError):
            raise UserError(
                f'{KEY}: {path} is damaged; remove {self.folder}, or name another folder.'
            ) from None
        if changes:
            listed = '; '.join(map(str, changes))
            raise UserError(
                f'{KEY}: {self.folder} holds the colours of another teacher, or of other samples '
                f'({listed}); name another folder, or remove this one.'
            )

    def _opened(self) -> int | None:
        """The file of records; None where there is none, and none is to be made."""
        path = self.folder / 'colours.bin'
        if self.is_rehearsed:
            return os.open(path, os.O_RDONLY) if path.exists() else None
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)

    def read(self, number: int) -> np.ndarray | None:
        """A sample's colours, (Q, C) float16; None where they are not there."""
        assert self.shape is not None
        if self._file is None:
            return None
        size = 2 * self.shape[0] * self.shape[1]
        try:
            record = os.pread(self._file, size + CHECKSUM, number * (size + CHECKSUM))
        except OSError as error:
            raise self._failed(error) from None
        colours, checksum = record[:size], record[size:]
        if len(checksum) < CHECKSUM or zlib.crc32(colours) != int.from_bytes(checksum, 'big'):
            return None
        return np.frombuffer(colours, np.float16).reshape(self.shape)

    def write(self, number: int, colours: np.ndarray) -> None:
        """Keep a sample's colours, (Q, C) float16.

        Raises:
            UserError: They cannot be written.
        """
        if self.is_rehearsed:
            return
        assert self._file is not None
        content = np.ascontiguousarray(colours, np.float16).tobytes()
        record = content + zlib.crc32(content).to_bytes(CHECKSUM, 'big')
        try:
            written = os.pwrite(self._file, record, number * len(record))
        except OSError as error:
            raise self._failed(error) from None
        if written < len(record):
            raise UserError(f'{KEY}: {self.folder}: the disk is full; free some space.')

    def _failed(self, error: OSError) -> UserError:
        reason = error.strerror or error
        return UserError(f'{KEY}: {self.folder}: cannot read or write here ({reason}).')

    def __del__(self) -> None:
        if self._file is not None:
            os.close(self._file)


def options_of_samples(dataset: Mapping) -> dict:
    """The options of a training's data set that decide what its samples are.

    Args:
        dataset: `datasets.train`.
    """
    found = {}
    for key, value in dataset.items():
        is_loaders = key in LOADER and key not in OF_SAMPLES
        if not is_loaders and key not in NOT_OF_SAMPLES:
            found[key] = value
    return found
