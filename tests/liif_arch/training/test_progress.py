"""What a training shows while it runs, and the remaining time in BasicSR's log lines."""

import fcntl
import io
import logging
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
import torch
from helpers import paired_options, run_basicsr, tiny_train, write_options

from liif_arch.progress import PlainLines
from liif_arch.training import progress
from liif_arch.training.progress import MessageLogger, TrainingProgress, describe, log_apart


class Terminal:
    """A command in a terminal of its own.

    Args:
        arguments: Of `basicsr`.
        cwd: Where it runs.
    """

    def __init__(self, *arguments: object, cwd: Path) -> None:
        self.screen, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack('HHHH', 30, 120, 0, 0))
        self.shown = ''
        self.process = subprocess.Popen(
            [sys.executable, '-W', 'ignore', '-m', 'liif_arch.cli', *map(str, arguments)],
            cwd=cwd,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            env={**os.environ, 'OMP_NUM_THREADS': '1'},
        )
        os.close(theirs)

    def read_until(self, pattern: str | None = None, seconds: float = 120) -> str:
        """What it has shown once a pattern is there, or it has ended."""
        end = time.time() + seconds
        while time.time() < end and (pattern is None or not re.search(pattern, self.shown)):
            if select.select([self.screen], [], [], 0.2)[0]:
                try:
                    self.shown += os.read(self.screen, 65536).decode(errors='replace')
                except OSError:  # the other side is closed: it has ended
                    break
        return self.shown

    def end(self) -> int:
        """Its exit status."""
        self.read_until()
        os.close(self.screen)
        return self.process.wait(60)


def rows(shown: str) -> list[str]:
    """What a terminal's rows hold in the end: a carriage return begins a row anew."""
    final = []
    for line in shown.replace('\r\n', '\n').split('\n'):
        row = ''
        for part in re.sub(r'\x1b\[[0-9;]*[A-Za-z]', '', line).split('\r'):
            row = part + row[len(part) :]
        final.append(row.rstrip())
    return final


# One drawing of the bar: a carriage return parts it from the next one in the same row.
BAR = re.compile(
    r'tiny +\d+% \|[^\r\n]*\| (\d+)/(\d+) [^\r\n]*(?:it/s|s/it) eta [^\r\n]*l_pix 0\.\d+'
)


@pytest.mark.parametrize('kind', ['LIIFModel', 'SRModel'])
def test_train__in_a_terminal(tmp_path, photos, kind):
    options = tiny_train(photos) if kind == 'LIIFModel' else paired_options(tmp_path)
    options['train']['total_iter'], options['val']['val_freq'] = 40, 20
    options['logger'].update(print_freq=10, save_checkpoint_freq=20)
    terminal = Terminal(
        'train', '-opt', write_options(tmp_path / 'o.yml', options).name, cwd=tmp_path
    )
    status, shown = terminal.end(), terminal.shown
    assert status == 0, shown
    steps = [tuple(map(int, m.groups())) for m in BAR.finditer(shown)]
    assert steps and steps[0] == (1, 40) and steps[-1] == (40, 40), shown
    assert 'validating v' in shown
    final = rows(shown)
    assert not [row for row in final if '|' in row and ' eta ' in row], final  # the line is gone
    logged = [row for row in final if 'iter:' in row and 'eta:' in row]
    assert len(logged) == 4 and all(re.match(r'\d{4}-\d\d-\d\d ', row) for row in logged), logged
    assert (
        final[-3 if kind == 'LIIFModel' else -2]
        == 'Weights: experiments/tiny/models/net_g_latest.pth'
    )
    assert ('basicsr upscale' in final[-2]) == (kind == 'LIIFModel')


@pytest.mark.parametrize(
    'end,status,text', [('ctrl_c', 75, 'stopped after iteration'), ('nan', 2, 'the loss is ')]
)
def test_train__leaves_the_terminal_clean(tmp_path, photos, end, status, text):
    options = tiny_train(
        photos,
        train__total_iter=10**6,
        val__val_freq=10**6,
        logger__save_checkpoint_freq=10**6,
        logger__print_freq=10**6,
    )
    if end == 'nan':
        options['train']['optim_g'] = {'type': 'SGD', 'lr': 1e18}
    terminal = Terminal(
        'train', '-opt', write_options(tmp_path / 'o.yml', options).name, cwd=tmp_path
    )
    if end == 'ctrl_c':
        terminal.read_until(r' [1-9]\d*/1000000 ')
        os.killpg(terminal.process.pid, signal.SIGINT)
    assert terminal.end() == status, terminal.shown[-3000:]
    final = rows(terminal.shown)
    assert final[-1] == '' and text in ''.join(final[-4:]), final[-5:]
    after = final[next(i for i, row in enumerate(final) if text in row) :]
    assert not [row for row in after if 'it/s' in row], after


