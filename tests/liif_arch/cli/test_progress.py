"""A bar for people, lines for logs."""

import sys

import pytest

from liif_arch.cli import progress


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass at the test's command."""
    now = [100.0]
    monkeypatch.setattr(progress.time, 'monotonic', lambda: now[0])
    return now


def test_log__has_a_line_now_and_then(capsys, clock):
    with progress.progress_bar('a.png') as advance:
        advance(0, 1000)
        for done in range(1, 1001):
            clock[0] += 0.1
            advance(done, 1000)
    assert capsys.readouterr().err.splitlines() == [
        'a.png: 30% done, about 70 s left',
        'a.png: 60% done, about 40 s left',
        'a.png: 90% done, about 10 s left',
    ]


def test_log__is_silent_about_what_is_quick_or_refused(capsys, clock):
    with progress.progress_bar('a.png') as advance:
        advance(0, 10)
        advance(10, 10)
    with pytest.raises(ValueError), progress.progress_bar('b.png'):
        raise ValueError
    assert capsys.readouterr().err == ''


def test_terminal__has_a_bar(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, 'isatty', lambda: True)
    with progress.progress_bar('a.png') as advance:
        advance(0, 10)
        advance(10, 10)
    err = capsys.readouterr().err
    assert 'a.png   0% |' in err and 'a.png 100% |' in err


@pytest.mark.parametrize('seconds,text', [(12.3, '12 s'), (300, '5 min'), (12000, '3 h 20 min')])
def test_duration(seconds, text):
    assert progress._duration(seconds) == text
