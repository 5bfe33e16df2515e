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
from liif_arch.training.checkpoints import save_file

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


@pytest.mark.parametrize('name', ['small', 'fast'])
def test_folder__of_a_name_that_ships(monkeypatch, tmp_path, net, name):
    monkeypatch.chdir(tmp_path)
    net.save_pretrained(name)
    assert same(LIIF.from_pretrained(name), net)
    assert same(load_network(name), net)


@pytest.mark.parametrize('content', ['{oops', '[1]', '3'])
def test_folder__whose_config_is_of_another_kind(tmp_path, net, content):
    net.save_pretrained(tmp_path / 'n')
    (tmp_path / 'n/config.json').write_text(content)
    assert same(LIIF.from_pretrained(tmp_path / 'n'), net)


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


def test_from_pretrained__of_another_network(tmp_path, net):
    net.save_pretrained(tmp_path / 'n')
    with pytest.raises(UserError, match='found a LIIF; needed a Thera'):
        Thera.from_pretrained(tmp_path / 'n')


def test_from_pretrained__of_basicsrs_network(tmp_path):
    from basicsr.archs.edsr_arch import EDSR

    options = {'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 4, 'num_block': 1, 'upscale': 2}
    content = {'params': EDSR(**options).state_dict(), 'network_g': {'type': 'EDSR', **options}}
    (tmp_path / 'n').mkdir()
    save_file(content, tmp_path / 'n/model.safetensors')
    with pytest.raises(UserError, match='found a EDSR; needed a LIIF'):
        LIIF.from_pretrained(tmp_path / 'n')


class Flexible(LIIF):
    def __init__(self, **options):
        super().__init__(**options)


def test_network__that_no_option_builds(tmp_path):
    """A class that nobody has registered is not saved, or nobody could load it."""
    net = Flexible(encoder=ENCODER, hidden_list=[16])
    assert net.network_g == {'type': 'Flexible', 'encoder': ENCODER, 'hidden_list': [16]}
    with pytest.raises(UserError, match='Flexible'):
        net.save_pretrained(tmp_path / 'n')
    with pytest.raises(UserError, match='network_g: found options of another network'):
        net.save_pretrained(tmp_path / 'n', network_g={'type': 'LIIF', 'encoder': ENCODER})
    net.save_pretrained(tmp_path / 'n', network_g={**net.network_g, 'type': 'LIIF'})


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
    with pytest.raises(UserError, match='network_g: .* such as a module as its encoder'):
        net.save_pretrained(tmp_path / 'n')
    network_g = {'type': 'LIIF', 'encoder': ENCODER, 'hidden_list': [16]}
    net.save_pretrained(tmp_path / 'n', network_g=network_g)
    assert same(load_network(tmp_path / 'n'), net)


RESULTS = {
    'Set5': {
        'x2': {'psnr': 35.012, 'bicubic': {'psnr': 31.79}, 'images': {}},
        'x3': {'psnr': 31.5, 'bicubic': {'psnr': 28.63}, 'images': {}},
    }
}


def test_card__figures_and_picture(tmp_path, net):
    (tmp_path / 'metrics.json').write_text(json.dumps(RESULTS))
    write_photos(tmp_path, [(64, 80)], ['a'])
    net.save_pretrained(
        tmp_path / 'n', metrics=tmp_path / 'metrics.json', picture=tmp_path / 'a.png'
    )
    card = hub_package.ModelCard.load(tmp_path / 'n/README.md')
    found = [(each.dataset_name, each.metric_value) for each in card.data.eval_results]
    assert found == [('Set5 x2', 35.012), ('Set5 x3', 31.5)]
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
    assert said[0] == 'figures: experiments/t/metrics.json'
    folder = 'n, a folder here (the hub is hf:OWNER/NAME)'
    assert said[1] == f'{folder}: README.md, config.json, model.safetensors'
    assert 'Set5' in (tmp_path / 'n/README.md').read_text()
    write_photos(tmp_path, [(12, 14)], ['photo'])
    command = said[2].replace('photo.jpg', 'photo.png').split()[1:]
    assert run_here(monkeypatch, tmp_path, *command) == 0
    assert run_here(monkeypatch, tmp_path, 'share', training, 'n') == 2
    assert 'n exists; name a new folder' in capsys.readouterr().err


def test_share__figures_are_of_the_last_weights_alone(monkeypatch, tmp_path, training, capsys):
    models = tmp_path / 'experiments/t/models'
    (models / 'net_g_500.pth').write_bytes((models / 'net_g_latest.pth').read_bytes())
    (tmp_path / 'other').mkdir()
    (tmp_path / 'other/net_g_latest.pth').write_bytes((models / 'net_g_latest.pth').read_bytes())
    (tmp_path / 'metrics.json').write_text(json.dumps(RESULTS))
    for number, name in enumerate(('experiments/t/models/net_g_500.pth', 'other/net_g_latest.pth')):
        assert run_here(monkeypatch, tmp_path, 'share', name, f'n{number}') == 0
        assert 'Set5' not in (tmp_path / f'n{number}/README.md').read_text()


@pytest.mark.parametrize(
    'arguments,text',
    [
        (['n', '--picture', 'no.png'], 'no.png'),
        (['n', '--metrics', 'no.json'], 'metrics: cannot read no.json'),
        (['n', '--private'], '--private: is of the hub'),
        (['n', '--keep-card'], '--keep-card: is of the hub'),
        (['hf:n'], 'n: no such folder; a repository is called owner/name'),
        (['experiments/t/models/net_g_latest.pth/x'], 'cannot write here ('),
    ],
)
def test_share__mistakes_leave_nothing(monkeypatch, tmp_path, training, capsys, arguments, text):
    before = sorted(tmp_path.rglob('*'))
    assert run_here(monkeypatch, tmp_path, 'share', training, *arguments) == 2
    assert text in capsys.readouterr().err
    assert sorted(tmp_path.rglob('*')) == before


def test_convert__of_a_folder(monkeypatch, tmp_path, net, capsys):
    net.save_pretrained(tmp_path / 'n')
    assert run_here(monkeypatch, tmp_path, 'convert', 'n', 'n.pth') == 0
    assert 'n.pth: for this package' in capsys.readouterr().out
    assert same(load_network(tmp_path / 'n.pth'), net)


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


@pytest.mark.parametrize('name', ['me/n', 'https://huggingface.co/me/n'])
def test_name__without_its_prefix(name):
    with pytest.raises(UserError, match='a repository of the Hugging Face hub is hf:me/n'):
        load_network(name)
