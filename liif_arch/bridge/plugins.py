"""Plugins: every installed package that names a module in the entry-point group `basicsr.plugins`."""
import sys
from importlib.metadata import entry_points

GROUP = 'basicsr.plugins'


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
