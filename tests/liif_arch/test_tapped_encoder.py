"""Networks of one scale as encoders: features as they compute them, windows, taps, training."""

import copy
import math

import numpy as np
import pytest
import torch
from helpers import catch_logs, run_here, tiny_train, write_options
from one_scale import NETWORKS, SWINIR, build
from torch import nn

from liif_arch import LIIF, load_network, upscale
from liif_arch.archs.tapped_encoder import TappedEncoder, as_encoder
from liif_arch.archs.taps import window_multiple
from liif_arch.complexity import complexity
from liif_arch.errors import UserError
from liif_arch.training.checkpoints import load_file


def inside(net: nn.Module, name: str, lq: torch.Tensor) -> torch.Tensor:
    """The features, from each network's own definition."""
    if name == 'MSRResNet':
        return net.body(net.lrelu(net.conv_first(lq)))
    if name == 'RRDBNet':
        first = net.conv_first(lq)
        return first + net.conv_body(net.body(first))
    x = net.conv_first((lq - net.mean) * net.img_range)
    if name == 'SwinIR':
        return net.conv_before_upsample(net.conv_after_body(net.forward_features(x)) + x)
    return net.conv_after_body(net.body(x)) + x


@pytest.mark.parametrize('name', NETWORKS)
@torch.no_grad()
def test_features__are_those_inside_the_network(name):
    net, lq = build(name), torch.rand(2, 3, 12, 16)
    expected, before = inside(net, name, lq), {k: v.clone() for k, v in net.state_dict().items()}
    encoder = TappedEncoder(net).eval()
    assert encoder.num_out_feat == expected.shape[1]
    torch.testing.assert_close(encoder(lq), expected, rtol=0, atol=0)
    kept = encoder.net.state_dict()
    assert all(torch.equal(before[k], v) for k, v in kept.items()) and len(kept) < len(before)
    assert not any(k.startswith(('upsample', 'conv_last', 'upconv')) for k in kept)


@pytest.mark.parametrize('name', NETWORKS)
def test_encoder__trains_validates_and_renders(name, tmp_path, photos, monkeypatch):
    """20 iterations, validation at x2.5, and 7x11 up to 33x60, from the file alone."""
    opt = tiny_train(
        photos,
        network_g__encoder=NETWORKS[name],
        train__total_iter=20,
        val__val_freq=100,
        datasets__val__scales=[2.5],
        datasets__train__dataset_enlarge_ratio=10,
        logger__save_checkpoint_freq=100,
    )
    write_options(tmp_path / 'o.yml', opt)
    assert run_here(monkeypatch, tmp_path, 'train', '-opt', 'o.yml') == 0
    weights = tmp_path / 'experiments/tiny/models/net_g_latest.pth'
    net, lq = load_network(weights), torch.rand(1, 3, 7, 11)
    with torch.no_grad():
        assert net(lq, size=(33, 60)).shape == (1, 3, 33, 60)
        padded = net.encode(lq)
    assert padded.shape == (1, net.encoder.num_out_feat, 7, 11)
    assert upscale(net, np.zeros((7, 11, 3), np.uint8), size=(33, 60)).shape == (33, 60, 3)
    trained = load_file(weights)['params']
    assert all(torch.isfinite(v).all() for v in trained.values())
    first = {
        k: v for k, v in LIIF(NETWORKS[name], [16]).state_dict().items() if k.endswith('.weight')
    }
    assert all(k in trained for k in first)


@torch.no_grad()
def test_sizes__that_do_not_fit_the_windows_are_padded_by_reflection():
    net = as_encoder(SWINIR, 3).eval()
    assert net.multiple == window_multiple(build('SwinIR')) == 4
    lq = torch.rand(1, 3, 10, 15)
    reflected = torch.nn.functional.pad(lq, (0, 1, 0, 2), 'reflect')
    torch.testing.assert_close(net(lq), net(reflected)[..., :10, :15])
    assert net(torch.rand(1, 3, 1, 2)).shape == (1, 64, 1, 2)


@torch.no_grad()
@pytest.mark.parametrize('scale,multiple,step', [(4, 1, 2), (2, 2, 2), (1, 4, 1)])
def test_rrdbnet__of_every_scale(scale, multiple, step):
    encoder = as_encoder({**NETWORKS['RRDBNet'], 'scale': scale}, 3).eval()
    assert (encoder.multiple, encoder.step) == (multiple, step)
    assert encoder(torch.rand(1, 3, 9, 13)).shape == (1, 8, 9, 13)


def test_tap__named():
    encoder = as_encoder({**NETWORKS['EDSR'], 'tap': 'conv_after_body'}, 3)
    net, lq = build('EDSR'), torch.rand(1, 3, 8, 8)
    encoder.net.load_state_dict(net.state_dict(), strict=False)
    with torch.no_grad():
        torch.testing.assert_close(
            encoder(lq), net.body(net.conv_first((lq - net.mean) * net.img_range))
        )


class Wrapped(nn.Module):
    """A network in a network; its upsampler lies deep inside, as third parties write it."""

    def __init__(self) -> None:
        super().__init__()
        inner = nn.Module()
        inner.up = nn.Sequential(nn.Conv2d(8, 12, 3, 1, 1), nn.PixelShuffle(2))
        self.model = nn.Sequential(
            nn.Conv2d(3, 8, 3, 1, 1), nn.ReLU(), nn.Sequential(inner.up), nn.Identity()
        )

    def forward(self, x):
        return self.model(x)


