"""Weights for clean and for compressed images, and what lies between."""

import numpy as np
import pytest
import torch
from helpers import photo, run_here

from liif_arch import load_blend, load_network, read_image, upscale, write_image
from liif_arch.coordinates import make_cell, make_coord
from liif_arch.errors import UserError
from liif_arch.upscaling.windows import render_windows


@pytest.fixture(scope='module')
def parts():
    return load_network('fast'), load_network('photo')


@torch.no_grad()
@pytest.mark.parametrize('strength', [0, 0.25, 1])
def test_blend__is_the_mean_of_both_pictures(parts, strength):
    lq, size = torch.rand(1, 3, 9, 11), (20, 31)
    fast, compressed = (net(lq, size=size) for net in parts)
    net = load_blend(strength)
    expected = fast + strength * (compressed - fast)
    torch.testing.assert_close(net(lq, size=size), expected, atol=1e-6, rtol=0)
    coord, cell = make_coord(size).view(1, -1, 2), make_cell(size).expand(1, 620, 2)
    queried = net.query(net.encode(lq), coord, cell).transpose(1, 2).view(1, 3, *size)
    torch.testing.assert_close(queried, expected, atol=1e-5, rtol=0)
    with torch.enable_grad():
        torch.testing.assert_close(net(lq, size=size), expected, atol=1e-5, rtol=0)


def test_blend__in_windows_is_the_whole():
    net, image = load_blend(0.5), photo(140, 60)
    whole = upscale(net, image, size=(182, 78))
    windows = list(render_windows(net, image, (182, 78), memory=8))
    assert len(windows) > 1
    for rows, cols, block in windows:
        assert abs(block.astype(int) - whole[rows, cols]).max() <= 1


def test_blend__takes_the_precision_of_its_network():
    net = load_blend(0.5)
    net.precision = 'auto'
    net.encode(torch.rand(1, 3, 4, 4))
    assert net.first.precision == net.second.precision == 'auto'


@pytest.mark.parametrize('strength', [-0.1, 1.5, float('nan')])
def test_blend__refuses(strength):
    with pytest.raises(UserError, match='^strength: found .*; needed a number from 0 to 1'):
        load_blend(strength)


@pytest.mark.parametrize(
    'suffix,flags,which,said',
    [
        ('.png', [], 'fast', '; weights fast, for lossless files'),
        ('.jpg', [], 'photo', '; weights photo, for JPEG'),
        ('.jpg', ['--weights', 'fast'], 'fast', '(width x height)'),
        ('.jpg', ['--strength', '0'], 'fast', '; strength 0'),
        ('.png', ['--strength', '1'], 'photo', '; strength 1'),
    ],
)
def test_upscale__takes_the_weights_for_the_file(
    suffix, flags, which, said, tmp_path, monkeypatch, capsys
):
    write_image(tmp_path / f'a{suffix}', photo(12, 14))
    command = ['upscale', f'a{suffix}', '--scale', '2', '--precision', 'float32', *flags]
    assert run_here(monkeypatch, tmp_path, *command) == 0
    assert capsys.readouterr().out.rstrip().endswith(said)
    expected = upscale(load_network(which), read_image(tmp_path / f'a{suffix}'), scale=2)
    np.testing.assert_array_equal(read_image(tmp_path / 'a_x2.png'), expected)


@pytest.mark.parametrize(
    'flags,message',
    [
        (['--strength', '2'], '--strength: found 2; needed a number from 0 to 1.'),
        (['--strength', '0.5', '--weights', 'edsr'], 'found it beside --weights edsr'),
    ],
)
def test_upscale__refuses_strengths(flags, message, tmp_path, monkeypatch, capsys):
    write_image(tmp_path / 'a.png', photo(12, 14))
    assert run_here(monkeypatch, tmp_path, 'upscale', 'a.png', '--scale', '2', *flags) == 2
    assert message in capsys.readouterr().err
