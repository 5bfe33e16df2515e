"""How far networks look: measured, and images encoded in windows equal images encoded at once."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import photo
from one_scale import SWINIR
from torch import nn

from liif_arch import LIIF, EDSREncoder, upscale
from liif_arch.archs.locality import measured_radius
from liif_arch.archs.rdn_encoder_arch import RDNEncoder
from liif_arch.archs.tapped_encoder import as_encoder
from liif_arch.errors import UserError
from liif_arch.upscaling import memory, windows

RRDBNET = {'type': 'RRDBNet', 'num_feat': 8, 'num_block': 1, 'num_grow_ch': 4}
RCAN = {'type': 'RCAN', 'num_feat': 8, 'num_group': 1, 'num_block': 1, 'squeeze_factor': 2}
# RRDBNet: in each block 3 dense blocks of 5 convolutions, and two convolutions around all; where it
# unshuffles pixels, times 2 or 4, and as much as the crops' multiple leaves open.
NETWORKS = {
    'RRDBNet': (RRDBNET, 17),
    'RRDBNet x2': ({**RRDBNET, 'scale': 2}, 36),
    'RRDBNet x1': ({**RRDBNET, 'scale': 1}, 75),
    'EDSR': ({'type': 'EDSR', 'num_feat': 8, 'num_block': 2}, 6),
    'MSRResNet': ({'type': 'MSRResNet', 'num_feat': 8, 'num_block': 2}, 5),
    'SRVGGNetCompact': ({'type': 'SRVGGNetCompact', 'num_feat': 8, 'num_conv': 4}, 5),
    'SwinIR': (SWINIR, 16),
}


def liif(options: dict) -> LIIF:
    torch.manual_seed(0)
    return LIIF(options, [16]).eval()


@pytest.mark.parametrize('name', NETWORKS)
def test_radius__of_registered_networks(name):
    options, radius = NETWORKS[name]
    encoder = as_encoder(options, 3).train()
    assert encoder.receptive_radius == radius and encoder.training


@pytest.mark.parametrize('name', NETWORKS)
def test_upscale__in_windows_equals_at_once(name, monkeypatch):
    monkeypatch.setattr(windows, 'MIN_WINDOW', 8)
    net, image = liif(NETWORKS[name][0]), photo(205, 231).astype(np.float32) / 255
    encoded = []
    encode = net.encode
    monkeypatch.setattr(net, 'encode', lambda x: encoded.append(x.shape) or encode(x))
    whole = upscale(net, image, size=(300, 310), memory=10**4)
    assert len(encoded) == 1
    pieces = upscale(
        net, image, size=(300, 310), memory=net.encoder.peak_floats(190, 190) * 4 / 2**20
    )
    assert len(encoded) > 2 and all(shape[-2] < 205 or shape[-1] < 231 for shape in encoded[1:])
    np.testing.assert_allclose(pieces, whole, atol=1e-5)


@pytest.mark.parametrize(
    'make,radius',
    [
        (lambda: EDSREncoder(num_feat=4, num_block=3), None),
        (lambda: RDNEncoder(3, 4, 2, 2, 4), None),
    ],
)
def test_radius__that_encoders_say_is_what_is_measured(make, radius):
    encoder = make().eval()
    assert measured_radius(encoder, 3, 1, torch.zeros(())) == encoder.receptive_radius


class Local(nn.Module):
    """Features of two 3x3 convolutions with `change` in between, and an upsampler."""

    def __init__(self, change) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, 1, 1), nn.Conv2d(8, 8, 3, 1, 1)
        self.up = nn.Sequential(nn.Conv2d(8, 12, 3, 1, 1), nn.PixelShuffle(2))
        self.change = change

    def forward(self, x):
        return self.up(self.second(self.change(self.first(x))))


def by_position(x):
    return x + torch.linspace(0, 1, x.shape[-1]).to(x)


@pytest.mark.parametrize(
    'change,radius',
    [
        (torch.relu, 2),
        (lambda x: F.conv2d(F.pad(x, [4] * 4), torch.zeros(8, 1, 9, 9).to(x), groups=8), 6),
        (lambda x: x * x.mean((2, 3), keepdim=True), None),
        (lambda x: x + x.amax((2, 3), keepdim=True), None),
        (lambda x: F.instance_norm(x), None),
        (lambda x: torch.roll(x, 10, -1), None),
        (by_position, None),
        (lambda x: x / x.shape[-2], None),
        (torch.nan_to_num, None),
    ],
)
def test_radius__of_what_happens_in_a_network(change, radius):
    """Zero weights count, as others may be loaded; means, norms, places, sizes are global."""
    assert as_encoder(Local(change), 3).receptive_radius == radius


def test_radius__of_a_network_that_refuses_long_images():
    def change(x):
        assert x.shape[-1] < 60, 'too long'
        return x

    assert as_encoder(Local(change), 3).receptive_radius is None


def test_upscale__global_networks_stay_whole_or_are_refused(monkeypatch):
    net, image = liif(RCAN), photo(80, 90)
    encoded, encode = [], net.encode
    monkeypatch.setattr(net, 'encode', lambda x: encoded.append(x.shape[-2:]) or encode(x))
    assert net.encoder.receptive_radius is None
    upscale(net, image, scale=2, memory=0.01)
    assert encoded == [(80, 90)]
    monkeypatch.setattr(memory, 'machine_memory', lambda: 10**5)
    net.encoder.receptive_radius  # noqa: B018
    with pytest.raises(
        UserError,
        match=r'found 0 MB on this machine; needed \d MB or more. RCAN has to see all of an '
        r'image of 90x80 \(width x height\)',
    ):
        list(windows.render_windows(net, image, (160, 180), 0.01))
    assert len(encoded) == 1
