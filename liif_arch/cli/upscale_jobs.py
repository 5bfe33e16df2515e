"""What `basicsr upscale` reads and writes: images of files and folders, and results' names."""

import argparse
import os
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from liif_arch.cli.upscale_names import Naming, extension_named, is_moving, part_of_name, result_in
from liif_arch.cli.upscale_sources import STANDARD, Source, some, sources_of
from liif_arch.errors import UserError
from liif_arch.files.atomic import LONGEST_NAME


class Job(NamedTuple):
    """One result.

    Attributes:
        source: The file to read, or `STANDARD`.
        result: The file to write, or `STANDARD`.
        page: Of a TIFF file with several, from 0.
        moves: Whether it is a film or an animation.
    """

    source: Path
    result: Path
    page: int | None = None
    moves: bool = False


class Plan(NamedTuple):
    """What is to be done.

    Attributes:
        jobs: What is left to do.
        done: Jobs whose results exist.
        notes: What was left out and why, a line each.
    """

    jobs: list[Job]
    done: list[Job]
    notes: list[str]


def add_files(parser: argparse.ArgumentParser) -> None:
    """The flags that say what is read and where results go."""
    group = parser.add_argument_group('files')
    group.add_argument(
        '-o',
        '--output',
        metavar='OUT',
        help='a file, or a folder (for several images, or when it ends with / or exists), or - for '
        'standard output; a .tif is written while it is rendered, so it may be larger than memory '
        '(default: NAME_x3.7.png here)',
    )
    group.add_argument(
        '--format', metavar='EXT', help='of results that are named for you: png, jpg, webp, ...'
    )
    group.add_argument(
        '--suffix', metavar='TEXT', help='what is put behind the names of results, such as _large'
    )
    group.add_argument(
        '--quality',
        type=int,
        metavar='Q',
        help='1 to 100, of .jpg and .avif (95), .webp (without loss) and films (67)',
    )
    group.add_argument(
        '--recursive',
        action='store_true',
        help='images in subfolders too; the results keep the tree',
    )
    existing = group.add_mutually_exclusive_group()
    existing.add_argument(
        '--overwrite',
        action='store_true',
        help='replace results that exist; otherwise those of a folder are skipped, so that a '
        'stopped batch goes on',
    )
    existing.add_argument(
        '--skip-existing', action='store_true', help='skip a single result that exists, too'
    )
    group.add_argument('--strict', action='store_true', help='refuse JPEG files that are cut off')


def plan(
    inputs: list[str],
    output: str | None,
    label: str = '',
    recursive: bool = False,
    overwrite: bool = False,
    suffix: str | None = None,
    kind: str | None = None,
    skip_existing: bool = False,
) -> Plan:
    """Source and target of every image.

    Args:
        inputs: Files and folders; - is standard input.
        output: A file or a folder, or - for standard output; None: the current folder, with the
            label behind the names, or standard output for standard input.
        label: What was asked for, such as _x3.7.
        recursive: Take the images of subfolders too; results keep the tree.
        overwrite: Replace results that exist; without it, those of folders are left as they are.
        suffix: What stands behind the names instead of the label, wherever results go.
        kind: Extension of results that are not named, with or without its dot.
        skip_existing: Leave a single result as it is too.

    Raises:
        UserError: A missing input, a folder without images, two images with one target, a target
            that is a source, or, for a single image, one that exists.
    """
    naming = Naming(label if output is None else '', extension_named(kind))
    if suffix is not None:
        naming = naming._replace(label=part_of_name(suffix))
    if output is None:
        output = '-' if inputs == ['-'] else './'
    out, sources, notes, several = Path(output), [], [], False
    for name in inputs:
        if name == '-':
            sources.append(Source(STANDARD, Path(), named=True))
            continue
        sources += sources_of(Path(name), out, recursive, notes)
        several = several or Path(name).is_dir()
    several = several or len(sources) > 1
    if out == STANDARD:
        if suffix is not None:
            raise UserError('--suffix: found it beside -o -, which has no name; leave it out.')
        return Plan([_to_standard(sources, several)], [], notes)
    jobs = []
    as_folder = several or output.endswith('/') or out.is_dir()
    for source in sources:
        pages = _pages(source.path)
        if len(pages) > 1 and not as_folder:
            raise UserError(
                f'-o: {source.path} has {len(pages)} pages, each of which becomes a file; name a '
                f'folder (-o {out.parent / out.stem}/).'
            )
        for page in pages:
            result = result_in(out, source, naming, page, len(pages)) if as_folder else out
            moving = source.path != STANDARD and is_moving(source.path)
            jobs.append(Job(source.path, result, page if len(pages) > 1 else None, moving))
    _require_output(out, as_folder, several, [job.moves for job in jobs])
    if not as_folder and (kind is not None or suffix is not None):
        flag = '--suffix' if kind is None else '--format'
        raise UserError(
            f'{flag}: found it beside -o {out}, which says all of a name; leave it out.'
        )
    jobs = _told_apart(jobs)
    _require_names(jobs)
    if not overwrite:
        jobs = _without_results(
            jobs, {source.path for source in sources if not source.named}, notes
        )
    _require_apart(jobs)
    others = [job.result for job in jobs if naming.suffix not in (None, job.result.suffix)]
    if as_folder and others:
        notes.append(
            f'--format: {naming.suffix} cannot hold {len(others)} of {len(jobs)} results, which '
            f'have another extension ({some(others)}).'
        )
    if overwrite:
        return Plan(jobs, [], notes)
    return _without_done(Plan(jobs, [], notes), several or len(jobs) > 1 or skip_existing)


