"""Validation in a training: its figures, shared out among processes, of an ensemble."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from helpers import catch_logs, photo, run_here, tiny_train, write_options
from PIL import Image

from liif_arch import LIIF, load_network
from liif_arch.archs.self_ensemble import ensemble_mean
from liif_arch.files.images import resize_bicubic
from liif_arch.training.checkpoints import load_file


def params(path, key='params') -> torch.Tensor:
    return torch.cat([v.flatten() for v in load_file(path)[key].values()])


def test_train__bicubic_figures_are_pillows(monkeypatch, tmp_path, photos):
    opt = tiny_train(photos, val__bicubic=True, datasets__val__scales=[3])
    run_here(monkeypatch, tmp_path, 'train', '-opt', write_options(tmp_path / 'a.yml', opt))
    figures = json.loads((tmp_path / 'experiments/tiny/metrics.json').read_text())['v']['x3'][
        'images'
    ]['im02']
    gt = photo(71, 60, 2)[:69]
    bicubic = resize_bicubic(resize_bicubic(gt, (23, 20)), (69, 60))
    mse = np.mean((bicubic.astype(float) - gt) ** 2)
    assert figures['bicubic']['psnr'] == pytest.approx(10 * np.log10(255**2 / mse), abs=1e-3)


def test_train__two_processes_share_the_validation_out(monkeypatch, tmp_path, photos):
    """Under torchrun on CPUs (gloo): every image is measured once, and drawn, whichever process had
    it.
    """
    opt = tiny_train(photos, val__panel=[2])
    command = [
        sys.executable,
        '-m',
        'torch.distributed.run',
        '--standalone',
        '--nproc_per_node=2',
        '-m',
        'liif_arch.cli',
        'train',
        '-opt',
        str(write_options(tmp_path / 'a.yml', opt)),
        '--launcher',
        'pytorch',
    ]
    result = subprocess.run(
        command,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, 'OMP_NUM_THREADS': '1'},
    )
    assert result.returncode == 0, result.stderr[-3000:]
    root = tmp_path / 'experiments/tiny'
    shared_out = json.loads((root / 'metrics.json').read_text())['v']
    assert list(shared_out) == ['x2', 'x2.5', 'x2x3'] and all(
        len(e['images']) == 4 for e in shared_out.values()
    )
    assert Image.open(root / 'comparison_v.png').size[1] > 4 * 300
    weights = {
        'pretrain_network_g': str(root / 'models/net_g_latest.pth'),
        'param_key_g': 'params_ema',
    }
    alone = {**tiny_train(photos), 'name': 'alone', 'path': weights}
    alone['datasets'] = {'test': alone['datasets']['val']}
    options = write_options(tmp_path / 'b.yml', alone)
    assert run_here(monkeypatch, tmp_path, 'test', '-opt', options) == 0
    assert json.loads((tmp_path / 'results/alone/metrics.json').read_text())['v'] == shared_out


@pytest.mark.parametrize('count', [4, 8])
def test_train__validates_the_mean_of_flips_and_rotations(monkeypatch, tmp_path, photos, count):
    figures = {}
    for ensemble in (None, count):
        opt = tiny_train(
            photos, name=f'e{ensemble}', val__ensemble=ensemble, datasets__val__scales=[3]
        )
        path = write_options(tmp_path / 'a.yml', opt)
        assert run_here(monkeypatch, tmp_path, 'train', '-opt', path) == 0
        metrics = json.loads((tmp_path / f'experiments/e{ensemble}/metrics.json').read_text())
        figures[ensemble] = metrics['v']['x3']['images']['im02']['psnr']
    net = load_network(tmp_path / f'experiments/e{count}/models/net_g_latest.pth')
    gt = photo(71, 60, 2)[:69]
    lq = torch.from_numpy(resize_bicubic(gt, (23, 20))).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        mean = ensemble_mean(net, lq, (69, 60), count)[0].clamp(0, 1).permute(1, 2, 0).numpy()
    mse = np.mean((np.rint(mean * 255) - gt) ** 2)
    assert figures[count] == pytest.approx(10 * np.log10(255**2 / mse), abs=0.02)
    assert figures[count] != figures[None]


@pytest.mark.parametrize('count', [None, 4])
def test_validation__of_an_image_too_large_for_the_gpu_is_made_in_windows(
    monkeypatch, tmp_path, photos, caplog, count
):
    catch_logs(caplog)
    options = tiny_train(photos, train__total_iter=1, val__ensemble=count)
    figures = []
    for is_too_large in (False, True):
        folder = tmp_path / str(is_too_large)
        folder.mkdir()
        write_options(folder / 'o.yml', options)
        with monkeypatch.context() as patches:
            if is_too_large:
                forward = LIIF.forward

                def refuse(net, lq, coord=None, cell=None, size=None, forward=forward):
                    if size is not None:
                        raise torch.OutOfMemoryError('CUDA out of memory.')
                    return forward(net, lq, coord, cell)

                patches.setattr(LIIF, 'forward', refuse)
            assert run_here(patches, folder, 'train', '-opt', 'o.yml') == 0
        results = json.loads((folder / 'experiments/tiny/metrics.json').read_text())
        figures.append([entry['psnr'] for entry in next(iter(results.values())).values()])
        assert ('made in windows' in caplog.text) == is_too_large
    assert figures[1] == pytest.approx(figures[0], abs=1e-3)
