"""Weights as .safetensors files: there and back, wherever weights are named."""

import json
import sys

import pytest
import torch
from helpers import photo, run_here
from tiny_weights import tiny_network

from liif_arch import LIIF, load_network, upscale
from liif_arch.errors import UserError
from liif_arch.training.checkpoints import load_file, save_file

safetensors = pytest.importorskip('safetensors.torch')
NETWORK = tiny_network()


@pytest.fixture
def trained(tmp_path):
    """A checkpoint of a training, with averaged weights that differ."""
    torch.manual_seed(0)
    net = LIIF(NETWORK['encoder'], [16])
    plain = {name: value * 2 for name, value in net.state_dict().items()}
    content = {'params': plain, 'params_ema': net.state_dict(), 'network_g': NETWORK}
    save_file(content, tmp_path / 'w.pth')
    return tmp_path / 'w.pth'


def test_convert__there_and_back_is_the_same_network(monkeypatch, tmp_path, trained, capsys):
    assert run_here(monkeypatch, tmp_path, 'convert', 'w.pth', 'w.safetensors') == 0
    assert 'w.safetensors: for this package' in capsys.readouterr().out
    assert run_here(monkeypatch, tmp_path, 'convert', 'w.safetensors', 'again.pth') == 0
    expected = upscale(load_network(trained), photo(9, 9), scale=2)
    for name in ('w.safetensors', 'again.pth'):
        found = upscale(load_network(tmp_path / name), photo(9, 9), scale=2)
        assert (found == expected).all()


def test_file__says_alone_what_it_is(tmp_path, trained):
    """In the format's own metadata, and its tensors have the names of the network's."""
    save_file(load_file(trained), tmp_path / 'w.safetensors')
    with safetensors.safe_open(str(tmp_path / 'w.safetensors'), 'pt') as file:
        assert json.loads(file.metadata()['network_g']) == NETWORK
        assert set(file.keys()) == set(load_network(trained).state_dict())


def test_weights_that_ship__as_such_a_file(monkeypatch, tmp_path):
    assert run_here(monkeypatch, tmp_path, 'convert', 'small', 'small.safetensors') == 0
    expected = upscale(load_network('small'), photo(9, 9), scale=3)
    found = upscale(load_network(tmp_path / 'small.safetensors'), photo(9, 9), scale=3)
    assert (found == expected).all()


def test_file__of_another_program(tmp_path, trained):
    """Without a word of its network, which -opt names."""
    safetensors.save_file(load_file(trained)['params_ema'], tmp_path / 'w.safetensors')
    with pytest.raises(UserError, match='not which network they belong to'):
        load_network(tmp_path / 'w.safetensors')
    net = load_network(tmp_path / 'w.safetensors', network=NETWORK)
    assert (
        upscale(net, photo(9, 9), scale=2) == upscale(load_network(trained), photo(9, 9), scale=2)
    ).all()


@pytest.mark.parametrize('content', [b'', b'no tensors', b'\xff' * 64])
def test_file__damaged(tmp_path, content):
    (tmp_path / 'w.safetensors').write_bytes(content)
    with pytest.raises(UserError, match=r'w\.safetensors: not a checkpoint of tensors alone'):
        load_network(tmp_path / 'w.safetensors')


def test_file__whose_network_is_damaged(tmp_path, trained):
    tensors = load_file(trained)['params']
    safetensors.save_file(tensors, tmp_path / 'w.safetensors', {'network_g': '{type: LIIF'})
    with pytest.raises(UserError, match='"network_g" is not JSON'):
        load_network(tmp_path / 'w.safetensors')


def test_file__missing_or_without_its_package(tmp_path, monkeypatch):
    with pytest.raises(UserError, match='No such file'):
        load_network(tmp_path / 'no.safetensors')
    monkeypatch.setitem(sys.modules, 'safetensors.torch', None)
    with pytest.raises(UserError, match=r"pip install 'basicsr-liif\[hub\]'"):
        load_network(tmp_path / 'no.safetensors')


def test_file__a_training_state_is_none(tmp_path):
    with pytest.raises(UserError, match='found no weights for it'):
        save_file({'optimizers': []}, tmp_path / 'w.safetensors')
    assert not list(tmp_path.iterdir())
