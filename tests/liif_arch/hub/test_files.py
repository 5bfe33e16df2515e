"""Names on the hub, and what is downloaded and uploaded, against a stand-in of it."""

import os
import pickle
import subprocess
import sys

import pytest
import torch
from helpers import run_here, tiny_train, write_options
from hub_fixtures import ENCODER, files, same
from hub_fixtures import hub as hub
from hub_fixtures import net as net
from hub_server import TOKEN

from liif_arch import LIIF, load_network
from liif_arch.errors import UserError

constants = pytest.importorskip('huggingface_hub.constants')


def test_push__there_and_back(hub, net):
    address = net.push_to_hub('me/n', commit_message='A network', license='cc-by-nc-4.0')
    assert address.startswith(f'{hub.address}/me/n/commit/') and hub.commits == ['A network']
    stored = hub.repositories['me/n']['main']
    assert sorted(stored) == ['README.md', 'config.json', 'model.safetensors']
    assert 'license: cc-by-nc-4.0' in stored['README.md'].decode()
    assert '--weights hf:me/n' in stored['README.md'].decode()
    assert same(load_network('hf:me/n'), net)
    assert same(LIIF.from_pretrained('me/n'), net)


def test_download__once(hub, net, tmp_path, monkeypatch):
    hub.put('me/n', files(net, tmp_path / 'n'))
    LIIF.from_pretrained('me/n')
    load_network('hf:me/n')
    assert hub.requests.count('GET /me/n/resolve/main/model.safetensors') == 1
    monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', True)
    hub.requests.clear()
    assert same(LIIF.from_pretrained('me/n', local_files_only=True), net)
    assert same(load_network('hf:me/n'), net) and not hub.requests


def test_revision(hub, net, tmp_path):
    hub.put('me/n', {'README.md': b'nothing yet'})
    hub.put('me/n', files(net, tmp_path / 'n'), 'v2')
    assert same(load_network('hf:me/n@v2'), net)
    assert same(LIIF.from_pretrained('me/n', revision='v2'), net)


@pytest.mark.parametrize('place', ['weights.pth', 'models/weights.pth'])
def test_weights__the_only_ones_of_a_repository(hub, tmp_path, net, place):
    """As people upload them by hand."""
    content = {'params': net.state_dict(), 'network_g': net.network_g}
    torch.save(content, tmp_path / 'w.pth')
    hub.put('me/n', {place: (tmp_path / 'w.pth').read_bytes(), 'notes.txt': b''})
    assert same(load_network('hf:me/n'), net)
    assert same(load_network(f'hf:me/n/{place}'), net)


def test_weights__the_only_ones_offline(hub, tmp_path, net, monkeypatch):
    """Once they were downloaded."""
    content = {'params': net.state_dict(), 'network_g': net.network_g}
    torch.save(content, tmp_path / 'w.pth')
    hub.put('me/n', {'models/w.pth': (tmp_path / 'w.pth').read_bytes()})
    load_network('hf:me/n')
    monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', True)
    assert same(load_network('hf:me/n'), net)
    assert same(LIIF.from_pretrained('me/n', local_files_only=True), net)


@pytest.mark.parametrize(
    'name,text',
    [
        ('hf:me', 'hf:me: needed hf:owner/name'),
        ('hf:me/n n', 'hf:me/n n: needed hf:owner/name'),
        ('hf:me/no', 'no such repository'),
        ('hf:me/private', 'no such repository'),
        ('hf:me/n@no', 'no such branch, tag or commit'),
        ('hf:me/n/no.pth', 'no such file in this repository'),
        ('hf:me/n', r'holds no weights \(.safetensors or .pth\)'),
        ('hf:me/two', 'holds a.pth, b.safetensors; name one, as in hf:me/two/a.pth'),
        ('hf:me/gated', 'its owner grants access'),
        ('hf:me..x/n', 'hf:me..x/n: Cannot have'),
        ('hf:me/code', 'not a checkpoint of tensors alone'),
    ],
)
def test_name__that_is_wrong(hub, monkeypatch, name, text):
    class Harmful:
        def __reduce__(self):
            return print, ('executed',)

    hub.put('me/n', {'README.md': b''})
    hub.put('me/two', {'a.pth': b'', 'b.safetensors': b''})
    for closed in ('private', 'gated'):
        hub.put(f'me/{closed}', {'model.safetensors': b''})
    hub.put('me/code', {'w.pth': pickle.dumps(Harmful())})
    hub.private.add('me/private')
    hub.gated.add('me/gated')
    monkeypatch.delenv('HF_TOKEN')
    with pytest.raises(UserError, match=text):
        load_network(name)


