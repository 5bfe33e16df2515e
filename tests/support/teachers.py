"""Trainings with a teacher: its weights, the options, the model with a batch."""

import copy

import pytest
import torch
from helpers import run_here, tiny_train, write_options
from tiny_weights import tiny_network, write_tiny

from liif_arch.models.liif_model import LIIFModel
from liif_arch.training.checkpoints import load_file
from liif_data.random_scale_dataset import RandomScalePairedDataset

L1 = {'type': 'L1Loss', 'loss_weight': 0.5}
BOTH = {'colours': L1, 'features': {'type': 'MSELoss', 'loss_weight': 2.0}}
TEACHER = tiny_network(12)


@pytest.fixture
def teacher(tmp_path):
    """Weights of another LIIF, of 12 channels where the student has 8."""
    return write_teacher(tmp_path / 'teacher.pth', 1)


def write_teacher(path, seed: int):
    return write_tiny(path, 12, seed)


def options_of(photos, teacher, distill: dict, **changes) -> dict:
    """A training of six iterations, two of an epoch, with a teacher."""
    defaults = {
        'train__total_iter': 6,
        'train__distill_opt': copy.deepcopy(distill),
        'logger__save_checkpoint_freq': 1,
        'path__pretrain_network_t': str(teacher),
        'val': None,
    }
    return tiny_train(photos, **{**defaults, **changes})


def train(monkeypatch, folder, options: dict, *flags: str) -> int:
    folder.mkdir(exist_ok=True)
    write_options(folder / 'o.yml', options)
    return run_here(monkeypatch, folder, 'train', '-opt', 'o.yml', *flags)


def weights_of(folder, iteration: int = 6) -> dict:
    return load_file(folder / f'experiments/tiny/models/net_g_{iteration}.pth')


def state_of(folder, iteration: int = 6) -> dict:
    return load_file(folder / f'experiments/tiny/training_states/{iteration}.state')


def model_of(options: dict, tmp_path) -> LIIFModel:
    """The model as a run builds it."""
    options = copy.deepcopy(options)
    options.update(is_train=True, dist=False, rank=0, world_size=1)
    options['path'].update(models=str(tmp_path), training_states=str(tmp_path))
    options['datasets']['train'].update(seed=0, phase='train')
    return LIIFModel(options)


def fed(model: LIIFModel, photos, count: int = 2, **changes) -> LIIFModel:
    """The model, with a batch of samples."""
    dataset = RandomScalePairedDataset({**model.opt['datasets']['train'], **changes})
    samples = [dataset[index] for index in range(count)]
    model.feed_data(torch.utils.data.default_collate(samples))
    return model


def refused(monkeypatch, tmp_path, capsys, options: dict) -> str:
    capsys.readouterr()
    assert train(monkeypatch, tmp_path, options) == 2
    assert not (tmp_path / 'experiments').exists()
    return capsys.readouterr().err
