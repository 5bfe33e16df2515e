"""From weights that ship to pictures of one's own: the split, the options, and a whole run."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
import yaml
from helpers import catch_logs, run_here, write_photos

from liif_arch import load_network
from liif_arch.errors import UserError
from liif_arch.training import finetuning


@pytest.fixture
def folder(tmp_path):
    """Twelve pictures, two of them in a folder of their own, and one that is too small."""
    (tmp_path / 'own/more').mkdir(parents=True)
    write_photos(tmp_path / 'own', [(100, 120)] * 10, [f'p{n}' for n in range(10)])
    write_photos(tmp_path / 'own/more', [(96, 96)] * 2, ['p0', 'q'])
    write_photos(tmp_path / 'own', [(20, 200)], ['small'])
    (tmp_path / 'own/notes.txt').write_text('no picture')
    return tmp_path / 'own'


def test_split__is_the_same_at_each_call(folder):
    split = finetuning.split_of(folder, 96)
    assert split == finetuning.split_of(folder, 96)
    assert len(split.train) == 10 and len(split.val) == 2
    assert not set(split.train) & set(split.val)
    assert [path.name for path in split.small] == ['small.png']


def test_split__has_most_held_out(tmp_path):
    write_photos(tmp_path, [(8, 8)] * 300, [f'{n:03d}' for n in range(300)])
    assert len(finetuning.split_of(tmp_path, 8).val) == finetuning.MOST_HELD_OUT


@pytest.mark.parametrize(
    'side,text',
    [(101, 'found 0 pictures'), (200, '13 of less than 200 pixels'), (None, 'is no folder')],
)
def test_split__of_too_few(folder, side, text):
    place = folder / 'p0.png' if side is None else folder
    with pytest.raises(UserError, match=text):
        finetuning.split_of(place, side or 8)


def test_split__knows_its_own_runs(folder, tmp_path):
    """A second run, from inside the folder, does not train on what the first has held out."""
    split = finetuning.split_of(folder, 96)
    finetuning.lay_out(split, folder / 'finetune_own_pictures')
    (folder / 'finetune_own.yml').touch()
    write_photos(folder / 'experiments/finetune_own', [(200, 200)], ['comparison_x4'])
    (folder / 'again.png').symlink_to(folder / 'p1.png')
    other = finetuning.split_of(folder, 96)
    names = [sorted(path.resolve() for path in [*each.train, *each.val]) for each in (split, other)]
    assert names[0] == names[1]


def test_options__take_the_average_of_weights(tmp_path, folder):
    """As `basicsr upscale` does; what is measured at the start is what is trained on."""
    net = load_network('fast')
    content = {'network_g': net.network_g}
    options = []
    for keys in (('params',), ('params', 'params_ema')):
        torch.save({**content, **dict.fromkeys(keys, net.state_dict())}, tmp_path / 'own.pth')
        options.append(
            finetuning.options_for('n', str(tmp_path / 'own.pth'), folder, [1, 4], None, 'cpu')
        )
    paths = [each['path'] for each in options]
    assert paths[0] == {'pretrain_network_g': str(tmp_path / 'own.pth')}
    assert paths[1] == {**paths[0], 'param_key_g': 'params_ema'}


@pytest.mark.parametrize(
    'network,expected',
    [
        ({}, True),
        ({'type': 'LIIF'}, True),
        ({'type': 'LTE'}, False),
        ({'tail': 'swinir'}, False),
        ({'encoder': {'type': 'SwinIR'}}, False),
        ({'encoder': None}, False),
    ],
)
def test_options__record_the_networks_that_a_gpu_has_recorded(tmp_path, folder, network, expected):
    net = load_network('fast')
    content = {'network_g': {**net.network_g, **network}, 'params': net.state_dict()}
    torch.save(content, tmp_path / 'own.pth')
    options = finetuning.options_for('n', str(tmp_path / 'own.pth'), folder, [1, 4], None, 'cuda')
    assert options['train']['cuda_graph'] is expected


def test_layout__has_each_picture_once(folder, tmp_path):
    split = finetuning.split_of(folder, 96)
    finetuning.lay_out(split, tmp_path / 'laid')
    assert len(list((tmp_path / 'laid/train').iterdir())) == 10  # two have one name
    assert len(list((tmp_path / 'laid/val').iterdir())) == 2
    for path in (tmp_path / 'laid').rglob('*.png'):
        assert path.stat().st_size > 100


@pytest.mark.parametrize(
    'scales,expected', [([1, 4], [2, 3, 4]), ([1, 1.5], [1.5]), ([3, 8], [3, 4]), ([6, 8], [8])]
)
def test_scales__that_are_measured(scales, expected):
    assert finetuning.measured_scales(scales) == expected


@pytest.mark.parametrize(
    'flags,text',
    [
        (['--minutes', '0'], '--minutes: found 0'),
        (['--scale-range', '4'], '--scale-range: found 4'),
        (['--scale-range', '4:2'], '--scale-range: found 4:2'),
        (['--scale-range', '1:1'], '--scale-range: found 1:1'),
        (['--scale-range', '1:8'], 'A smaller second number'),
        (['--weights', 'edrs'], 'did you mean edsr'),
    ],
)
def test_finetune__mistakes(monkeypatch, tmp_path, folder, capsys, flags, text):
    before = sorted(tmp_path.iterdir())
    assert run_here(monkeypatch, tmp_path, 'finetune', 'own', *flags) == 2
    assert text in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize('degradation', [None, 'photo'])
def test_finetune__whole(monkeypatch, tmp_path, folder, capsys, degradation):
    """The fewest iterations there are."""
    flags = ['--minutes', '0.001', '--scale-range', '1:3']
    if degradation is not None:
        flags += ['--degradation', degradation]
    result = subprocess.run(
        [sys.executable, '-m', 'liif_arch.cli', 'finetune', 'own', *flags],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, 'OMP_NUM_THREADS': '1'},
    )
    assert result.returncode == 0, result.stderr[-3000:]
    lines = result.stdout.splitlines()
    assert lines[0].startswith('10 pictures to train on, 2 held out; 1 left out')
    weights = 'fast' if degradation is None else 'photo'
    assert f'| {weights} | trained |' in result.stdout.replace('  ', ' ').replace('  ', ' ')
    trained = tmp_path / 'experiments/finetune_own/models/net_g_latest.pth'
    assert str(trained.relative_to(tmp_path)) in lines[-1]
    assert load_network(trained).network_g['type'] == 'Thera'
    options = yaml.safe_load((tmp_path / 'finetune_own.yml').read_text())
    assert options['train']['total_iter'] == finetuning.FEWEST
    assert options['datasets']['train'].get('degradation') == degradation
    found = json.loads((tmp_path / 'experiments/finetune_own/metrics.json').read_text())
    assert set(found['held_out']) == {'x2', 'x3'}
    assert run_here(monkeypatch, tmp_path, 'finetune', 'own', *flags) == 2  # it is there
    assert 'finetune_own.yml exists; go on with' in capsys.readouterr().err


def started(tmp_path, *flags: str) -> subprocess.Popen:
    """The command, as a process whose output can be read."""
    return subprocess.Popen(
        [sys.executable, '-m', 'liif_arch.cli', 'finetune', 'own', *flags],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, 'OMP_NUM_THREADS': '1'},
        start_new_session=True,
    )


@pytest.mark.parametrize('number,status', [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_finetune__stopped_while_it_measures(tmp_path, folder, number, status):
    """Nothing is left, so that the same command begins anew."""
    before = sorted(tmp_path.iterdir())
    process = started(tmp_path)
    while 'Measuring' not in process.stdout.readline():
        pass
    while not list(tmp_path.glob('finetune_own_pictures/val/*')):
        time.sleep(0.05)
    process.send_signal(number)  # to the command alone, as a service manager does
    _, errors = process.communicate(timeout=60)
    assert process.returncode == status, errors
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_finetune__stopped_while_it_trains_goes_on(monkeypatch, tmp_path, folder, caplog, number):
    process = started(tmp_path, '--minutes', '9')
    for line in process.stderr:
        if 'iter:      20' in line:
            break
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 75, errors
    assert 'the same command with --auto_resume' in errors.lower()
    options = yaml.safe_load((tmp_path / 'finetune_own.yml').read_text())
    [state] = (tmp_path / 'experiments/finetune_own/training_states').glob('*.state')
    last = int(state.stem) + 2
    options['train']['total_iter'] = last
    (tmp_path / 'finetune_own.yml').write_text(yaml.safe_dump(options))
    catch_logs(caplog)
    flags = ('-opt', 'finetune_own.yml', '--auto_resume')
    assert run_here(monkeypatch, tmp_path, 'train', *flags) == 0
    assert f'Resuming training from epoch: 0, iter: {state.stem}' in caplog.text


def test_finetune__of_a_damaged_picture_leaves_nothing(monkeypatch, tmp_path, folder, capsys):
    (folder / 'p3.png').write_bytes((folder / 'p3.png').read_bytes()[:300])
    before = sorted(tmp_path.iterdir())
    assert run_here(monkeypatch, tmp_path, 'finetune', 'own', '--minutes', '0.001') == 2
    assert 'p3.png' in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before
