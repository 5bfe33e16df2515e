"""What a user can mend: one exception, whose text is one line with what was found, what is needed,
which key.
"""

import _thread
import difflib
import math
import operator
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SENT_AGAIN = 0.05  # seconds until a signal whose exception was lost is sent again


class UserError(ValueError):
    """A mistake outside the code (an option, a path, a file).

    The command line prints its text without a traceback.

    Its parts are attributes, so that nobody has to parse a message again.

    Args:
        text: One line.
        paths: Faulty images, where that is what is wrong, for `basicsr check --fix-list`.
        key: The option to change, where it is one; the text then stands behind `key: `.
    """

    def __init__(self, text: str, paths: Iterable[str] = (), key: str = '') -> None:
        message = text
        if key:
            message = f'{key}: {text}'
        super().__init__(message)
        self.text, self.key, self.paths = text, key, list(paths)

    def within(self, place: str) -> 'UserError':
        """The same, said of a section of an option file: `datasets.train.lq_size: ...`.

        Args:
            place: The section's keys, joined by dots.
        """
        if self.key:
            return UserError(self.text, self.paths, f'{place}.{self.key}')
        return UserError(f'{place}: {self.text}', self.paths)


class MachineError(RuntimeError):
    """What ended a command from outside code and options (no memory, a killed process).

    Args:
        text: One line.
        status: Exit status of the command.
    """

    def __init__(self, text: str, status: int = 1) -> None:
        super().__init__(text)
        self.status = status


class Terminated(KeyboardInterrupt):
    """SIGTERM: it ends a command as Ctrl+C does, so that what is half-written is removed on the way
    out.
    """


def exit_status(main: Callable[[], int | None], stopped: str = 'stopped.', name: str = '') -> int:
    """Run a command's or script's main.

    Args:
        main: Returns an exit status, or None for 0.
        stopped: What to say after Ctrl+C or SIGTERM.
        name: What a line begins with; by default the script's name.

    Returns:
        Main's status; 2 after a UserError and a MachineError's own (their text in one line), 130
        after Ctrl+C, 143 after SIGTERM, 141 where what reads the output has closed it (`basicsr
        options | head`).
    """
    name = name or Path(sys.argv[0]).stem
    try:
        with _interruptible():
            return _written(main)
    except BrokenPipeError:
        if not _output_is_closed():
            raise
        return 141  # what a shell reports for a command that SIGPIPE ended
    except (UserError, MachineError) as error:
        print(f'{name}: {_message(error)}', file=sys.stderr)
        return getattr(error, 'status', 2)
    except KeyboardInterrupt as stop:
        print(f'\n{name}: {stopped}', file=sys.stderr)
        return 143 if isinstance(stop, Terminated) else 130


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let SIGTERM raise `Terminated`, and neither that nor Ctrl+C get lost.

    A signal's exception is raised wherever the main thread is at that moment, also in a finalizer
    or in the callback of a weak reference, which the garbage collector may call anywhere. Python
    reports what these raise to `sys.unraisablehook` and goes on as if nothing had been. Such a
    signal is sent again, until its exception is raised where it ends the command.
    """
    if threading.current_thread() is not threading.main_thread():  # others may set no handlers
        yield
        return

    def terminate(number: int, frame: object) -> None:
        raise Terminated

    to_send: set[signal.Signals] = set()

    def report(lost: Any) -> None:
        if not isinstance(lost.exc_value, KeyboardInterrupt):
            report_before(lost)
            return
        is_terminated = isinstance(lost.exc_value, Terminated)
        number = signal.SIGTERM if is_terminated else signal.SIGINT
        if number not in to_send:
            to_send.add(number)
            # No `threading.Thread`: the collector may run while this thread holds its locks.
            _thread.start_new_thread(_send_again, (number, to_send))

    terminate_before = signal.signal(signal.SIGTERM, terminate)
    report_before, sys.unraisablehook = sys.unraisablehook, report
    try:
        yield
    finally:
        to_send.clear()
        sys.unraisablehook = report_before
        signal.signal(signal.SIGTERM, terminate_before)


def _send_again(number: signal.Signals, to_send: set[signal.Signals]) -> None:
    """Send the main thread a signal, once it has left the call in which the first one was lost;
    unless the command has ended by then.
    """
    time.sleep(SENT_AGAIN)
    if number not in to_send:
        return
    to_send.remove(number)
    main = threading.main_thread().ident
    if hasattr(signal, 'pthread_kill') and main is not None:
        signal.pthread_kill(main, number)  # ends what it waits for, too
    else:  # Windows
        _thread.interrupt_main(number)


def _written(main: Callable[[], int | None]) -> int:
    """Main's status, once what it has printed is on its way; --help ends by SystemExit."""
    try:
        status = main() or 0
    except SystemExit:
        sys.stdout.flush()
        raise
    sys.stdout.flush()
    return status


def _output_is_closed() -> bool:
    """Whether nobody reads standard output any more.

    It then goes nowhere, or Python would complain when it ends.
    """
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
        is_closed = any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))
    except (AttributeError, OSError):  # a system without poll, or output that is no file
        return False
    if is_closed:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return is_closed


def _message(error: Exception) -> str:
    """An error's text; one that a data worker raised arrives with that worker's traceback in
    front.
    """
    text = str(error)
    if 'Original Traceback' not in text:
        return text
    return text.rpartition('UserError: ')[2].strip()


def suggest(name: object, known: Iterable[object]) -> str:
    """`did you mean X?` for the nearest known name, else the list of known ones."""
    names = list(dict.fromkeys(map(str, known)))  # some keys stand in two tables
    near = difflib.get_close_matches(str(name), names, n=1)
    return f'did you mean {near[0]}?' if near else f'known: {", ".join(names)}.'


def require_known(keys: Iterable[object], known: Iterable[object], place: str) -> None:
    """Raise UserError for the first key that is not known, with the nearest one that is."""
    known = list(known)
    for key in keys:
        if key not in known:
            raise UserError(
                f'{place}: found {key}, which is no option of it; {suggest(key, known)}'
            )


def is_whole(value: Any) -> bool:
    """Whether a value is a whole number: Python's, NumPy's, or a tensor of one; no truth value, no
    2.0.
    """
    if isinstance(value, bool) or 'bool' in str(getattr(value, 'dtype', '')):
        return False
    try:
        operator.index(value)
    except TypeError:
        return False
    return True


def require_whole(place: str = '', least: int = 1, **values: Any) -> None:
    """Raise UserError for the first value that is not a whole number of at least `least`."""
    for name, value in values.items():
        if not is_whole(value) or value < least:
            raise UserError(
                f'found {value!r}; needed a whole number of at least {least}.', key=f'{place}{name}'
            )


def require_mebibytes(**values: Any) -> None:
    """Raise UserError for the first value that is no finite number above 0, of MiB."""
    for name, value in values.items():
        if not isinstance(value, (int, float)) or not 0 < value < math.inf:
            raise UserError(f'found {value!r}; needed a number of MiB above 0.', key=name)


def missing_path(path: str | Path) -> str:
    """Says that nothing lies at a path, how far it exists, and the nearest name there."""
    path = Path(path).expanduser().absolute()
    parent = path.parent
    while not os.path.isdir(parent):
        parent = parent.parent
    wanted, hint = path.relative_to(parent).parts[0], ''
    near = difflib.get_close_matches(wanted, os.listdir(parent), n=1)
    if near:
        hint = f'; did you mean {near[0]}?'
    return f'does not exist ({parent} has no {wanted[:100]}{hint})'
