"""Whole numbers of every kind are whole numbers; what errors say of names and places; signals."""

import os
import signal
import sys
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from liif_arch import LIIF
from liif_arch.errors import UserError, exit_status, is_whole, require_whole, suggest


@pytest.mark.parametrize(
    'value', [3, np.int64(3), np.uint8(3), torch.tensor(3), torch.tensor(3, dtype=torch.uint8)]
)
def test_whole__accepted(value):
    assert is_whole(value)
    require_whole(n=value)
    with pytest.raises(UserError, match='n: found'):
        require_whole(least=4, n=value)


@pytest.mark.parametrize(
    'value',
    [
        True,
        np.bool_(True),
        torch.tensor(True),
        3.0,
        np.float64(3),
        torch.tensor(3.0),
        '3',
        None,
        [3],
        np.array([3, 4]),
        torch.tensor([3, 4]),
    ],
)
def test_whole__refused(value):
    assert not is_whole(value)
    with pytest.raises(UserError, match='n: found .*needed a whole number of at least 1'):
        require_whole(n=value)


def test_whole__networks_of_numpy_widths():
    net = LIIF(
        {'type': 'EDSREncoder', 'num_feat': np.int64(4), 'num_block': np.int32(1)}, [np.int64(8)]
    )
    assert net(torch.rand(1, 3, 4, 4), size=(5, 5)).shape == (1, 3, 5, 5)


def test_suggest__a_key_of_two_tables_once():
    assert suggest('xyz', ['metrics', 'pbar', 'metrics']) == 'known: metrics, pbar.'


def test_user_error__of_a_key_inside_a_place_and_of_a_file():
    wrong = UserError('found 3.', ['a.png'], key='lq_size').within('datasets.train')
    assert (
        str(wrong) == 'datasets.train.lq_size: found 3.' and wrong.key == 'datasets.train.lq_size'
    )
    assert wrong.paths == ['a.png']
    assert (
        str(UserError('a.png: broken').within('datasets.train')) == 'datasets.train: a.png: broken'
    )


class Node:
    """What a weak reference can refer to, and a finalizer be of."""


class Finalized(Node):
    def __init__(self, action) -> None:
        self.action = action

    def __del__(self) -> None:
        self.action()


def in_a_callback(action) -> None:
    node = Node()
    reference = weakref.ref(node, lambda _: action())
    del node
    assert reference() is None


def in_a_finalizer(action) -> None:
    Finalized(action)


@pytest.mark.parametrize('lost_in', [in_a_callback, in_a_finalizer])
@pytest.mark.parametrize('times', [1, 3])
@pytest.mark.parametrize('number,status', [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_exit_status__a_signal_whose_exception_gets_lost_ends_a_command(
    lost_in, times, number, status, capsys
):
    """Python drops what a finalizer raises, or a weak reference's callback; it may be at either
    when a signal comes.
    """
    hook, handler = sys.unraisablehook, signal.getsignal(signal.SIGTERM)
    begin = time.monotonic()

    def send() -> None:
        os.kill(os.getpid(), number)
        time.sleep(1)

    def main() -> None:
        lost_in(send)
        for _ in range(times - 1):
            lost_in(lambda: time.sleep(1))  # it comes again while this one runs
        time.sleep(20)

    assert exit_status(main, name='basicsr upscale') == status
    assert time.monotonic() - begin < 15
    assert capsys.readouterr().err == '\nbasicsr upscale: stopped.\n'
    assert (sys.unraisablehook, signal.getsignal(signal.SIGTERM)) == (hook, handler)


def test_exit_status__a_lost_signal_ends_a_wait_for_a_thread(capsys):
    release = threading.Event()

    def main() -> None:
        with ThreadPoolExecutor(1) as pool:
            waits = pool.submit(release.wait, 20)
            try:
                in_a_callback(lambda: os.kill(os.getpid(), signal.SIGINT))
                waits.result()
            finally:
                release.set()

    begin = time.monotonic()
    assert exit_status(main) == 130 and time.monotonic() - begin < 15


def test_exit_status__other_errors_of_a_finalizer_are_reported_as_ever(monkeypatch):
    reported = []
    monkeypatch.setattr(sys, 'unraisablehook', lambda lost: reported.append(str(lost.exc_value)))

    def fail() -> None:
        raise ArithmeticError('two')

    assert exit_status(lambda: in_a_finalizer(fail)) == 0 and reported == ['two']