def _told_apart(jobs: list[Job]) -> list[Job]:
    """Jobs whose results would have one name, of sources that differ in their extension, have
    it in the name: a_jpg.png and a_png.png.
    """
    counts = Counter(job.result for job in jobs)
    apart = []
    for job in jobs:
        if counts[job.result] > 1 and job.source.suffix:
            name = f'{job.result.stem}_{job.source.suffix[1:].lower()}{job.result.suffix}'
            job = job._replace(result=job.result.with_name(name))
        apart.append(job)
    return apart


def _to_standard(sources: list[Source], several: bool) -> Job:
    """The one job whose result goes to standard output.

    Raises:
        UserError: There are several, or a result that is no stream of bytes.
    """
    path = sources[0].path
    pages = _pages(path)
    if several or len(pages) > 1 or (path != STANDARD and is_moving(path)):
        raise UserError('-o: found - for more than one picture; name a folder (-o FOLDER/).')
    return Job(path, STANDARD)


def _pages(path: Path) -> list[int]:
    """The pages of a file, from 0."""
    if path == STANDARD:
        return [0]
    from liif_arch.files.formats import TIFF, content_format

    if content_format(path) is not TIFF:
        return [0]
    from liif_arch.files.tiff_pages import picture_pages

    return picture_pages(path)


def _without_done(planned: Plan, several: bool) -> Plan:
    """What is left of a plan when results that exist are left alone.

    Raises:
        UserError: It is the result of the one image that was named.
    """
    left, done = [], []
    for job in planned.jobs:
        if job.result.exists():
            done.append(job)
        else:
            left.append(job)
    names = [job.result for job in done]
    if done and not several:
        raise UserError(f'-o: {names[0]} exists; name another, or replace it with --overwrite.')
    notes = list(planned.notes)
    if done:
        notes.append(
            f'{len(done)} of {len(planned.jobs)} results exist and were skipped ({some(names)}); '
            '--overwrite replaces them.'
        )
    return Plan(left, done, notes)


def _require_output(out: Path, as_folder: bool, several: bool, moves: list[bool]) -> None:
    """Raise UserError where the results cannot be written to what -o names."""
    from liif_arch.files.formats import WRITTEN_EXTENSIONS
    from liif_arch.films.kinds import VIDEOS, WRITTEN_ANIMATIONS

    known = WRITTEN_EXTENSIONS
    if all(moves):
        known = (*VIDEOS, *WRITTEN_ANIMATIONS)
    suffix = out.suffix.lower()
    if as_folder and (out.is_file() or (suffix in known and not out.is_dir())):
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
    if not as_folder and suffix not in known:
        what = 'a film or animation' if all(moves) else 'an image file'
        raise UserError(
            f'-o: {out}: there is no such folder, and {what} ends with one of '
            f'{", ".join(known)}; for a new folder write {out}/.'
        )


def _without_results(jobs: list[Job], found: set[Path], notes: list[str]) -> list[Job]:
    """Jobs but those whose sources an earlier run has made of the others, in the same folder.

    Args:
        jobs: All of them.
        found: Sources that folders hold; those that were named themselves are meant.
        notes: What is said of it joins them.
    """
    made = {_identity(job.result): job.source for job in jobs if job.result.exists()}
    kept, results = [], []
    for job in jobs:
        is_result = (
            job.source in found and made.get(_identity(job.source), job.source) != job.source
        )
        if is_result:
            results.append(job.source)
        else:
            kept.append(job)
    if results:
        notes.append(
            f'{len(results)} images of these folders are results of others and were left alone '
            f'({some(results)}).'
        )
    return kept


def _require_names(jobs: list[Job]) -> None:
    """Raise UserError for a result whose name is longer than a file's can be."""
    for job in jobs:
        length = len(os.fsencode(job.result.name))
        if length > LONGEST_NAME:
            raise UserError(
                f'-o: the result of {job.source} would have a name of {length} bytes; '
                f'{LONGEST_NAME} are allowed. Name it (-o), or shorten its end (--suffix).'
            )


def _require_apart(jobs: list[Job]) -> None:
    """Raise UserError where two images have one target, or a target is an image that is read."""
    read = {_identity(job.source): job.source for job in jobs if job.source != STANDARD}
    seen: dict[Path, Path] = {}
    for job in jobs:
        if job.result in seen:
            raise UserError(
                f'{job.source} and {seen[job.result]} would both become {job.result}; run them '
                'apart.'
            )
        seen[job.result] = job.source
        if not job.result.exists() or _identity(job.result) not in read:
            continue
        what = 'the input itself'
        if read[_identity(job.result)] != job.source:
            what = f'an input, and the target of {job.source}'
        raise UserError(f'-o: {job.result} is {what}; name another place (-o FOLDER/).')


def _identity(path: Path) -> tuple[int, int]:
    """What is the same for two names of one file."""
    status = path.stat()
    return status.st_dev, status.st_ino
