"""Stopping, resuming, saving and losses: nothing is lost, and a resumed run ends as one that was
not stopped.
"""

import os
import signal
from pathlib import Path

import pytest
import torch
from helpers import differences, paired_options, run_here, tiny_train, write_options

from liif_arch.errors import UserError
from liif_arch.models.liif_model import LIIFModel
from liif_arch.training import checkpoints, randomness
from liif_arch.training.losses import LossWatch
from liif_arch.training.supervisor import Supervisor

STOPPED = 75


def results(run: Path, iteration: int) -> list[dict]:
    return [
        checkpoints.load_file(run / f'training_states/{iteration}.state'),
        checkpoints.load_file(run / f'models/net_g_{iteration}.pth'),
        checkpoints.load_file(run / 'models/net_g_latest.pth'),
    ]


@pytest.fixture
def stop_at(monkeypatch):
    """`stop_at(iteration)`: the process gets a signal while the run does that iteration."""

    def arrange(iteration: int, number: int = signal.SIGTERM) -> None:
        step = Supervisor.optimize_parameters

        def stop(self, current_iter: int) -> None:
            if current_iter == iteration:
                os.kill(os.getpid(), number)
            step(self, current_iter)

        monkeypatch.setattr(Supervisor, 'optimize_parameters', stop)

    return arrange


@pytest.mark.parametrize(
    'case,stopped',
    [
        ('liif', 5),
        ('liif, 2 workers', 1),
        ('liif, bfloat16', 7),
        ('liif, device', 9),
        ('SRModel', 1),
        ('SRModel, 2 workers', 5),
    ],
)
def test_resume__bit_for_bit(tmp_path, photos, monkeypatch, stop_at, case, stopped):
    options = paired_options(tmp_path) if case.startswith('SRModel') else tiny_train(photos)
    train = options['datasets']['train']
    train['num_worker_per_gpu'] = 2 if 'workers' in case else 0
    if 'bfloat16' in case:
        options['train']['precision'] = 'auto'
    if 'device' in case:
        train['degrade'] = 'device'
    train['dataset_enlarge_ratio'] = 3  # epochs of 6 and 9 iterations
    options['train']['total_iter'], options['logger']['save_checkpoint_freq'] = 14, 4
    options['val']['val_freq'] = 4
    whole, cut = tmp_path / 'whole', tmp_path / 'cut'
    for folder in (whole, cut):
        folder.mkdir()
        write_options(folder / 'o.yml', options)
    assert run_here(monkeypatch, whole, 'train', '-opt', 'o.yml') == 0
    with monkeypatch.context():
        stop_at(stopped)
        assert run_here(monkeypatch, cut, 'train', '-opt', 'o.yml') == STOPPED
        monkeypatch.undo()
    assert (cut / f'experiments/tiny/training_states/{stopped}.state').exists()
    assert run_here(monkeypatch, cut, 'train', '-opt', 'o.yml', '--auto_resume') == 0
    one, two = (results(folder / 'experiments/tiny', 14) for folder in (whole, cut))
    assert differences(one, two) == []
    assert (
        one[0]['best_metric_results']['v']
        and one[0]['validated']
        and not list(cut.glob('experiments/*archived*'))
    )


def test_stop__in_a_validation_which_is_then_done(tmp_path, photos, monkeypatch):
    options = tiny_train(
        photos, train__total_iter=6, val__val_freq=3, logger__save_checkpoint_freq=2
    )
    write_options(tmp_path / 'o.yml', options)
    validated = []
    item = LIIFModel._validate_item

    def interrupted(self, net, data, dataset, index, current_iter, save_img):
        validated.append((current_iter, index))
        if len(validated) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return item(self, net, data, dataset, index, current_iter, save_img)

    monkeypatch.setattr(LIIFModel, '_validate_item', interrupted)
    monkeypatch.setattr('builtins.print', lambda *a, **k: None)
    assert run_here(monkeypatch, tmp_path, 'train', '-opt', 'o.yml') == STOPPED
    assert validated == [(3, 0), (3, 1)]
    state = checkpoints.load_file(tmp_path / 'experiments/tiny/training_states/3.state')
    assert not state['validated'] and state['iter'] == 3
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert run_here(monkeypatch, tmp_path, 'train', '-opt', 'o.yml', '--auto_resume') == 0
    assert validated[2:] == [
        (i, k) for i in (3, 6) for k in range(12)
    ]  # of 6 once, though the run ends there


