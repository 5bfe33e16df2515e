"""A network that learns from another one: its losses, and how it goes on."""

import copy

import pytest
import torch
from basicsr.archs import build_network
from helpers import differences, run_here, tiny_train
from teachers import (
    BOTH,
    L1,
    TEACHER,
    fed,
    model_of,
    options_of,
    refused,
    state_of,
    train,
    weights_of,
    write_teacher,
)
from teachers import teacher as teacher

from liif_arch import load_network
from liif_arch.archs.edsr_encoder_arch import EDSREncoder
from liif_arch.archs.liif_arch import LIIF
from liif_arch.models.distillation import Distillation, load_teacher
from liif_arch.training.checkpoints import load_file, save_file

# --- losses


@pytest.mark.parametrize('degrade', ['loader', 'device'])
def test_losses__are_what_a_hand_computes(tmp_path, photos, teacher, degrade):
    options = options_of(photos, teacher, BOTH, datasets__train__degrade=degrade)
    model = fed(model_of(options, tmp_path), photos)
    net, other = model.net_g, load_network(teacher)
    with torch.no_grad():
        colours = net(model.lq, model.coord, model.cell)
        wanted = other(model.lq, model.coord, model.cell)
        own = model.projection(net.encode(model.lq))
        features = other.encode(model.lq)
    expected = {
        'l_pix': (colours - model.gt).abs().mean(),
        'l_distill': 0.5 * (colours - wanted).abs().mean(),
        'l_distill_features': 2 * (own - features).square().mean(),
    }
    before = copy.deepcopy(model.projection.state_dict())
    model.optimize_parameters(1)
    assert model.log_dict.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(model.log_dict[name], value, rtol=1e-5, atol=1e-7)
    assert not torch.equal(before['weight'], model.projection.weight)


def test_gradient__is_the_sum_and_the_teacher_has_none(tmp_path, photos, teacher):
    model = fed(model_of(options_of(photos, teacher, BOTH), tmp_path), photos)
    other, kept = load_network(teacher), model.distillation.teacher
    net = copy.deepcopy(model.net_g)
    feat = net.encode(model.lq)
    colours = net.query(feat, model.coord, model.cell)
    wanted = other(model.lq, model.coord, model.cell).detach()
    features = other.encode(model.lq).detach()
    loss = (colours - model.gt).abs().mean() + 0.5 * (colours - wanted).abs().mean()
    loss += 2 * (model.projection(feat) - features).square().mean()
    loss.backward()
    model.optimize_parameters(1)
    for own, expected in zip(model.net_g.parameters(), net.parameters(), strict=True):
        torch.testing.assert_close(own.grad, expected.grad, rtol=1e-4, atol=1e-7)
    assert not kept.training
    assert all(each.grad is None and not each.requires_grad for each in kept.parameters())
    assert differences(kept.state_dict(), other.state_dict()) == []


def test_thera__learns_from_weights_that_ship_beside_its_variation(tmp_path, photos):
    """The features are the encoder's: the image that a heat field's codes hold is none of them."""
    field = {'type': 'Thera', 'encoder': TEACHER['encoder'], 'hidden_dim': 8, 'skip': 'bilinear'}
    options = options_of(photos, 'fast', BOTH, network_g=field, train__variation_weight=0.1)
    model = fed(model_of(options, tmp_path), photos)
    assert tuple(model.projection.weight.shape) == (32, 12, 1, 1)
    other = load_network('fast')
    with torch.no_grad():
        own = model.projection(model.net_g.encode(model.lq)[:, :12])
        features = other.encode(model.lq)[:, :32]
        _, variation = model.net_g(model.lq, model.coord, model.cell, with_variation=True)
    model.optimize_parameters(1)
    expected = 2 * (own - features).square().mean()
    torch.testing.assert_close(model.log_dict['l_distill_features'], expected, rtol=1e-4, atol=0)
    torch.testing.assert_close(model.log_dict['l_variation'], 0.1 * variation, rtol=1e-4, atol=0)


