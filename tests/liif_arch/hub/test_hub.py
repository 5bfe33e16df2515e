"""Networks on the hub and in folders of the same files, against a stand-in of the hub."""

import copy
import json
import os
import pickle
import subprocess
import sys

import pytest
import torch
from helpers import photo, run_here, tiny_train, write_options, write_photos
from hub_server import TOKEN, HubServer
from torch import nn

from liif_arch import LIIF, EDSREncoder, Thera, load_network, upscale
from liif_arch.errors import UserError

hub_package = pytest.importorskip('huggingface_hub')
constants = pytest.importorskip('huggingface_hub.constants')
ENCODER = {'type': 'EDSREncoder', 'num_feat': 8, 'num_block': 1}
IMAGE = photo(12, 14)


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub that knows us, and a cache of its own."""
    server = HubServer()
    monkeypatch.setattr(constants, 'ENDPOINT', server.address)
    template = f'{server.address}/{{repo_id}}/resolve/{{revision}}/{{filename}}'
    monkeypatch.setattr(constants, 'HUGGINGFACE_CO_URL_TEMPLATE', template)
    monkeypatch.setattr(constants, 'HF_HUB_CACHE', str(tmp_path / 'cache'))
    monkeypatch.setenv('HF_TOKEN', TOKEN)
    yield server
    server.close()


@pytest.fixture
def net():
    torch.manual_seed(0)
    return LIIF(ENCODER, hidden_list=[16]).eval()


def same(found: nn.Module, expected: nn.Module) -> bool:
    """Whether two networks draw the same picture."""
    return (upscale(found, IMAGE, scale=2.5) == upscale(expected, IMAGE, scale=2.5)).all()


def files(net: LIIF, folder) -> dict[str, bytes]:
    """What `save_pretrained` writes."""
    net.save_pretrained(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_folder__there_and_back(tmp_path, net):
    net.save_pretrained(tmp_path / 'n')
    assert json.loads((tmp_path / 'n/config.json').read_text()) == net.network_g
    assert same(LIIF.from_pretrained(tmp_path / 'n'), net)
    assert same(load_network(tmp_path / 'n'), net)
    assert not LIIF.from_pretrained(tmp_path / 'n').training


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
    with pytest.raises(UserError, match='me/n: the hub refuses it; `hf auth login`'):
        net.push_to_hub('me/n')
    assert not hub.repositories


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


def test_from_pretrained__of_another_network(tmp_path, net):
    net.save_pretrained(tmp_path / 'n')
    with pytest.raises(UserError, match='found a LIIF; needed a Thera'):
        Thera.from_pretrained(tmp_path / 'n')


def test_network_g__is_what_it_was_built_with(net):
    assert net.network_g == {'type': 'LIIF', 'encoder': ENCODER, 'hidden_list': [16]}
    assert copy.deepcopy(net).network_g == net.network_g
    assert pickle.loads(pickle.dumps(net)).network_g == net.network_g
    thera = Thera(hidden_dim=8, encoder=ENCODER, scale=(2, 3))
    assert thera.network_g == {
        'type': 'Thera',
        'encoder': ENCODER,
        'hidden_dim': 8,
        'scale': [2, 3],
    }
    assert load_network('fast').network_g['type'] == 'Thera'


def test_network__with_a_module_as_its_encoder(tmp_path):
    net = LIIF(EDSREncoder(num_feat=8, num_block=1), hidden_list=[16]).eval()
    assert net.network_g is None
    with pytest.raises(UserError, match='network_g: .* a module as its encoder'):
        net.save_pretrained(tmp_path / 'n')
    network_g = {'type': 'LIIF', 'encoder': ENCODER, 'hidden_list': [16]}
    net.save_pretrained(tmp_path / 'n', network_g=network_g)
    assert same(load_network(tmp_path / 'n'), net)


RESULTS = {'Set5': {'x2': {'psnr': 35.012, 'bicubic': {'psnr': 31.79}, 'images': {}}}}


def test_card__figures_and_picture(tmp_path, net):
    (tmp_path / 'metrics.json').write_text(json.dumps(RESULTS))
    write_photos(tmp_path, [(64, 80)], ['a'])
    net.save_pretrained(
        tmp_path / 'n', metrics=tmp_path / 'metrics.json', picture=tmp_path / 'a.png'
    )
    card = hub_package.ModelCard.load(tmp_path / 'n/README.md')
    [result] = card.data.eval_results
    assert (result.dataset_name, result.metric_value) == ('Set5 x2', 35.012)
    assert card.data.library_name == 'basicsr-liif' and card.data.pipeline_tag == 'image-to-image'
    assert '| Set5    | x2    | 35.01 |     31.79 |' in card.text
    assert '(panel.png)' in card.text and (tmp_path / 'n/panel.png').stat().st_size > 1000
    block = card.text.partition('```json\n')[2].partition('```')[0]
    assert json.loads(block) == net.network_g


def test_card__that_is_there_is_kept(tmp_path, net):
    net.save_pretrained(tmp_path / 'n')
    (tmp_path / 'n/README.md').write_text('my own words')
    net.save_pretrained(tmp_path / 'n')
    assert (tmp_path / 'n/README.md').read_text() == 'my own words'


@pytest.mark.parametrize('content', [None, 'no JSON', '[1]', '{"Set5": 3}'])
def test_card__of_no_metrics(tmp_path, net, content):
    if content is not None:
        (tmp_path / 'm.json').write_text(content)
    with pytest.raises(UserError, match='metrics: (cannot read|found) .*m.json'):
        net.save_pretrained(tmp_path / 'n', metrics=tmp_path / 'm.json')


@pytest.fixture
def training(tmp_path, net):
    """What a training leaves: weights, and figures beside their folder."""
    folder = tmp_path / 'experiments/t'
    (folder / 'models').mkdir(parents=True)
    content = {'params': net.state_dict(), 'network_g': net.network_g}
    torch.save(content, folder / 'models/net_g_latest.pth')
    (folder / 'metrics.json').write_text(json.dumps(RESULTS))
    return 'experiments/t/models/net_g_latest.pth'


def test_share__into_a_folder(monkeypatch, tmp_path, net, training, capsys):
    assert run_here(monkeypatch, tmp_path, 'share', training, 'n') == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == 'n: README.md, config.json, model.safetensors'
    assert 'Set5' in (tmp_path / 'n/README.md').read_text()
    write_photos(tmp_path, [(12, 14)], ['photo'])
    command = said[1].replace('photo.jpg', 'photo.png').split()[1:]
    assert run_here(monkeypatch, tmp_path, *command) == 0
    assert run_here(monkeypatch, tmp_path, 'share', training, 'n') == 2
    assert 'n exists; name a new folder' in capsys.readouterr().err


def test_share__on_the_hub(hub, monkeypatch, tmp_path, net, training, capsys):
    hub.put('me/n', {'README.md': b'my own words'})
    options = ('--private', '--message', 'First', '--keep-card')
    assert run_here(monkeypatch, tmp_path, 'share', training, 'hf:me/n', *options) == 0
    assert hub.commits == ['First'] and hub.repositories['me/n']['main']['README.md'][:2] == b'my'
    assert '--weights hf:me/n' in capsys.readouterr().out
    write_photos(tmp_path, [(12, 14)], ['a'])
    upscale_it = ('upscale', 'a.png', '--scale', '2', '--weights', 'hf:me/n', '--precision')
    assert run_here(monkeypatch, tmp_path, *upscale_it, 'float32') == 0
    assert (tmp_path / 'a_x2.png').is_file()


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
