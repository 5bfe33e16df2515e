"""A network that learns from another one: its losses, its cache, and how it goes on."""

import copy
import json
import shutil

import pytest
import torch
from helpers import differences, run_basicsr, run_here, tiny_train, write_options

from liif_arch import load_network
from liif_arch.archs.edsr_encoder_arch import EDSREncoder
from liif_arch.archs.liif_arch import LIIF
from liif_arch.models import distillation
from liif_arch.models.distillation import Distillation, load_teacher
from liif_arch.models.liif_model import LIIFModel
from liif_arch.training.addressed import SampleIndex
from liif_arch.training.checkpoints import load_file, save_file
from liif_data.random_scale_dataset import RandomScalePairedDataset

L1 = {'type': 'L1Loss', 'loss_weight': 0.5}
BOTH = {'colours': L1, 'features': {'type': 'MSELoss', 'loss_weight': 2.0}}
TEACHER = {
    'type': 'LIIF',
    'encoder': {'type': 'EDSREncoder', 'num_feat': 12, 'num_block': 1},
    'hidden_list': [16],
}


@pytest.fixture
def teacher(tmp_path):
    """Weights of another LIIF, of 12 channels where the student has 8."""
    return write_teacher(tmp_path / 'teacher.pth', 1)


def write_teacher(path, seed: int):
    torch.manual_seed(seed)
    net = LIIF(EDSREncoder(num_feat=12, num_block=1), [16])
    save_file({'params': net.state_dict(), 'network_g': TEACHER}, path)
    return path


def options_of(photos, teacher, distill: dict, **changes) -> dict:
    """A training of six iterations, two of an epoch, with a teacher."""
    defaults = {
        'train__total_iter': 6,
        'train__distill_opt': copy.deepcopy(distill),
        'logger__save_checkpoint_freq': 1,
        'path__pretrain_network_t': str(teacher),
        'val': None,
    }
    return tiny_train(photos, **{**defaults, **changes})


def train(monkeypatch, folder, options: dict, *flags: str) -> int:
    folder.mkdir(exist_ok=True)
    write_options(folder / 'o.yml', options)
    return run_here(monkeypatch, folder, 'train', '-opt', 'o.yml', *flags)


def weights_of(folder, iteration: int = 6) -> dict:
    return load_file(folder / f'experiments/tiny/models/net_g_{iteration}.pth')


def state_of(folder, iteration: int = 6) -> dict:
    return load_file(folder / f'experiments/tiny/training_states/{iteration}.state')


def model_of(options: dict, tmp_path) -> LIIFModel:
    """The model as a run builds it."""
    options = copy.deepcopy(options)
    options.update(is_train=True, dist=False, rank=0, world_size=1)
    options['path'].update(models=str(tmp_path), training_states=str(tmp_path))
    options['datasets']['train'].update(seed=0, phase='train')
    return LIIFModel(options)


def fed(model: LIIFModel, photos, count: int = 2, **changes) -> LIIFModel:
    """The model, with a batch of samples."""
    dataset = RandomScalePairedDataset({**model.opt['datasets']['train'], **changes})
    samples = [dataset[index] for index in range(count)]
    model.feed_data(torch.utils.data.default_collate(samples))
    return model


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


# --- cache


def test_cache__has_the_teachers_colours(monkeypatch, tmp_path, photos, teacher, caplog):
    """The second time round the teacher does not work, and the losses are the same to float16."""
    options = options_of(photos, teacher, {'colours': {'type': 'L1Loss'}})
    options['datasets']['train'].update(repeat_epochs=2, dataset_enlarge_ratio=2)
    options['train'].update(total_iter=4, optim_g={'type': 'SGD', 'lr': 1e-9})
    del options['datasets']['train']['batch_size_per_gpu']
    options['datasets']['train'].update(batch_size_per_gpu=8)
    calls, teach = [], Distillation._teach
    monkeypatch.setattr(Distillation, '_teach', lambda *a: calls.append(len(a[1])) or teach(*a))
    logs = {}
    monkeypatch.setattr(
        LIIFModel,
        'get_current_log',
        lambda self: (
            logs.setdefault(self.opt['name'], []).append(float(self.log_dict['l_distill'])) or {}
        ),
    )
    assert train(monkeypatch, tmp_path, options) == 0
    assert calls == [2, 8, 8, 8, 8]  # the first is rehearsed
    options['name'], options['train']['distill_opt']['cache'] = 'cached', str(tmp_path / 'c')
    calls.clear()
    assert train(monkeypatch, tmp_path, options) == 0
    assert calls == [2, 8, 8]
    plain, cached = torch.tensor(logs['tiny']), torch.tensor(logs['cached'])
    torch.testing.assert_close(plain, cached, rtol=0, atol=2**-11)  # half a step of float16 at 1
    torch.testing.assert_close(cached[:2].sum(), cached[2:].sum(), rtol=1e-4, atol=0)
    assert len(set(logs['cached'])) > 1
    size = 2 * 32 * 3 + 4
    assert (tmp_path / 'c/colours.bin').stat().st_size == 4 * 2 * 2 * size


