"""The number of threads that is asked for is used, and checked."""

import pytest
import torch
from helpers import run_here, write_photos

from liif_arch.errors import UserError
from liif_arch.threads import use_threads


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
    assert (
        run_here(
            monkeypatch,
            tmp_path,
            'upscale',
            'a.png',
            '--scale',
            2,
            '--weights',
            'small',
            '--threads',
            count,
        )
        == status
    )
    assert set_threads == expected
