"""The weights that ship: what they are, that they upscale out of the box, and that they are better
than bicubic.
"""

import socket

import numpy as np
import pytest
import skimage
import torch
from helpers import photo, run_here, write_image

from liif_arch import LIIF, load_network, read_image
from liif_arch.complexity import complexity
from liif_arch.coordinates import scaled_size
from liif_arch.errors import UserError
from liif_arch.files.images import resize_bicubic
from liif_arch.metrics.fidelity import FIDELITY
from liif_arch.training.checkpoints import load_file, save_file
from liif_arch.upscaling.upscale import upscale
from liif_arch.weights import labels, shipped, weights_path
from liif_data.store import open_store

PHOTOS = skimage.__path__[0] + '/data'


def test_shipped__small_files_of_float16():
    assert shipped() == ['edsr', 'fast', 'liif', 'photo', 'small']
    types = {'edsr': 'Thera', 'fast': 'Thera', 'photo': 'Thera', 'liif': 'LIIF', 'small': 'LIIF'}
    for name in shipped():
        path = weights_path(name)
        content = load_file(name)
        assert path.stat().st_size < 4 * 2**20 and content['network_g']['type'] == types[name]
        assert {v.dtype for v in content['params'].values()} == {torch.float16}
        assert {v.dtype for v in load_network(name).state_dict().values()} == {torch.float32}


def test_shipped__what_they_cost():
    """Heat fields less than LIIF on the same encoder, small encoders less than large ones."""
    edsr, fast, liif, _, small = (complexity(load_network(name)) for name in shipped())
    for scale in (2, 3, 4, 30):
        size = (64, 64), (64 * scale, 64 * scale)
        assert liif.of_image(*size) > 8 * small.of_image(*size)
        assert small.of_image(*size) > fast.of_image(*size)
        assert liif.of_image(*size) > 3 * edsr.of_image(*size) > 6 * fast.of_image(*size)
    size = (64, 64), (256, 256)
    assert small.of_image(*size) > 3 * fast.of_image(*size)
    assert liif.of_image(*size) > 10 * edsr.of_image(*size)


@pytest.mark.parametrize('name', ['edsr', 'fast', 'liif', 'photo', 'small'])
def test_shipped__above_bicubic_on_photographs(name):
    """scikit-image's, which no weights have seen; at x2 to x8."""
    net, store = load_network(name), open_store('builtin:photos/heldout')
    net.precision = 'auto'
    for scale, least in ((2, 1.0), (3, 0.6), (4, 0.5), (8, 0.25)):
        if name == 'liif' and scale != 4:
            continue  # a pixel takes it ten times as long as the others
        gains = []
        for key in store.keys:
            gt = store.read(key)
            gt = gt[: gt.shape[0] // scale * scale, : gt.shape[1] // scale * scale]
            lq = resize_bicubic(gt, (gt.shape[0] // scale, gt.shape[1] // scale))
            found, bicubic, exact = (
                torch.from_numpy(a).permute(2, 0, 1) / 255
                for a in (upscale(net, lq, size=gt.shape[:2]), resize_bicubic(lq, gt.shape[:2]), gt)
            )
            psnr = FIDELITY['psnr_y']
            gains.append(psnr(found, exact, (scale, scale)) - psnr(bicubic, exact, (scale, scale)))
        assert np.mean(gains) > least, (scale, gains)


@pytest.mark.parametrize(
    'flags', [[], *(['--weights', name] for name in ('edsr', 'liif', 'small'))], ids=str
)
def test_upscale__out_of_the_box(monkeypatch, tmp_path, capsys, flags):
    """No weights named, no output named, no network, no ../shared."""

    def refuse(*_, **__):
        raise AssertionError('a connection was opened')

    monkeypatch.setattr(socket.socket, 'connect', refuse)
    image = read_image(f'{PHOTOS}/chelsea.png')[100:190, 100:220]
    write_image(tmp_path / 'cat.png', image)
    assert run_here(monkeypatch, tmp_path, 'upscale', 'cat.png', '--scale', '3.7', *flags) == 0
    assert 'cat_x3.7.png  120x90 -> 444x333' in capsys.readouterr().out
    found = read_image(tmp_path / 'cat_x3.7.png')
    assert found.shape[:2] == scaled_size((90, 120), (3.7, 3.7))
    reduced = resize_bicubic(found, (90, 120)).astype(float)
    assert abs((reduced - image).mean(axis=(0, 1))).max() < 1  # no colour shift
    assert (
        20 * np.log10(255 / np.sqrt(((reduced - image) ** 2).mean())) > 35
    )  # what it shows is the input


def test_upscale__names_of_outputs_without_o(monkeypatch, tmp_path):
    for name in 'ab':
        write_image(tmp_path / f'{name}.png', photo(6, 8))
    flags = ['--size', '16x12', '--weights', 'small']
    assert run_here(monkeypatch, tmp_path, 'upscale', 'a.png', 'b.png', *flags) == 0
    assert sorted(p.name for p in tmp_path.glob('*_*')) == ['a_16x12.png', 'b_16x12.png']


def test_weights__names_and_files(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        UserError, match='esdr: no such file, and no weights that ship: did you mean edsr'
    ):
        load_network('esdr')
    written = tmp_path / 'experiments/mine/models/net_g_latest.pth'
    written.parent.mkdir(parents=True)
    written.touch()
    for name in ('mine', 'experiments/mine'):
        with pytest.raises(UserError, match=f'{name}: .*wrote experiments/mine/models/net_g_late'):
            load_network(name)
    tiny = {
        'type': 'LIIF',
        'encoder': {'type': 'EDSREncoder', 'num_feat': 4, 'num_block': 1},
        'hidden_list': [4],
    }
    save_file({'params': LIIF(tiny['encoder'], [4]).state_dict(), 'network_g': tiny}, 'small')
    # A file of that name comes first.
    assert load_network('small').imnet.layers[0].out_features == 4
    assert load_network().components.shape == (2, 32)


def test_labels__are_short_and_differ():
    assert labels(['fast', 'a/net_g_latest.pth']) == ['fast', 'net_g_latest']
    assert labels(['a/n.pth', 'b/n.pth', 'fast']) == ['a/n.pth', 'b/n.pth', 'fast']
    assert labels(['bicubic.pth', 'a.pth'], ['bicubic']) == ['bicubic.pth', 'a']
    assert labels(['mine/model.safetensors', 'hf:me/x']) == ['mine', 'x']
    assert labels(['hf:me/x', 'hf:you/x']) == ['hf:me/x', 'hf:you/x']
