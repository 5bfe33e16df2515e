"""Where option files are: by path, by a shipped name, and the nearest names to what is neither."""

import difflib
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from liif_arch.config.plugins import option_files, yaml_files
from liif_arch.errors import UserError, missing_path

MOST_LISTED = 5  # option files of a folder that an error lists


def shipped_options() -> dict[str, Path]:
    """Option files of this package and of installed plugins, by name without extension.

    Of two with one name this package's comes first.
    """
    own = yaml_files('liif_arch.options')
    return own | option_files() | own  # first in order, and of two with one name


def find_option_file(name: str, folder: Path | None = None, key: str = '-opt') -> Path:
    """An option file by its path, or a shipped one by its name (`quickstart`,
    `options/quickstart.yml`).

    Args:
        name: What was asked for.
        folder: Where an error looks for similar names; None: where the path leads from here.
        key: What an error calls it.

    Raises:
        UserError: Neither; suggests the nearest files beside it and the nearest shipped name.
    """
    path = Path(name).expanduser()
    if path.is_file():
        return path
    shipped = shipped_options()
    stem = stem_of(path.name)
    if stem in shipped and str(path.parent) in ('.', 'options'):
        return shipped[stem]
    beside = path
    if folder is not None:
        beside = folder / path
    hint = similar_options(beside, shipped)
    raise UserError(
        f'found {name}, which is neither a file nor a shipped option file; {hint}', key=key
    )


def require_option_file(name: str) -> Path:
    """`find_option_file` for a command's `-opt`.

    Where a path was given and a shipped file is used, a line says so.
    """
    path = find_option_file(name)
    by_path = name != stem_of(name) or os.sep in name
    if by_path and not Path(name).expanduser().is_file() and 'RANK' not in os.environ:
        print(f'-opt {name}: not here; using the one that ships ({path})', file=sys.stderr)
    return path


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
    near = []
    for similar in difflib.get_close_matches(stem, there, n=2):
        near.append(str(path.parent / there[similar]))
    for similar in difflib.get_close_matches(stem, shipped, n=1):
        near.append(f'{similar} (which ships)')
    if near:
        return f'did you mean {" or ".join(near)}?'
    every = '`basicsr options` lists those that ship.'
    if not path.parent.is_dir():
        return f'{path.parent} {missing_path(path.parent)}. {every}'
    found = 'has no option files'
    if there:
        found = 'has ' + ', '.join(list(there.values())[:MOST_LISTED])
    if len(there) > MOST_LISTED:
        found += ', ...'
    return f'{path.parent.absolute()} {found}. {every}'


def _option_files_in(folder: Path) -> dict[str, str]:
    """Names of the option files in a folder, by name without extension."""
    if not folder.is_dir():
        return {}
    found = {}
    for path in sorted(folder.iterdir()):
        if path.suffix in ('.yml', '.yaml'):
            found[stem_of(path.name)] = path.name
    return found
