"""Several processes on CPUs (gloo): the same training, the same figures, one that dies, stopping
and going on.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from helpers import (
    differences,
    paired_options,
    run_basicsr,
    tiny_train,
    write_four_photos,
    write_options,
)

from liif_arch.training import checkpoints

ENVIRONMENT = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONWARNINGS': 'ignore'}


def start(folder: Path, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, '-m', 'liif_arch.cli', 'train', '-opt', 'o.yml', *arguments],
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def losses(output: str) -> list[float]:
    return [float(x) for x in re.findall(r'l_pix: (\S+)', output)]


def iterations(folder: Path) -> int:
    logs = sorted(folder.glob('experiments/tiny/train_*.log'))
    return len(re.findall('l_pix', logs[-1].read_text())) if logs else 0


def wait_for(condition, seconds: float = 90) -> None:
    end = time.time() + seconds
    while not condition():
        assert time.time() < end, 'it did not happen'
        time.sleep(0.1)


def processes_of(parent: int) -> list[int]:
    """Children that train, by rank."""
    found = []
    for status in Path('/proc').glob('[0-9]*/status'):
        try:
            if f'PPid:\t{parent}\n' in status.read_text():
                environment = (status.parent / 'environ').read_bytes().split(b'\0')
                found += [
                    (e, int(status.parent.name)) for e in environment if e.startswith(b'RANK=')
                ]
        except OSError:
            continue
    return [number for _, number in sorted(found)]


def options_of(batch: int) -> dict:
    """Of 30 iterations in five epochs, of so many samples a process."""
    return tiny_train(
        Path('gt'),
        train__total_iter=30,
        logger__save_checkpoint_freq=8,
        val__val_freq=10,
        datasets__train__batch_size_per_gpu=batch,
        datasets__train__dataset_enlarge_ratio=6,
    )


def finish(process: subprocess.Popen, folder: Path) -> tuple[str, list[dict]]:
    """What a run printed, and its last state and weights."""
    output = process.communicate(timeout=200)[0]
    assert process.returncode == 0, output
    run = folder / 'experiments/tiny'
    files = run / 'training_states/30.state', run / 'models/net_g_latest.pth'
    return output, [checkpoints.load_file(file) for file in files]


@pytest.fixture(scope='module')
def on_two(tmp_path_factory) -> tuple[str, list[dict]]:
    """A run on two processes."""
    folder = tmp_path_factory.mktemp('on_two')
    write_four_photos(folder / 'gt')
    write_options(folder / 'o.yml', options_of(2))
    return finish(start(folder, '--nproc', '2'), folder)


@pytest.mark.usefixtures('photos')
def test_nproc__losses_of_one_process_with_the_same_batch(tmp_path, on_two):
    write_options(tmp_path / 'o.yml', options_of(4))
    output, (state, weights) = finish(start(tmp_path), tmp_path)
    other_output, (other_state, other_weights) = on_two
    pairs = list(zip(losses(output), losses(other_output), strict=True))
    assert len(pairs) == 30 and max(abs(a - b) for a, b in pairs) < 1e-6
    for name in ('epoch', 'consumed'):
        assert state[name] == other_state[name]
    assert state['epoch'] > 0
    for name, values in weights['params'].items():
        assert (values - other_weights['params'][name]).abs().max() < 1e-5, name


@pytest.mark.parametrize('model', ['LIIFModel', 'SRModel'])
def test_nproc__validation_has_the_figures_of_one_process(tmp_path, photos, model):
    options = tiny_train(photos) if model == 'LIIFModel' else paired_options(tmp_path)
    options['train'].update(total_iter=1, optim_g={'type': 'SGD', 'lr': 0.0}, ema_decay=0)
    best = []
    for count in ('1', '2'):
        folder = tmp_path / f'n{count}'
        folder.mkdir()
        write_options(folder / 'o.yml', options)
        process = start(folder, '--nproc', count)
        output = process.communicate(timeout=200)[0]
        assert process.returncode == 0, output
        best.append(
            checkpoints.load_file(folder / 'experiments/tiny/training_states/1.state')[
                'best_metric_results'
            ]
        )
        if model == 'LIIFModel':
            best[-1]['table'] = json.loads((folder / 'experiments/tiny/metrics.json').read_text())
    assert best[0] == best[1] and best[0]['v']


def test_nproc__a_mistake_is_said_once(tmp_path, photos):
    options = tiny_train(photos)
    options['datasets']['train']['lq_sise'] = 8
    write_options(tmp_path / 'o.yml', options)
    result = run_basicsr('train', '-opt', 'o.yml', '--nproc', 2, cwd=tmp_path)
    lines = [line for line in result.stderr.splitlines() if 'lq_sise' in line]
    assert result.returncode == 2 and len(lines) == 1 and 'Traceback' not in result.stderr, (
        result.stderr
    )
    assert not (tmp_path / 'experiments').exists()


UNUSED = '''
from basicsr.utils.registry import ARCH_REGISTRY
from torch import nn


@ARCH_REGISTRY.register()
class Unused(nn.Module):
    """A network that does not use all that it has."""

    def __init__(self):
        super().__init__()
        self.body = nn.Conv2d(3, 12, 3, 1, 1)
        self.tail = nn.PixelShuffle(2)
        self.spare = nn.Conv2d(3, 3, 1)

    def forward(self, x):
        return self.tail(self.body(x))
'''


@pytest.fixture
def unused_parameters(tmp_path, monkeypatch) -> dict:
    """Options of two iterations with a plugin's network, of which a part is unused."""
    plugin = tmp_path / 'plugin'
    info = plugin / 'unused-0.1.dist-info'
    info.mkdir(parents=True)
    (plugin / 'unused_arch.py').write_text(UNUSED)
    (info / 'METADATA').write_text('Metadata-Version: 2.1\nName: unused\nVersion: 0.1\n')
    (info / 'entry_points.txt').write_text('[basicsr.plugins]\nunused = unused_arch\n')
    monkeypatch.setenv('PYTHONPATH', str(plugin))
    options = paired_options(tmp_path)
    options.update(network_g={'type': 'Unused'}, val=None)
    return options


