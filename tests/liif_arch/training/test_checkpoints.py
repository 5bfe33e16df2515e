"""Weights: safe loading, fit, networks from files alone, and the reference implementation's
form.
"""

import os
import subprocess
import sys

import pytest
import torch

from liif_arch import LIIF, LTE, EDSREncoder, MetaSR, RDNEncoder, SubPixelSR, load_network
from liif_arch.errors import UserError
from liif_arch.training import checkpoints
from liif_arch.weights import networks
from liif_arch.weights.reference import from_reference, to_reference

NETWORK = {
    'type': 'LIIF',
    'encoder': {'type': 'EDSREncoder', 'num_feat': 8, 'num_block': 2},
    'hidden_list': [12, 10],
}


def small() -> LIIF:
    torch.manual_seed(3)
    return LIIF(EDSREncoder(num_feat=8, num_block=2), [12, 10])


def test_load_network__from_the_file_alone(tmp_path):
    net, ema = small(), small()
    ema.imnet.layers[0].bias.data += 1
    checkpoints.save_file(
        {'params': net.state_dict(), 'params_ema': ema.state_dict(), 'network_g': NETWORK},
        tmp_path / 'a.pth',
    )
    loaded, x = load_network(tmp_path / 'a.pth'), torch.rand(1, 3, 5, 6)
    assert not loaded.training
    with torch.no_grad():
        assert torch.equal(loaded(x, size=(9, 9)), ema(x, size=(9, 9)))
    networks.load_into(net, tmp_path / 'a.pth', param_key='params')
    assert not torch.equal(net.imnet.layers[0].bias, ema.imnet.layers[0].bias)


def test_load_network__with_the_network_named(tmp_path):
    torch.save({'params': small().state_dict()}, tmp_path / 'plain.pth')
    with pytest.raises(UserError, match='not which network they belong to'):
        load_network(tmp_path / 'plain.pth')
    assert isinstance(load_network(tmp_path / 'plain.pth', network=NETWORK), LIIF)


class Malicious:
    def __reduce__(self):
        return os.system, ('touch executed',)


@pytest.mark.parametrize('override', ['0', '1'])
def test_load_file__executes_nothing(tmp_path, override):
    torch.save({'params': Malicious()}, tmp_path / 'bad.pth')
    code = (
        'from liif_arch.training.checkpoints import load_file\n'
        'try: load_file("bad.pth")\nexcept ValueError as e: print("refused", e)'
    )
    result = subprocess.run(
        [sys.executable, '-c', code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, 'TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD': override},
    )
    assert result.stdout.startswith('refused bad.pth: not a checkpoint of tensors alone'), (
        result.stderr
    )
    assert not (tmp_path / 'executed').exists()


@pytest.mark.parametrize('content', [b'', b'nonsense', b'PK\x03\x04 cut'])
def test_load_file__refuses_other_files(tmp_path, content):
    (tmp_path / 'a.pth').write_bytes(content)
    with pytest.raises(UserError, match=r'a\.pth: not a checkpoint'):
        checkpoints.load_file(tmp_path / 'a.pth')


def test_load_file__missing_and_of_another_kind(tmp_path):
    with pytest.raises(UserError, match='cannot read these weights'):
        checkpoints.load_file(tmp_path / 'nowhere.pth')
    torch.save([1, 2], tmp_path / 'list.pth')
    with pytest.raises(UserError, match='found a list'):
        checkpoints.load_file(tmp_path / 'list.pth')
    torch.save({'params': {'a': 1}}, tmp_path / 'a.pth')
    with pytest.raises(UserError, match='needed named tensors'):
        networks.state_dict_of(checkpoints.load_file(tmp_path / 'a.pth'), 'a.pth')


def test_load_into__says_what_does_not_fit(tmp_path):
    torch.save({'params': small().state_dict()}, tmp_path / 'a.pth')
    other = LIIF(EDSREncoder(num_feat=8, num_block=1), [16, 10])
    with pytest.raises(
        UserError, match=r'unexpected encoder\.body\.1\.body\.0\.weight .* and \d+ more'
    ):
        networks.load_into(other, tmp_path / 'a.pth')
    networks.load_into(other, tmp_path / 'a.pth', strict=False)
    assert torch.equal(other.encoder.head[0].weight, small().encoder.head[0].weight)


def test_misfits__missing_unexpected_and_shape():
    state = small().state_dict()
    state['extra'] = state.pop('encoder.head.0.bias')
    state['imnet.layers.4.bias'] = torch.zeros(5)
    assert checkpoints.misfits(small(), state) == [
        'missing encoder.head.0.bias (8,)',
        'unexpected extra (8,)',
        'imnet.layers.4.bias is (5,), needed (3,)',
    ]


