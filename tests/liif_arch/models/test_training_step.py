"""The step: parts of a batch, groups, averages, optimisers; all are resumed bit for bit."""

import copy
from itertools import pairwise

import pytest
import torch
from helpers import paired_options, run_here, saved_train, write_options

from liif_arch.config import registries
from liif_arch.config.optimizers import parameter_groups, split_for_muon
from liif_arch.errors import UserError
from liif_arch.training.checkpoints import load_file
from liif_arch.training.schedules import OneCycleLR

STEPS = 6


def train(monkeypatch, folder, options: dict, *flags: str) -> int:
    folder.mkdir(exist_ok=True)
    write_options(folder / 'o.yml', options)
    return run_here(monkeypatch, folder, 'train', '-opt', 'o.yml', *flags)


def network(folder, iteration: int | str = STEPS) -> dict:
    """A checkpoint of a training."""
    return load_file(folder / f'experiments/tiny/models/net_g_{iteration}.pth')


def assert_same(found: dict, expected: dict, atol: float = 0) -> None:
    """Checkpoints, the average too."""
    assert found.keys() == expected.keys()
    for key in ('params', 'params_ema'):
        if key in expected:
            torch.testing.assert_close(found[key], expected[key], atol=atol, rtol=0)


EVERY = {
    'accumulate': {'accumulate': 2},
    'ema': {'ema_decay': 0.9, 'ema_warmup': True, 'ema_switch_iter': 2},
    'groups': {
        'param_groups': [
            {'names': 'encoder.*', 'lr': 1e-4, 'weight_decay': 0.1},
            {'names': ['*.bias', '*.head.*'], 'frozen_until': 4},
        ],
        'max_grad_norm': 0.1,
    },
    'one cycle': {'scheduler': {'type': 'OneCycleLR'}},
}
for kind in registries.MORE_OPTIMIZERS:
    EVERY[kind] = {
        'optim_g': {'type': kind, 'lr': 1e-3},
        'ema_decay': 0 if kind.startswith('ScheduleFree') else 0.9,
    }


@pytest.mark.parametrize('case', EVERY)
def test_resume__goes_on_bit_for_bit(monkeypatch, tmp_path, photos, case):
    if case in registries.MORE_OPTIMIZERS:
        pytest.importorskip('pytorch_optimizer')
    options = saved_train(photos)
    options['train'].update(copy.deepcopy(EVERY[case]))
    assert train(monkeypatch, tmp_path / 'whole', options) == 0
    part = copy.deepcopy(options)
    part['train']['total_iter'] = 3
    if case == 'one cycle':
        options['train']['scheduler']['total_steps'] = STEPS
        part['train']['scheduler']['total_steps'] = STEPS
    assert train(monkeypatch, tmp_path / 'parts', part) == 0
    assert train(monkeypatch, tmp_path / 'parts', options, '--auto_resume') == 0
    assert_same(network(tmp_path / 'parts'), network(tmp_path / 'whole'))
    assert not torch.equal(
        network(tmp_path / 'whole')['params']['encoder.body.0.body.0.weight'],
        network(tmp_path / 'whole', 1)['params']['encoder.body.0.body.0.weight'],
    )


@pytest.mark.parametrize('reduction', ['mean', 'sum', 'of patches'])
def test_accumulate__is_the_whole_batch(monkeypatch, tmp_path, photos, reduction):
    """20 steps of a batch of 16, at once, in 4 parts, and in 3 that are not alike."""
    options = saved_train(photos)
    options['logger']['save_checkpoint_freq'] = 20
    options['datasets']['train']['batch_size_per_gpu'] = 16
    options['datasets']['train']['dataset_enlarge_ratio'] = 40
    options['train'].update(total_iter=20, optim_g={'type': 'SGD', 'lr': 0.01})
    if reduction == 'of patches':
        options['datasets']['train'].update(patch=True, num_samples=144, lq_size=12)
        options['train']['fft_opt'] = {'type': 'FFTLoss'}
        options['train']['gradient_opt'] = {'type': 'L1Loss', 'reduction': 'sum'}
    options['train']['pixel_opt']['reduction'] = 'mean' if reduction == 'mean' else 'sum'
    if reduction != 'mean':
        options['train']['optim_g']['lr'] = 1e-6
    for count in (1, 4, 3):
        options['train']['accumulate'] = count
        assert train(monkeypatch, tmp_path / str(count), options) == 0
    whole = network(tmp_path / '1', 20)
    for count in (4, 3):
        assert_same(network(tmp_path / str(count), 20), whole, atol=1e-6)
    start = network(tmp_path / '1', 'latest')
    assert start['params'].keys() == whole['params'].keys()


