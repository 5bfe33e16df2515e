"""Threads: work in pieces, and how OpenMP's threads wait."""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from helpers import run_here, write_photos

from liif_arch.errors import UserError, exit_status
from liif_arch.threads import SPIN_COUNT, for_each, use_threads

CPU = torch.device('cpu')


@pytest.fixture(params=[1, 3])
def threads(request) -> int:
    """A number of threads, for the time of a test."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_for_each__does_all_without_gradients_on_that_many_threads(threads):
    seen, done = [], []

    def work(item: int) -> None:
        time.sleep(0.01)
        seen.append(
            (
                item,
                threading.current_thread().name,
                torch.get_num_threads(),
                torch.is_grad_enabled(),
            )
        )

    for_each(work, range(20), CPU, lambda item: done.append((item, threading.current_thread())))
    assert sorted(s[0] for s in seen) == sorted(d[0] for d in done) == list(range(20))
    assert len({s[1] for s in seen}) == threads and not any(s[3] for s in seen)
    assert {s[2] for s in seen} == {1}
    assert {d[1] for d in done} == {threading.current_thread()}
    assert torch.get_num_threads() == threads
    later = []
    thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert later == [threads]


@pytest.mark.parametrize('place', ['work', 'done'])
def test_for_each__hands_an_error_on_and_leaves_the_rest_out(threads, place):
    done = []

    def fail(item: int) -> None:
        if item == 2:
            raise ArithmeticError('two')

    def work(item: int) -> None:
        time.sleep(0.01)
        if place == 'work':
            fail(item)
        done.append(item)

    with pytest.raises(ArithmeticError, match='two'):
        for_each(work, range(1000), CPU, fail if place == 'done' else None)
    assert len(done) < 500 and torch.get_num_threads() == threads


def test_for_each__ends_at_ctrl_c(threads):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's & ignores it
    done = []

    def work(item: int) -> None:
        time.sleep(0.02)
        done.append(item)

    threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    try:  # `exit_status` sends it again where the collector of earlier tests' garbage loses it
        assert exit_status(lambda: for_each(work, range(1000), CPU)) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(done) < 500 and torch.get_num_threads() == threads


def test_for_each__that_ends_while_it_hands_out_leaves_the_rest_out(monkeypatch):
    """On a busy machine Ctrl+C may come before all items have been handed out."""
    done, submit = [], ThreadPoolExecutor.submit
    handed_out = iter(range(1000))

    def interrupted(self, *work):
        if next(handed_out) == 500:
            raise KeyboardInterrupt
        return submit(self, *work)

    def work(item: int) -> None:
        time.sleep(0.02)
        done.append(item)

    monkeypatch.setattr(ThreadPoolExecutor, 'submit', interrupted)
    monkeypatch.setattr('torch.get_num_threads', lambda: 3)
    with pytest.raises(KeyboardInterrupt):
        for_each(work, range(1000), CPU)
    assert len(done) < 400


@pytest.mark.parametrize(
    'before,variables,expected',
    [
        ('', {}, str(SPIN_COUNT)),
        ('', {'GOMP_SPINCOUNT': '7'}, '7'),
        ('', {'OMP_WAIT_POLICY': 'ACTIVE'}, 'None'),
        ('import torch; ', {}, 'None'),
    ],
)
def test_import__sets_how_threads_wait_unless_the_user_has(before, variables, expected):
    environment = {
        k: v
        for k, v in os.environ.items()
        if k not in ('GOMP_SPINCOUNT', 'OMP_WAIT_POLICY', 'KMP_BLOCKTIME')
    }
    code = f'{before}import liif_arch, os; print(os.environ.get("GOMP_SPINCOUNT"))'
    result = subprocess.run(
        [sys.executable, '-c', code],
        capture_output=True,
        text=True,
        env={**environment, **variables},
    )
    assert result.stdout.strip() == expected, result.stderr


@pytest.fixture
def set_threads(monkeypatch):
    calls = []
    monkeypatch.setattr(torch, 'set_num_threads', calls.append)
    return calls


def test_threads__are_set(set_threads):
    use_threads(None)
    assert set_threads == []
    use_threads(3)
    assert set_threads == [3]


@pytest.mark.parametrize('count', [0, -1, 1.5, True, '2'])
def test_threads__refused(count, set_threads):
    with pytest.raises(UserError, match='--threads: found'):
        use_threads(count)
    assert set_threads == []


@pytest.mark.parametrize('count,status,expected', [(5, 0, [5]), (0, 2, [])])
def test_upscale__threads(count, status, expected, tmp_path, monkeypatch, set_threads):
    write_photos(tmp_path, [(4, 4)], ['a'])
    flags = '--scale', 2, '--weights', 'small', '--threads', count
    assert run_here(monkeypatch, tmp_path, 'upscale', 'a.png', *flags) == status
    assert set_threads[:1] == expected  # decoding sets it for threads of its own