@pytest.mark.parametrize(
    'encoder,flags',
    [
        (EDSREncoder(num_feat=8, num_block=3), {'cell_decode': False}),
        (EDSREncoder(num_feat=6, num_block=1), {}),
        (RDNEncoder(num_feat=64), {'local_ensemble': False}),
    ],
    ids=['edsr', 'edsr-small', 'rdn'],
)
def test_reference__there_and_back(encoder, flags):
    kind = type(encoder).__name__
    network = {
        'type': 'LIIF',
        'encoder': {'type': kind, 'num_feat': encoder.num_out_feat},
        'hidden_list': [7, 5],
        **flags,
    }
    if kind == 'EDSREncoder':
        network['encoder']['num_block'] = len(encoder.body) - 1
    params = LIIF(encoder, [7, 5], **flags).state_dict()
    theirs = to_reference({'params': params, 'network_g': network})
    ours = from_reference(theirs)
    assert ours['params'].keys() == params.keys() and all(
        torch.equal(ours['params'][k], params[k]) for k in params
    )
    assert {k: v for k, v in ours['network_g'].items() if k in flags} == flags
    assert (
        ours['network_g']['hidden_list'] == [7, 5] and ours['network_g']['encoder']['type'] == kind
    )
    names = [k for k in theirs['model']['sd'] if '_mean.' in k]
    assert len(names) == (4 if kind == 'EDSREncoder' else 0)


@pytest.mark.parametrize(
    'net,network',
    [
        (MetaSR(EDSREncoder(num_feat=6, num_block=2), [9]), {'type': 'MetaSR', 'hidden_list': [9]}),
        (
            LTE(EDSREncoder(num_feat=6, num_block=2), 8, [10, 7]),
            {'type': 'LTE', 'hidden_dim': 8, 'hidden_list': [10, 7]},
        ),
        (SubPixelSR(EDSREncoder(num_feat=6, num_block=2), 4), {'type': 'SubPixelSR', 'scale': 4}),
        (SubPixelSR(EDSREncoder(num_feat=6, num_block=2), 3), {'type': 'SubPixelSR', 'scale': 3}),
    ],
)
def test_reference__baselines_there_and_back(net, network):
    network = {
        **network,
        'encoder': {'type': 'EDSREncoder', 'num_feat': 6, 'num_block': 2, 'res_scale': 1},
    }
    theirs = to_reference({'params': net.state_dict(), 'network_g': network})
    assert all(
        k.startswith(('encoder.', 'imnet.', 'coef.', 'freq.', 'phase.'))
        for k in theirs['model']['sd']
    )
    ours = from_reference(theirs)
    assert ours['network_g'] == network
    assert ours['params'].keys() == net.state_dict().keys()
    assert all(torch.equal(v, ours['params'][k]) for k, v in net.state_dict().items())


def test_reference__golden_names_of_the_baselines(golden):
    for name, case in (
        ('metasr', 'networks/edsr_baseline_metasr'),
        ('edsr-baseline', 'networks/edsr_baseline_x4'),
    ):
        args = {'encoder_spec': {'name': 'edsr-baseline'}} if name == 'metasr' else {}
        ours = from_reference({'model': {'name': name, 'args': args, 'sd': golden(case)}})
        assert ours['network_g']['encoder']['num_block'] == 16
        assert to_reference(ours)['model']['sd'].keys() >= golden(case).keys()


def test_reference__published_file_is_reproduced(shared):
    published = checkpoints.load_file(shared / 'checkpoints/edsr-baseline-liif.pth')
    again = to_reference(from_reference(published))
    assert again['model']['sd'].keys() == published['model']['sd'].keys()
    assert all(torch.equal(v, published['model']['sd'][k]) for k, v in again['model']['sd'].items())
    assert again['model']['args']['imnet_spec'] == published['model']['args']['imnet_spec']


