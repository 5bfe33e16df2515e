"""What tests share: small images on disk, and the command as a user runs it."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from liif_arch.files.images import write_image

# Code for a process of its own: `peak()` is the most memory that it has held, in MiB. Linux hands
# `ru_maxrss` down from the process that starts another, which may have held far more.
PEAK = """
import re
from pathlib import Path

def peak():
    status = Path('/proc/self/status').read_text()
    return int(re.search(r'VmHWM:\\s+(\\d+)', status)[1]) / 1024

"""


def photo(h: int, w: int, seed: int = 0) -> np.ndarray:
    """A smooth random colour image, (h, w, 3) uint8."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (max(2, h // 6), max(2, w // 6), 3), dtype=np.uint8)
    return cv2.resize(coarse, (w, h), interpolation=cv2.INTER_CUBIC)


def write_photos(
    folder: Path, sizes: list[tuple[int, int]], names: list[str] | None = None
) -> Path:
    """Write random PNG images of the given (h, w) into a folder."""
    for i, (h, w) in enumerate(sizes):
        write_image(folder / f'{names[i] if names else f"im{i:02d}"}.png', photo(h, w, i))
    return folder


def write_four_photos(folder: Path) -> Path:
    """Those of the fixture `photos`."""
    return write_photos(folder, [(60, 72), (64, 64), (71, 60), (80, 66)])


def run_basicsr(*arguments: object, cwd: Path, timeout: int = 300) -> subprocess.CompletedProcess:
    """Run the `basicsr` command as a user would."""
    environment = {**os.environ, 'PYTHONWARNINGS': 'ignore', 'OMP_NUM_THREADS': '2'}
    return subprocess.run(
        [sys.executable, '-m', 'liif_arch.cli', *map(str, arguments)],
        cwd=cwd,
        timeout=timeout,
        capture_output=True,
        text=True,
        env=environment,
    )


def assert_one_line(result: subprocess.CompletedProcess, *parts: str) -> None:
    """The command failed with one clear line that holds all parts, and no traceback."""
    lines = [line for line in result.stderr.strip().splitlines() if line.startswith('basicsr')]
    assert result.returncode == 2, result.stdout + result.stderr
    assert 'Traceback' not in result.stderr + result.stdout, result.stderr
    assert len(lines) == 1, result.stderr
    for part in parts:
        assert part in lines[0], f'{part!r} is not in {lines[0]!r}'


def write_options(path: Path, options: dict) -> Path:
    """Write an option file."""
    import yaml

    path.write_text(yaml.safe_dump(options))
    return path


def tiny_train(gt: Path, **changes) -> dict:
    """Options of a training of seconds: a tiny LIIF on a folder of small images."""
    options = {
        'name': 'tiny',
        'model_type': 'LIIFModel',
        'num_gpu': 0,
        'manual_seed': 0,
        'datasets': {
            'train': {
                'name': 't',
                'type': 'RandomScalePairedDataset',
                'dataroot_gt': str(gt),
                'lq_size': 8,
                'scale_range': [1, 4],
                'num_samples': 32,
                'batch_size_per_gpu': 2,
                'num_worker_per_gpu': 0,
            },
            'val': {
                'name': 'v',
                'type': 'ScaleSetDataset',
                'dataroot_gt': str(gt),
                'scales': [2, 2.5, [2, 3]],
            },
        },
        'network_g': {
            'type': 'LIIF',
            'encoder': {'type': 'EDSREncoder', 'num_feat': 8, 'num_block': 1},
            'hidden_list': [16],
        },
        'path': {'pretrain_network_g': None},
        'train': {
            'total_iter': 4,
            'optim_g': {'type': 'Adam', 'lr': 1e-3},
            'scheduler': {'type': 'MultiStepLR', 'milestones': [3], 'gamma': 0.5},
            'ema_decay': 0.9,
            'pixel_opt': {'type': 'L1Loss', 'loss_weight': 1.0, 'reduction': 'mean'},
        },
        'val': {'val_freq': 2, 'save_img': False, 'pbar': False},
        'logger': {'print_freq': 1, 'save_checkpoint_freq': 2},
    }
    for key, value in changes.items():
        place, *keys = options, *key.split('__')
        for k in keys[:-1]:
            place = place[k]
        place[keys[-1]] = value
    return options


