"""Fixtures shared by all tests."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

# Before PyTorch is imported, which reads once how its threads wait: those of the processes that
# test side by side would keep each other's cores busy, and what trains take twice as long.
import liif_arch

# isort: split
import pytest
import torch
from helpers import write_four_photos
from interrupts import restore_interrupt
from parameters import load_parameters
from tiny_weights import weights as weights

import liif_arch.register  # noqa: F401  both register what they bring
import liif_data.register  # noqa: F401

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / 'shared'
# Files whose tests train, start processes or compile. Without them (`pytest -m "not slow"`) the
# suite takes a minute or two.
SLOW = {
    'test_distillation.py',
    'test_teacher_cache.py',
    'test_consistency.py',
    'test_ends.py',
    'test_processes.py',
    'test_run.py',
    'test_progress.py',
    'test_resuming.py',
    'test_example_plugin.py',
    'test_rehearsal.py',
    'test_remedies.py',
    'test_preflight.py',
    'test_preflight_pairs.py',
    'test_cli.py',
    'test_upscale_batches.py',
    'test_upscale_image.py',
    'test_imports.py',
    'test_deferred_imports.py',
    'test_liif_model.py',
    'test_validation.py',
    'test_training_step.py',
    'test_losses.py',
    'test_finetune.py',
    'test_liif_model_test.py',
    'test_basicsrs_model.py',
    'test_liif_gan_model.py',
    'test_tapped_encoder.py',
    'test_pretrain_encoder.py',
    'test_locality.py',
    'test_memory.py',
    'test_export.py',
    'test_devices.py',
    'test_benchmark.py',
    'test_gpu_check.py',
    'test_prepare.py',
    'test_reproduce.py',
    'test_reproduce_recipe.py',
    'test_scripts.py',
    'test_stops.py',
    'test_stress.py',
    'test_perceptual.py',
    'test_upscaling.py',
    'test_option_files.py',
    'test_weights.py',
    'test_upscale_files.py',
    'test_render.py',
    'test_datasets.py',
    'test_published_weights.py',
    'test_liif_goldens.py',
    'test_decoders.py',
    'test_browser.py',
    'test_demo.py',
    'test_notebook.py',
    'test_own_options.py',
    'test_upscale_kinds.py',
}


def pytest_configure(config: pytest.Config) -> None:
    """Let tests that send SIGINT pass when pytest itself is a background job, and let pytest-xdist
    hand files out in the order in which they are collected.
    """
    restore_interrupt()
    config.option.loadscopereorder = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of `SLOW` files, which come first: where several processes test, files of a
    moment are left for those that are done before the others.
    """
    for item in items:
        if item.path.name in SLOW:
            item.add_marker('slow')
    items.sort(key=lambda item: item.path.name not in SLOW)


@pytest.fixture(scope='session', autouse=True)
def _two_threads():
    torch.set_num_threads(min(2, len(os.sched_getaffinity(0))))


@pytest.fixture(scope='session')
def shared() -> Path:
    """The folder of benchmark images and published weights, which the repository lacks."""
    if not SHARED.is_dir():
        pytest.skip(
            f'{SHARED} is missing: the published weights and the benchmark images '
            'are not part of the repository'
        )
    return SHARED


@pytest.fixture(scope='session')
def golden() -> Callable[[str], dict[str, torch.Tensor]]:
    """`golden(case)`: the parameters of a case of tests/golden by their reference names."""
    return partial(load_parameters, 'shapes.json')


@pytest.fixture
def photos(tmp_path) -> Path:
    """Four small images in a folder."""
    return write_four_photos(tmp_path / 'gt')


@pytest.fixture
def no_trial_step(monkeypatch):
    """The run's own steps alone are seen: the one that is rehearsed is left out."""
    monkeypatch.setattr('liif_arch.training.preflight._check_model', lambda *arguments: {})
