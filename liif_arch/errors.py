"""What a user can mend: one exception, whose text is one line with what was found, what is needed, which key."""
import difflib
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path


class UserError(ValueError):
    """A mistake outside the code (an option, a path, a file); the command line prints its text without a traceback."""


def exit_status(main: Callable[[], None], stopped: str = 'stopped.') -> int:
    """Run a script's main: status 0, 2 after a UserError (its text in one line), 130 after Ctrl+C (`stopped`)."""
    name = Path(sys.argv[0]).stem
    try:
        main()
    except UserError as error:
        print(f'{name}: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f'\n{name}: {stopped}', file=sys.stderr)
        return 130
    return 0


def suggest(name: object, known: Iterable[object]) -> str:
    """`did you mean X?` for the nearest known name, else the list of known ones."""
    known = [str(k) for k in known]
    near = difflib.get_close_matches(str(name), known, n=1)
    return f'did you mean {near[0]}?' if near else f'known: {", ".join(known)}.'


def require_known(keys: Iterable[object], known: Iterable[object], place: str) -> None:
    """Raise UserError for the first key that is not known, with the nearest one that is."""
    known = list(known)
    for key in keys:
        if key not in known:
            raise UserError(f'{place}: found {key}, which is no option of it; {suggest(key, known)}')


def require_whole(place: str = '', least: int = 1, **values: object) -> None:
    """Raise UserError for the first value that is not a whole number of at least `least`."""
    for name, value in values.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise UserError(f'{place}{name}: found {value!r}; needed a whole number of at least {least}.')


def missing_path(path: str | Path) -> str:
    """Says that nothing lies at a path, how far it exists, and the nearest name there."""
    path = Path(path).expanduser().absolute()
    parent = next(p for p in path.parents if os.path.isdir(p))
    wanted = path.relative_to(parent).parts[0]
    near = difflib.get_close_matches(wanted, [p.name for p in parent.iterdir()], n=1)
    return f'does not exist ({parent} has no {wanted[:100]}{f"; did you mean {near[0]}?" if near else ""})'