def test_push__refused(hub, net, monkeypatch):
    monkeypatch.delenv('HF_TOKEN')
    with pytest.raises(UserError, match='me/n: the hub does not know you; run `hf auth login`'):
        net.push_to_hub('me/n')
    monkeypatch.setenv('HF_TOKEN', 'hf_of_another')
    with pytest.raises(UserError, match='me/n: the hub refuses it; `hf auth login` with a token'):
        net.push_to_hub('me/n')
    assert not hub.repositories


def test_push__of_a_card_that_the_hub_refuses(hub, net):
    hub.card_errors = [{'message': '"license" must be one of a list'}]
    with pytest.raises(UserError, match='me/n: Invalid metadata.*"license" must be'):
        net.push_to_hub('me/n', license='my own')


@pytest.mark.parametrize('name', ['n', 'a/b/c', 'me/n@v2', ''])
def test_push__to_a_name_that_is_none(hub, net, name):
    with pytest.raises(UserError, match='is called owner/name'):
        net.push_to_hub(name)
    assert not hub.requests


@pytest.mark.parametrize(
    'offline,call,text',
    [
        ('0', 'net.push_to_hub("me/n")', 'me/n: the hub cannot be reached ('),
        ('1', 'net.push_to_hub("me/n")', 'me/n: the hub cannot be reached ('),
        ('1', 'load_network("hf:me/n")', 'hf:me/n: not on this machine yet, and the hub cannot be'),
    ],
)
def test_hub__that_cannot_be_reached(tmp_path, offline, call, text):
    """In a process of its own, for the package reads its environment once."""
    script = f"""
from liif_arch import LIIF, UserError, load_network

net = LIIF({ENCODER}, hidden_list=[16])
try:
    {call}
except UserError as error:
    print(error)
"""
    environment = {
        'HF_ENDPOINT': 'http://127.0.0.1:1',
        'HF_HOME': str(tmp_path),
        'HF_TOKEN': TOKEN,
        'HF_HUB_OFFLINE': offline,
    }
    result = subprocess.run(
        [sys.executable, '-c', script],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert result.stdout.startswith(text), result


def test_package__that_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, 'huggingface_hub', None)
    for name in [name for name in sys.modules if name.startswith('liif_arch.hub.')]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(UserError, match=r"pip install 'basicsr-liif\[hub\]'"):
        load_network('hf:me/n')


@pytest.mark.parametrize('key', ['pretrain_network_g', 'pretrain_encoder'])
def test_option__that_names_a_network_on_the_hub(hub, monkeypatch, tmp_path, net, photos, key):
    hub.put('me/n', files(net, tmp_path / 'n'))
    options = tiny_train(photos)
    options['path'] = {key: 'hf:me/n'}
    write_options(tmp_path / 'o.yml', options)
    assert run_here(monkeypatch, tmp_path, 'check', '-opt', 'o.yml') == 0
    options['path'] = {key: 'hf:me/no'}
    write_options(tmp_path / 'o.yml', options)
    assert run_here(monkeypatch, tmp_path, 'check', '-opt', 'o.yml') == 2


@pytest.mark.parametrize('name', ['me/n', 'https://huggingface.co/me/n'])
def test_name__without_its_prefix(name):
    with pytest.raises(UserError, match='a repository of the Hugging Face hub is hf:me/n'):
        load_network(name)