def test_reference__refuses_what_does_not_fit():
    good = to_reference({'params': small().state_dict(), 'network_g': NETWORK})
    del good['model']['sd']['encoder.head.0.weight']
    good['model']['sd']['stranger'] = torch.zeros(1)
    with pytest.raises(
        UserError, match=r'(?s)missing encoder\.head\.0\.weight.*unexpected stranger'
    ):
        from_reference(good)
    good['model']['name'] = 'itsrn'
    with pytest.raises(UserError, match='found a "itsrn" network'):
        from_reference(good)
    with pytest.raises(UserError, match='does not say which encoder'):
        from_reference({'model': {'name': 'liif', 'args': {}, 'sd': {}}})
    gray = LIIF(EDSREncoder(1, num_feat=8, num_block=1), [12, 10], num_in_ch=1, num_out_ch=1)
    network = {
        'type': 'LIIF',
        'num_in_ch': 1,
        'num_out_ch': 1,
        'hidden_list': [12, 10],
        'encoder': {'type': 'EDSREncoder', 'num_feat': 8, 'num_block': 1},
    }
    with pytest.raises(UserError, match='RGB alone'):
        to_reference({'params': gray.state_dict(), 'network_g': network})
    with pytest.raises(UserError, match='needed "params"'):
        to_reference({'state_dict': {}})
    rdn = {
        **NETWORK,
        'encoder': {
            'type': 'RDNEncoder',
            'num_feat': 8,
            'num_block': 1,
            'num_layer': 1,
            'growth': 4,
        },
    }
    params = LIIF(RDNEncoder(3, 8, 1, 1, 4), [12, 10]).state_dict()
    with pytest.raises(UserError, match='no encoder'):
        to_reference({'params': params, 'network_g': rdn})


@pytest.mark.parametrize(
    'prefix', ['', 'module.', 'generator.', 'module.generator.', 'generator.module.']
)
@pytest.mark.parametrize('key', ['params', 'params_ema', None])
def test_load_into__a_state_dict_as_mmengine_writes_it(tmp_path, prefix, key):
    net = small()
    content = {f'{prefix}{name}': value for name, value in net.state_dict().items()}
    if 'generator' in prefix:
        content |= {'step_counter': torch.zeros(1), 'discriminator.weight': torch.zeros(3)}
    torch.save({'meta': {'epoch': 3}, 'state_dict': content}, tmp_path / 'a.pth')
    other = LIIF(EDSREncoder(num_feat=8, num_block=2), [12, 10])
    assert networks.load_into(other, tmp_path / 'a.pth', param_key=key).left_out is None
    assert all(torch.equal(v, net.state_dict()[k]) for k, v in other.state_dict().items())


def test_load_into__mmagics_averaged_generator(tmp_path):
    net = small()
    content = {f'generator.{name}': value for name, value in net.state_dict().items()}
    content |= {
        f'generator_ema.module.{name}': value + 1 for name, value in net.state_dict().items()
    }
    content['generator_ema.steps'] = torch.tensor(7)
    torch.save({'state_dict': content}, tmp_path / 'a.pth')
    for key, more in (('params', 0), ('params_ema', 1)):
        other = LIIF(EDSREncoder(num_feat=8, num_block=2), [12, 10])
        networks.load_into(other, tmp_path / 'a.pth', param_key=key)
        assert torch.equal(other.imnet.layers[0].bias, net.imnet.layers[0].bias + more)


def test_load_file__a_checkpoint_of_mmengines_runner(tmp_path):
    """Its message hub holds objects, which are passed over without being made."""
    from mmengine.logging import MessageHub

    hub = MessageHub.get_instance('of a test')
    hub.update_scalar('loss', 0.5)
    content = {
        'meta': {'epoch': 1},
        'state_dict': small().state_dict(),
        'message_hub': hub.state_dict(),
    }
    torch.save(content, tmp_path / 'a.pth')
    with pytest.raises(Exception, match='HistoryBuffer'):
        torch.load(tmp_path / 'a.pth', weights_only=True)
    assert networks.load_into(small(), tmp_path / 'a.pth').left_out is None
    torch.save({**content, 'more': Malicious()}, tmp_path / 'b.pth')
    with pytest.raises(UserError, match=r'b\.pth: not a checkpoint of tensors alone'):
        checkpoints.load_file(tmp_path / 'b.pth')


def test_load_into__that_is_not_strict_says_what_it_leaves_out(tmp_path):
    torch.save({'params': small().state_dict()}, tmp_path / 'a.pth')
    other = LIIF(EDSREncoder(num_feat=8, num_block=1), [16, 10])
    left_out = networks.load_into(other, tmp_path / 'a.pth', strict=False).left_out
    assert 'a.pth: 9 of the 14 tensors of LIIF are read; 11 do not fit' in left_out, left_out
    assert 'unexpected encoder.body.1.body.0.weight' in left_out


@pytest.mark.parametrize(
    'content', [{'a.weight': torch.zeros(9)}, {'encoder.head.0.bias': torch.zeros(8)}]
)
def test_load_into__refuses_a_file_of_which_nothing_fits(tmp_path, content):
    torch.save({'params': content}, tmp_path / 'a.pth')
    net = small()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(
        UserError, match=r'only \d of the 4,231 numbers of LIIF .* strict_load is false'
    ):
        networks.load_into(net, tmp_path / 'a.pth', strict=False)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
