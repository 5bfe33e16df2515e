"""Resuming with changed options: what can change is applied and said, what cannot is refused."""

import copy
import logging
from pathlib import Path

import pytest
from helpers import paired_options, run_here, tiny_train, write_options

from liif_arch.training import checkpoints

STATES = Path('experiments/tiny/training_states')
COSINE = {
    'type': 'CosineAnnealingRestartLR',
    'periods': [4, 6],
    'restart_weights': [1, 0.5],
    'eta_min': 1e-5,
}


def options_of(model: str, folder: Path, photos: Path) -> dict:
    """A training of six iterations, saved after each."""
    options = tiny_train(photos) if model == 'LIIFModel' else paired_options(folder)
    options['train'].update(
        total_iter=6, scheduler={'type': 'MultiStepLR', 'milestones': [2, 4], 'gamma': 0.5}
    )
    options['logger']['save_checkpoint_freq'] = 1
    options['val'] = None  # what validates is tested elsewhere
    if model == 'SRGANModel':
        optim = {'type': 'Adam', 'lr': 2e-4}
        options.update(
            model_type=model,
            network_d={'type': 'UNetDiscriminatorSN', 'num_in_ch': 3, 'num_feat': 4},
        )
        options['train'].update(
            optim_d=optim,
            gan_opt={
                'type': 'GANLoss',
                'gan_type': 'vanilla',
                'real_label_val': 1.0,
                'fake_label_val': 0.0,
                'loss_weight': 0.1,
            },
        )
    return options


def with_changes(options: dict, changes: dict) -> dict:
    """A copy, with `a__b` of the changes in place; None removes a key."""
    options = copy.deepcopy(options)
    for name, value in changes.items():
        place, *keys = options, *name.split('__')
        for key in keys[:-1]:
            place = place[key]
        if value is None:
            del place[keys[-1]]
        else:
            place[keys[-1]] = value
    return options


def train(monkeypatch, folder: Path, options: dict, *flags: str) -> int:
    folder.mkdir(exist_ok=True)
    write_options(folder / 'o.yml', options)
    return run_here(monkeypatch, folder, 'train', '-opt', 'o.yml', *flags)


def saved_at_3(monkeypatch, folder: Path, options: dict, with_options: bool = True) -> None:
    """Leave a run that ended after its third iteration, as this version saves it or the one
    before.
    """
    whole = with_changes(options, {'train__total_iter': 3})
    assert train(monkeypatch, folder, whole) == 0
    path = folder / STATES / '3.state'
    state = checkpoints.load_file(path)
    if not with_options:
        del state['options']
        checkpoints.save_file(state, path)


def groups(folder: Path, iteration: int) -> list[dict]:
    """The parameter groups of all optimisers in a state, without their parameters."""
    state = checkpoints.load_file(folder / STATES / f'{iteration}.state')
    found = [group for optimizer in state['optimizers'] for group in optimizer['param_groups']]
    return [
        {k: checkpoints.builtin(v) for k, v in group.items() if k != 'params'} for group in found
    ]


@pytest.mark.parametrize('with_options', [True, False], ids=['with options', 'saved before'])
@pytest.mark.parametrize(
    'model,changes,lines',
    [
        (
            'LIIFModel',
            {'train__optim_g__lr': 5e-4},
            ['train.optim_g.lr: 0.001 when it was saved, 0.0005 now'],
        ),
        (
            'LIIFModel',
            {'train__scheduler__milestones': [1, 3, 5]},
            ['train.scheduler.milestones: [2, 4] when it was saved, [1, 3, 5] now'],
        ),
        (
            'SRModel',
            {'train__scheduler__gamma': 0.1, 'train__optim_g__betas': [0.8, 0.9]},
            [
                'train.scheduler.gamma: 0.5 when it was saved, 0.1 now',
                'train.optim_g.betas: [0.9, 0.999] when it was saved, [0.8, 0.9] now',
            ],
        ),
        (
            'SRModel',
            {'train__scheduler': COSINE},
            ['train.scheduler.type: MultiStepLR when it was saved, CosineAnnealingRestartLR now'],
        ),
        (
            'SRModel',
            {'train__optim_g__weight_decay': 0.1, 'train__optim_g__eps': 1e-6},
            [
                'train.optim_g.weight_decay: 0 when it was saved, 0.1 now',
                'train.optim_g.eps: 1e-08 when',
            ],
        ),
        (
            'SRGANModel',
            {'train__optim_d__lr': 1e-5},
            ['train.optim_d.lr: 0.0002 when it was saved, 1e-05 now'],
        ),
    ],
)
def test_resume__applies_what_has_changed(
    tmp_path, photos, monkeypatch, caplog, model, changes, lines, with_options
):
    """The optimisers go on with the settings and rates of a run that always had these options."""
    options = options_of(model, tmp_path, photos)
    changed = with_changes(options, changes)
    saved_at_3(monkeypatch, tmp_path / 'cut', options, with_options)
    caplog.set_level(logging.INFO, 'basicsr')
    caplog.clear()
    assert train(monkeypatch, tmp_path / 'cut', changed, '--auto_resume') == 0
    said = [r.getMessage() for r in caplog.records if 'when it was saved' in r.getMessage()]
    for line in lines:
        assert [text for text in said if text.startswith(line) and text.endswith(': applied.')], (
            said
        )
    assert len(said) == len(lines) + with_options, said  # total_iter is the other
    assert train(monkeypatch, tmp_path / 'fresh', changed) == 0
    for iteration in (4, 5, 6):
        assert groups(tmp_path / 'cut', iteration) == groups(tmp_path / 'fresh', iteration)


