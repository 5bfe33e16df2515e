"""BasicSR's own model through this project's command."""

import pytest
from helpers import catch_logs, run_here, tiny_train, write_options, write_photos

from liif_arch import read_image, write_image
from liif_arch.files.images import resize_bicubic


def paired_options(tmp_path, **changes) -> dict:
    """A plain BasicSR option file: x4, PairedImageDataset, SRModel."""
    gt = write_photos(tmp_path / 'hr', [(64, 64)] * 4)
    for path in gt.iterdir():
        write_image(tmp_path / 'lr' / path.name, resize_bicubic(read_image(path), (16, 16)))
    data = {
        'type': 'PairedImageDataset',
        'dataroot_gt': str(gt),
        'dataroot_lq': str(tmp_path / 'lr'),
        'io_backend': {'type': 'disk'},
    }
    opt = tiny_train(gt, scale=4, model_type='SRModel', **changes)
    opt['datasets'] = {
        'train': {
            **data,
            'name': 't',
            'gt_size': 32,
            'use_hflip': True,
            'use_rot': True,
            'batch_size_per_gpu': 2,
            'num_worker_per_gpu': 0,
        },
        'val': {**data, 'name': 'v'},
    }
    opt['val'] = {
        'val_freq': 2,
        'save_img': True,
        'pbar': False,
        'metrics': {'psnr': {'type': 'calculate_psnr', 'crop_border': 4, 'test_y_channel': True}},
    }
    return opt


EDSR = {
    'type': 'EDSR',
    'num_in_ch': 3,
    'num_out_ch': 3,
    'num_feat': 8,
    'num_block': 1,
    'upscale': 4,
}


@pytest.mark.parametrize('network', ['EDSR', 'LIIF'])
def test_basicsrs_own_model__trains_validates_and_tests(monkeypatch, tmp_path, network, caplog):
    """A plain EDSR x4 option file, and LIIF at scale 4 inside the unmodified SRModel."""
    opt = paired_options(tmp_path)
    opt['network_g'] = EDSR if network == 'EDSR' else {**opt['network_g'], 'scale': 4}
    catch_logs(caplog)
    assert (
        run_here(monkeypatch, tmp_path, 'train', '-opt', write_options(tmp_path / 'a.yml', opt))
        == 0
    )
    assert '# psnr:' in caplog.text and 'Model [SRModel] is created' in caplog.text
    weights = tmp_path / 'experiments/tiny/models/net_g_latest.pth'
    test = {
        **opt,
        'datasets': {'test_1': opt['datasets']['val']},
        'name': 'run',
        'path': {'pretrain_network_g': str(weights)},
    }
    assert (
        run_here(monkeypatch, tmp_path, 'test', '-opt', write_options(tmp_path / 'b.yml', test))
        == 0
    )
    assert read_image(tmp_path / 'results/run/visualization/v/im00_run.png').shape == (64, 64, 3)