def test_groups__freeze_until(monkeypatch, tmp_path, photos):
    options = saved_train(photos, train__ema_decay=0)
    options['train']['param_groups'] = [{'names': 'encoder.*', 'frozen_until': 4}]
    assert train(monkeypatch, tmp_path, options) == 0
    weights = [network(tmp_path, number)['params'] for number in range(1, STEPS + 1)]
    encoder = [found['encoder.head.0.weight'] for found in weights]
    decoder = [found[next(name for name in found if 'encoder' not in name)] for found in weights]
    assert all(torch.equal(encoder[0], found) for found in encoder[:4])
    assert not torch.equal(encoder[3], encoder[4]) and not torch.equal(encoder[4], encoder[5])
    assert not torch.equal(decoder[0], decoder[1])


def test_groups__have_settings_of_their_own(monkeypatch, tmp_path, photos):
    options = saved_train(photos)
    options['train']['param_groups'] = [
        {'names': '*.bias', 'weight_decay': 0},
        {'names': 'encoder.*', 'lr': 2e-4},
    ]
    options['train']['optim_g'] = {'type': 'AdamW', 'lr': 1e-3, 'weight_decay': 0.5}
    assert train(monkeypatch, tmp_path, options) == 0
    state = load_file(tmp_path / f'experiments/tiny/training_states/{STEPS}.state')
    found = [(g['initial_lr'], g['weight_decay']) for g in state['optimizers'][0]['param_groups']]
    assert found == [(1e-3, 0), (2e-4, 0.5), (1e-3, 0.5)]


@pytest.mark.parametrize(
    'rules,text',
    [
        ([{'names': 'decoder.*'}], 'train.param_groups.0.names: found decoder.*'),
        ([{'names': '*'}, {'names': 'encoder.*'}], 'train.param_groups.1.names: found encoder.*'),
        ([{'lr': 1}], 'names'),
        ([{'names': 'encoder.*', 'frozen_until': 0}], 'frozen_until'),
        ([{'names': 'encoder.*', 'lr': -1}], 'lr'),
        (
            [{'names': 'encoder.*', 'weigth_decay': 0}],
            'no setting of Adam; did you mean weight_decay',
        ),
        ([{'names': 'encoder.*', 'use_muon': False}], 'use_muon: no setting of Adam'),
        ('encoder', 'train.param_groups'),
    ],
)
def test_groups__that_are_wrong(monkeypatch, tmp_path, photos, capsys, rules, text):
    options = saved_train(photos)
    options['train']['param_groups'] = rules
    assert train(monkeypatch, tmp_path, options) == 2
    assert text in capsys.readouterr().err
    assert not (tmp_path / 'experiments').exists()


def test_groups__of_parameters():
    names = [(name, torch.nn.Parameter(torch.zeros(1))) for name in ('a.w', 'a.b', 'c.w')]
    groups = parameter_groups(names, [{'names': 'a.*', 'lr': 1}, {'names': ['*.w', 'x']}])
    assert [len(group['params']) for group in groups] == [2, 1]
    assert groups[0]['lr'] == 1 and 'names' not in groups[0]
    with pytest.raises(UserError, match='names begin with a, c'):
        parameter_groups(names, [{'names': 'b.*'}])


def test_groups__of_muon():
    """Matrices are Muon's, unless a rule leaves them to AdamW; what is no matrix is AdamW's."""
    shapes = {'a.w': (2, 2), 'a.b': (2,), 'head.w': (3, 2), 'head.b': (3,)}
    names = {name: torch.nn.Parameter(torch.zeros(shape)) for name, shape in shapes.items()}
    groups = parameter_groups(names.items(), [{'names': 'head.*', 'use_muon': False, 'lr': 1}])
    found = [
        (group['use_muon'], group.get('lr'), [tuple(p.shape) for p in group['params']])
        for group in split_for_muon(groups)
    ]
    assert found == [(False, 1, [(3, 2), (3,)]), (True, None, [(2, 2)]), (False, None, [(2,)])]


