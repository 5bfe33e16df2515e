"""Adversarial training: ours on patches at random scales, and LIIF as the generator of BasicSR's
own models.
"""

import copy

import numpy as np
import pytest
import torch
from helpers import differences, paired_options, run_here, tiny_train, write_options

from liif_arch import load_network, read_image
from liif_arch.models.liif_gan_model import LIIFGANModel, as_patch
from liif_arch.training.checkpoints import load_file

DISCRIMINATOR = {'type': 'UNetDiscriminatorSN', 'num_in_ch': 3, 'num_feat': 4}
ENCODER = {'type': 'EDSREncoder', 'num_feat': 8, 'num_block': 1}
NETWORKS = {
    'LIIF': {'type': 'LIIF', 'encoder': ENCODER, 'hidden_list': [8, 8]},
    'Thera': {
        'type': 'Thera',
        'encoder': ENCODER,
        'hidden_dim': 8,
        'skip': 'bilinear',
        'local_ensemble': True,
        'bilinear_start': True,
    },
}
LOSS = {
    'type': 'GANLoss',
    'gan_type': 'vanilla',
    'real_label_val': 1.0,
    'fake_label_val': 0.0,
    'loss_weight': 0.1,
}


def gan_train(photos, **changes) -> dict:
    return tiny_train(
        photos,
        **{
            'model_type': 'LIIFGANModel',
            'network_d': copy.deepcopy(DISCRIMINATOR),
            'train__gan_opt': dict(LOSS),
            'train__optim_d': {'type': 'Adam', 'lr': 1e-3},
            'datasets__train__patch': True,
            'datasets__train__lq_size': 16,
            'datasets__train__scale_range': [1, 3],
            'datasets__train__num_samples': 256,
            **changes,
        },
    )


@pytest.mark.parametrize('degrade', ['loader', 'device'])
def test_gan__patches_are_squares_of_the_ground_truth(degrade):
    """What the discriminator sees are pixels side by side: a ramp stays one."""
    from liif_arch.crop_batches import make_batch
    from liif_data.crops import query_samples

    y, x = np.mgrid[:40, :40]
    gt = np.stack([y * 5, x * 5, y + x], -1).astype(np.uint8)
    coord, cell, colours = query_samples(gt, 64, 123456, patch=True)
    if degrade == 'device':
        padded = np.zeros((1, 50, 50, 3), np.uint8)
        padded[0, :40, :40] = gt
        batch = make_batch(
            torch.from_numpy(padded),
            torch.tensor([[40, 40]]),
            torch.tensor([123456]),
            20,
            64,
            patch=True,
        )
        np.testing.assert_array_equal(batch['coord'][0], coord)  # the same square as the loader's
        np.testing.assert_array_equal(batch['cell'][0], cell)
        colours = (batch['gt'][0] * 255).round().numpy()
    patch = as_patch(torch.from_numpy(colours.astype(np.float32))[None])[0]
    assert patch.shape == (3, 8, 8)
    assert (patch[0].diff(dim=0) == 5).all() and (patch[0].diff(dim=1) == 0).all()
    assert (patch[1].diff(dim=1) == 5).all() and (patch[1].diff(dim=0) == 0).all()


def test_gan__places_are_spread_over_the_crop():
    from liif_data.crops import draw_patch

    corners = {divmod(int(draw_patch(10, 12, 64, seed)[0]), 12) for seed in range(400)}
    assert corners == {(y, x) for y in range(3) for x in range(5)}


@pytest.mark.parametrize('network', NETWORKS)
def test_gan__trains_saves_resumes_and_upscales(network, tmp_path, monkeypatch):
    """20 iterations on the photographs that come with scikit-image."""
    opt = gan_train(
        'builtin:photos/train',
        network_g=copy.deepcopy(NETWORKS[network]),
        train__total_iter=20,
        val__val_freq=100,
        logger__save_checkpoint_freq=10,
        datasets__train__dataset_enlarge_ratio=50,
        datasets__train__cache=True,
    )
    opt['datasets']['val'].update(dataroot_gt='builtin:photos/heldout', scales=[4])
    results = []
    for name in ('whole', 'cut'):
        folder = tmp_path / name
        folder.mkdir()
        write_options(folder / 'o.yml', opt)
        if name == 'cut':
            assert (
                run_here(
                    monkeypatch,
                    folder,
                    'train',
                    '-opt',
                    'o.yml',
                    '--force_yml',
                    'train:total_iter=10',
                )
                == 0
            )
        assert run_here(monkeypatch, folder, 'train', '-opt', 'o.yml', '--auto_resume') == 0
        run = folder / 'experiments/tiny'
        results.append([load_file(run / f'models/net_{n}_20.pth') for n in 'gd'])
    assert differences(*results) == []
    weights = tmp_path / 'cut/experiments/tiny/models/net_g_latest.pth'
    assert type(load_network(weights)).__name__ == network
    from liif_arch import write_image
    from liif_data.store import open_store

    write_image(tmp_path / 'a.png', open_store('builtin:photos/heldout').read('coffee')[:30, :40])
    assert (
        run_here(
            monkeypatch,
            tmp_path,
            'upscale',
            'a.png',
            '--weights',
            weights,
            '--scale',
            2.5,
            '-o',
            'b.png',
        )
        == 0
    )
    assert read_image(tmp_path / 'b.png').shape == (75, 100, 3)


