"""`scripts/benchmark.py`, quickly: every section runs, and its figures are what they are called."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

SCRIPT = Path(__file__).parents[2] / 'scripts/benchmark.py'


def test_benchmark__all_sections_on_a_small_network(tmp_path):
    command = [
        sys.executable,
        str(SCRIPT),
        '--network',
        'small',
        '--side',
        '16',
        '--repeats',
        '1',
        '--device',
        'cpu',
        '--iterations',
        '4',
    ]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-2000:]
    results = json.loads((tmp_path / 'benchmark/results.json').read_text())
    for row in results['correctness']:
        share = 5e-2 if 'bfloat16' in row['path'] else 1e-4
        assert 0 < row['rms'] <= row['largest difference'] < share * row['rms of the image'], row
    rows = {(r['network'], r['scale'], r['precision']): r for r in results['render']}
    for (network, scale, precision), row in rows.items():
        assert (
            row['faster'] * row['ns a pixel'] == pytest.approx(row['plain ns'])
            and 0.01 < row['of the floor'] < 3
        )
        assert (
            network == 'decoder alone'
            or row['ns a pixel'] > rows['decoder alone', scale, precision]['ns a pixel']
        )
    assert {r['precision'] for r in results['training']} >= {'float32'} and len(
        results['data']
    ) == 7
    losses = [list(r.values())[-1] for r in results['convergence']]
    assert all(0.01 < loss < 0.5 for loss in losses) and len(set(losses)) == len(losses)
    assert {r['work'].partition(',')[0] for r in results['busy']} == {'small', 'training step'}
    assert [r['output'] for r in results['memory']] == ['1x1', '96x64', '120x120']  # width x height
    assert all(50 < r['peak MiB'] < 8000 for r in results['memory'])
    assert Image.open(tmp_path / 'benchmark/convergence.png').size[0] > 500
    assert Image.open(tmp_path / 'benchmark/render.png').size[0] > 500
    assert (
        '| decoder alone | x30' in result.stdout and '| decoder alone | x3.3x4.7' in result.stdout
    )


def test_benchmark__bad_device(tmp_path):
    result = subprocess.run(
        [sys.executable, str(SCRIPT), '--device', 'cuda:99'],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 2 and result.stderr.startswith('benchmark: --device: cuda:99: ')
    assert not list(tmp_path.iterdir())


def test_benchmark__resume_keeps_what_is_done_and_refuses_another_run(tmp_path):
    command = [
        sys.executable,
        str(SCRIPT),
        '--network',
        'small',
        '--side',
        '16',
        '--repeats',
        '1',
        '--device',
        'cpu',
    ]
    run = {'cwd': tmp_path, 'capture_output': True, 'text': True}
    assert subprocess.run([*command, '--sections', 'correctness'], **run).returncode == 0
    path = tmp_path / 'benchmark/results.json'
    results = json.loads(path.read_text())
    results['correctness'][0]['rms'] = 123.0
    path.write_text(json.dumps(results))
    resumed = subprocess.run(
        [*command, '--sections', 'correctness', 'linearity', '--resume'], **run
    )
    assert resumed.returncode == 0, resumed.stderr
    results = json.loads(path.read_text())
    assert results['correctness'][0]['rms'] == 123.0
    rows = results['linearity']
    assert [r['scale'] for r in rows] == ['x2', 'x4', 'x8', 'x12', 'x18', 'x24', 'x30']
    assert (
        0.3 < rows[0]['slope over all'] < 1.5
        and Image.open(tmp_path / 'benchmark/linearity.png').size[0] > 400
    )
    other = subprocess.run([*command, '--network', 'paper', '--resume'], **run)
    assert other.returncode == 2 and 'has network small, now it is paper' in other.stderr
