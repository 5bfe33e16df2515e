"""Networks as folders of the files that the hub has, and their model cards."""

import copy
import json
import pickle

import pytest
from helpers import write_photos
from hub_fixtures import ENCODER, RESULTS, same
from hub_fixtures import net as net

from liif_arch import LIIF, EDSREncoder, Thera, load_network
from liif_arch.errors import UserError
from liif_arch.training.checkpoints import save_file

hub_package = pytest.importorskip('huggingface_hub')


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
