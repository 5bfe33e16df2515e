"""A training from weights that ship to pictures of one's own: split, options, and how long it takes
on this machine.
"""

import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from liif_arch.errors import MachineError, UserError
from liif_arch.files.decoding import header_size
from liif_arch.files.formats import EXTENSIONS
from liif_arch.metrics.report import read_report
from liif_arch.training.checkpoints import load_file

LQ_SIZE = {'cpu': 24, 'cuda': 48}  # pixels of the side of an input
LEAST = 5  # pictures
HELD_OUT, MOST_HELD_OUT = 0.1, 24  # share of them that is measured, two at least; and how many
# Iterations that are timed. On a GPU the first ones, which wait for the start of the workers, take
# most of the time; BasicSR's timer begins anew after 200.
TRIED = {'cpu': 40, 'cuda': 240}
SPENT = 0.85  # of the time on iterations; the rest goes to the start and the validations
FEWEST = 20  # iterations
PICTURES = '_pictures'  # ends the name of a run's folder of links
WRITTEN = ('experiments', 'results', 'tb_logger')  # the folders of runs


class Split(NamedTuple):
    """Pictures of a folder: those that are trained on, those held out, those too small."""

    train: list[Path]
    val: list[Path]
    small: list[Path]


def split_of(folder: Path, least_side: int) -> Split:
    """Hold some pictures of a folder out, the same ones at each call.

    Args:
        folder: Its subfolders are looked into, too.
        least_side: Pixels that a picture needs on each side.

    Raises:
        UserError: There are too few.
    """
    if not folder.is_dir():
        raise UserError(f'FOLDER: found {folder}, which is no folder.')
    found, small, files = [], [], set()
    of_runs = _of_runs(folder)
    for path in sorted(folder.rglob('*')):
        if path.suffix.lower() not in EXTENSIONS or not path.is_file():
            continue
        if path.resolve() in files or of_runs.intersection(path.parents):
            continue
        files.add(path.resolve())
        size = header_size(path)
        (found if size is None or min(size) >= least_side else small).append(path)
    if len(found) < LEAST:
        reason = f', and {len(small)} of less than {least_side} pixels a side' if small else ''
        raise UserError(
            f'FOLDER: found {len(found)} pictures in {folder}{reason}; needed {LEAST} or more. '
            'A smaller second number of --scale-range lets smaller ones in.'
        )
    count = min(MOST_HELD_OUT, max(2, round(HELD_OUT * len(found))))
    val = sorted(random.Random(0).sample(found, count))
    return Split([path for path in found if path not in val], val, small)


def _of_runs(folder: Path) -> set[Path]:
    """Folders in a folder that earlier trainings of `basicsr finetune` have written: their links to
    pictures, and their results.
    """
    found = set()
    for pictures in folder.rglob(f'*{PICTURES}'):
        name = pictures.name.removesuffix(PICTURES)
        if pictures.with_name(f'{name}.yml').exists():
            found |= {pictures, *(pictures.with_name(each) for each in WRITTEN)}
    return found


def lay_out(split: Split, folder: Path) -> None:
    """Link the pictures into folders `train` and `val`, under names that differ; copy where the
    system has no links.
    """
    for room in ('train', 'val'):
        target = folder / room
        target.mkdir(parents=True)
        for number, path in enumerate(getattr(split, room)):
            link = target / f'{number:05d}_{path.name}'
            try:
                link.symlink_to(path.resolve())
            except OSError:
                shutil.copy2(path, link)