@pytest.mark.parametrize(
    'changes', [{'type': 'OneCycleLR'}, {'type': 'OneCycleLR', 'pct_start': 0.7, 'div_factor': 5}]
)
def test_resume__one_cycle_of_another_length(tmp_path, photos, monkeypatch, caplog, changes):
    """A run that is made longer, whose cycle is as long as it."""
    options = options_of('LIIFModel', tmp_path, photos)
    options['train']['scheduler'] = {'type': 'OneCycleLR'}
    saved_at_3(monkeypatch, tmp_path / 'cut', options)
    changed = with_changes(options, {'train__scheduler': changes})
    caplog.set_level(logging.INFO, 'basicsr')
    assert train(monkeypatch, tmp_path / 'cut', changed, '--auto_resume') == 0
    assert 'train.scheduler.total_steps: 3 when it was saved, 6 now: applied.' in caplog.text
    assert train(monkeypatch, tmp_path / 'fresh', changed) == 0
    for iteration in (4, 5, 6):
        assert groups(tmp_path / 'cut', iteration) == groups(tmp_path / 'fresh', iteration)


BY_RULES = [{'names': 'encoder.body.*', 'lr': 1e-4}, {'names': 'encoder.head.*', 'lr': 2e-4}]


@pytest.mark.parametrize(
    'rules',
    [
        [{**BY_RULES[0], 'names': 'imnet.*'}, BY_RULES[1]],
        BY_RULES[::-1],
        BY_RULES[:1],
    ],
)
def test_resume__refuses_other_groups(tmp_path, photos, monkeypatch, capsys, rules):
    """What an optimiser has learnt of one parameter is nothing for another one."""
    options = options_of('LIIFModel', tmp_path, photos)
    options['train']['param_groups'] = BY_RULES
    saved_at_3(monkeypatch, tmp_path, options)
    changed = with_changes(options, {'train__param_groups': rules})
    assert train(monkeypatch, tmp_path, changed, '--auto_resume') == 2
    error = capsys.readouterr().err
    assert 'train.param_groups: its rules put parameters into other groups' in error
    assert 'Traceback' not in error and not list(tmp_path.glob('**/4.state'))


def test_resume__applies_other_rates_of_the_same_groups(tmp_path, photos, monkeypatch):
    options = options_of('LIIFModel', tmp_path, photos)
    options['train']['param_groups'] = BY_RULES
    saved_at_3(monkeypatch, tmp_path / 'cut', options)
    rules = [{**BY_RULES[0], 'lr': 5e-4, 'names': ['encoder.body.*']}, BY_RULES[1]]
    changed = with_changes(options, {'train__param_groups': rules})
    assert train(monkeypatch, tmp_path / 'cut', changed, '--auto_resume') == 0
    assert train(monkeypatch, tmp_path / 'fresh', changed) == 0
    assert groups(tmp_path / 'cut', 6) == groups(tmp_path / 'fresh', 6)


def test_resume__what_muon_leaves_to_adamw(tmp_path, photos, monkeypatch, caplog):
    """Its options have other names than its groups'."""
    pytest.importorskip('pytorch_optimizer')
    options = options_of('LIIFModel', tmp_path, photos)
    options['train']['optim_g'] = {'type': 'Muon', 'lr': 1e-3}
    saved_at_3(monkeypatch, tmp_path / 'cut', options)
    settings = {'adamw_betas': [0.5, 0.6], 'adamw_eps': 0.1, 'adamw_wd': 0.3, 'adamw_lr': 1e-4}
    changed = copy.deepcopy(options)
    changed['train']['optim_g'].update(settings)
    caplog.set_level(logging.INFO, 'basicsr')
    assert train(monkeypatch, tmp_path / 'cut', changed, '--auto_resume') == 0
    for option in settings:
        assert f'train.optim_g.{option}: ' in caplog.text
    assert 'train.optim_g.weight_decay' not in caplog.text
    assert train(monkeypatch, tmp_path / 'fresh', changed) == 0
    for iteration in (4, 6):
        assert groups(tmp_path / 'cut', iteration) == groups(tmp_path / 'fresh', iteration)


