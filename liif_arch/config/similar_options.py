"""Names of option files, and the nearest ones to a name that is none."""

import difflib
from collections.abc import Iterable
from pathlib import Path

from liif_arch.errors import missing_path

MOST_LISTED = 5  # option files of a folder that an error lists


def stem_of(name: str) -> str:
    """An option file's name without extension."""
    return name.removesuffix('.yml').removesuffix('.yaml')


def similar_options(path: Path, shipped: Iterable[str]) -> str:
    """What to say of an option file that is not there: where similar ones are.

    Args:
        path: Where it was looked for.
        shipped: Names of those that ship.
    """
    if path.is_dir():
        return f'{path} is a folder.'
    stem = stem_of(path.name)
    there = _option_files_in(path.parent)
    near = [str(path.parent / there[s]) for s in difflib.get_close_matches(stem, there, n=2)]
    near += [f'{s} (which ships)' for s in difflib.get_close_matches(stem, shipped, n=1)]
    if near:
        return f'did you mean {" or ".join(near)}?'
    every = '`basicsr options` lists those that ship.'
    if not path.parent.is_dir():
        return f'{path.parent} {missing_path(path.parent)}. {every}'
    few = list(there.values())[:MOST_LISTED]
    more = ', ...' if len(there) > MOST_LISTED else ''
    found = f'has {", ".join(few)}{more}' if few else 'has no option files'
    return f'{path.parent.absolute()} {found}. {every}'


def _option_files_in(folder: Path) -> dict[str, str]:
    """Names of the option files in a folder, by name without extension."""
    if not folder.is_dir():
        return {}
    names = sorted(p.name for p in folder.iterdir() if p.suffix in ('.yml', '.yaml'))
    return {stem_of(name): name for name in names}
