"""Plugins: every installed package that names a module in the entry-point group `basicsr.plugins`.

Those that ship option files name the package that holds them in `basicsr.options`.
"""

import sys
from importlib import import_module
from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path

GROUP, OPTIONS = 'basicsr.plugins', 'basicsr.options'


def load_plugins() -> dict[str, str | None]:
    """Import every installed plugin's module, which registers what it brings.

    Returns:
        Module of each plugin, and its error in one line, or None where it loaded. A failure is
        printed and does not keep the others from loading.
    """
    outcome: dict[str, str | None] = {}
    for entry in sorted(
        entry_points(group=GROUP), key=lambda e: (not e.name.startswith('liif'), e.name)
    ):
        try:
            entry.load()
            outcome[entry.value] = None
        except (
            Exception,
            SystemExit,
        ) as error:  # whatever a stranger's module raises; it is named, not swallowed
            outcome[entry.value] = _line(error)
            print(
                f'basicsr: plugin "{entry.name}" ({entry.value}) does not load: '
                f'{outcome[entry.value]}',
                file=sys.stderr,
            )
    return outcome


def option_files() -> dict[str, Path]:
    """Option files of other plugins, by name without extension.

    A package that does not load is named and left out.
    """
    found: dict[str, Path] = {}
    for entry in sorted(entry_points(group=OPTIONS), key=lambda e: e.name):
        try:
            found |= yaml_files(entry.value)
        except (Exception, SystemExit) as error:
            print(
                f'basicsr: option files of plugin "{entry.name}" ({entry.value}) do not load: '
                f'{_line(error)}',
                file=sys.stderr,
            )
    return found


def yaml_files(package: str) -> dict[str, Path]:
    """The option files in a package, by name without extension.

    Raises:
        TypeError: It is a module and no package, whose folder belongs to others too.
    """
    if not hasattr(import_module(package), '__path__'):
        raise TypeError(f'{package} is a module; needed a package, a folder with an __init__.py')
    return {
        p.name.removesuffix('.yml'): Path(str(p))
        for p in sorted(files(package).iterdir(), key=lambda p: p.name)
        if p.name.endswith('.yml')
    }


def _line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f'{type(error).__name__}: {text[0] if text else ""}'