def test_resume__a_cosine_schedule_of_other_periods(tmp_path, photos, monkeypatch):
    options = options_of('SRModel', tmp_path, photos)
    options['train']['scheduler'] = COSINE
    saved_at_3(monkeypatch, tmp_path / 'cut', options)
    changed = with_changes(
        options,
        {'train__scheduler__periods': [2, 20], 'train__optim_g__lr': 0.01, 'train__warmup_iter': 5},
    )
    assert train(monkeypatch, tmp_path / 'cut', changed, '--auto_resume') == 0
    assert train(monkeypatch, tmp_path / 'fresh', changed) == 0
    for iteration in (4, 5, 6):
        assert groups(tmp_path / 'cut', iteration) == groups(tmp_path / 'fresh', iteration)


def test_resume__says_every_other_change(tmp_path, photos, monkeypatch, caplog):
    options = options_of('LIIFModel', tmp_path, photos)
    saved_at_3(monkeypatch, tmp_path, options)
    changed = with_changes(
        options,
        {
            'train__ema_decay': 0.5,
            'datasets__train__batch_size_per_gpu': 1,
            'manual_seed': 7,
            'network_g__local_ensemble': False,
        },
    )
    caplog.set_level(logging.INFO, 'basicsr')
    caplog.clear()
    assert train(monkeypatch, tmp_path, changed, '--auto_resume') == 0
    said = [r.getMessage() for r in caplog.records if 'when it was saved' in r.getMessage()]
    assert sorted(said) == sorted(
        [
            'train.total_iter: 3 when it was saved, 6 now: applied.',
            'train.ema_decay: 0.9 when it was saved, 0.5 now: applied.',
            'datasets.train.batch_size_per_gpu: 2 when it was saved, 1 now: applied.',
            'manual_seed: 0 when it was saved, 7 now: applied.',
            'network_g.local_ensemble: not set when it was saved, False now: applied.',
        ]
    )


@pytest.mark.parametrize('with_options', [True, False], ids=['with options', 'saved before'])
@pytest.mark.parametrize(
    'changes,parts',
    [
        ({'train__optim_g': {'type': 'SGD', 'lr': 1e-3}}, ['train.optim_g.type', 'SGD']),
        (
            {'network_g__encoder__num_feat': 4},
            ['network_g.encoder.num_feat: 8 when it was saved, 4 now', 'net_g_3.pth', 'do not fit'],
        ),
    ],
)
def test_resume__refuses_what_cannot_change(
    tmp_path, photos, monkeypatch, capsys, changes, parts, with_options
):
    options = options_of('LIIFModel', tmp_path, photos)
    saved_at_3(monkeypatch, tmp_path, options, with_options)
    before = sorted(str(p) for p in tmp_path.rglob('*') if not p.name.endswith('.log'))
    assert train(monkeypatch, tmp_path, with_changes(options, changes), '--auto_resume') == 2
    error = capsys.readouterr().err
    assert 'Traceback' not in error
    for part in parts:
        assert part in error, error
    if with_options and 'train__optim_g' in changes:
        assert 'train.optim_g.type: Adam when it was saved, SGD now' in error
    assert sorted(str(p) for p in tmp_path.rglob('*') if not p.name.endswith('.log')) == before


def test_resume__refuses_a_discriminator_that_is_new(tmp_path, photos, monkeypatch, capsys):
    saved_at_3(monkeypatch, tmp_path, options_of('SRModel', tmp_path, photos))
    changed = options_of('SRGANModel', tmp_path, photos)
    assert train(monkeypatch, tmp_path, changed, '--auto_resume') == 2
    assert 'train.optim_d.type: not set when it was saved' in capsys.readouterr().err


def test_resume__keeps_a_seed_that_was_drawn(tmp_path, photos, monkeypatch, caplog):
    """Without manual_seed each start draws one; a resumed run goes on with the samples of the
    first.
    """
    options = with_changes(options_of('LIIFModel', tmp_path, photos), {'manual_seed': None})
    saved_at_3(monkeypatch, tmp_path, options)
    assert train(monkeypatch, tmp_path, options, '--auto_resume') == 0
    seeds = [checkpoints.load_file(tmp_path / STATES / f'{i}.state')['options'] for i in (3, 6)]
    assert seeds[0]['manual_seed'] == seeds[1]['manual_seed']
    assert seeds[1]['datasets']['train']['seed'] == seeds[0]['manual_seed']


def test_resume__without_the_pretrained_weights_it_began_from(tmp_path, photos, monkeypatch):
    options = options_of('SRModel', tmp_path, photos)
    saved_at_3(monkeypatch, tmp_path, options)
    options['path']['pretrain_network_g'] = 'gone.pth'
    assert train(monkeypatch, tmp_path, options, '--auto_resume') == 0