@pytest.mark.parametrize('type_', ['LTE', 'MetaSR', 'SubPixelSR', 'LIIF'])
def test_features__are_the_encoders_whatever_a_network_makes_of_them(tmp_path, photos, type_):
    """LTE's codes, for one, are amplitudes and frequencies."""
    network = {'type': type_, 'encoder': TEACHER['encoder']}
    if type_ == 'LTE':
        network.update(hidden_dim=8, hidden_list=[8])
    torch.manual_seed(3)
    net = build_network(copy.deepcopy(network))
    save_file({'params': net.state_dict(), 'network_g': network}, tmp_path / 't.pth')
    options = options_of(photos, tmp_path / 't.pth', {'features': L1}, network_g=network)
    model = fed(model_of(options, tmp_path), photos)
    seen = []
    for each in (model.net_g, model.distillation.teacher):
        hook = each.encoder.register_forward_hook(lambda _, __, found: seen.append(found))
        with torch.no_grad():
            each(model.lq, model.coord, model.cell)
        hook.remove()
    model.optimize_parameters(1)
    expected = 0.5 * (seen[0] - seen[1]).abs().mean()
    torch.testing.assert_close(model.log_dict['l_distill_features'], expected, rtol=1e-4, atol=1e-7)


def test_features__of_as_many_channels_need_no_projection(tmp_path, photos, teacher):
    distill = {'features': L1}
    model = fed(model_of(options_of(photos, teacher, distill, network_g=TEACHER), tmp_path), photos)
    assert not hasattr(model, 'projection')
    model.optimize_parameters(1)
    assert model.log_dict.keys() == {'l_pix', 'l_distill_features'}


@pytest.mark.parametrize('reduction', ['mean', 'sum'])
def test_accumulate__is_the_whole_batch(tmp_path, photos, teacher, reduction):
    distill = copy.deepcopy(BOTH)
    for loss in distill.values():
        loss['reduction'] = reduction
    gradients, logs = [], []
    for count in (1, 3):
        options = options_of(photos, teacher, distill, train__accumulate=count)
        options['train']['pixel_opt']['reduction'] = reduction
        torch.manual_seed(0)
        model = fed(model_of(options, tmp_path), photos, count=4)
        model.optimize_parameters(1)
        gradients.append([each.grad for each in model._trained()])
        logs.append(model.log_dict)
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5 * float(one.abs().max() + 1e-6))
    for name, value in logs[0].items():
        torch.testing.assert_close(logs[1][name], value, rtol=1e-4, atol=0)


def test_gan__learns_from_a_teacher_too(monkeypatch, tmp_path, photos, teacher, caplog):
    options = options_of(photos, teacher, BOTH, model_type='LIIFGANModel', train__total_iter=1)
    options['network_d'] = {'type': 'UNetDiscriminatorSN', 'num_in_ch': 3, 'num_feat': 4}
    options['train'].update(optim_d={'type': 'Adam', 'lr': 1e-4})
    options['train']['gan_opt'] = {'type': 'GANLoss', 'gan_type': 'vanilla', 'loss_weight': 0.1}
    options['datasets']['train'].update(patch=True, num_samples=64)
    caplog.set_level('INFO')
    assert train(monkeypatch, tmp_path, options) == 0
    for name in ('l_g_pix', 'l_g_distill', 'l_g_distill_features', 'l_g_gan', 'l_d_real'):
        assert f'{name}: ' in caplog.text


# --- resuming


@pytest.mark.parametrize('cache', [None, 'cache'])
@pytest.mark.parametrize('optimizer', ['Adam', 'ScheduleFreeAdamW'])
def test_resume__goes_on_bit_for_bit(monkeypatch, tmp_path, photos, teacher, cache, optimizer):
    if optimizer != 'Adam':
        pytest.importorskip('pytorch_optimizer')
    options = options_of(photos, teacher, BOTH)
    options['train']['optim_g'] = {'type': optimizer, 'lr': 1e-3}
    options['train']['ema_decay'] = 0.9 if optimizer == 'Adam' else 0
    options['train']['max_grad_norm'] = 0.5
    if cache:
        options['train']['distill_opt']['cache'] = cache
        options['datasets']['train']['repeat_epochs'] = 2
    assert train(monkeypatch, tmp_path / 'whole', options) == 0
    part = copy.deepcopy(options)
    part['train']['total_iter'] = 3
    assert train(monkeypatch, tmp_path / 'parts', part) == 0
    assert train(monkeypatch, tmp_path / 'parts', options, '--auto_resume') == 0
    whole, parts = weights_of(tmp_path / 'whole'), weights_of(tmp_path / 'parts')
    assert differences(whole, parts) == []
    states = state_of(tmp_path / 'whole'), state_of(tmp_path / 'parts')
    for key in ('model', 'optimizers'):
        assert differences(states[0][key], states[1][key]) == []
    first = state_of(tmp_path / 'whole', 1)['model']['projection']
    assert first.keys() == {'weight', 'bias'}
    assert not torch.equal(first['weight'], states[0]['model']['projection']['weight'])
    files = [path.name for path in (tmp_path / 'whole/experiments/tiny/models').iterdir()]
    assert all(name.startswith('net_g_') for name in files)


