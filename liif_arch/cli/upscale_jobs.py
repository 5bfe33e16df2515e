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
    label, output = (label, './') if output is None else ('', output)
    out, notes = Path(output), []
    sources = [source for name in inputs for source in _sources(Path(name), out, recursive, notes)]
    several = len(sources) > 1 or any(Path(name).is_dir() for name in inputs)
    as_folder = several or output.endswith('/') or out.is_dir()
    _require_output(out, as_folder, several)
    jobs = [(source.path, _target(out, source, label) if as_folder else out) for source in sources]
    _require_apart(jobs)
    done = [] if overwrite else [target for _, target in jobs if target.exists()]
    if done and not several:
        raise UserError(f'-o: {done[0]} exists; name another, or replace it with --overwrite.')
    if done:
        notes.append(
            f'{len(done)} of {len(jobs)} results exist and were skipped ({_some(done)}); '
            '--overwrite replaces them.'
        )
    return Plan([job for job in jobs if overwrite or not job[1].exists()], notes)


def _sources(path: Path, out: Path, recursive: bool, notes: list[str]) -> list[Source]:
    """The images that one input names; what a folder holds beside them joins the notes."""
    if path.is_file():
        return [Source(path, Path())]
    if not path.is_dir():
        raise UserError(f'{path} {missing_path(path)}.')
    from liif_arch.files.images import EXTENSIONS, is_image_file

    walk = _walk(path, out)
    visited = list(walk) if recursive else [next(walk)]
    files = [file for _, _, files in visited for file in files]
    others = [file.relative_to(path) for file in files if not is_image_file(file)]
    sources = [Source(p, p.parent.relative_to(path)) for p in files if is_image_file(p)]
    told = []
    if visited[0].folders and not recursive:
        told.append(
            f'{path}: {_count(visited[0].folders, "subfolder")} not entered; --recursive does.'
        )
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
        folder = Path(name)
        here = []
        for inner in sorted(n for n in folders if not n.startswith('.')):
            real = (folder / inner).resolve()
            if real != results and real not in seen:
                seen.add(real)
                here.append(inner)
        folders[:] = here
        visible = sorted(n for n in files if not n.startswith('.'))
        yield Visited(folder, [folder / n for n in here], [folder / n for n in visible])


def _target(out: Path, source: Source, label: str) -> Path:
    """Where an image's result goes within a folder."""
    from liif_arch.files.formats import lossless_extension

    suffix = lossless_extension(source.path)
    return out / source.folder / f'{source.path.stem}{label}{suffix}'


def _require_output(out: Path, as_folder: bool, several: bool) -> None:
    """Raise UserError where the results cannot be written to what -o names."""
    from liif_arch.files.formats import WRITTEN_EXTENSIONS as written

    if as_folder and (out.is_file() or (out.suffix.lower() in written and not out.is_dir())):
        need = 'several images need a folder' if several else 'a name that ends with / is a folder'
        raise UserError(f'-o: {out} is a file, or named like one; {need}.')
    folder = out if as_folder else out.parent
    existing = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise UserError(
            f'-o: cannot write to {folder}: {existing} is not a folder that can be written to.'
        )
    if not as_folder and out.suffix.lower() not in written:
        raise UserError(
            f'-o: {out}: there is no such folder, and an image file ends with one of '
            f'{", ".join(written)}; for a new folder write {out}/.'
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
        other = read.get(_identity(target)) if target.exists() else None
        if other is not None:
            what = (
                'the input itself' if other == source else f'an input, and the target of {source}'
            )
            raise UserError(f'-o: {target} is {what}; name another place (-o FOLDER/).')


def _identity(path: Path) -> tuple[int, int]:
    """What is the same for two names of one file."""
    status = path.stat()
    return status.st_dev, status.st_ino


def _some(names: list) -> str:
    """The first of some names, and how many more there are."""
    names = [str(name) for name in names]
    more = len(names) - NAMES_TOLD
    return ', '.join(names[:NAMES_TOLD]) + (f' and {more} more' if more > 0 else '')


def _count(names: list, word: str) -> str:
    """1 file, or 3 files."""
    return f'{len(names)} {word}' if len(names) == 1 else f'{len(names)} {word}s'
