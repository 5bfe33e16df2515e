"""Progress for people: in a terminal a line that is rewritten, in a file one now and then."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import ClassVar, TextIO
from weakref import WeakSet

from tqdm import tqdm

LOG_INTERVAL = 30  # seconds between the lines of one bar where standard error is no terminal
UNKNOWN_COLUMNS = 80  # of a terminal that does not say how wide it is
PLAIN_FORMAT = '{desc}: {percentage:3.0f}% {n_fmt}/{total_fmt} {rate_fmt} eta {remaining}{postfix}'
PARTS = '{desc} {percentage:3.0f}% |{bar}| {elapsed} eta {remaining}'
PLAIN_PARTS = '{desc}: {percentage:3.0f}% {elapsed} eta {remaining}'


class TerminalBar(tqdm):
    """tqdm's bar on one line of a terminal, which it leaves empty in the end."""

    monitor_interval = 0  # tqdm's watching thread would be there when data workers are forked

    def __init__(self, iterable: Iterable | None = None, **options: object) -> None:
        width = {'dynamic_ncols': True} if _columns() else {'ncols': UNKNOWN_COLUMNS}
        super().__init__(iterable, **{'leave': False, 'miniters': 1, **width, **options})


class PlainLines(tqdm):
    """tqdm's figures as a line every `LOG_INTERVAL` seconds; shorter work writes none."""

    monitor_interval = 0
    _instances: ClassVar[WeakSet] = (
        WeakSet()
    )  # so that `tqdm.write` does not write each of them again

    def __init__(self, iterable: Iterable | None = None, **options: object) -> None:
        timing = {'miniters': 1, 'mininterval': LOG_INTERVAL, 'delay': LOG_INTERVAL}
        super().__init__(iterable, **{**options, **timing})
        if not self.disable and self.total and not self.bar_format:
            self.bar_format = PLAIN_FORMAT

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:
        """Write a line; `msg` and `pos` are for lines that are rewritten."""
        self.fp.write(f'{self}\n')
        self.fp.flush()
        return True

    def clear(self, nolock: bool = False) -> None:
        """Nothing: what is written stays."""

    def close(self) -> None:
        """End without a last line."""
        if not self.disable:
            self.disable = True
            self._decr_instances(self)


def in_terminal() -> bool:
    """Whether standard error is a terminal, whose last line can be rewritten."""
    return sys.stderr is not None and sys.stderr.isatty()


def _columns() -> int:
    """Width of standard error's terminal; 0 where it does not say, as in some containers."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns
    except (AttributeError, OSError, ValueError):
        return 0


def progress_bar(iterable: Iterable | None = None, **options: object) -> tqdm:
    """tqdm on standard error, as it suits a terminal or a file.

    Args:
        iterable: What is gone through, if the bar is to be iterated over.
        options: tqdm's: desc, total, unit, unit_scale, initial, disable, ...

    Returns:
        A bar with tqdm's methods.
    """
    return (TerminalBar if in_terminal() else PlainLines)(iterable, **options)


@contextmanager
def progress_of_parts(label: str) -> Iterator[Callable[..., None]]:
    """A bar for work that reports how much of it is done, in parts that have no name of their own.

    It is shown from the first report on, so that what is refused before has no bar. The remaining
    time follows from the average since then, because parts come in bursts.

    Args:
        label: What is being done.

    Yields:
        A function that takes (done, total), and another label where that changes; equal parts
        should take about equal time.
    """
    bar = None

    def report(done: int, total: int, now: str = label) -> None:
        nonlocal bar
        if bar is None:
            form = PARTS if in_terminal() else PLAIN_PARTS
            bar = progress_bar(desc=now, total=total, bar_format=form, smoothing=0)
        bar.total = total
        if now != label:
            bar.set_description_str(now, refresh=False)
        bar.update(done - bar.n)

    try:
        yield report
    finally:
        if bar is not None:
            bar.close()


def write_line(text: str, stream: TextIO | None = None) -> None:
    """Print a line to standard output, or another stream, above a bar that is there."""
    tqdm.write(text, file=stream or sys.stdout)
