"""Training, validation and testing through BasicSR's own pipelines."""

import json
from contextlib import nullcontext

import pytest
import torch
from helpers import catch_logs, run_here, tiny_train, write_options
from PIL import Image

from liif_arch import LIIF, EDSREncoder, load_network, read_image
from liif_arch.models.liif_model import LIIFModel
from liif_arch.training.checkpoints import load_file


def params(path, key='params') -> torch.Tensor:
    return torch.cat([v.flatten() for v in load_file(path)[key].values()])


def test_train__checkpoints_tables_and_log(monkeypatch, tmp_path, photos, capsys, caplog):
    opt = tiny_train(
        photos,
        val__bicubic=True,
        val__panel=[2, [2, 3]],
        val__save_img=True,
        logger__use_tb_logger=True,
    )
    catch_logs(caplog)
    assert (
        run_here(monkeypatch, tmp_path, 'train', '-opt', write_options(tmp_path / 'a.yml', opt))
        == 0
    )
    root = tmp_path / 'experiments/tiny'
    assert sorted(p.name for p in (root / 'models').iterdir()) == [
        'net_g_2.pth',
        'net_g_4.pth',
        'net_g_latest.pth',
    ]
    content = load_file(root / 'models/net_g_latest.pth')
    assert (
        set(content) == {'params', 'params_ema', 'network_g'}
        and content['network_g'] == opt['network_g']
    )
    assert not torch.equal(params(root / 'models/net_g_2.pth'), params(root / 'models/net_g_4.pth'))
    assert isinstance(load_network(root / 'models/net_g_latest.pth'), LIIF)
    results = json.loads((root / 'metrics.json').read_text())
    assert list(results) == ['v'] and list(results['v']) == ['x2', 'x2.5', 'x2x3']
    assert set(results['v']['x2']) == {'psnr', 'psnr_y', 'psnr_div2k', 'ssim', 'bicubic', 'images'}
    assert set(results['v']['x2']['images']) == {'im00', 'im01', 'im02', 'im03'}
    assert read_image(root / 'visualization/v/x2x3/im01_x2x3_4.png').shape == (64, 63, 3)
    assert Image.open(root / 'comparison_v.png').size[0] > 500
    out = capsys.readouterr().out
    assert '| v       | x2.5  |' in out and 'comparison_v.png' in out and 'metrics.json' in out
    assert 'best' in caplog.text and '@ 4 iter' in caplog.text and 'iteration 5' not in caplog.text
    assert 'eta' in caplog.text and 'l_pix' in caplog.text
    assert any((tmp_path / 'tb_logger/tiny').iterdir())


def test_train__same_seed_same_result(monkeypatch, tmp_path, photos):
    for name in 'ab':
        path = write_options(tmp_path / f'{name}.yml', tiny_train(photos, name=name))
        run_here(monkeypatch, tmp_path, 'train', '-opt', path)
    models = [tmp_path / f'experiments/{n}/models/net_g_latest.pth' for n in 'ab']
    for key in ('params', 'params_ema'):
        assert torch.equal(params(models[0], key), params(models[1], key))


@pytest.mark.parametrize('workers', [0, 1])
def test_train__degraded_by_the_device_as_by_the_loader(
    monkeypatch, tmp_path, photos, no_trial_step, workers
):
    losses = {'loader': [], 'device': []}
    optimize = LIIFModel.optimize_parameters

    def record(self, current_iter):
        optimize(self, current_iter)
        assert (
            self.lq.shape == (2, 3, 8, 8)
            and self.gt.shape == (2, 32, 3)
            and self.lq.dtype == torch.float32
        )
        losses[self.opt['name']].append(float(self.log_dict['l_pix']))

    monkeypatch.setattr(LIIFModel, 'optimize_parameters', record)
    for name in losses:
        opt = tiny_train(
            photos,
            name=name,
            datasets__train__degrade=name,
            train__total_iter=2,
            val__val_freq=100,
            datasets__train__num_worker_per_gpu=workers,
        )
        assert (
            run_here(
                monkeypatch, tmp_path, 'train', '-opt', write_options(tmp_path / f'{name}.yml', opt)
            )
            == 0
        )
    assert len(losses['device']) == 2 and losses['device'] == pytest.approx(
        losses['loader'], rel=1e-5
    )
    assert losses['device'][0] != losses['device'][1]


