"""What `basicsr upscale` reads and writes: images of files and folders, and results' names."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from liif_arch.errors import UserError, missing_path

NAMES_TOLD = 5  # of files that are left out


class Source(NamedTuple):
    """An image to read, and the folder within the output folder that its result goes into."""

    path: Path
    folder: Path


class Plan(NamedTuple):
    """What is to be done.

    Attributes:
        jobs: Source and target of every image.
        notes: What was left out and why, a line each.
    """

    jobs: list[tuple[Path, Path]]
    notes: list[str]


def plan(
    inputs: list[str],
    output: str | None,
    label: str = '',
    recursive: bool = False,
    overwrite: bool = False,
) -> Plan:
    """Source and target of every image.

    Args:
        inputs: Files and folders.
        output: A file or a folder; None: the current folder, with the label behind the names.
        label: What was asked for, such as _x3.7.
        recursive: Take the images of subfolders too; results keep the tree.
        overwrite: Replace results that exist; without it, those of folders are left as they are.

    Raises:
        UserError: A missing input, a folder without images, two images with one target, a target
            that is a source, or, for a single image, one that exists.
    """
    if output is None:
        output = './'
    else:
        label = ''
    out, sources, notes, several = Path(output), [], [], False
    for name in inputs:
        sources += _sources(Path(name), out, recursive, notes)
        several = several or Path(name).is_dir()
    several = several or len(sources) > 1
    as_folder = several or output.endswith('/') or out.is_dir()
    _require_output(out, as_folder, several)
    jobs = []
    for source in sources:
        target = _target(out, source, label) if as_folder else out
        jobs.append((source.path, target))
    _require_apart(jobs)
    if overwrite:
        return Plan(jobs, notes)
    return _without_done(Plan(jobs, notes), several)


def _without_done(planned: Plan, several: bool) -> Plan:
    """What is left of a plan when results that exist are left alone.

    Raises:
        UserError: It is the result of the one image that was named.
    """
    left, done = [], []
    for job in planned.jobs:
        if job[1].exists():
            done.append(job[1])
        else:
            left.append(job)
    if done and not several:
        raise UserError(f'-o: {done[0]} exists; name another, or replace it with --overwrite.')
    notes = list(planned.notes)
    if done:
        notes.append(
            f'{len(done)} of {len(planned.jobs)} results exist and were skipped ({_some(done)}); '
            '--overwrite replaces them.'
        )
    return Plan(left, notes)


def _sources(path: Path, out: Path, recursive: bool, notes: list[str]) -> list[Source]:
    """The images that one input names; what a folder holds beside them joins the notes."""
    if path.is_file():
        return [Source(path, Path())]
    if not path.is_dir():
        raise UserError(f'{path} {missing_path(path)}.')
    from liif_arch.files.images import EXTENSIONS, is_image_file

    sources, others, told = [], [], []
    for visited in _walk(path, out):
        for file in visited.files:
            if is_image_file(file):
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
            f'{_some(others)}.'
        )
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


def _target(out: Path, source: Source, label: str) -> Path:
    """Where an image's result goes within a folder."""
    from liif_arch.files.formats import lossless_extension

    suffix = lossless_extension(source.path)
    return out / source.folder / f'{source.path.stem}{label}{suffix}'


def _require_output(out: Path, as_folder: bool, several: bool) -> None:
    """Raise UserError where the results cannot be written to what -o names."""
    from liif_arch.files.formats import WRITTEN_EXTENSIONS

    if as_folder and (
        out.is_file() or (out.suffix.lower() in WRITTEN_EXTENSIONS and not out.is_dir())
    ):
        need = 'several images need a folder' if several else 'a name that ends with / is a folder'
        raise UserError(f'-o: {out} is a file, or named like one; {need}.')
    folder = out if as_folder else out.parent
    existing = folder.absolute()
    while not existing.exists():
        existing = existing.parent
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise UserError(
            f'-o: cannot write to {folder}: {existing} is not a folder that can be written to.'
        )
    if not as_folder and out.suffix.lower() not in WRITTEN_EXTENSIONS:
        raise UserError(
            f'-o: {out}: there is no such folder, and an image file ends with one of '
            f'{", ".join(WRITTEN_EXTENSIONS)}; for a new folder write {out}/.'
        )


def _require_apart(jobs: list[tuple[Path, Path]]) -> None:
    """Raise UserError where two images have one target, or a target is an image that is read."""
    read = {_identity(source): source for source, _ in jobs}
    seen: dict[Path, Path] = {}
    for source, target in jobs:
        if target in seen:
            raise UserError(
                f'{source} and {seen[target]} would both become {target}; run them apart.'
            )
        seen[target] = source
        if not target.exists() or _identity(target) not in read:
            continue
        what = 'the input itself'
        if read[_identity(target)] != source:
            what = f'an input, and the target of {source}'
        raise UserError(f'-o: {target} is {what}; name another place (-o FOLDER/).')


def _identity(path: Path) -> tuple[int, int]:
    """What is the same for two names of one file."""
    status = path.stat()
    return status.st_dev, status.st_ino


def _some(names: list) -> str:
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
