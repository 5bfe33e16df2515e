"""Metrics by pyiqa, which a stand-in plays here: its weights are downloads."""

import math
import sys
from types import SimpleNamespace

import pytest
import torch
from helpers import run_here, tiny_train, write_options, write_photos

from liif_arch.errors import UserError
from liif_arch.metrics import perceptual as module
from liif_arch.metrics.perceptual import METRICS


@pytest.fixture
def pyiqa(monkeypatch):
    """LPIPS is the mean difference, NIQE the mean; both note what they were given."""
    given = []

    class Metric:
        def __init__(self, name):
            self.metric_mode = 'NR' if name == 'niqe' else 'FR'

        def __call__(self, *images):
            given.append([tuple(image.shape) for image in images])
            return (
                (images[0] - images[1]).mean().view(1, 1) if len(images) == 2 else images[0].mean()
            )

    monkeypatch.setitem(
        sys.modules, 'pyiqa', SimpleNamespace(create_metric=lambda name, device: Metric(name))
    )
    find = module.importlib.util.find_spec
    monkeypatch.setattr(
        module.importlib.util, 'find_spec', lambda n, *a: True if n == 'pyiqa' else find(n, *a)
    )
    module._model.cache_clear()
    yield given
    module._model.cache_clear()


def test_metrics__whole_images_of_three_channels(pyiqa):
    sr, gt = torch.full((3, 192, 200), 0.5), torch.full((3, 192, 200), 0.25)
    assert METRICS['lpips'](sr, gt, (2, 2)) == 0.25 and METRICS['niqe'](sr, gt, (2, 2)) == 0.5
    METRICS['dists'](sr[:1], gt[:1], (2, 2))
    assert pyiqa == [[(1, 3, 192, 200)] * 2, [(1, 3, 192, 200)], [(1, 3, 192, 200)] * 2]
    assert math.isnan(METRICS['niqe'](sr[:, :191], gt[:, :191], (2, 2)))


def test_metrics__in_the_same_tables(pyiqa, tmp_path, monkeypatch, capsys):
    gt = write_photos(tmp_path / 'gt', [(192, 196)])
    opt = tiny_train(
        gt,
        val__metrics=['psnr', 'lpips', 'niqe'],
        val__bicubic=True,
        datasets__val__scales=[2],
        datasets__train__batch_size_per_gpu=1,
        train__total_iter=1,
    )
    write_options(tmp_path / 'o.yml', opt)
    assert run_here(monkeypatch, tmp_path, 'train', '-opt', 'o.yml') == 0
    out = capsys.readouterr().out
    assert (
        '|  PSNR | (bicubic) |' in out
        and ' LPIPS | (bicubic) |' in out
        and ' NIQE | (bicubic) |' in out
    )


def test_metrics__without_pyiqa(tmp_path, photos, monkeypatch, capsys):
    find = module.importlib.util.find_spec
    monkeypatch.setattr(
        module.importlib.util, 'find_spec', lambda n, *a: None if n == 'pyiqa' else find(n, *a)
    )
    write_options(tmp_path / 'o.yml', tiny_train(photos, val__metrics=['psnr', 'dists']))
    assert run_here(monkeypatch, tmp_path, 'train', '-opt', 'o.yml') == 2
    assert (
        "val.metrics: found dists, which needs pyiqa: pip install 'basicsr-liif[metrics]'"
        in capsys.readouterr().err
    )
    assert not (tmp_path / 'experiments').exists()


def test_metrics__whose_weights_cannot_be_fetched(pyiqa, monkeypatch):
    def offline(name, device):
        raise OSError('no network')

    monkeypatch.setattr(sys.modules['pyiqa'], 'create_metric', offline)
    with pytest.raises(UserError, match=r'val.metrics: lpips: pyiqa cannot load it \(no network\)'):
        METRICS['lpips'](torch.rand(3, 40, 40), torch.rand(3, 40, 40), (2, 2))
