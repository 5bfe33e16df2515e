"""`scripts/gpu_check.py` where there is no GPU: the same checks on the CPU, and its failures."""

import json
import subprocess
import sys
from argparse import Namespace
from itertools import product
from pathlib import Path

import pytest
import torch

from liif_arch import LIIF

SCRIPTS = Path(__file__).parents[2] / 'scripts'
CPU = torch.device('cpu')


def run(folder: Path, *flags: str) -> subprocess.CompletedProcess:
    """The script, as a user runs it."""
    return subprocess.run(
        [sys.executable, str(SCRIPTS / 'gpu_check.py'), *flags],
        cwd=folder,
        capture_output=True,
        text=True,
    )


@pytest.fixture
def script(monkeypatch):
    """The script as a module."""
    monkeypatch.syspath_prepend(SCRIPTS)
    import gpu_check

    return gpu_check


def test_gpu_check__on_a_cpu(tmp_path):
    result = run(tmp_path, '--device', 'cpu', '--quick')
    assert result.returncode == 0, result.stdout + result.stderr
    found = json.loads((tmp_path / 'gpu_check/report.json').read_text())
    outcomes = {c['name']: c['outcome'] for c in found['checks']}
    assert {n for n, o in outcomes.items() if o == 'not here'} <= {
        'Triton kernel',
        'nothing waits for the device',
        'gradients of a CUDA graph',
        'what the Triton kernel takes',
    }
    assert outcomes['a training, stopped and resumed'] == outcomes['make_batch, pixels'] == 'passed'
    for path in (
        'render, float32',
        'gradients in chunks, float32',
        'a window of an image, float32',
        'a picture of 16 bits, levels',
    ):
        assert outcomes[f'LIIF: {path}'] == outcomes[f'heat field: {path}'] == 'passed'
    assert len(outcomes) >= 20 and found['machine']['torch'] == torch.__version__.partition('+')[0]
    timed = {(r['network'].partition(' on ')[0], r['scale']) for r in found['tables']['Speed']}
    assert timed == {*product(('LIIF', 'heat field'), ('x2', 'x4', 'x8'))}
    assert all(r['Mpixel/s'] > 0 for r in found['tables']['Speed'])
    assert len(found['tables']['Memory']) == 3 and found['tables']['A training step']
    page = (tmp_path / 'gpu_check/report.md').read_text()
    assert all(name in page for name in (*outcomes, '## Speed', '## Memory', '0 FAILED'))


@pytest.mark.parametrize('device', ['cuda:99', 'nonsense'])
def test_gpu_check__without_the_device_says_so_in_one_line(tmp_path, device):
    result = run(tmp_path, '--device', device)
    assert result.returncode == 2 and result.stdout == '' and not list(tmp_path.iterdir())
    assert len(result.stderr.strip().splitlines()) == 1
    assert (
        result.stderr.startswith(f'gpu_check: --device: {device}: ')
        and '--device cpu' in result.stderr
    )


def test_colours__are_measured_by_how_much_an_image_varies(script, monkeypatch):
    """Those of a network that has not been trained vary by a hundredth: a small fault is much."""
    decode_grid = LIIF.decode_grid
    monkeypatch.setattr(LIIF, 'decode_grid', lambda *args: decode_grid(*args) + 2e-5)
    checks = script.gpu_paths.colours(Namespace(network='small'), CPU)
    failed = [check.name for check in checks if not check.passed]
    assert failed and all(name.startswith('LIIF: render') for name in failed)


@pytest.mark.parametrize('fault', [False, True])
def test_recordings__are_compared_with_what_is_not_recorded(script, monkeypatch, fault):
    """Passes that are called again stand in for those of a GPU; or ones that do nothing."""

    def capture(*passes):
        for work in passes:
            work()
        again = (lambda work: None) if fault else torch.enable_grad()
        return [Namespace(replay=again(work) or (lambda: None)) for work in passes]

    monkeypatch.setattr(script.gpu_paths.cuda_graph, 'is_able', lambda device: True)
    monkeypatch.setattr(script.gpu_paths.cuda_graph, 'capture', capture)
    checks = script.gpu_paths.recordings(Namespace(network='small'), CPU)
    assert {check.name.partition(':')[0] for check in checks} == {'LIIF', 'heat field'}
    assert all(check.passed is not fault for check in checks)
    [of_cpu, *_] = script.gpu_paths.benchmark_training.available(CPU)
    monkeypatch.setattr(script.benchmark_training, 'is_able', lambda device: True)
    args = Namespace(network='small', decoder='LIIF', repeats=1)
    rows = script.benchmark_training.training(args, CPU)
    assert {of_cpu, f'{of_cpu}, recorded'} <= {row['precision'] for row in rows}


def test_together__two_processes_on_cpus(script):
    check = script.gpu_training.together(Namespace(), CPU)[0]
    assert check.passed and 0 < check.figure < 0.01


@pytest.mark.parametrize(
    'fault,place',
    [('wrong', 'window'), ('no number', 'window'), ('an error', 'windows'), ('memory', 'MiB')],
)
def test_gpu_check__ends_with_1_where_something_fails(script, monkeypatch, tmp_path, fault, place):
    """What is wrong, no number, raises, or takes too much; the rest is run all the same."""
    from gpu_paths import figures, windows

    render_window = LIIF.render_window

    def faulty(net, feat, size, *more):
        if fault == 'an error':
            raise RuntimeError('an illegal memory access')
        image = render_window(net, feat, size, *more)
        shift = {'wrong': 0.1, 'no number': float('nan')}.get(fault, 0)
        return image + shift if more[0] != (0, 0) else image

    monkeypatch.setattr(LIIF, 'render_window', faulty)
    monkeypatch.setattr(script, 'CHECKS', {'windows': windows, 'figures': figures})
    peaks = [{'input': '1x1', 'scale': 'x1', 'peak MiB': peak} for peak in (100.0, 900.0)]
    tables = (
        {'Memory': (lambda args, device: peaks, script.within_budget)} if fault == 'memory' else {}
    )
    monkeypatch.setattr(script, 'TABLES', tables)
    monkeypatch.setattr(
        sys,
        'argv',
        ['gpu_check', '--device', 'cpu', '--quick', '--memory', '512', '--out', str(tmp_path)],
    )
    if fault == 'memory':
        monkeypatch.setattr(LIIF, 'render_window', render_window)
    assert script.main() == 1
    checks = json.loads((tmp_path / 'report.json').read_text())['checks']
    failed = [c['name'] for c in checks if c['outcome'] == 'FAILED']
    assert failed and all(place in name for name in failed)
    assert sum(c['outcome'] == 'passed' for c in checks) >= 4


def test_stopped_training__that_does_not_end_as_it_should_is_an_error(script, tmp_path):
    """A training that fails is not taken for one that was stopped."""
    (tmp_path / 'output.txt').write_text('what it said last')
    process = subprocess.Popen([sys.executable, '-c', 'raise SystemExit(3)'])
    with pytest.raises(RuntimeError, match='ended with 3, not 75: what it said last'):
        script.gpu_training.wait(process, tmp_path, 75)