def test_ema__rises_and_is_gone_on_from(monkeypatch, tmp_path, photos):
    """Its decay is (1 + t) / (10 + t) until that is ema_decay; every third iteration the
    parameters are its own.
    """
    options = saved_train(photos)
    options['train'].update(ema_decay=0.99, ema_warmup=True)
    assert train(monkeypatch, tmp_path / 'a', options) == 0
    options['train']['ema_switch_iter'] = 3
    assert train(monkeypatch, tmp_path / 'b', options) == 0
    files = [network(tmp_path / 'a', number) for number in range(1, STEPS + 1)]
    for t, (before, after) in enumerate(pairwise(files), 2):
        decay = (1 + t) / (10 + t)
        for name, value in after['params_ema'].items():
            expected = decay * before['params_ema'][name] + (1 - decay) * after['params'][name]
            torch.testing.assert_close(value, expected, atol=1e-7, rtol=1e-5)
    for number in (3, 6):
        switched = network(tmp_path / 'b', number)
        torch.testing.assert_close(switched['params'], switched['params_ema'], atol=0, rtol=0)
    torch.testing.assert_close(
        network(tmp_path / 'b', 3)['params_ema'], files[2]['params_ema'], atol=0, rtol=0
    )


@pytest.mark.parametrize('kind', ['ScheduleFreeAdamW', 'ScheduleFreeSGD', 'ScheduleFreeRAdam'])
def test_schedule_free__saves_its_average(monkeypatch, tmp_path, photos, kind):
    """What is validated and used is the optimiser's average; what training goes on from is not."""
    optimizers = pytest.importorskip('pytorch_optimizer')
    options = saved_train(photos, train__ema_decay=0)
    options['train']['optim_g'] = {'type': kind, 'lr': 1e-2}
    assert train(monkeypatch, tmp_path, options) == 0
    found = network(tmp_path)
    parameters = {k: torch.nn.Parameter(v.clone()) for k, v in found['params'].items()}
    optimizer = getattr(optimizers, kind)(parameters.values(), lr=1e-2)
    state = load_file(tmp_path / f'experiments/tiny/training_states/{STEPS}.state')
    optimizer.load_state_dict(state['optimizers'][0])
    optimizer.eval()
    expected = {name: value.detach() for name, value in parameters.items()}
    torch.testing.assert_close(found['params_ema'], expected, atol=1e-7, rtol=0)
    assert not torch.equal(
        found['params']['imnet.layers.0.weight'], expected['imnet.layers.0.weight']
    )


def test_schedule_free__is_refused_where_nobody_takes_its_average(monkeypatch, tmp_path, capsys):
    pytest.importorskip('pytorch_optimizer')
    options = paired_options(tmp_path)
    options['train']['optim_g'] = {'type': 'ScheduleFreeAdamW', 'lr': 1e-3}
    assert train(monkeypatch, tmp_path, options) == 2
    error = capsys.readouterr().err
    assert 'train.optim_g.type: ScheduleFreeAdamW keeps the average' in error
    assert 'SRModel' in error and not (tmp_path / 'experiments').exists()


def test_muon__moves_basicsrs_networks(monkeypatch, tmp_path):
    pytest.importorskip('pytorch_optimizer')
    options = paired_options(tmp_path)
    options['train'].update(total_iter=2, optim_g={'type': 'Muon', 'lr': 1e-3})
    options['val'] = None
    assert train(monkeypatch, tmp_path, options) == 0
    state = load_file(tmp_path / 'experiments/tiny/training_states/2.state')
    found = [group['use_muon'] for group in state['optimizers'][0]['param_groups']]
    assert found == [True, False]