def test_auto_resume__passes_over_what_is_not_whole(tmp_path, photos, monkeypatch, capsys):
    write_options(
        tmp_path / 'o.yml', tiny_train(photos, train__total_iter=6, logger__save_checkpoint_freq=2)
    )
    assert run_here(monkeypatch, tmp_path, 'train', '-opt', 'o.yml') == 0
    run = tmp_path / 'experiments/tiny'
    states, models = run / 'training_states', run / 'models'
    (states / '6.state').write_bytes((states / '6.state').read_bytes()[:1000])
    (models / 'net_g_4.pth').write_bytes(b'')
    (states / 'latest.state').write_bytes(b'')
    (states / '.8.state.abc').write_bytes(b'left by a killed process')
    capsys.readouterr()
    assert run_here(monkeypatch, tmp_path, 'train', '-opt', 'o.yml', '--auto_resume') == 0
    out = capsys.readouterr().out
    assert 'passing over' in out and '6.state' in out and 'net_g_4.pth' in out
    assert (
        checkpoints.load_file(states / '6.state')['iter'] == 6
        and not (states / '.8.state.abc').exists()
    )
    for state in states.glob('*.state'):
        state.write_bytes(b'')
    before = sorted(p.name for p in run.parent.iterdir())
    assert run_here(monkeypatch, tmp_path, 'train', '-opt', 'o.yml', '--auto_resume') == 2
    assert 'none of the 3 training states' in capsys.readouterr().err
    assert sorted(p.name for p in run.parent.iterdir()) == before


def test_keep_checkpoints__keeps_the_newest_and_their_networks(tmp_path, photos, monkeypatch):
    write_options(
        tmp_path / 'o.yml',
        tiny_train(
            photos, train__total_iter=7, logger__save_checkpoint_freq=1, logger__keep_checkpoints=2
        ),
    )
    assert run_here(monkeypatch, tmp_path, 'train', '-opt', 'o.yml') == 0
    run = tmp_path / 'experiments/tiny'
    assert sorted(p.name for p in (run / 'training_states').iterdir()) == ['6.state', '7.state']
    assert sorted(p.name for p in (run / 'models').iterdir()) == [
        'net_g_6.pth',
        'net_g_7.pth',
        'net_g_latest.pth',
    ]


def test_keep_checkpoints__leaves_later_ones_of_an_abandoned_run(tmp_path, photos, monkeypatch):
    """Going back to an earlier state: what is saved then is kept, though later iterations lie
    there.
    """
    options = tiny_train(photos, train__total_iter=6, logger__save_checkpoint_freq=2)
    write_options(tmp_path / 'o.yml', options)
    assert run_here(monkeypatch, tmp_path, 'train', '-opt', 'o.yml') == 0
    states = tmp_path / 'experiments/tiny/training_states'
    options['path']['resume_state'] = str(states / '2.state')
    options['train']['total_iter'], options['logger'] = (
        5,
        {**options['logger'], 'save_checkpoint_freq': 1, 'keep_checkpoints': 1},
    )
    write_options(tmp_path / 'o.yml', options)
    assert run_here(monkeypatch, tmp_path, 'train', '-opt', 'o.yml') == 0
    assert sorted(p.name for p in states.iterdir()) == ['5.state', '6.state']


def test_save__a_full_disk_stops_the_run_and_leaves_the_last_checkpoint(
    tmp_path, photos, monkeypatch, capsys
):
    write_options(tmp_path / 'o.yml', tiny_train(photos, train__total_iter=8))
    save = torch.save

    def full(content, file, *args):
        if isinstance(content, dict) and content.get('iter') == 6:
            file.write(b'half of it')
            raise OSError(28, 'No space left on device')
        return save(content, file, *args)

    monkeypatch.setattr(torch, 'save', full)
    assert run_here(monkeypatch, tmp_path, 'train', '-opt', 'o.yml') == 2
    assert (
        '6.state: cannot save this checkpoint (No space left on device)' in capsys.readouterr().err
    )
    states = tmp_path / 'experiments/tiny/training_states'
    assert sorted(p.name for p in states.iterdir()) == ['2.state', '4.state']
    monkeypatch.undo()
    assert run_here(monkeypatch, tmp_path, 'train', '-opt', 'o.yml', '--auto_resume') == 0
    assert checkpoints.load_file(states / '8.state')['iter'] == 8


