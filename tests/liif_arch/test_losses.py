"""Losses of images: against their equations, and in a training."""

import importlib.util
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import run_basicsr, run_here, tiny_train, write_options, write_photos
from skimage.metrics import structural_similarity

from liif_arch.errors import UserError
from liif_arch.losses import DISTSLoss, FFTLoss, GradientLoss, MSSSIMLoss, scales_of

TORCH = torch.Generator().manual_seed(0)
PRED, TARGET = torch.rand(2, 2, 3, 48, 48, generator=TORCH, dtype=torch.float64)
KINDS = {'fft': FFTLoss, 'gradient': GradientLoss, 'ssim': MSSSIMLoss}


class Textures(torch.nn.Module):
    """Stands for DISTS, whose weights are a download: one number an image."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(3.0))

    def forward(self, x, y):
        assert x.shape == y.shape and x.shape[1] == 3
        return self.weight * (x - y).square().mean((1, 2, 3))


@pytest.fixture
def pyiqa(monkeypatch):
    """A stand-in for pyiqa, which seeds the global generators as it does."""

    def create_metric(name, device):
        assert (name, device) == ('dists', 'cpu')
        torch.manual_seed(123)
        return SimpleNamespace(net=Textures())

    monkeypatch.setitem(sys.modules, 'pyiqa', SimpleNamespace(create_metric=create_metric))
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, 'find_spec', lambda n, *a: True if n == 'pyiqa' else find(n, *a)
    )


@pytest.fixture
def vgg(monkeypatch):
    """A stand-in for VGG, whose weights are a download: its first three layers."""
    torch.manual_seed(0)
    layers = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(4, 5, 3, padding=1)
    )
    monkeypatch.setattr(
        'basicsr.archs.vgg_arch.vgg.vgg19', lambda **options: SimpleNamespace(features=layers)
    )
    return layers


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


@pytest.mark.parametrize('name', [*KINDS, 'dists', 'perceptual'])
def test_train__scattered_samples_are_refused(monkeypatch, tmp_path, photos, capsys, name):
    kind = (
        {**KINDS, 'dists': DISTSLoss}[name].__name__ if name != 'perceptual' else 'PerceptualLoss'
    )
    opt = tiny_train(photos)
    opt['train'][f'{name}_opt'] = {'type': kind}
    if name == 'perceptual':
        opt['train']['perceptual_opt']['layer_weights'] = {'conv5_4': 1}
    write_options(tmp_path / 'o.yml', opt)
    assert run_here(monkeypatch, tmp_path, 'train', '-opt', 'o.yml') == 2
    assert f'train.{name}_opt: it compares images' in capsys.readouterr().err
    assert not (tmp_path / 'experiments').exists()


def test_dists__is_pyiqas_with_a_gradient_of_the_image_alone(pyiqa):
    before = torch.get_rng_state()
    loss = DISTSLoss(loss_weight=0.5)
    assert torch.equal(before, torch.get_rng_state())
    pred, target = PRED.float().requires_grad_(), TARGET.float()
    found = loss(pred, target)
    found.backward()
    expected = 0.5 * 3 * (PRED - TARGET).square().mean()
    assert float(found) == pytest.approx(float(expected), rel=1e-5)
    assert pred.grad.abs().sum() > 0 and loss.net.weight.grad is None
    gray = loss(pred[:, :1], target[:, :1])
    assert float(gray) == pytest.approx(
        1.5 * float((PRED - TARGET)[:, :1].square().mean()), rel=1e-5
    )
    with pytest.raises(UserError, match='squares of 31 pixels; needed 32'):
        loss(pred[..., :31, :31], target[..., :31, :31])


def fails(name, device):
    raise OSError('no network')


@pytest.mark.parametrize(
    'module,text',
    [
        (None, "train.dists_opt: dists: needs pyiqa: pip install 'basicsr-liif[metrics]'"),
        (
            SimpleNamespace(create_metric=fails),
            'train.dists_opt: dists: pyiqa cannot load its weights (no network)',
        ),
    ],
)
def test_dists__that_cannot_be_had(pyiqa, monkeypatch, tmp_path, photos, capsys, module, text):
    if module is None:
        find = importlib.util.find_spec
        monkeypatch.setattr(
            importlib.util, 'find_spec', lambda n, *a: None if n == 'pyiqa' else find(n, *a)
        )
    monkeypatch.setitem(sys.modules, 'pyiqa', module)
    opt = tiny_train(photos, train__dists_opt={'type': 'DISTSLoss'})
    opt['datasets']['train'].update(patch=True, num_samples=144, lq_size=12)
    write_options(tmp_path / 'o.yml', opt)
    assert run_here(monkeypatch, tmp_path, 'train', '-opt', 'o.yml') == 2
    assert text in capsys.readouterr().err
    assert not (tmp_path / 'experiments').exists()


def scalars_of(folder) -> dict[str, list[int]]:
    """What TensorBoard was told in a training: the iterations of each name."""
    accumulator = pytest.importorskip('tensorboard.backend.event_processing.event_accumulator')
    events = accumulator.EventAccumulator(str(folder))
    events.Reload()
    return {name: [e.step for e in events.Scalars(name)] for name in events.Tags()['scalars']}


def test_train__every_loss_is_in_the_log_and_in_tensorboard(
    pyiqa, vgg, monkeypatch, tmp_path, caplog
):
    """With Charbonnier's loss of pixels; of VGG's Gram matrices, the style."""
    photos = write_photos(tmp_path / 'gt', [(140, 132), (136, 128)])
    opt = tiny_train(photos, train__total_iter=2, train__pixel_opt={'type': 'CharbonnierLoss'})
    opt['datasets']['train'].update(patch=True, num_samples=32**2, lq_size=32)
    opt['val'], opt['logger']['use_tb_logger'] = None, True
    for name, kind in {**KINDS, 'dists': DISTSLoss}.items():
        opt['train'][f'{name}_opt'] = {'type': kind.__name__, 'loss_weight': 0.1}
    opt['train']['perceptual_opt'] = {
        'type': 'PerceptualLoss',
        'layer_weights': {'conv1_1': 1.0, 'conv1_2': 0.5},
        'style_weight': 0.2,
    }
    opt['train']['consistency_opt'] = {'type': 'L1Loss', 'scale': 2}
    opt['train']['distill_opt'] = {'colours': {'type': 'L1Loss'}, 'features': {'type': 'MSELoss'}}
    opt['path']['pretrain_network_t'] = 'fast'
    write_options(tmp_path / 'o.yml', opt)
    caplog.set_level('INFO')
    assert run_here(monkeypatch, tmp_path, 'train', '-opt', 'o.yml') == 0
    names = ['pix', *KINDS, 'dists', 'percep', 'style', 'consistency', 'distill']
    names.append('distill_features')
    scalars = scalars_of(tmp_path / 'tb_logger/tiny')
    for name in names:
        assert f'l_{name}: ' in caplog.text
        assert scalars[f'losses/l_{name}'] == [1, 2]
    assert len([name for name in scalars if name.startswith('losses/')]) == len(names)


def test_style__is_of_gram_matrices(vgg, tmp_path, photos):
    """Alone, where perceptual_weight is 0, in BasicSR's own normalisation."""
    from basicsr.losses import build_loss

    options = {
        'type': 'PerceptualLoss',
        'layer_weights': {'conv1_2': 1.0},
        'perceptual_weight': 0,
        'style_weight': 2.0,
    }
    perceptual, style = build_loss(options)(PRED.float(), TARGET.float())
    mean = torch.tensor([0.485, 0.456, 0.406]).view(-1, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(-1, 1, 1)
    grams = []
    for image in (PRED, TARGET):
        features = vgg((image.float() - mean) / std).flatten(2)
        grams.append(features @ features.mT / features[0].numel())
    expected = 2 * (grams[0] - grams[1]).abs().mean()
    assert perceptual is None and float(style) == pytest.approx(float(expected), rel=1e-4)


def test_charbonnier__is_a_loss_of_pixels(monkeypatch, tmp_path, photos):
    from liif_arch.models.liif_model import LIIFModel

    found = []
    step = LIIFModel.optimize_parameters

    def kept(self, iteration):
        with torch.no_grad():
            difference = self.net_g(self.lq, self.coord, self.cell) - self.gt
        step(self, iteration)
        expected = 0.5 * (difference.square() + 1e-12).sqrt().mean()
        found.append((float(self.log_dict['l_pix']), float(expected)))

    monkeypatch.setattr(LIIFModel, 'optimize_parameters', kept)
    loss = {'type': 'CharbonnierLoss', 'loss_weight': 0.5}
    opt = tiny_train(photos, train__pixel_opt=loss, train__total_iter=1, val=None)
    write_options(tmp_path / 'o.yml', opt)
    assert run_here(monkeypatch, tmp_path, 'train', '-opt', 'o.yml') == 0
    assert len(found) == 2  # one is rehearsed
    for value, expected in found:
        assert value == pytest.approx(expected, rel=1e-5)