def test_resume__says_that_the_teacher_is_another_one(
    monkeypatch, tmp_path, photos, teacher, caplog
):
    options = options_of(photos, teacher, {'colours': L1}, network_t=copy.deepcopy(TEACHER))
    options['path']['param_key_t'] = 'params_ema'
    options['train']['total_iter'] = 2
    assert train(monkeypatch, tmp_path, options) == 0
    options['path']['pretrain_network_t'] = str(write_teacher(tmp_path / 'other.pth', 2))
    options['train']['total_iter'] = 3
    caplog.set_level('INFO')
    assert train(monkeypatch, tmp_path, options, '--auto_resume') == 0
    assert f'path.pretrain_network_t: {teacher} when it was saved' in caplog.text


def test_resume__with_features_of_another_width(monkeypatch, tmp_path, photos, teacher, capsys):
    options = options_of(photos, teacher, BOTH, train__total_iter=1)
    assert train(monkeypatch, tmp_path, options) == 0
    options['train']['total_iter'] = 2
    for changes, text in [
        ({'pretrain_network_t': 'fast'}, 'whose features have 12 channels, and this one has 32'),
        ({}, 'it was trained with a projection onto a teacher'),
    ]:
        options['path'].update(changes)
        if not changes:
            options['train']['distill_opt'] = {'colours': L1}
        assert train(monkeypatch, tmp_path, options, '--auto_resume') == 2
        assert text in capsys.readouterr().err


# --- errors


@pytest.mark.parametrize(
    'changes,text',
    [
        ({'path__pretrain_network_t': None}, 'path.pretrain_network_t: missing; train.distill_opt'),
        ({'train__distill_opt': None}, 'path.pretrain_network_t: found a teacher, and nothing'),
        ({'train__distill_opt': {'cache': 'c'}}, 'train.distill_opt: found'),
        (
            {'train__distill_opt': {'colours': {'type': 'FFTLoss'}}},
            'train.distill_opt.colours.type: found FFTLoss, which compares images',
        ),
        ({'train__pixel_opt': {'type': 'MSSSIMLoss'}}, 'train.pixel_opt.type: found MSSSIMLoss'),
        (
            {'train__distill_opt': {'colours': {**L1, 'reduction': 'none'}}},
            'train.distill_opt.colours.reduction: found none',
        ),
        (
            {'train__consistency_opt': {'type': 'L1Loss', 'reduction': 'none'}},
            'train.consistency_opt.reduction: found none',
        ),
        ({'train__distill_opt': {'color': L1}}, 'found color, which is no option of it'),
        (
            {'train__distill_opt': {'colours': {'type': 'L1Los'}}},
            'train.distill_opt.colours.type: found',
        ),
        (
            {'train__distill_opt': {'colours': {'type': 'L1Loss', 'weight': 2}}},
            'train.distill_opt.colours: found weight',
        ),
        (
            {'train__distill_opt': {'colours': L1, 'cache': 'c'}},
            'train.distill_opt.cache: random crops are seen once',
        ),
        (
            {
                'train__distill_opt': {'features': L1, 'cache': 'c'},
                'datasets__train__repeat_epochs': 2,
            },
            'train.distill_opt.cache: it keeps colours',
        ),
        (
            {
                'train__distill_opt': {'colours': L1, 'cache': 'c'},
                'datasets__train__repeat_epochs': 2,
                'manual_seed': None,
            },
            'train.distill_opt.cache: every run draws other samples',
        ),
        ({'datasets__train__repeat_epochs': 0}, 'datasets.train.repeat_epochs: found 0'),
        ({'path__pretrain_network_t': 'esdr'}, 'path.pretrain_network_t: esdr: no such file'),
        (
            {'network_t': {'type': 'LIIF', 'hiden_list': [3]}},
            'network_t: found hiden_list, which is no option of it',
        ),
        ({'network_t': {'type': 'LIIF'}}, 'do not fit LIIF as network_t describes it'),
        (
            {'network_t': {'type': 'MSRResNet', 'num_feat': 4, 'num_block': 1, 'upscale': 2}},
            'do not fit MSRResNet as network_t',
        ),
    ],
)
def test_options__that_are_wrong(monkeypatch, tmp_path, photos, teacher, capsys, changes, text):
    options = options_of(photos, teacher, {'colours': L1}, **changes)
    assert text in refused(monkeypatch, tmp_path, capsys, options)


