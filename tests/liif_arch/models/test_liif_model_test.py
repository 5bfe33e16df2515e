"""`basicsr test` with `LIIFModel`: tables, files, and images without ground truth."""

import json

import numpy as np
import torch
from helpers import photo, run_here, tiny_train, write_options

from liif_arch import LIIF, EDSREncoder, read_image
from liif_arch.files.images import resize_bicubic


def test_test__says_that_averaged_weights_are_in_the_file(monkeypatch, tmp_path, photos, caplog):
    parameters = LIIF(EDSREncoder(num_feat=8, num_block=1), [16]).state_dict()
    train = tiny_train(photos)
    opt = {k: train[k] for k in ('model_type', 'num_gpu', 'network_g')} | {
        'name': 'run',
        'path': {'pretrain_network_g': str(tmp_path / 'w.pth')},
        'datasets': {'test_1': {**train['datasets']['val'], 'name': 'One'}},
        'val': {'save_img': False, 'metrics': ['psnr']},
    }
    write_options(tmp_path / 'a.yml', opt)
    for keys, told in (('params',), False), (('params', 'params_ema'), True):
        torch.save(dict.fromkeys(keys, parameters), tmp_path / 'w.pth')
        caplog.clear()
        assert run_here(monkeypatch, tmp_path, 'test', '-opt', 'a.yml') == 0
        assert ('path.param_key_g: params_ema measures those' in caplog.text) == told


def test_test__table_and_files(monkeypatch, tmp_path, photos, capsys):
    torch.manual_seed(0)
    net = LIIF(EDSREncoder(num_feat=8, num_block=1), [16])
    torch.save({'params': net.state_dict()}, tmp_path / 'w.pth')
    train = tiny_train(photos)
    opt = {k: train[k] for k in ('model_type', 'num_gpu', 'network_g')} | {
        'name': 'run',
        'path': {'pretrain_network_g': str(tmp_path / 'w.pth')},
        'datasets': {
            f'test_{i}': {**train['datasets']['val'], 'name': n}
            for i, n in enumerate(('One', 'Two'))
        },
        'val': {'save_img': True, 'metrics': ['psnr_y', 'ssim']},
    }
    assert (
        run_here(monkeypatch, tmp_path, 'test', '-opt', write_options(tmp_path / 'a.yml', opt)) == 0
    )
    root = tmp_path / 'results/run'
    results = json.loads((root / 'metrics.json').read_text())
    assert list(results) == ['One', 'Two'] and set(results['Two']['x2']) == {
        'psnr_y',
        'ssim',
        'images',
    }
    assert {p.name for p in root.iterdir()} >= {
        'metrics.json',
        'metrics.csv',
        'metrics.md',
        'psnr_scale.png',
    }
    table = capsys.readouterr().out
    assert (root / 'metrics.md').read_text().strip() in table
    with torch.no_grad():
        lq = (
            torch.from_numpy(resize_bicubic(photo(64, 64, 1), (32, 32))).permute(2, 0, 1)[None]
            / 255
        )
        expected = net(lq, size=(64, 64))[0].clamp(0, 1).permute(1, 2, 0).numpy()
    saved = read_image(root / 'visualization/One/x2/im01_x2.png')
    assert np.abs(saved - expected * 255).max() <= 0.501


def test_test__what_an_option_file_has_just_trained(monkeypatch, tmp_path, photos):
    path = write_options(tmp_path / 'a.yml', tiny_train(photos))
    assert run_here(monkeypatch, tmp_path, 'train', '-opt', path) == 0
    assert run_here(monkeypatch, tmp_path, 'test', '-opt', path) == 0
    last = json.loads((tmp_path / 'experiments/tiny/metrics.json').read_text())
    assert json.loads((tmp_path / 'results/tiny/metrics.json').read_text()) == last


def test_test__images_without_ground_truth(monkeypatch, tmp_path, photos):
    train = tiny_train(photos)
    torch.save(
        {'params': LIIF(EDSREncoder(num_feat=8, num_block=1), [16]).state_dict()},
        tmp_path / 'w.pth',
    )
    opt = {k: train[k] for k in ('model_type', 'num_gpu', 'network_g')} | {
        'name': 'run',
        'scale': 2.5,
        'path': {'pretrain_network_g': str(tmp_path / 'w.pth')},
        'val': {'save_img': True},
        'datasets': {
            'test_1': {
                'name': 'S',
                'type': 'SingleImageDataset',
                'dataroot_lq': str(photos),
                'io_backend': {'type': 'disk'},
            }
        },
    }
    assert (
        run_here(monkeypatch, tmp_path, 'test', '-opt', write_options(tmp_path / 'a.yml', opt)) == 0
    )
    assert read_image(tmp_path / 'results/run/visualization/S/x2.5/im00_x2.5.png').shape == (
        150,
        180,
        3,
    )
