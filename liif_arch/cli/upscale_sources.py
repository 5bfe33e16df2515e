"""The images and films that `basicsr upscale` was given, and what folders hold beside them."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from liif_arch.errors import UserError, missing_path

NAMES_TOLD = 5  # of files that are left out
STANDARD = Path('-')  # standard input, or standard output


class Source(NamedTuple):
    """What is to be read.

    Attributes:
        path: An image or film, or `STANDARD`.
        folder: Of its result, within the output folder.
        named: Whether it was named itself, and not found in a folder.
    """

    path: Path
    folder: Path
    named: bool = False


def sources_of(path: Path, out: Path, recursive: bool, notes: list[str]) -> list[Source]:
    """The images that one input names; what a folder holds beside them joins the notes."""
    if path.is_file():
        return [Source(path, Path(), named=True)]
    if path.exists() and not path.is_dir():  # a pipe can be read once, and a file is, twice
        raise UserError(f'{path}: is no file or folder; - reads standard input.')
    if not path.is_dir():
        raise UserError(f'{path} {missing_path(path)}.')
    from liif_arch.files.formats import EXTENSIONS, is_image_file
    from liif_arch.films.kinds import is_video

    sources, others, broken, told = [], [], [], []
    for visited in _walk(path, out):
        for file in visited.files:
            if not file.is_file():
                broken.append(file.relative_to(path))
            elif is_image_file(file) or is_video(file):
                sources.append(Source(file, file.parent.relative_to(path)))
            else:
                others.append(file.relative_to(path))
        if visited.folders and not recursive:
            count = _count(visited.folders, 'subfolder')
            told.append(f'{path}: {count} not entered; --recursive does.')
        if not recursive:
            break
    if not sources:
        known = ', '.join(EXTENSIONS)
        raise UserError(' '.join([f'{path}: no images in this folder ({known}).', *told]))
    if others:
        told.append(
            f'{path}: {_count(others, "file")} left out, of a kind that is not read here: '
            f'{some(others)}.'
        )
    if broken:
        count = _count(broken, 'name')
        told.append(f'{path}: {count} left out, behind which is no file: {some(broken)}.')
    notes += told
    return sources


class Visited(NamedTuple):
    """A folder, and the folders and files in it."""

    folder: Path
    folders: list[Path]
    files: list[Path]


def _walk(path: Path, out: Path) -> Iterator[Visited]:
    """Folders below a path, itself first, and what they hold, without hidden names and `out`.

    Links to folders are followed, each folder once.
    """
    results = out.resolve()
    seen = {path.resolve()}
    for name, folders, files in os.walk(path, followlinks=True):
        visited = Visited(Path(name), [], [])
        for inner in _visible(visited.folder, folders):
            real = inner.resolve()
            if real != results and real not in seen:
                seen.add(real)
                visited.folders.append(inner)
        visited.files.extend(_visible(visited.folder, files))
        folders[:] = [inner.name for inner in visited.folders]
        yield visited


def _visible(folder: Path, names: list[str]) -> list[Path]:
    """The names in a folder that are not hidden, sorted, as paths."""
    return [folder / name for name in sorted(names) if not name.startswith('.')]


def some(names: list) -> str:
    """The first of some names, and how many more there are."""
    told = ', '.join(map(str, names[:NAMES_TOLD]))
    more = len(names) - NAMES_TOLD
    if more <= 0:
        return told
    return f'{told} and {more} more'


def _count(names: list, word: str) -> str:
    """1 file, or 3 files."""
    if len(names) == 1:
        return f'1 {word}'
    return f'{len(names)} {word}s'
