"""Plugins: every installed package that names a module in the entry-point group `basicsr.plugins`.

Those that ship option files name the package that holds them in `basicsr.options`.
"""
import sys
from importlib.metadata import entry_points

GROUP, OPTIONS = 'basicsr.plugins', 'basicsr.options'


def load_plugins() -> dict[str, str | None]:
    """Import every installed plugin's module, which registers what it brings.

    Returns:
        Module of each plugin, and its error in one line, or None where it loaded. A failure is printed and does not
        keep the others from loading.
    """
    outcome: dict[str, str | None] = {}
    for entry in sorted(entry_points(group=GROUP), key=lambda e: (not e.name.startswith('liif'), e.name)):
        try:
            entry.load()
            outcome[entry.value] = None
        except Exception as error:  # whatever a stranger's module raises; it is named, not swallowed
            text = str(error).strip().splitlines()
            outcome[entry.value] = f'{type(error).__name__}: {text[0] if text else ""}'
            print(f'basicsr: plugin "{entry.name}" ({entry.value}) does not load: {outcome[entry.value]}',
                  file=sys.stderr)
    return outcome


def option_packages() -> list[str]:
    """Packages of other plugins that hold option files; one that does not import is named and left out."""
    found = []
    for entry in sorted(entry_points(group=OPTIONS), key=lambda e: e.name):
        try:
            entry.load()
            found.append(entry.value)
        except Exception as error:
            print(f'basicsr: option files of plugin "{entry.name}" ({entry.value}) do not load: {error}',
                  file=sys.stderr)
    return found
