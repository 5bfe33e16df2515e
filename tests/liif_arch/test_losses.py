"""Losses of images: against their equations, and in a training."""

import numpy as np
import pytest
import torch
from helpers import run_basicsr, run_here, tiny_train, write_options
from skimage.metrics import structural_similarity

from liif_arch.errors import UserError
from liif_arch.losses import FFTLoss, GradientLoss, MSSSIMLoss, scales_of

TORCH = torch.Generator().manual_seed(0)
PRED, TARGET = torch.rand(2, 2, 3, 48, 48, generator=TORCH, dtype=torch.float64)
KINDS = {'fft': FFTLoss, 'gradient': GradientLoss, 'ssim': MSSSIMLoss}


@pytest.mark.parametrize('kind', KINDS.values())
def test_loss__is_zero_for_the_same_and_has_a_gradient(kind):
    assert abs(float(kind()(TARGET, TARGET))) < 1e-9
    pred = PRED.clone().requires_grad_()
    loss = kind(loss_weight=0.5)(pred, TARGET)
    loss.backward()
    assert float(loss) == pytest.approx(0.5 * float(kind()(PRED, TARGET)))
    assert torch.isfinite(pred.grad).all() and pred.grad.abs().sum() > 0
    with pytest.raises(UserError, match='reduction: found sum'):
        kind(reduction='sum')


def test_fft__is_the_spectrum():
    spectra = [np.fft.rfft2(image.numpy(), norm='ortho') for image in (PRED, TARGET)]
    difference = spectra[0] - spectra[1]
    expected = np.mean([np.abs(difference.real), np.abs(difference.imag)])
    assert float(FFTLoss()(PRED, TARGET)) == pytest.approx(expected)


def test_gradient__of_a_ramp():
    ramp = torch.arange(9.0).expand(1, 2, 9, 9)
    flat = torch.zeros_like(ramp)
    assert float(GradientLoss()(ramp, flat)) == pytest.approx(0.5)  # 1 across, 0 along
    assert float(GradientLoss()(ramp + 5, ramp)) == pytest.approx(0, abs=1e-6)


def test_ssim__of_one_scale_is_scikit_images():
    pred, target = PRED[..., :20, :20], TARGET[..., :20, :20]
    assert scales_of(20) == 1
    values = []
    for one, other in zip(pred, target, strict=True):
        _, whole = structural_similarity(
            one.numpy(),
            other.numpy(),
            channel_axis=0,
            data_range=1,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            full=True,
        )
        values.append(whole[:, 5:-5, 5:-5].mean())
    assert float(MSSSIMLoss()(pred, target)) == pytest.approx(1 - np.mean(values), abs=1e-6)


def test_ssim__scales():
    assert [scales_of(side) for side in (10, 11, 22, 48, 176, 999)] == [0, 1, 2, 3, 5, 5]
    near, far = TARGET * 0.98, PRED
    assert float(MSSSIMLoss()(near, TARGET)) < 0.05 < float(MSSSIMLoss()(far, TARGET))
    with pytest.raises(UserError, match='squares of 10 pixels; needed 11'):
        MSSSIMLoss()(TARGET[..., :10, :10], TARGET[..., :10, :10])


def test_train__several_at_once(tmp_path, photos):
    opt = tiny_train(photos, train__accumulate=2)
    opt['datasets']['train'].update(patch=True, num_samples=144, lq_size=12)
    opt['val'] = None
    for name, kind in KINDS.items():
        opt['train'][f'{name}_opt'] = {'type': kind.__name__, 'loss_weight': 0.1}
    write_options(tmp_path / 'o.yml', opt)
    result = run_basicsr('train', '-opt', 'o.yml', cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    for name in ('l_pix', 'l_fft', 'l_gradient', 'l_ssim'):
        assert f'{name}: ' in result.stdout + result.stderr


@pytest.mark.parametrize('name', [*KINDS, 'perceptual'])
def test_train__scattered_samples_are_refused(monkeypatch, tmp_path, photos, capsys, name):
    kind = KINDS[name].__name__ if name in KINDS else 'PerceptualLoss'
    opt = tiny_train(photos)
    opt['train'][f'{name}_opt'] = {'type': kind}
    if name == 'perceptual':
        opt['train']['perceptual_opt']['layer_weights'] = {'conv5_4': 1}
    write_options(tmp_path / 'o.yml', opt)
    assert run_here(monkeypatch, tmp_path, 'train', '-opt', 'o.yml') == 2
    assert f'train.{name}_opt: it compares images' in capsys.readouterr().err
    assert not (tmp_path / 'experiments').exists()