def test_nproc__unused_parameters_are_named_before_anything_starts(tmp_path, unused_parameters):
    options = unused_parameters
    write_options(tmp_path / 'o.yml', options)
    result = run_basicsr('train', '-opt', 'o.yml', '--nproc', 2, cwd=tmp_path)
    lines = [text for text in result.stderr.splitlines() if 'find_unused_parameters' in text]
    assert result.returncode == 2 and len(lines) == 1, result.stderr
    assert (
        '2 of the 4 parameters of network_g' in lines[0] and 'spare.weight, spare.bias' in lines[0]
    )
    assert 'Traceback' not in result.stderr and not (tmp_path / 'experiments').exists()
    options['find_unused_parameters'] = True
    write_options(tmp_path / 'o.yml', options)
    result = run_basicsr('train', '-opt', 'o.yml', '--nproc', 2, cwd=tmp_path)
    assert result.returncode == 0, result.stderr


def test_distributed__says_which_key_unused_parameters_need(tmp_path):
    """What the rehearsal cannot see, since a network may use its parameters in some steps alone."""
    import torch.distributed as dist

    from liif_arch.errors import UserError
    from liif_arch.training.remedies import Distributed

    dist.init_process_group('gloo', init_method=f'file://{tmp_path}/store', rank=0, world_size=1)
    try:
        net = torch.nn.ModuleDict({'a': torch.nn.Linear(2, 2), 'b': torch.nn.Linear(2, 2)})
        net.forward = net['a'].forward
        parallel = Distributed(net)
        parallel(torch.zeros(1, 2)).sum().backward()
        with pytest.raises(
            UserError, match='^find_unused_parameters: some parameters of ModuleDict'
        ):
            parallel(torch.zeros(1, 2))
    finally:
        dist.destroy_process_group()


def test_nproc__one_that_dies_ends_the_others_and_the_run_goes_on(tmp_path, photos):
    write_options(
        tmp_path / 'o.yml',
        tiny_train(photos, train__total_iter=10**5, logger__save_checkpoint_freq=5),
    )
    process = start(tmp_path, '--nproc', '2')
    wait_for(lambda: iterations(tmp_path) > 8)
    os.kill(processes_of(process.pid)[1], signal.SIGKILL)
    begun = time.time()
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 1 and time.time() - begun < 60
    assert 'process 1 was killed by SIGKILL' in output and 'Traceback' not in output, output[-2000:]


@pytest.mark.usefixtures('photos')
def test_nproc__stopped_and_resumed_ends_as_if_it_had_not(tmp_path, on_two):
    write_options(tmp_path / 'o.yml', options_of(2))
    process = start(tmp_path, '--nproc', '2')
    wait_for(lambda: iterations(tmp_path) > 3)
    process.send_signal(signal.SIGTERM)
    output = process.communicate(timeout=90)[0]
    assert process.returncode == 75 and '--auto_resume goes on from there' in output, output
    assert 'Traceback' not in output
    _, found = finish(start(tmp_path, '--nproc', '2', '--auto_resume'), tmp_path)
    assert differences(found, on_two[1]) == []


def test_max_restarts__go_on_from_the_last_state(tmp_path, photos):
    write_options(
        tmp_path / 'o.yml', tiny_train(photos, train__total_iter=40, logger__save_checkpoint_freq=5)
    )
    process = start(tmp_path, '--nproc', '2', '--max_restarts', '1')
    wait_for(lambda: iterations(tmp_path) > 8)
    os.kill(processes_of(process.pid)[0], signal.SIGKILL)
    output = process.communicate(timeout=200)[0]
    assert process.returncode == 0, output
    resumed = re.findall(r'Resuming training from epoch: \d+, iter: (\d+)', output)
    assert len(resumed) == 1 and int(resumed[0]) >= 5
    assert not list(tmp_path.glob('experiments/*archived*'))