def test_train__bfloat16_follows_float32(monkeypatch, tmp_path, photos, no_trial_step):
    monkeypatch.setattr(
        'liif_arch.precision.has_bfloat16', lambda device: True
    )  # slow where it is emulated
    losses = {'float32': [], 'bfloat16': []}
    optimize = LIIFModel.optimize_parameters

    def record(self, current_iter):
        optimize(self, current_iter)
        assert (
            all(p.dtype == torch.float32 for p in self.net_g.parameters())
            and self.output.dtype == torch.float32
        )
        losses[self.opt['name']].append(self.get_current_log()['l_pix'])

    monkeypatch.setattr(LIIFModel, 'optimize_parameters', record)
    for name in losses:
        opt = tiny_train(
            photos, name=name, train__precision=name, train__total_iter=8, val__val_freq=100
        )
        assert (
            run_here(
                monkeypatch, tmp_path, 'train', '-opt', write_options(tmp_path / f'{name}.yml', opt)
            )
            == 0
        )
    assert (
        losses['bfloat16'] == pytest.approx(losses['float32'], rel=0.03)
        and len(set(losses['float32'])) == 8
    )
    assert losses['bfloat16'] != losses['float32']


def test_train__compile_is_the_encoder(monkeypatch, tmp_path, photos):
    compiled = []
    monkeypatch.setattr(
        EDSREncoder,
        'compile',
        lambda self, dynamic: compiled.append((type(self), dynamic)),
        raising=False,
    )
    stances = []
    monkeypatch.setattr(
        'torch.compiler.set_stance', lambda stance: (stances.append(stance), nullcontext())[1]
    )
    opt = tiny_train(photos, train__compile=True, train__total_iter=1)
    assert (
        run_here(monkeypatch, tmp_path, 'train', '-opt', write_options(tmp_path / 'a.yml', opt))
        == 0
    )
    assert compiled and set(compiled) == {(EDSREncoder, False)}
    assert stances == ['force_eager']  # in the validation, whose images have other sizes


FIELD = {'type': 'Thera', 'encoder': {'type': 'EDSREncoder', 'num_feat': 8, 'num_block': 1}}


def test_train__variation_joins_the_loss(monkeypatch, tmp_path, photos, caplog):
    """It keeps the field flatter than a training without it, and its part is in the log."""
    catch_logs(caplog)
    variation = {}
    for weight in (0, 1):
        opt = tiny_train(
            photos,
            name=f'w{weight}',
            network_g=FIELD,
            train__variation_weight=weight,
            train__total_iter=40,
            train__optim_g__lr=1e-2,
            val__val_freq=100,
            logger__save_checkpoint_freq=100,
        )
        options = write_options(tmp_path / f'{weight}.yml', opt)
        assert run_here(monkeypatch, tmp_path, 'train', '-opt', options) == 0
        net = load_network(tmp_path / f'experiments/w{weight}/models/net_g_latest.pth')
        torch.manual_seed(0)
        lq, coord = torch.rand(1, 3, 8, 8), torch.rand(1, 200, 2) * 2 - 1
        with torch.no_grad():
            variation[weight] = float(net(lq, coord, coord * 0, with_variation=True)[1])
    assert variation[1] < 0.8 * variation[0]
    assert 'l_variation' in caplog.text


def test_train__variation_needs_a_field(monkeypatch, tmp_path, photos, capsys):
    opt = tiny_train(photos, train__variation_weight=1e-4)
    options = write_options(tmp_path / 'a.yml', opt)
    assert run_here(monkeypatch, tmp_path, 'train', '-opt', options) == 2
    assert 'train.variation_weight: found a LIIF' in capsys.readouterr().err


def test_train__gradients_have_no_greater_norm(monkeypatch, tmp_path, photos):
    norms = []
    step = torch.optim.Adam.step

    def measured(self, *args, **kwargs):
        grads = [p.grad for group in self.param_groups for p in group['params']]
        norms.append(float(torch.stack([g.norm() for g in grads]).norm()))
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.Adam, 'step', measured)
    for most in (0, 1e-3):
        opt = tiny_train(photos, name=f'm{most}', train__max_grad_norm=most)
        options = write_options(tmp_path / f'{most}.yml', opt)
        assert run_here(monkeypatch, tmp_path, 'train', '-opt', options) == 0
    assert max(norms) > 1e-2 and norms[-1] == pytest.approx(1e-3, rel=1e-3)


