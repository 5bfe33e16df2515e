"""`basicsr share`: into a folder, and onto a stand-in of the hub."""

import json

import pytest
import torch
from helpers import run_here, write_photos
from hub_fixtures import RESULTS, same
from hub_fixtures import hub as hub
from hub_fixtures import net as net

from liif_arch import load_network

pytest.importorskip('huggingface_hub')


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


def test_convert__of_a_folder(monkeypatch, tmp_path, net, capsys):
    net.save_pretrained(tmp_path / 'n')
    assert run_here(monkeypatch, tmp_path, 'convert', 'n', 'n.pth') == 0
    assert 'n.pth: for this package' in capsys.readouterr().out
    assert same(load_network(tmp_path / 'n.pth'), net)
