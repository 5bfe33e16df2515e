"""Whole numbers of every kind are whole numbers; what errors say of names and places."""

import numpy as np
import pytest
import torch

from liif_arch import LIIF
from liif_arch.errors import UserError, is_whole, require_whole, suggest


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