def test_model_ema__is_the_formula(monkeypatch, tmp_path, photos, no_trial_step):
    """net_g_ema = decay * net_g_ema + (1 - decay) * net_g, after every iteration."""
    expected, seen = [], []
    optimize = LIIFModel.optimize_parameters

    def record(self, current_iter):
        before = torch.cat([p.detach().flatten() for p in self.net_g_ema.parameters()])
        optimize(self, current_iter)
        current = torch.cat([p.detach().flatten() for p in self.net_g.parameters()])
        expected.append(self.ema_decay * before + (1 - self.ema_decay) * current)
        seen.append(torch.cat([p.detach().flatten() for p in self.net_g_ema.parameters()]))
        assert 0.5 < self.ema_decay < 1

    monkeypatch.setattr(LIIFModel, 'optimize_parameters', record)
    run_here(
        monkeypatch,
        tmp_path,
        'train',
        '-opt',
        write_options(tmp_path / 'a.yml', tiny_train(photos)),
    )
    assert len(seen) == 4
    for a, b in zip(seen, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)


def test_train__learns(monkeypatch, tmp_path, photos):
    """A hundred iterations bring the loss down; a network that ignores its coordinates could not
    pass x2 in PSNR.
    """
    opt = tiny_train(
        photos,
        train__total_iter=120,
        val__val_freq=1000,
        logger__print_freq=1000,
        train__optim_g__lr=5e-3,
        datasets__train__dataset_enlarge_ratio=50,
        train__scheduler__milestones=[90],
        logger__save_checkpoint_freq=1000,
    )
    run_here(monkeypatch, tmp_path, 'train', '-opt', write_options(tmp_path / 'a.yml', opt))
    trained = json.loads((tmp_path / 'experiments/tiny/metrics.json').read_text())['v']['x2'][
        'psnr'
    ]
    run_here(
        monkeypatch,
        tmp_path,
        'train',
        '-opt',
        tmp_path / 'a.yml',
        '--force_yml',
        'train:total_iter=1',
        'name=n',
    )
    untrained = json.loads((tmp_path / 'experiments/n/metrics.json').read_text())['v']['x2']['psnr']
    assert trained > untrained + 5


@pytest.mark.parametrize('how', ['--auto_resume', 'resume_state'])
def test_resume__on_a_cpu(monkeypatch, tmp_path, photos, how, caplog):
    path = write_options(tmp_path / 'a.yml', tiny_train(photos, path__resume_state=None))
    run_here(monkeypatch, tmp_path, 'train', '-opt', path, '--force_yml', 'train:total_iter=2')
    flags = (
        [how]
        if how.startswith('--')
        else [
            '--force_yml',
            f'path:resume_state={tmp_path}/experiments/tiny/training_states/2.state',
        ]
    )
    catch_logs(caplog)
    assert run_here(monkeypatch, tmp_path, 'train', '-opt', path, *flags) == 0
    assert 'Resuming training from epoch: 0, iter: 2' in caplog.text
    assert load_file(tmp_path / 'experiments/tiny/training_states/4.state')['iter'] == 4
    assert not list(tmp_path.glob('experiments/*archived*'))


@pytest.mark.parametrize('degradation', ['photo', 'wild', {'jpeg': [30, 95], 'noise': [0, 9]}])
def test_train__degraded_samples_are_the_same_with_workers_and_after_a_resume(
    monkeypatch, tmp_path, photos, no_trial_step, degradation
):
    """Bit for bit: weights after six iterations, without workers, with two, and in two runs."""

    def train(name, **changes):
        opt = tiny_train(
            photos,
            name=name,
            datasets__train__degradation=degradation,
            datasets__train__degrade='loader',
            train__total_iter=6,
            **changes,
        )
        opt['val'] = None
        opt['logger']['save_checkpoint_freq'] = 3
        path = write_options(tmp_path / f'{name}.yml', opt)
        assert run_here(monkeypatch, tmp_path, 'train', '-opt', path) == 0
        return path, params(tmp_path / f'experiments/{name}/models/net_g_6.pth')

    _, alone = train('alone')
    _, with_workers = train('workers', datasets__train__num_worker_per_gpu=2)
    path, _ = train('resumed')
    for file in ('models/net_g_6.pth', 'models/net_g_latest.pth', 'training_states/6.state'):
        (tmp_path / 'experiments/resumed' / file).unlink()
    assert run_here(monkeypatch, tmp_path, 'train', '-opt', path, '--auto_resume') == 0
    resumed = params(tmp_path / 'experiments/resumed/models/net_g_6.pth')
    assert torch.equal(alone, with_workers) and torch.equal(alone, resumed)