@pytest.mark.parametrize('kind', ['AdEMAMix', 'Lamb', 'ScheduleFreeAdamW'])
def test_frozen__begins_as_if_it_were_the_first_iteration(monkeypatch, tmp_path, photos, kind):
    """These optimisers count the steps of a group, which a frozen one does not make."""
    pytest.importorskip('pytorch_optimizer')
    options = saved_train(photos, train__ema_decay=0)
    options['train']['optim_g'] = {'type': kind, 'lr': 1e-3}
    options['train']['param_groups'] = [{'names': 'encoder.*', 'frozen_until': 4}]
    assert train(monkeypatch, tmp_path, options) == 0
    state = load_file(tmp_path / f'experiments/tiny/training_states/{STEPS}.state')
    groups = state['optimizers'][0]['param_groups']
    counts = [[group[key] for key in ('step', 'k') if key in group] for group in groups]
    assert counts[0] and counts[0] == [count - 4 for count in counts[1]]


def test_one_cycle__has_torchs_rates():
    def rates(scheduler_of):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
        scheduler, found = scheduler_of(optimizer), []
        for _ in range(40):
            found.append(optimizer.param_groups[0]['lr'])
            optimizer.step()
            scheduler.step()
        return found

    torchs = rates(
        lambda optimizer: torch.optim.lr_scheduler.OneCycleLR(
            optimizer, max_lr=0.1, total_steps=41, cycle_momentum=False
        )
    )
    assert rates(lambda optimizer: OneCycleLR(optimizer, 41)) == pytest.approx(torchs, rel=1e-9)


@pytest.mark.parametrize(
    'changes', [{'pct_start': 0}, {'pct_start': 1.5}, {'div_factor': 0}, {'final_div_factor': -1}]
)
def test_one_cycle__that_is_none(monkeypatch, tmp_path, photos, capsys, changes):
    options = saved_train(photos, train__scheduler={'type': 'OneCycleLR', **changes})
    assert train(monkeypatch, tmp_path, options) == 2
    assert f'train.scheduler.{next(iter(changes))}: found' in capsys.readouterr().err
    assert not (tmp_path / 'experiments').exists()


def test_one_cycle__warms_up_by_itself(monkeypatch, tmp_path, photos, capsys):
    options = saved_train(photos, train__scheduler={'type': 'OneCycleLR'}, train__warmup_iter=3)
    assert train(monkeypatch, tmp_path, options) == 2
    assert 'train.warmup_iter: found 3 beside OneCycleLR' in capsys.readouterr().err


def test_optimizer__whose_package_is_missing(monkeypatch, tmp_path, photos, capsys):
    monkeypatch.setattr(registries, 'find_spec', lambda name: None)
    assert 'Adan' not in registries.optimizers() and 'Adam' in registries.optimizers()
    assert "pip install 'basicsr-liif[optim]'" in registries.unknown_optimizer()


def test_gan__takes_no_parts(monkeypatch, tmp_path, photos, capsys):
    options = saved_train(photos, model_type='LIIFGANModel', train__accumulate=2)
    options['network_d'] = {'type': 'UNetDiscriminatorSN', 'num_in_ch': 3, 'num_feat': 4}
    options['train'].update(optim_d={'type': 'Adam', 'lr': 1e-4})
    options['train']['gan_opt'] = {'type': 'GANLoss', 'gan_type': 'vanilla'}
    options['datasets']['train'].update(patch=True, num_samples=64)
    assert train(monkeypatch, tmp_path, options) == 2
    assert 'train.accumulate: found more than one part' in capsys.readouterr().err


@pytest.mark.parametrize(
    'changes,text',
    [
        ({'ema_decay': 0, 'ema_warmup': True}, 'train.ema_warmup: there is no average'),
        ({'ema_decay': 0, 'ema_switch_iter': 2}, 'train.ema_switch_iter: there is no average'),
        (
            {'ema_decay': 0.9, 'optim_g': {'type': 'ScheduleFreeAdamW', 'lr': 1e-3}},
            'train.ema_decay: found 0.9 beside ScheduleFreeAdamW',
        ),
        ({'accumulate': 0}, 'train.accumulate'),
    ],
)
def test_options__that_contradict_each_other(monkeypatch, tmp_path, photos, capsys, changes, text):
    pytest.importorskip('pytorch_optimizer')
    options = saved_train(photos)
    options['train'].update(changes)
    assert train(monkeypatch, tmp_path, options) == 2
    assert text in capsys.readouterr().err