def test_cache__of_another_teacher_or_other_samples_is_refused(
    monkeypatch, tmp_path, photos, teacher, capsys
):
    options = options_of(photos, teacher, {'colours': L1, 'cache': str(tmp_path / 'c')})
    options['datasets']['train']['repeat_epochs'] = 2
    options['train']['total_iter'] = 1
    assert train(monkeypatch, tmp_path, options) == 0
    shutil.rmtree(tmp_path / 'experiments')
    kept = (tmp_path / 'c/colours.bin').read_bytes()
    other = write_teacher(tmp_path / 'other.pth', 2)
    (photos / 'im00.png').rename(photos / 'im99.png')
    cases = [
        ({'path__pretrain_network_t': str(other)}, 'network_t: '),
        ({'datasets__train__lq_size': 9}, 'datasets.train.lq_size: 8 when it was saved, 9 now'),
        ({'datasets__train__seed': 5}, 'datasets.train.seed: 0 when it was saved, 5 now'),
        ({}, 'images: '),
    ]
    for changes, text in cases:
        changed = copy.deepcopy(options)
        for key, value in changes.items():
            place, *keys = changed, *key.split('__')
            for each in keys[:-1]:
                place = place[each]
            place[keys[-1]] = value
        capsys.readouterr()
        assert train(monkeypatch, tmp_path, changed) == 2
        error = capsys.readouterr().err
        assert 'train.distill_opt.cache: ' in error and text in error
        assert 'name another folder' in error
    assert (tmp_path / 'c/colours.bin').read_bytes() == kept
    assert not (tmp_path / 'experiments').exists()


def test_cache__a_damaged_record_is_made_again(monkeypatch, tmp_path, photos, teacher):
    """A run that finds half a record ends with the same network, and mends the record."""
    options = options_of(photos, teacher, {'colours': L1, 'cache': '../c'})
    options['datasets']['train']['repeat_epochs'] = 2
    assert train(monkeypatch, tmp_path / 'a', options) == 0
    file = tmp_path / 'c/colours.bin'
    kept = file.read_bytes()
    file.write_bytes(kept[:20] + bytes(100) + kept[120:-1])
    assert train(monkeypatch, tmp_path / 'b', options) == 0
    torch.testing.assert_close(
        weights_of(tmp_path / 'a')['params'], weights_of(tmp_path / 'b')['params']
    )
    assert len(file.read_bytes()) == len(kept) and file.read_bytes()[20:120] != bytes(100)


def test_check__writes_no_cache(monkeypatch, tmp_path, photos, teacher, capsys):
    options = options_of(photos, teacher, {'colours': L1, 'cache': 'c'})
    options['datasets']['train']['repeat_epochs'] = 2
    write_options(tmp_path / 'o.yml', options)
    assert run_here(monkeypatch, tmp_path, 'check', '-opt', 'o.yml') == 0
    assert not (tmp_path / 'c').exists()


# --- samples that repeat