def options_for(
    name: str,
    weights: str,
    pictures: Path,
    scales: Sequence[float],
    degradation: str | None,
    device: str,
) -> dict[str, Any]:
    """The option file of a training, whose length is yet to be said.

    Args:
        name: Of the run.
        weights: What it begins at.
        pictures: Folder with `train` and `val`.
        scales: The least and the greatest.
        degradation: A preset of the data set; None: clean inputs.
        device: cpu or cuda.

    Raises:
        UserError: The weights do not say what network they are of.
    """
    content = load_file(weights)
    network = content.get('network_g')
    path = {'pretrain_network_g': weights}
    if Path(weights).exists():
        path['pretrain_network_g'] = str(Path(weights).resolve())  # measured in other folders
    if 'params_ema' in content:  # which `basicsr upscale` takes, too
        path['param_key_g'] = 'params_ema'
    if not isinstance(network, dict):
        raise UserError(f'--weights: {weights} does not say what network it is of (network_g).')
    side = LQ_SIZE[device]
    train: dict[str, Any] = {
        'name': 'train',
        'type': 'RandomScalePairedDataset',
        'dataroot_gt': str(pictures / 'train'),
        'lq_size': side,
        'scale_range': list(scales),
        'num_samples': side**2,
        'use_hflip': True,
        'use_rot': True,
        'cache': True,
        'dataset_enlarge_ratio': 100,
        'batch_size_per_gpu': 16,
        'num_worker_per_gpu': 'auto',
        'persistent_workers': True,
    }
    val: dict[str, Any] = {
        'name': 'held_out',
        'type': 'ScaleSetDataset',
        'dataroot_gt': str(pictures / 'val'),
        'scales': measured_scales(scales),
    }
    if degradation is not None:
        train['degradation'] = degradation
        val['degradation'] = {'jpeg': 75}
    return {
        'name': name,
        'model_type': 'LIIFModel',
        'num_gpu': 'auto',
        'manual_seed': 0,
        'datasets': {'train': train, 'val': val},
        'network_g': {**network, 'precision': 'auto'},
        'path': path,
        'train': {
            'precision': 'auto',
            'cuda_graph': _is_recorded(network),
            'ema_decay': 0.999,
            'ema_warmup': True,
            'warmup_iter': 20,
            'optim_g': {'type': 'Adam', 'lr': 2e-4},
            'pixel_opt': {'type': 'L1Loss', 'loss_weight': 1.0, 'reduction': 'mean'},
        },
        'val': {'val_freq': 1e9, 'save_img': False, 'bicubic': True, 'panel': [val['scales'][-1]]},
        'logger': {
            'print_freq': 20,
            'save_checkpoint_freq': 200,
            'keep_checkpoints': 2,
            'use_tb_logger': False,
        },
    }


def _is_recorded(network: dict[str, Any]) -> bool:
    """Whether a GPU has recorded a network of this kind: those that ship, whatever their size."""
    encoder = network.get('encoder')
    kind = encoder.get('type') if isinstance(encoder, dict) else None
    known = network.get('type') in ('LIIF', 'Thera') and kind == 'EDSREncoder'
    return known and network.get('tail') != 'swinir'  # which waits for the device


def measured_scales(scales: Sequence[float]) -> list[float]:
    """Whole scales of 2 to 4 within a range; else its greatest one."""
    found = [scale for scale in (2, 3, 4) if scales[0] <= scale <= scales[1]]
    return found or [scales[1]]


def with_length(options: dict[str, Any], iterations: int) -> dict[str, Any]:
    """The options of a training of so many iterations."""
    schedule = {
        'type': 'CosineAnnealingRestartLR',
        'periods': [iterations],
        'restart_weights': [1],
        'eta_min': 1e-6,
    }
    train = {**options['train'], 'total_iter': iterations, 'scheduler': schedule}
    return {**options, 'train': train}


def seconds_of_iteration(options: dict[str, Any], device: str) -> float:
    """How long an iteration takes on this machine, by a training of a moment.

    Raises:
        UserError, MachineError: It does not run; says why.
    """
    short = with_length(options, TRIED[device])
    short['name'] = 'timed'
    short.pop('val')
    short['datasets'] = {'train': short['datasets']['train']}
    with tempfile.TemporaryDirectory(prefix='basicsr_') as folder:
        log = _run('train', short, Path(folder))
    times = re.findall(r'time \(data\): ([\d.]+)', log)
    return float(times[-1])


def figures_of(options: dict[str, Any]) -> dict:
    """What the weights that a training begins at give on its held-out pictures, by scale.

    Raises:
        UserError, MachineError: They cannot be measured; says why.
    """
    test = {
        'name': 'start',
        'model_type': 'LIIFModel',
        'num_gpu': 'auto',
        'datasets': {'test': options['datasets']['val']},
        'network_g': options['network_g'],
        'path': options['path'],
        'val': {'save_img': False},
    }
    with tempfile.TemporaryDirectory(prefix='basicsr_') as folder:
        _run('test', test, Path(folder))
        results = read_report(Path(folder, 'results/start'))
    assert results is not None  # a test ends with one
    return results['held_out']


def _run(command: str, options: dict[str, Any], folder: Path) -> str:
    """`basicsr train` or `test` with options, in a folder and a process of its own.

    Returns:
        What it printed.

    Raises:
        UserError, MachineError: It ended with an error, which they tell.
    """
    path = folder / 'options.yml'
    path.write_text(yaml.safe_dump(options, sort_keys=False), encoding='utf-8')
    result = subprocess.run(
        [sys.executable, '-m', 'liif_arch.cli', command, '-opt', path.name],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    if result.returncode == 0:
        return result.stdout + result.stderr
    last = (result.stderr.strip().splitlines() or [f'status {result.returncode}'])[-1]
    text = last.removeprefix(f'basicsr {command}: ')
    if result.returncode == 2:
        raise UserError(text)
    raise MachineError(f'basicsr {command} ended: {text}', result.returncode)
