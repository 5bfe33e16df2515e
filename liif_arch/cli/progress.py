"""How far a long piece of work is: a bar on a terminal, a line now and then in a log."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SECONDS_BETWEEN_LINES = 30
BAR = '{desc} {percentage:3.0f}% |{bar}| {elapsed}<{remaining}'


@contextmanager
def progress_bar(label: str) -> Iterator[Callable[[int, int], None]]:
    """Show progress on standard error, from the first call on: what is refused before has no bar.

    Where standard error is no terminal, there is a line every `SECONDS_BETWEEN_LINES` instead of a
    bar.

    Args:
        label: What is being done.

    Yields:
        A function that takes (done, total); equal parts of it should take about equal time.
    """
    shown = _Bar(label) if sys.stderr.isatty() else _Lines(label)
    try:
        yield shown
    finally:
        shown.close()


class _Bar:
    def __init__(self, label: str) -> None:
        self.label, self.bar = label, None

    def __call__(self, done: int, total: int) -> None:
        if self.bar is None:
            from tqdm import tqdm

            # smoothing 0: the estimate is from the average since the start, as parts come in bursts
            self.bar = tqdm(desc=self.label, total=total, bar_format=BAR, smoothing=0)
        self.bar.update(done - self.bar.n)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()


class _Lines:
    def __init__(self, label: str) -> None:
        self.label, self.start, self.told = label, None, 0.0

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if self.start is None:
            self.start = self.told = now
        if done == 0 or done == total or now - self.told < SECONDS_BETWEEN_LINES:
            return
        self.told = now
        left = (now - self.start) * (total - done) / done
        print(
            f'{self.label}: {done / total:.0%} done, about {_duration(left)} left',
            file=sys.stderr,
            flush=True,
        )

    def close(self) -> None:
        pass


def _duration(seconds: float) -> str:
    """12 s, 5 min or 3 h 20 min."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f'{round(seconds)} s'
    return f'{minutes} min' if minutes < 90 else f'{minutes // 60} h {minutes % 60} min'
