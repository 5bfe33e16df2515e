"""Fixtures shared by all tests."""

import json
import os
import sys
from pathlib import Path

import pytest
import torch
from helpers import write_photos

import liif_arch.register  # noqa: F401  both register what they bring
import liif_data.register  # noqa: F401

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / 'shared'
SLOW = {  # files whose tests train, start processes or compile; `pytest -m "not slow"` takes a minute or two
    'test_ends.py',
    'test_processes.py',
    'test_run.py',
    'test_progress.py',
    'test_resuming.py',
    'test_example_plugin.py',
    'test_remedies.py',
    'test_preflight.py',
    'test_cli.py',
    'test_imports.py',
    'test_liif_model.py',
    'test_liif_gan_model.py',
    'test_tapped_encoder.py',
    'test_locality.py',
    'test_memory.py',
    'test_export.py',
    'test_devices.py',
    'test_fused.py',
    'test_benchmark.py',
    'test_fuzz.py',
    'test_gpu_check.py',
    'test_prepare.py',
    'test_reproduce.py',
    'test_scripts.py',
    'test_stops.py',
    'test_perceptual.py',
    'test_upscaling.py',
    'test_option_files.py',
    'test_weights.py',
    'test_upscale_files.py',
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of `SLOW` files."""
    for item in items:
        if item.path.name in SLOW:
            item.add_marker('slow')


@pytest.fixture(scope='session', autouse=True)
def _two_threads():
    torch.set_num_threads(min(2, len(os.sched_getaffinity(0))))


@pytest.fixture(scope='session')
def shared() -> Path:
    """Golden numbers, images and published weights, which are not part of the repository."""
    if not SHARED.is_dir():
        pytest.skip(
            f'{SHARED} is missing: golden numbers and published weights are not part of the repository'
        )
    return SHARED


@pytest.fixture(scope='session')
def golden(shared):
    """`golden(case)`: parameters of a golden case by their reference names."""
    sys.path.insert(0, str(shared / 'fixtures'))
    from deterministic import state_dict

    shapes = json.loads((shared / 'fixtures/shapes.json').read_text())

    def load(case: str) -> dict[str, torch.Tensor]:
        arrays = state_dict(shapes[case])
        return {k: torch.from_numpy(v) for k, v in arrays.items() if '_mean.' not in k}

    return load


@pytest.fixture
def photos(tmp_path) -> Path:
    """Four small images in a folder."""
    return write_photos(tmp_path / 'gt', [(60, 72), (64, 64), (71, 60), (80, 66)])


@pytest.fixture
def no_trial_step(monkeypatch):
    """The run's own steps alone are seen: the one that is tried before a run is left out."""
    monkeypatch.setattr('liif_arch.training.preflight._check_model', lambda *arguments: None)
