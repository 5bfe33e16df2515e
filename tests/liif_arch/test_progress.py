"""Bars as a terminal and as a file get them."""

import fcntl
import io
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios

import pytest

from liif_arch import progress
from liif_arch.progress import PlainLines, TerminalBar, progress_bar, progress_of_parts

LOOP = (
    'import time\nfrom liif_arch.progress import progress_bar\n'
    'for _ in progress_bar(range(4), desc="work", unit="image"): time.sleep(0.2)'
)


class Clock:
    """A clock that goes on by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr('tqdm.std.time', clock)
    return clock


def test_plain_lines__one_every_half_minute(clock):
    file = io.StringIO()
    bar = PlainLines(desc='work', total=1000, unit='image', file=file)
    for _ in range(1000):
        clock.now += 0.1
        bar.update()
    bar.close()
    lines = file.getvalue().splitlines()
    assert '\r' not in file.getvalue() and len(lines) == 3
    assert lines[0] == 'work:  30% 300/1000 10.00image/s eta 01:10'


@pytest.mark.parametrize('leave', [True, False])
def test_plain_lines__short_work_writes_none(clock, leave):
    file = io.StringIO()
    for _ in PlainLines(range(100), desc='work', file=file, leave=leave):
        clock.now += 0.2
    assert file.getvalue() == ''


def test_plain_lines__are_not_written_again_by_other_lines(capsys):
    bar = PlainLines(desc='work', total=10)
    progress.write_line('found')
    bar.close()
    assert capsys.readouterr().out == 'found\n'


def test_plain_lines__disabled():
    """As a validation with `pbar: false` in a log asks for it; tqdm then has no format."""
    assert list(PlainLines(range(3), disable=True)) == [0, 1, 2]


def test_progress_bar__in_a_file():
    done = subprocess.run([sys.executable, '-c', LOOP], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, '', '')


@pytest.mark.parametrize('columns', [60, 0])
def test_progress_bar__in_a_terminal_leaves_its_line_empty(columns):
    """Of a known width, and of one that does not say its width."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack('HHHH', 24, columns, 0, 0))
    subprocess.run([sys.executable, '-c', LOOP], stderr=theirs, timeout=60, check=True)
    assert select.select([ours], [], [], 0)[0]
    shown = os.read(ours, 10**5).decode()
    os.close(theirs)
    os.close(ours)
    assert '\n' not in shown and '2/4' in shown
    assert re.search(r'\r *\r$', shown), shown[-200:]
    assert max(map(len, shown.split('\r'))) <= (columns or 80)


def test_progress_bar__chooses(monkeypatch):
    for terminal, kind in ((True, TerminalBar), (False, PlainLines)):
        monkeypatch.setattr(progress, 'in_terminal', lambda terminal=terminal: terminal)
        bar = progress_bar(total=1, file=io.StringIO())
        assert type(bar) is kind
        bar.close()


def test_parts__a_line_now_and_then(capsys, clock):
    with progress_of_parts('a.png') as report:
        report(0, 800)
        for done in range(1, 801):
            clock.now += 0.125
            report(done, 800)
    assert capsys.readouterr().err.splitlines() == [
        'a.png:  30% 00:30 eta 01:10',
        'a.png:  60% 01:00 eta 00:40',
        'a.png:  90% 01:30 eta 00:10',
    ]


def test_parts__nothing_of_what_is_quick_or_refused(capsys, clock):
    with progress_of_parts('a.png') as report:
        report(0, 10)
        report(10, 10)
    with pytest.raises(ValueError), progress_of_parts('b.png'):
        raise ValueError
    assert capsys.readouterr().err == ''


def test_parts__a_bar_in_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, 'isatty', lambda: True)
    with progress_of_parts('a.png') as report:
        report(0, 10)
        report(10, 10)
    err = capsys.readouterr().err
    assert err.startswith('\ra.png   0% |') and re.search(r'\r *\r$', err)
