"""The worked example of a plugin, installed into an environment of its own, listed, and trained."""

import json
import os
import re
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

PLUGIN = Path(__file__).parents[2] / 'support/example_plugin'


@pytest.fixture(scope='module')
def python(tmp_path_factory) -> Path:
    """A new environment that also sees the packages of this one, with the plugin installed."""
    root = tmp_path_factory.mktemp('scratch')
    venv.create(root / 'venv', with_pip=False)
    python = root / 'venv/bin/python'
    purelib = subprocess.run(
        [python, '-c', 'import sysconfig; print(sysconfig.get_path("purelib"))'],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    Path(purelib, 'outer.pth').write_text(
        f'import site; site.addsitedir({sysconfig.get_path("purelib")!r})\n'
    )
    source = root / 'plugin'  # pip builds beside the sources
    subprocess.run(['cp', '-r', PLUGIN, source], check=True)
    subprocess.run(
        [
            sys.executable,
            '-m',
            'pip',
            '--python',
            python,
            'install',
            '--quiet',
            '--no-deps',
            '--no-build-isolation',
            source,
        ],
        check=True,
    )
    return python


def basicsr(python: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [python, '-W', 'ignore', '-m', 'liif_arch.cli', *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        env={**os.environ, 'OMP_NUM_THREADS': '2'},
    )


def test_example__is_listed(python, tmp_path):
    listed = basicsr(python, 'options', cwd=tmp_path)
    plugins = listed.stdout.partition('Of other plugins:')[2]
    assert re.search("train_tinysr_lte +TinySR as LTE's encoder", plugins), (
        listed.stdout + listed.stderr
    )
    assert (
        'train_tinysr_lte'
        not in subprocess.run(
            [sys.executable, '-m', 'liif_arch.cli', 'options'], capture_output=True, text=True
        ).stdout
    )


def test_example__as_shown_is_better_than_bicubic(python, tmp_path):
    """The training of docs/plugins.md, on two of its scales."""
    result = basicsr(
        python,
        'train',
        '-opt',
        'train_tinysr_lte',
        '--force_yml',
        'datasets:val:scales=[2, 3.5]',
        'val:panel=~',
        'datasets:train:num_worker_per_gpu=0',
        cwd=tmp_path,
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr
    figures = json.loads((tmp_path / 'experiments/train_tinysr_lte/metrics.json').read_text())[
        'photos'
    ]
    gains = {scale: entry['psnr'] - entry['bicubic']['psnr'] for scale, entry in figures.items()}
    assert list(gains) == ['x2', 'x3.5'] and min(gains.values()) > 0.05, gains
    weights = 'experiments/train_tinysr_lte/models/net_g_latest.pth'
    assert result.stdout.endswith(f'basicsr upscale photo.jpg --weights {weights} --scale 4\n')
    cost = basicsr(python, 'complexity', '--weights', weights, cwd=tmp_path)
    assert '| LTE     | TinySR' in cost.stdout, cost.stderr


def test_example__options_are_checked(python, tmp_path):
    result = basicsr(
        python,
        'train',
        '-opt',
        'train_tinysr_lte',
        '--force_yml',
        'network_g:encoder:num_feat=wide',
        cwd=tmp_path,
    )
    assert (
        result.returncode == 2
        and "network_g.encoder: num_feat: found 'wide'; needed" in result.stderr
    )