def test_gan__each_step_moves_its_own_network(tmp_path, photos, monkeypatch, no_trial_step):
    moved, step = [], LIIFGANModel.optimize_parameters

    def record(self, current_iter):
        nets = self.net_g, self.net_d
        before = [[p.detach().clone() for p in net.parameters()] for net in nets]
        step(self, current_iter)
        moved.append(
            [
                any(not torch.equal(a, b) for a, b in zip(old, net.parameters(), strict=True))
                for old, net in zip(before, nets, strict=True)
            ]
        )
        assert all(p.requires_grad for p in self.net_d.parameters())
        assert ('l_g_gan' in self.log_dict) == moved[-1][0] and 'l_d_real' in self.log_dict

    monkeypatch.setattr(LIIFGANModel, 'optimize_parameters', record)
    write_options(
        tmp_path / 'o.yml',
        gan_train(photos, train__net_d_init_iters=1, train__net_d_iters=2, train__total_iter=4),
    )
    assert run_here(monkeypatch, tmp_path, 'train', '-opt', 'o.yml') == 0
    assert moved == [[False, True], [True, True], [False, True], [True, True]]


@pytest.mark.parametrize(
    'change,part',
    [
        ({'datasets__train__patch': False}, 'datasets.train.patch: needed true'),
        (
            {'datasets__train__num_samples': 250},
            'num_samples: found 250; patch: true needs a square number',
        ),
        (
            {'datasets__train__num_samples': 225},
            'num_samples: UNetDiscriminatorSN does not take squares of 15 pixels',
        ),
        ({'network_d': None}, 'network_d'),
        ({'train__gan_opt': None}, 'train.gan_opt'),
        ({'network_d__num_feet': 3}, 'did you mean num_feat?'),
        ({'train__net_d_itres': 3}, 'did you mean net_d_iters?'),
    ],
)
def test_gan__refuses(tmp_path, photos, monkeypatch, capsys, change, part):
    write_options(tmp_path / 'o.yml', gan_train(photos, **change))
    assert run_here(monkeypatch, tmp_path, 'train', '-opt', 'o.yml') == 2
    error = capsys.readouterr().err
    assert part in error and 'Traceback' not in error, error


def test_gan__without_vggs_weights(tmp_path, photos, monkeypatch, capsys):
    def offline(*_, **__):
        raise OSError('no network')

    monkeypatch.setattr('basicsr.losses.basic_loss.VGGFeatureExtractor', offline)
    write_options(
        tmp_path / 'o.yml',
        gan_train(
            photos,
            train__perceptual_opt={'type': 'PerceptualLoss', 'layer_weights': {'conv1_2': 1.0}},
        ),
    )
    assert run_here(monkeypatch, tmp_path, 'train', '-opt', 'o.yml') == 2
    assert (
        'train.perceptual_opt: cannot fetch the weights of VGG (no network)'
        in capsys.readouterr().err
    )


@pytest.mark.parametrize('model', ['SRGANModel', 'ESRGANModel'])
def test_liif__as_generator_of_basicsrs_own_models(tmp_path, monkeypatch, model):
    """At the fixed scale that network_g.scale says; the models are BasicSR's, unmodified."""
    opt = paired_options(tmp_path)
    opt.update(
        model_type=model,
        network_d=dict(DISCRIMINATOR),
        network_g={
            'type': 'LIIF',
            'encoder': {'type': 'EDSREncoder', 'num_feat': 8, 'num_block': 1},
            'hidden_list': [16],
            'scale': 2,
        },
    )
    opt['train'].update(gan_opt=dict(LOSS), optim_d={'type': 'Adam', 'lr': 1e-3}, total_iter=3)
    write_options(tmp_path / 'o.yml', opt)
    assert run_here(monkeypatch, tmp_path, 'train', '-opt', 'o.yml') == 0
    models = tmp_path / 'experiments/tiny/models'
    first, last = (load_file(models / f'net_g_{n}.pth')['params'] for n in (2, 'latest'))
    assert any(not torch.equal(first[k], last[k]) for k in first)
    net = load_network(models / 'net_g_latest.pth', network=opt['network_g'])
    with torch.no_grad():
        assert net(torch.rand(1, 3, 7, 5), size=(20, 13)).shape == (1, 3, 20, 13)