def test_train__in_a_file_and_on_resume(tmp_path, photos):
    """A line at the first step, none that fills the log; remaining times end at zero."""
    options = tiny_train(photos, train__total_iter=6, val__pbar=True)
    write_options(tmp_path / 'o.yml', options)
    first = run_basicsr('train', '-opt', 'o.yml', cwd=tmp_path)
    options['train']['total_iter'] = 9
    write_options(tmp_path / 'o.yml', options)
    second = run_basicsr('train', '-opt', 'o.yml', '--auto_resume', cwd=tmp_path)
    for result, line in (
        (first, r'tiny:  17% 1/6 .*it/s eta 00:\d\d, l_pix 0\.\d{4}'),
        (second, r'tiny:  78% 7/9 .*it/s eta 00:\d\d, l_pix 0\.\d{4}'),
    ):
        assert result.returncode == 0, result.stderr
        assert '\r' not in result.stderr and 'validate v' not in result.stderr
        assert (
            len(re.findall(r'^tiny: .*it/s', result.stderr, re.M))
            == 1
            == len(re.findall(line, result.stderr))
        )
    for log in (tmp_path / 'experiments/tiny').glob('train_tiny_*.log'):
        times = re.findall(r'eta: ([^,]*),', log.read_text())
        assert times and times[-1] == '0:00:00' and not [t for t in times if 'day' in t], times
        assert 'it/s' not in log.read_text()


def test_train__on_two_processes_shows_one_line(tmp_path, photos):
    options = tiny_train(photos, train__total_iter=4, datasets__train__batch_size_per_gpu=1)
    write_options(tmp_path / 'o.yml', options)
    result = run_basicsr('train', '-opt', 'o.yml', '--nproc', 2, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert len(re.findall(r'^tiny: .*1/4 ', result.stderr, re.M)) == 1 and '\r' not in result.stderr
    assert result.stdout.count('Weights: ') == 1


def test_train__ends_with_the_table_once(tmp_path, photos):
    write_options(tmp_path / 'o.yml', tiny_train(photos, val__val_freq=3))
    result = run_basicsr('train', '-opt', 'o.yml', cwd=tmp_path)
    row = r'^\| v +\| x2 '
    assert len(re.findall(row, result.stdout, re.M)) == 1
    assert len(re.findall(row, result.stderr, re.M)) == 1  # of iteration 3
    assert 'Validation v, iteration 4; mean psnr' in result.stderr
    log = next((tmp_path / 'experiments/tiny').glob('train_tiny_*.log')).read_text()
    assert len(re.findall(row, log, re.M)) == 2
    tested = run_basicsr('test', '-opt', 'o.yml', cwd=tmp_path)
    assert len(re.findall(row, tested.stdout + tested.stderr, re.M)) == 1
    assert tested.stdout.splitlines()[-1] == 'Results: results/tiny'


@pytest.mark.parametrize('resumed', [0, 10])
def test_message_logger__remaining_time(monkeypatch, caplog, resumed):
    """Two seconds an iteration, from the first one or from where the run goes on."""
    now = [1000.0]
    monkeypatch.setattr('basicsr.utils.logger.time.time', lambda: now[0])
    opt = {
        'name': 'long',
        'logger': {'print_freq': 1, 'use_tb_logger': False},
        'train': {'total_iter': 1e2},
    }
    message = MessageLogger(opt, resumed)
    monkeypatch.setattr(message, 'logger', logging.getLogger('a test'))
    found = []
    with caplog.at_level(logging.INFO, 'a test'):
        for iteration in range(resumed + 1, 101):
            now[0] += 2
            if iteration == 1:
                message.reset_start_time()
            message({'epoch': 0, 'iter': iteration, 'lrs': [1], 'time': 2, 'data_time': 0})
            found.append(re.search(r'eta: ([\d:]+),', caplog.messages[-1])[1])
    assert found == [
        time.strftime('%-H:%M:%S', time.gmtime(2 * (100 - i))) for i in range(resumed + 1, 101)
    ]


def test_training_progress__looks_at_a_loss_once_a_second(monkeypatch):
    now, looked = [0.0], []
    monkeypatch.setattr(progress.time, 'monotonic', lambda: now[0])
    monkeypatch.setattr(progress, 'describe', lambda losses: looked.append(now[0]) or 'l 1')
    shown = TrainingProgress({'name': 'a', 'rank': 0, 'train': {'total_iter': 100}}, 0)
    monkeypatch.setattr(
        progress, 'progress_bar', lambda **options: PlainLines(file=io.StringIO(), **options)
    )
    shown.start()
    for iteration in range(1, 31):
        now[0] += 0.1
        shown.step(iteration, {'l_pix': 1.0})
    assert shown.bar.n == 30 and looked == pytest.approx([0.1, 1.1, 2.1], abs=0.11)
    bar = shown.bar
    shown.close()
    shown.close()
    assert bar.disable and shown.bar is None
    other = TrainingProgress({'name': 'a', 'rank': 1, 'train': {'total_iter': 100}}, 0)
    other.start()
    assert other.bar is None


def test_describe__losses_alone():
    losses = {'out_d_real': 3.0, 'l_g_pix': torch.tensor(0.5), 'l_d': 0.25, 'l_a': 1, 'l_b': 1}
    assert describe(losses) == 'l_g_pix 0.5000, l_d 0.2500, l_a 1.0000'
    assert describe({}) == ''


def test_log_apart__table_to_the_file_alone(monkeypatch, tmp_path):
    logger, console = logging.getLogger('apart'), io.StringIO()
    logger.setLevel('INFO')
    logger.propagate = False
    logger.addHandler(logging.StreamHandler(console))
    logger.addHandler(logging.FileHandler(tmp_path / 'a.log'))
    monkeypatch.setattr(progress.basicsr_logger, 'get_root_logger', lambda: logger)
    log_apart('all of it', 'short')
    assert console.getvalue() == 'short\n' and (tmp_path / 'a.log').read_text() == 'all of it\n'
    logger.setLevel('ERROR')  # as of all processes but the first
    log_apart('all of it', 'short')
    assert console.getvalue() == 'short\n'
