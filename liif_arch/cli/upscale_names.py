"""How the results of `basicsr upscale` are named."""

import os
from pathlib import Path
from typing import NamedTuple

from liif_arch.cli.upscale_sources import STANDARD, Source
from liif_arch.errors import UserError


class Naming(NamedTuple):
    """How results are named within a folder.

    Attributes:
        label: What stands behind the name of the source.
        suffix: The extension, .png for instance; None: one that keeps everything.
    """

    label: str = ''
    suffix: str | None = None


def extension_named(kind: str | None) -> str | None:
    """--format as an extension.

    Raises:
        UserError: Nothing is written under it.
    """
    if kind is None:
        return None
    from liif_arch.files.formats import WRITTEN_EXTENSIONS
    from liif_arch.films.kinds import VIDEOS

    suffix = f'.{kind.lower().removeprefix(".")}'
    known = (*WRITTEN_EXTENSIONS, '.gif', *VIDEOS)
    if suffix not in known:
        raise UserError(
            f'--format: found {kind}; needed one of {", ".join(name[1:] for name in known)}.'
        )
    return suffix


def part_of_name(suffix: str) -> str:
    """--suffix, where it can be a part of a name."""
    if '/' in suffix or os.sep in suffix or '\0' in suffix:
        raise UserError(f'--suffix: found {suffix!r}; needed a part of a name, such as _large.')
    return suffix


def result_in(out: Path, source: Source, naming: Naming, page: int, pages: int) -> Path:
    """Where an image's result goes within a folder."""
    from liif_arch.files.formats import content_format, format_of, lossless_extension
    from liif_arch.films.kinds import film_extension, written_films

    stem, suffix = source.path.stem, naming.suffix
    if source.path == STANDARD:
        stem = 'stdin'
    if source.path != STANDARD:
        moving = is_moving(source.path)
        if moving and suffix not in written_films(source.path):
            suffix = film_extension(source.path)
        elif not moving and suffix is not None and format_of(f'a{suffix}') is None:
            suffix = None  # a film's
    if suffix is None:
        suffix = lossless_extension(content_format(source.path))
    number = ''
    if pages > 1:
        number = f'_{page + 1:0{len(str(pages))}}'
    return out / source.folder / f'{stem}{naming.label}{number}{suffix}'


def is_moving(path: Path) -> bool:
    """Whether a file is a film or an animation."""
    from liif_arch.films.kinds import is_animation, is_video

    return is_video(path) or is_animation(path)
