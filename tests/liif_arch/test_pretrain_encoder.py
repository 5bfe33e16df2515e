"""Weights of a network of one scale for the encoder that is made of it: `path.pretrain_encoder`."""

import pytest
import torch
from basicsr.archs import build_network
from helpers import catch_logs, run_here, tiny_train, write_options
from one_scale import CHANNELS, NETWORKS, build
from torch import nn

from liif_arch import LIIF, EDSREncoder
from liif_arch.errors import UserError
from liif_arch.training.checkpoints import load_file, save_file
from liif_arch.weights.networks import load_encoder


def training(photos, weights, **changes) -> dict:
    return tiny_train(
        photos,
        network_g__encoder=NETWORKS['EDSR'],
        path__pretrain_encoder=str(weights),
        train__total_iter=2,
        **changes,
    )


@pytest.mark.parametrize('wrapped', [None, 'params', 'params_ema'])
def test_pretrain_encoder__is_used_and_reported(tmp_path, photos, monkeypatch, caplog, wrapped):
    catch_logs(caplog)
    state = build('EDSR').state_dict()
    save_file(state if wrapped is None else {wrapped: state}, tmp_path / 'edsr.pth')
    write_options(
        tmp_path / 'o.yml', training(photos, tmp_path / 'edsr.pth', train__optim_g__lr=1e-12)
    )
    assert run_here(monkeypatch, tmp_path, 'train', '-opt', 'o.yml') == 0
    report = next(r.getMessage() for r in caplog.records if 'pretrain_encoder' in r.getMessage())
    assert 'tensors for the encoder EDSR; not used: ' in report and 'upsample.0.weight' in report
    trained = load_file(tmp_path / 'experiments/tiny/models/net_g_latest.pth')['params']
    for key, value in state.items():
        if not key.startswith(('upsample', 'conv_last')):
            torch.testing.assert_close(trained[f'encoder.net.{key}'], value)
    # A resumed run goes on with its own.
    assert (
        run_here(
            monkeypatch,
            tmp_path,
            'train',
            '-opt',
            'o.yml',
            '--auto_resume',
            '--force_yml',
            'train:total_iter=3',
            'train:optim_g:lr=0.01',
        )
        == 0
    )


def test_pretrain_encoder__of_a_liif(tmp_path, photos, monkeypatch):
    net = LIIF(EDSREncoder(num_feat=8, num_block=1), [12])
    save_file({'params': net.state_dict()}, tmp_path / 'liif.pth')
    opt = tiny_train(
        photos,
        path__pretrain_encoder=str(tmp_path / 'liif.pth'),
        train__total_iter=1,
        train__optim_g__lr=1e-12,
    )
    write_options(tmp_path / 'o.yml', opt)
    assert run_here(monkeypatch, tmp_path, 'train', '-opt', 'o.yml') == 0
    trained = load_file(tmp_path / 'experiments/tiny/models/net_g_latest.pth')['params']
    torch.testing.assert_close(trained['encoder.head.0.weight'], net.encoder.head[0].weight.data)


def test_pretrain_encoder__of_a_deeper_network_is_refused(tmp_path):
    deep = build_network({**CHANNELS, **NETWORKS['EDSR'], 'num_block': 4})
    save_file({'params': deep.state_dict()}, tmp_path / 'deep.pth')
    with pytest.raises(UserError, match=r'holds body\.2\.conv1\.weight.*as many blocks'):
        load_encoder(LIIF(NETWORKS['EDSR'], [8]), tmp_path / 'deep.pth')
    save_file({'weights': deep.state_dict()}, tmp_path / 'other.pth')
    with pytest.raises(
        UserError, match='found weights; needed named tensors, or these under "params"'
    ):
        load_encoder(LIIF(NETWORKS['EDSR'], [8]), tmp_path / 'other.pth')


def test_pretrain_encoder__of_a_network_that_has_an_encoder_itself(tmp_path):
    class Auto(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.Conv2d(3, 8, 3, 1, 1)
            self.up = nn.Sequential(nn.Conv2d(8, 12, 3, 1, 1), nn.PixelShuffle(2))

        def forward(self, x):
            return self.up(self.encoder(x))

    net = Auto()
    save_file({'params': net.state_dict()}, tmp_path / 'auto.pth')
    liif = LIIF(Auto(), [8])
    assert 'not used: up.0.weight' in load_encoder(liif, tmp_path / 'auto.pth')
    assert torch.equal(liif.encoder.net.encoder.weight, net.encoder.weight)
    save_file({'optimizers': [], 'iter': 1}, tmp_path / '1.state')
    with pytest.raises(UserError, match='is a training state'):
        load_encoder(liif, tmp_path / '1.state')


@pytest.mark.parametrize(
    'change,parts',
    [
        ({}, ['path.pretrain_encoder', 'conv_first.weight is (16, 3, 3, 3), needed (8, 3, 3, 3)']),
        ({'path__pretrain_network_g': 'x.pth'}, ['pretrain_encoder', 'remove one']),
    ],
)
def test_pretrain_encoder__that_does_not_fit(tmp_path, photos, monkeypatch, capsys, change, parts):
    wide = build_network({**CHANNELS, **NETWORKS['EDSR'], 'num_feat': 16})
    save_file({'params': wide.state_dict()}, tmp_path / 'wide.pth')
    save_file({'params': wide.state_dict()}, tmp_path / 'x.pth')
    write_options(tmp_path / 'o.yml', training(photos, tmp_path / 'wide.pth', **change))
    assert run_here(monkeypatch, tmp_path, 'train', '-opt', 'o.yml') == 2
    error = capsys.readouterr().err
    assert all(part in error for part in parts) and 'Traceback' not in error, error
    assert not (tmp_path / 'experiments').exists()