@pytest.mark.parametrize('degrade', ['loader', 'device'])
def test_repeat_epochs__is_the_sample_of_an_earlier_epoch(photos, degrade):
    options = tiny_train(photos)['datasets']['train']
    options.update(seed=3, repeat_epochs=3, dataset_enlarge_ratio=5, degrade=degrade)
    dataset = RandomScalePairedDataset(options)
    plain = RandomScalePairedDataset({**options, 'repeat_epochs': None})
    first, again = dataset[SampleIndex(2, 1, 4)], dataset[SampleIndex(2, 7, 4)]
    expected = plain[SampleIndex(2, 1, 4)]
    numbers = first.pop('draw'), again.pop('draw')
    assert differences(first, again) == differences(first, expected) == []
    assert differences(plain[SampleIndex(2, 7, 4)], expected) != []
    assert torch.equal(*numbers) and numbers[0][0] == (1 * 5 + 4) * 4 + 2
    found = set()
    for epoch in range(3):
        for repeat in range(5):
            for index in range(4):
                found.add(int(dataset[SampleIndex(index, epoch, repeat)]['draw'][0]))
    assert found == set(range(3 * 5 * 4))


# --- errors


def refused(monkeypatch, tmp_path, capsys, options: dict) -> str:
    capsys.readouterr()
    assert train(monkeypatch, tmp_path, options) == 2
    assert not (tmp_path / 'experiments').exists()
    return capsys.readouterr().err


@pytest.mark.parametrize(
    'changes,text',
    [
        ({'path__pretrain_network_t': None}, 'path.pretrain_network_t: missing; train.distill_opt'),
        ({'train__distill_opt': None}, 'path.pretrain_network_t: found a teacher, and nothing'),
        ({'train__distill_opt': {'cache': 'c'}}, 'train.distill_opt: found'),
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
    encode = model.distillation.teacher.encode
    model.distillation.teacher.encode = lambda lq: encode(lq)[..., ::2, :]
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


def test_cache__says_what_it_is_made_of(monkeypatch, tmp_path, photos, teacher):
    options = options_of(photos, teacher, {'colours': L1, 'cache': 'c'}, train__total_iter=1)
    options['datasets']['train'].update(repeat_epochs=2, degrade='device', num_worker_per_gpu=1)
    assert train(monkeypatch, tmp_path, options) == 0
    said = json.loads((tmp_path / 'c/made_of.json').read_text())
    assert said['shape'] == [32, 3] and said['train'] == {'precision': 'float32'}
    assert said['network_t'] == distillation._digest(load_network(teacher))
    samples = said['datasets']['train']
    assert samples['seed'] == 0 and samples['repeat_epochs'] == 2
    assert not {'dataroot_gt', 'batch_size_per_gpu', 'degrade', 'name', 'type'} & samples.keys()


def test_processes__two_share_a_cache_and_train_one_projection(tmp_path, photos, teacher):
    """Two processes with a batch of 2 each make the steps of one with a batch of 4."""
    options = options_of(photos, teacher, {**BOTH, 'cache': '../c'}, train__total_iter=3)
    options['train'].update(accumulate=2, optim_g={'type': 'SGD', 'lr': 0.1})
    options['datasets']['train'].update(repeat_epochs=2, dataset_enlarge_ratio=2)
    for name, flags, batch in (('one', (), 4), ('two', ('--nproc', 2), 2)):
        (tmp_path / name).mkdir()
        options['datasets']['train']['batch_size_per_gpu'] = batch
        write_options(tmp_path / name / 'o.yml', options)
        result = run_basicsr('train', '-opt', 'o.yml', *flags, cwd=tmp_path / name)
        assert result.returncode == 0, result.stdout + result.stderr
        (tmp_path / 'c').rename(tmp_path / f'c_{name}')
    one, two = tmp_path / 'one', tmp_path / 'two'
    for found, expected in (
        (weights_of(two, 3)['params'], weights_of(one, 3)['params']),
        (state_of(two, 3)['model'], state_of(one, 3)['model']),
    ):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    whole = (tmp_path / 'c_one/colours.bin').stat().st_size
    assert (tmp_path / 'c_two/colours.bin').stat().st_size == whole > 0


def test_test__of_a_trainings_option_file_needs_no_teacher(monkeypatch, tmp_path, photos, teacher):
    val = tiny_train(photos)['val']
    options = options_of(photos, teacher, {'colours': L1}, train__total_iter=1, val=val)
    assert train(monkeypatch, tmp_path, options) == 0
    teacher.unlink()
    assert run_here(monkeypatch, tmp_path, 'test', '-opt', 'o.yml') == 0