def test_epochs__are_enough_where_batches_do_not_divide_the_set(tmp_path, photos, monkeypatch):
    """BasicSR counts the batch that drop_last drops: 4 images in batches of 3 ended after 7 of 12
    iterations.
    """
    write_options(
        tmp_path / 'o.yml',
        tiny_train(
            photos,
            train__total_iter=12,
            logger__save_checkpoint_freq=100,
            datasets__train__batch_size_per_gpu=3,
        ),
    )
    assert run_here(monkeypatch, tmp_path, 'train', '-opt', 'o.yml') == 0
    assert (tmp_path / 'experiments/tiny/training_states/12.state').exists()


def test_resume__with_another_batch_goes_on_in_the_epoch(tmp_path, photos, monkeypatch):
    options = tiny_train(photos, train__total_iter=3, datasets__train__dataset_enlarge_ratio=5)
    write_options(tmp_path / 'o.yml', options)
    assert run_here(monkeypatch, tmp_path, 'train', '-opt', 'o.yml') == 0
    options['train']['total_iter'], options['datasets']['train']['batch_size_per_gpu'] = 6, 4
    write_options(tmp_path / 'o.yml', options)
    assert run_here(monkeypatch, tmp_path, 'train', '-opt', 'o.yml', '--auto_resume') == 0
    state = checkpoints.load_file(tmp_path / 'experiments/tiny/training_states/6.state')
    assert (state['epoch'], state['consumed']) == (0, 18)


def test_loss__that_is_no_number_names_the_batch_and_the_last_state(
    tmp_path, photos, monkeypatch, capsys
):
    write_options(tmp_path / 'o.yml', tiny_train(photos, train__total_iter=9))
    step = LIIFModel.optimize_parameters

    def poisoned(self, current_iter):
        if current_iter == 5:
            self.gt[0, 0, 0] = float('nan')
        step(self, current_iter)

    monkeypatch.setattr(LIIFModel, 'optimize_parameters', poisoned)
    assert run_here(monkeypatch, tmp_path, 'train', '-opt', 'o.yml') == 2
    error = capsys.readouterr().err
    assert 'the loss is nan at iteration 5' in error and '.png' in error and '4.state' in error
    assert 'Traceback' not in error


def test_loss_watch__of_a_device_looks_when_asked():
    watch = LossWatch({'path': {'training_states': 's'}})
    watch.names = ['a.png']
    watch.add(1, {'l': torch.zeros(1, device='meta')}, None)  # not looked at
    watch._since = [
        (1, ['a.png'], [torch.tensor(1.0)]),
        (2, ['b.png'], [torch.tensor(float('inf'))]),
    ]
    with pytest.raises(
        UserError, match=r'inf at iteration 2, with the batch b\.png; no state is saved'
    ):
        watch.check(None)


def test_randomness__captured_and_put_back(tmp_path):
    import random

    import numpy as np

    state = randomness.capture()
    checkpoints.save_file(state, tmp_path / 'r.pth')
    first = random.random(), np.random.rand(), np.random.randn(), torch.rand(3)
    with randomness.seeded(1, 2, 3):
        inside = random.random(), np.random.rand(), torch.rand(1).item()
    randomness.restore(checkpoints.load_file(tmp_path / 'r.pth'))
    again = random.random(), np.random.rand(), np.random.randn(), torch.rand(3)
    assert differences(first, again) == []
    with randomness.seeded(1, 2, 3):
        assert inside == (random.random(), np.random.rand(), torch.rand(1).item())
    with randomness.seeded(1, 2, 4):
        assert inside[0] != random.random()
