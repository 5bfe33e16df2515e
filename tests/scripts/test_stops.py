"""Ctrl+C and SIGTERM as a terminal and a cluster send them, in whatever takes long."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from endings import processes_of
from helpers import tiny_train, write_options, write_photos

from liif_arch import LIIF, EDSREncoder
from liif_arch.training.checkpoints import save_file

SCRIPTS = Path(__file__).parents[2] / 'scripts'
CLI = '-m', 'liif_arch.cli'


def stopped(folder: Path, number: int, begun: str, *command: object) -> tuple[int, str]:
    """Start a command in a session of its own, and stop it once a path that matches `begun` is
    there.

    Ctrl+C reaches all its processes, as from a terminal; SIGTERM the first, as from `kill`.
    """
    process = subprocess.Popen(
        [sys.executable, *map(str, command)],
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        env={**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONWARNINGS': 'ignore'},
    )
    end = time.time() + 90
    while not list(folder.glob(begun)):
        assert process.poll() is None and time.time() < end, process.communicate()[0]
        time.sleep(0.02)
    time.sleep(0.3)
    (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
    output = process.communicate(timeout=60)[0]
    assert 'Traceback' not in output, output
    return process.returncode, output


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


@pytest.mark.parametrize('number,status', [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_create_lmdb__leaves_nothing(tmp_path, number, status):
    write_photos(tmp_path / 'gt', [(900, 900)])
    for i in range(400):
        os.link(tmp_path / 'gt/im00.png', tmp_path / f'gt/copy{i}.png')
    code, output = stopped(
        tmp_path,
        number,
        '.gt.lmdb.*/data.mdb',
        SCRIPTS / 'create_lmdb.py',
        'gt',
        'gt.lmdb',
        '--workers',
        2,
    )
    assert code == status and 'create_lmdb: stopped; nothing was left behind.' in output
    assert names(tmp_path) == ['gt']


def test_create_lmdb__workers_end_with_a_parent_that_is_killed(tmp_path, monkeypatch):
    monkeypatch.setenv('ENDING_MARK', tmp_path.name)
    write_photos(tmp_path / 'gt', [(900, 900)])
    for i in range(400):
        os.link(tmp_path / 'gt/im00.png', tmp_path / f'gt/copy{i}.png')
    code, _ = stopped(
        tmp_path,
        signal.SIGKILL,
        '.gt.lmdb.*/data.mdb',
        SCRIPTS / 'create_lmdb.py',
        'gt',
        'gt.lmdb',
        '--workers',
        2,
    )
    end = time.time() + 10
    while processes_of(f'ENDING_MARK={tmp_path.name}') and time.time() < end:
        time.sleep(0.1)
    assert code == -signal.SIGKILL and processes_of(f'ENDING_MARK={tmp_path.name}') == []


@pytest.mark.parametrize('number,status', [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_upscale__leaves_nothing(tmp_path, number, status):
    write_photos(tmp_path, [(300, 300)], ['a'])
    network = {'type': 'LIIF', 'encoder': {'type': 'EDSREncoder', 'num_feat': 8, 'num_block': 1}}
    net = LIIF(EDSREncoder(num_feat=8, num_block=1))
    save_file({'params': net.state_dict(), 'network_g': network}, tmp_path / 'w.pth')
    code, output = stopped(
        tmp_path,
        number,
        '.b.tif.*',
        *CLI,
        'upscale',
        'a.png',
        '--weights',
        'w.pth',
        '--scale',
        20,
        '-o',
        'b.tif',
    )
    assert code == status and 'basicsr upscale: stopped.' in output
    assert names(tmp_path) == ['a.png', 'w.pth']


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_train__saves_and_can_go_on(tmp_path, photos, number):
    write_options(
        tmp_path / 'o.yml',
        tiny_train(
            photos,
            train__total_iter=10**6,
            logger__save_checkpoint_freq=20,
            val__val_freq=10**6,
            datasets__train__num_worker_per_gpu=2,
        ),
    )
    states = 'experiments/tiny/training_states'
    code, output = stopped(tmp_path, number, f'{states}/20.state', *CLI, 'train', '-opt', 'o.yml')
    last = int(re.search(r'stopped after iteration (\d+), which is saved', output)[1])
    assert code == 75 and '--auto_resume goes on from there' in output
    assert f'{last}.state' in names(tmp_path / states)
    assert not list((tmp_path / 'experiments').rglob('.*'))