def test_teacher__that_predicts_no_colours_at_coordinates(monkeypatch, tmp_path, photos, capsys):
    from basicsr.archs import build_network

    network = {'type': 'MSRResNet', 'num_feat': 4, 'num_block': 1, 'upscale': 2}
    save_file({'params': build_network(copy.deepcopy(network)).state_dict()}, tmp_path / 'm.pth')
    options = options_of(photos, tmp_path / 'm.pth', {'colours': L1}, network_t=network)
    error = refused(monkeypatch, tmp_path, capsys, options)
    assert 'path.pretrain_network_t: found a MSRResNet' in error
    assert 'predicts colours at coordinates' in error


def test_teacher__of_another_number_of_channels(monkeypatch, tmp_path, photos, capsys):
    torch.manual_seed(0)
    encoder = {'type': 'EDSREncoder', 'num_feat': 8, 'num_block': 1, 'num_in_ch': 1}
    network = {'type': 'LIIF', 'encoder': encoder, 'hidden_list': [8], 'num_in_ch': 1}
    net = LIIF(EDSREncoder(num_in_ch=1, num_feat=8, num_block=1), [8], num_in_ch=1)
    save_file({'params': net.state_dict(), 'network_g': network}, tmp_path / 'gray.pth')
    options = options_of(photos, tmp_path / 'gray.pth', {'colours': L1})
    error = refused(monkeypatch, tmp_path, capsys, options)
    assert 'found a network with num_in_ch 1, and network_g has 3' in error


def test_teacher__whose_weights_describe_no_network(monkeypatch, tmp_path, photos, teacher, capsys):
    save_file({'params': load_file(teacher)['params']}, tmp_path / 'bare.pth')
    options = options_of(photos, tmp_path / 'bare.pth', {'colours': L1})
    error = refused(monkeypatch, tmp_path, capsys, options)
    assert 'path.pretrain_network_t: ' in error and 'describe it in network_t' in error


def test_features__of_another_size(tmp_path, photos, teacher, monkeypatch):
    model = fed(model_of(options_of(photos, teacher, BOTH), tmp_path), photos)
    encoder = model.distillation.teacher.encoder
    whole = encoder.forward
    encoder.forward = lambda lq: whole(lq)[..., ::2, :]
    with pytest.raises(ValueError, match='features of 8x8 pixels, and the teacher.s are of 4x8'):
        model.optimize_parameters(1)


def test_teacher__draws_no_random_numbers(photos, teacher):
    options = options_of(photos, teacher, {'colours': L1}, network_t=TEACHER)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    net = LIIF(EDSREncoder(num_feat=8, num_block=1), [16])
    torch.set_rng_state(before)
    Distillation(options, net, torch.float32, torch.device('cpu'))
    assert torch.equal(before, torch.get_rng_state())
    assert load_teacher(options).state_dict().keys() == load_network(teacher).state_dict().keys()


def test_test__of_a_trainings_option_file_needs_no_teacher(monkeypatch, tmp_path, photos, teacher):
    val = tiny_train(photos)['val']
    options = options_of(photos, teacher, {'colours': L1}, train__total_iter=1, val=val)
    assert train(monkeypatch, tmp_path, options) == 0
    teacher.unlink()
    assert run_here(monkeypatch, tmp_path, 'test', '-opt', 'o.yml') == 0
