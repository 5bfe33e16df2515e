"""How much is done, by the time that encoding and rendering take."""

import pytest
from helpers import photo

from liif_arch import LIIF, upscale
from liif_arch.upscaling import progress as timing


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass at the test's command."""
    now = [50.0]
    monkeypatch.setattr(timing.time, 'perf_counter', lambda: now[0])
    return now


@pytest.mark.parametrize(
    'encoding,rendering,setup', [(100, 1, 0), (1, 1, 40), (0.01, 5, 0), (1, 0.1, 9)]
)
def test_progress__tells_the_share_of_time(clock, encoding, rendering, setup):
    """Two windows, of 30 and 10 inputs, at constant rates; the first says enough of the second."""
    total = 40 * (encoding + setup) + 400 * rendering
    told = []
    progress = timing.Progress(lambda *figures: told.append(figures), outputs=400, inputs=40)
    start = clock[0]
    for inputs in (30, 10):
        clock[0] += inputs * encoding
        progress.encoded(inputs)
        progress.begin_part()
        clock[0] += inputs * setup
        for block in range(inputs):
            clock[0] += 10 * rendering
            progress.rendered(10)
            share = (clock[0] - start) / total
            if told[-1][0] or block or inputs == 10:
                assert told[-1] == (pytest.approx(400 * share, rel=0.1, abs=1), 400)
    assert told[:2] == [(0, 400), (0, 400)] and told[-1] == (400, 400)


def test_progress__of_parts_in_one_block_each(clock):
    told = []
    progress = timing.Progress(lambda done, total: told.append(done), outputs=40, inputs=10)
    progress.encoded(10)
    for _ in range(4):
        progress.begin_part()
        clock[0] += 1
        progress.rendered(10)
    assert told == [0, 0, 20, 30, 40]


def test_progress__never_falls(clock):
    told = []
    progress = timing.Progress(lambda done, total: told.append(done), outputs=100, inputs=10)
    for seconds in (1, 30, 2, 50, 1):
        progress.encoded(2)
        for _ in range(2):
            clock[0] += seconds
            progress.rendered(10)
    assert told == sorted(told) and told[-1] == 100


def test_progress__nobody_asks(clock):
    progress = timing.Progress(None, outputs=10, inputs=0)
    progress.rendered(10)


def test_upscale__counts_encoding_as_work(clock, monkeypatch):
    """The second block after 90 seconds of encoding says that 95 of 100 seconds are over."""
    net = LIIF({'type': 'EDSREncoder', 'num_feat': 4, 'num_block': 1}, [8])
    encode, render = net.encode, net.render_window

    def slow_encode(lq):
        clock[0] += 90
        return encode(lq)

    def slow_render(*arguments):
        for _ in range(4):
            clock[0] += 2.5
            arguments[-1](100)
        return render(*arguments[:-1], None)

    monkeypatch.setattr(net, 'encode', slow_encode)
    monkeypatch.setattr(net, 'render_window', slow_render)
    told = []
    upscale(net, photo(10, 10), scale=2, progress=lambda *figures: told.append(figures))
    assert told == [(0, 400), (0, 400), (380, 400), (390, 400), (400, 400)]
