"""The mean over flips and rotations: what it is, in windows, in validation, and at the command."""

import numpy as np
import pytest
import torch
from helpers import photo

from liif_arch import LIIF, LTE, MetaSR, Thera, upscale
from liif_arch.archs.self_ensemble import SelfEnsemble, ensemble_mean, turns
from liif_arch.coordinates import make_cell, make_coord
from liif_arch.upscaling import windows

ENCODER = {'type': 'EDSREncoder', 'num_feat': 8, 'num_block': 2}
NETWORKS = {
    'LIIF': lambda: LIIF(ENCODER, [16, 16]),
    'LTE': lambda: LTE(ENCODER, hidden_dim=16, hidden_list=[16]),
    'MetaSR': lambda: MetaSR(ENCODER),
    'Thera': lambda: Thera(ENCODER, hidden_dim=8, local_ensemble=True),
}


@pytest.mark.parametrize('count', [4, 8])
def test_turns__are_so_many_different_ones_and_come_back(count):
    image = torch.arange(12).view(1, 1, 3, 4)
    ways = [turn.apply(image) for turn in turns(count)]
    assert torch.equal(ways[0], image)
    assert len({tuple(way.flatten().tolist()) + tuple(way.shape) for way in ways}) == count
    for turn, way in zip(turns(count), ways, strict=True):
        assert torch.equal(turn.undo(way), image)
        assert tuple(way.shape[-2:]) == turn.size((3, 4))
        rows, cols = turn.span((1, 3), (0, 2), (3, 4))
        part = turn.undo(way[..., slice(*rows), slice(*cols)])
        assert torch.equal(part, image[..., 1:3, 0:2])


@torch.no_grad()
@pytest.mark.parametrize('count', [4, 8])
@pytest.mark.parametrize('name', NETWORKS)
def test_self_ensemble__is_the_mean_of_the_turned_images(name, count):
    torch.manual_seed(0)
    net, lq, size = NETWORKS[name]().eval(), torch.rand(2, 3, 7, 10), (17, 23)
    expected = ensemble_mean(net, lq, size, count)
    ours = SelfEnsemble(net, count)
    torch.testing.assert_close(ours(lq, size=size), expected, atol=1e-5, rtol=0)
    assert (expected - net(lq, size=size)).abs().max() > 1e-3  # it is not the network alone
    coord = make_coord(size).view(1, -1, 2).expand(2, -1, 2)
    cell = make_cell(size).expand(2, 17 * 23, 2)
    queried = ours.query(ours.encode(lq), coord, cell).transpose(1, 2).reshape(2, 3, *size)
    torch.testing.assert_close(queried, expected, atol=1e-4, rtol=0)
    with torch.enable_grad():
        torch.testing.assert_close(ours(lq, size=size), expected, atol=1e-4, rtol=0)


@torch.no_grad()
def test_self_ensemble__of_a_turned_image_is_the_turned_image():
    """What it is for: no direction is preferred."""
    torch.manual_seed(0)
    net, lq = SelfEnsemble(NETWORKS['LIIF'](), 8).eval(), torch.rand(1, 3, 6, 9)
    whole = net(lq, size=(13, 20))
    turned = net(lq.transpose(-2, -1).flip(-1), size=(20, 13))
    torch.testing.assert_close(turned, whole.transpose(-2, -1).flip(-1), atol=1e-5, rtol=0)


@pytest.mark.parametrize('size', [(150, 183), (61, 90), (61, 180), (183, 135)])
@pytest.mark.parametrize('name', ['LIIF', 'Thera'])
def test_self_ensemble__in_windows_equals_at_once(name, size, monkeypatch):
    """Also where pixels lie between two latents."""
    torch.manual_seed(0)
    monkeypatch.setattr(windows, 'MIN_WINDOW', 8)
    net, image = SelfEnsemble(NETWORKS[name](), 8), photo(61, 90).astype(np.float32) / 255
    encoded, encode = [], net.encode
    monkeypatch.setattr(net, 'encode', lambda x: encoded.append(x.shape) or encode(x))
    whole = upscale(net, image, size=size)
    assert len(encoded) == 1
    pieces = upscale(net, image, size=size, memory=1)
    assert len(encoded) > 3
    np.testing.assert_allclose(pieces, whole, atol=1e-5)


def test_self_ensemble__of_an_encoder_whose_crops_begin_at_a_multiple_takes_the_whole(monkeypatch):
    monkeypatch.setattr(windows, 'MIN_WINDOW', 8)
    net, image = SelfEnsemble(NETWORKS['LIIF'](), 4), photo(61, 90)
    net.encoder.multiple, net.in_windows = 2, False
    assert not SelfEnsemble(net.net, 4).in_windows
    encoded, encode = [], net.encode
    monkeypatch.setattr(net, 'encode', lambda x: encoded.append(x.shape) or encode(x))
    upscale(net, image, scale=2, memory=1)
    assert [tuple(shape[-2:]) for shape in encoded] == [(61, 90)]


def test_self_ensemble__tells_of_every_pixel_once():
    net, told = SelfEnsemble(NETWORKS['LIIF'](), 8), []
    upscale(net, photo(20, 20), scale=3, progress=lambda done, total: told.append((done, total)))
    assert told[0] == (0, 3600) and told[-1] == (3600, 3600)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