@pytest.mark.parametrize('encoder', [Wrapped(), {**NETWORKS['EDSR'], 'tap': 'body.1'}])
def test_tap__deep_inside(encoder):
    """Features, a training step, counting and copying, none of which may trip over the stop within
    other modules.
    """
    torch.manual_seed(0)
    net = LIIF(as_encoder(encoder, 3), [8])
    lq = torch.rand(1, 3, 9, 8)
    net(lq, torch.rand(1, 5, 2), torch.rand(1, 5, 2)).sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    with torch.no_grad():
        inside = net.encoder.net
        expected = (
            inside.model[1](inside.model[0](lq))
            if isinstance(encoder, nn.Module)
            else inside.body[0](inside.conv_first((lq - inside.mean) * inside.img_range))
        )
        torch.testing.assert_close(net.encoder(lq), expected)
        torch.testing.assert_close(copy.deepcopy(net)(lq, size=(11, 13)), net(lq, size=(11, 13)))
    assert complexity(net).per_output > 0


def test_tap__is_told(caplog):
    catch_logs(caplog)
    assert as_encoder(NETWORKS['EDSR'], 3).tap == 'upsample'
    assert (
        'Encoder EDSR: features in front of upsample, 8 channels; not used: upsample, conv_last.'
        in caplog.text
    )


class Padding(nn.Module):
    """Pads to multiples of 8 by itself, and cuts at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.up, self.last = (
            nn.Conv2d(3, 8, 3, 1, 1),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(8, 3, 3, 1, 1),
        )

    def forward(self, x):
        h, w = x.shape[-2:]
        x = nn.functional.pad(x, (0, -w % 8, 0, -h % 8), 'reflect')
        return self.last(self.up(self.first(x)))[..., : 2 * h, : 2 * w]


@torch.no_grad()
def test_sizes__of_a_network_that_pads_by_itself():
    encoder = as_encoder(Padding(), 3)
    assert encoder.multiple == 8 and encoder(torch.rand(1, 3, 5, 21)).shape == (1, 8, 5, 21)


def test_encoder__of_another_type_and_of_one_channel():
    assert as_encoder(Wrapped().double(), 3).num_out_feat == 8
    assert LIIF(SWINIR, [8], num_in_ch=1, num_out_ch=1)(
        torch.rand(1, 1, 6, 6), size=(7, 7)
    ).shape == (1, 1, 7, 7)


class Twice(Wrapped):
    """Runs one convolution at both sizes."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.conv, self.last = (
            nn.Conv2d(3, 8, 3, 1, 1),
            nn.Conv2d(8, 8, 3, 1, 1),
            nn.Conv2d(8, 3, 3, 1, 1),
        )

    def forward(self, x):
        x = self.conv(self.first(x))
        return self.last(self.conv(nn.functional.interpolate(x, scale_factor=2)))


class Peeking(Wrapped):
    """Reads what lies behind its features."""

    def forward(self, x):
        return self.model(x * self.model[2][0][0].weight.mean())


class Shrinking(nn.Module):
    """Works on half the size throughout."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.out = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 3, 3, 1, 1)

    def forward(self, x):
        return self.out(self.down(x))


class Bilinear(Shrinking):
    """Enlarges its features bilinearly."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(3, 8, 3, 1, 1)

    def forward(self, x):
        return self.out(nn.functional.interpolate(self.down(x), scale_factor=2, mode='bilinear'))


@pytest.mark.parametrize(
    'encoder,part',
    [
        (Shrinking(), 'Shrinking has no features of the input'),
        (Bilinear(), 'by other means than repeating'),
        (Twice(), 'runs conv, whose input its features are, earlier'),
        (Peeking(), 'needs what lies behind'),
        ('EDSR', 'encoder: found .EDSR.; needed'),
        ({'num_feat': 3}, 'needed "type: NAME"'),
        (
            {**NETWORKS['EDSR'], 'tap': 'upsampel'},
            "encoder.tap: found 'upsampel'.*did you mean upsample?",
        ),
        ({**NETWORKS['EDSR'], 'tap': 'upsample.1'}, None),
        ({'type': 'EDSREncoder', 'tap': 'body'}, 'is an encoder itself'),
        ({**SWINIR, 'window_size': 4, 'tap': 'norm'}, 'the input of norm is'),
        ({'type': 'VGGStyleDiscriminator', 'num_feat': 8}, 'VGGStyleDiscriminator does not run on'),
    ],
)
def test_encoder__refuses(encoder, part):
    if (
        part is None
    ):  # a convolution's output, shuffled there: every fourth channel's pixel is a feature
        part = 'by other means|needed features'
        encoder = {**NETWORKS['EDSR'], 'tap': 'upsample.2'}
    with pytest.raises(UserError, match=part):
        as_encoder(encoder, 3)


@pytest.mark.parametrize(
    'change,part',
    [
        ({'tap': 'x'}, "network_g: encoder.tap: found 'x'"),
        ({'num_feet': 8}, 'did you mean num_feat'),
        ({'type': 'EDSRR'}, 'did you mean EDSR'),
    ],
)
def test_options__of_an_encoder_are_checked(tmp_path, photos, monkeypatch, capsys, change, part):
    write_options(
        tmp_path / 'o.yml', tiny_train(photos, network_g__encoder={**NETWORKS['EDSR'], **change})
    )
    assert run_here(monkeypatch, tmp_path, 'train', '-opt', 'o.yml') == 2
    assert part in capsys.readouterr().err


def test_window_multiple__of_windows_of_two_sizes():
    net = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1))
    net[0].window_size, net[1].window_size = 6, (4, 4)
    assert window_multiple(net) == math.lcm(6, 4)