def saved_train(photos, **changes) -> dict:
    """`tiny_train` of six iterations, with a state after each, and no validation."""
    options = tiny_train(photos, train__total_iter=6, logger__save_checkpoint_freq=1, **changes)
    if options['train']['scheduler']['type'] == 'MultiStepLR':
        options['train']['scheduler']['milestones'] = [2, 4]
    options['val'] = None
    return options


def paired_options(folder: Path) -> dict:
    """BasicSR's own model and dataset; its augmentations draw from Python's global generator."""
    gt = write_photos(folder / 'pgt', [(40, 48), (48, 40), (44, 44)])
    lq = write_photos(folder / 'plq', [(20, 24), (24, 20), (22, 22)])
    options = tiny_train(gt)
    options.update(
        model_type='SRModel',
        scale=2,
        network_g={
            'type': 'MSRResNet',
            'num_in_ch': 3,
            'num_out_ch': 3,
            'num_feat': 4,
            'num_block': 1,
            'upscale': 2,
        },
    )
    options['datasets'] = {
        'train': {
            'name': 't',
            'type': 'PairedImageDataset',
            'dataroot_gt': str(gt),
            'dataroot_lq': str(lq),
            'io_backend': {'type': 'disk'},
            'gt_size': 16,
            'use_hflip': True,
            'use_rot': True,
            'batch_size_per_gpu': 1,
            'num_worker_per_gpu': 0,
        },
        'val': {
            'name': 'v',
            'type': 'PairedImageDataset',
            'dataroot_gt': str(gt),
            'dataroot_lq': str(lq),
            'io_backend': {'type': 'disk'},
        },
    }
    options['val']['metrics'] = {
        'psnr': {'type': 'calculate_psnr', 'crop_border': 2, 'test_y_channel': False}
    }
    return options


def differences(a: object, b: object, place: str = '') -> list[str]:
    """Where two loaded checkpoints differ, to the last bit."""
    if isinstance(a, torch.Tensor):
        equal = isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    elif isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
        return [d for k in a for d in differences(a[k], b[k], f'{place}.{k}')]
    elif isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)) and len(a) == len(b):
        return [
            d
            for i, pair in enumerate(zip(a, b, strict=True))
            for d in differences(*pair, f'{place}.{i}')
        ]
    else:
        equal = a == b
    return [] if equal else [place]


def catch_logs(caplog: pytest.LogCaptureFixture) -> None:
    """Let pytest see what BasicSR's logger says, which its first use keeps from others."""
    from basicsr.utils import get_root_logger  # once liif_arch lets it be imported

    get_root_logger()
    logging.getLogger('basicsr').propagate = True
    caplog.set_level(logging.INFO, 'basicsr')


def run_here(monkeypatch, cwd: Path, *arguments: object) -> int:
    """Run the `basicsr` command in this process; returns its exit status."""
    from basicsr.utils.logger import initialized_logger

    from liif_arch.cli import main

    monkeypatch.chdir(cwd)
    monkeypatch.setattr(sys, 'argv', ['basicsr', *map(str, arguments)])
    monkeypatch.setitem(
        initialized_logger, 'basicsr', True
    )  # logs go to pytest, not to a second stream
    return main()


def assert_gradients_agree(
    net: torch.nn.Module, lq: torch.Tensor, rtol: float, atol: float
) -> None:
    """`query` has the gradients of `query_plain` in every parameter, also in chunks."""
    b, dtype = len(lq), lq.dtype
    coord, cell = torch.rand(b, 40, 2, dtype=dtype) * 2 - 1, torch.rand(b, 40, 2, dtype=dtype) / 3
    gradients = []
    for query in (net.query_plain, net.query, lambda *a: net.query(*a, chunk=7)):
        net.zero_grad()
        query(net.encode(lq), coord, cell).pow(2).sum().backward()
        gradients.append([p.grad.clone() for p in net.parameters()])
    for others in gradients[1:]:
        for a, b in zip(others, gradients[0], strict=True):
            torch.testing.assert_close(a, b, rtol=rtol, atol=atol)
