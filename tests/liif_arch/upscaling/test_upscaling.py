"""Upscaling within a budget equals upscaling at once; every kind of image keeps its kind."""

import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
import tifffile
import torch
from helpers import PEAK, photo

from liif_arch import LIIF, read_image, upscale, upscale_to_file
from liif_arch.archs import rdn_encoder_arch
from liif_arch.errors import UserError
from liif_arch.upscaling import memory, windows


@pytest.mark.parametrize('size', [(101, 133), (60, 20), (60, 50), (300, 61)])
@pytest.mark.parametrize('flags', [{}, {'feat_unfold': False}, {'local_ensemble': False}])
def test_upscale__in_windows_equals_at_once(monkeypatch, size, flags):
    monkeypatch.setattr(windows, 'MIN_WINDOW', 8)
    torch.manual_seed(0)
    net = LIIF({'type': 'EDSREncoder', 'num_feat': 8, 'num_block': 1}, [16, 16], **flags)
    image = photo(41, 37).astype(np.float32) / 255
    calls = []
    monkeypatch.setattr(
        net, 'encode', lambda x, encode=net.encode: calls.append(x.shape) or encode(x)
    )
    in_windows = upscale(net, image, size=size, memory=0.05)
    assert len(calls) > 10
    whole = upscale(net, image, size=size)
    assert in_windows.shape == (*size, 3)
    np.testing.assert_allclose(in_windows, whole, atol=2e-6)


@pytest.mark.parametrize('size', [(50, 30), (29, 61), (13, 70)])
def test_rdn__dense_blocks_in_tiles_equal_the_whole(monkeypatch, size):
    torch.manual_seed(0)
    block = rdn_encoder_arch.ResidualDenseBlock(4, 3, 5).double()
    x = torch.randn(2, 4, *size, dtype=torch.float64)
    whole = block(x).detach()
    monkeypatch.setattr(rdn_encoder_arch, 'TILE', 16)
    calls = []
    block.convs.register_forward_hook(lambda module, inputs, output: calls.append(output.shape))
    with torch.no_grad():
        tiled = block(x)
    assert len(calls) > 4 and max(c[-1] for c in calls) <= 16 + 2 * 5
    torch.testing.assert_close(tiled, whole, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    'shape,dtype',
    [
        ((12, 10), np.uint8),
        ((12, 10, 1), np.uint16),
        ((12, 10, 3), np.uint16),
        ((12, 10, 4), np.uint8),
        ((12, 10, 3), np.float32),
    ],
)
def test_upscale__keeps_channels_depth_and_dimensions(net, shape, dtype):
    rng = np.random.default_rng(0)
    image = (
        rng.random(shape, np.float32)
        if dtype == np.float32
        else rng.integers(0, np.iinfo(dtype).max, shape, dtype)
    )
    result = upscale(net, image, scale=2.5)
    assert result.shape == (30, 25, *shape[2:]) and result.dtype == dtype


def test_upscale__alpha_does_not_touch_the_colours(net):
    alpha = np.maximum(photo(12, 10, 1)[..., :1], 1)
    image = np.dstack([photo(12, 10), alpha])
    assert np.array_equal(
        upscale(net, image, scale=2)[..., :3], upscale(net, image[..., :3], scale=2)
    )


def test_upscale__sixteen_bits_are_finer_than_eight(net):
    image = photo(12, 10)
    fine = upscale(net, image.astype(np.uint16) * 257, scale=2)
    assert len(np.unique(fine)) > 256
    coarse = upscale(net, image, scale=2)
    assert np.abs(fine / 257 - coarse).max() <= 0.5 + 1e-3


def test_upscale__reports_progress(net):
    seen = []
    upscale(
        net, photo(12, 10), size=(30, 31), progress=lambda done, total: seen.append((done, total))
    )
    assert seen[0] == (0, 930) and seen[-1] == (930, 930)
    seen.clear()
    net.decode_memory = 0.1
    upscale(net, photo(60, 60), scale=6, progress=lambda done, total: seen.append(done / total))
    assert len(seen) > 5  # also within a window


@pytest.mark.parametrize(
    'image',
    [
        np.zeros((4, 4, 3), np.int64),
        np.zeros((0, 4, 3), np.uint8),
        [[0, 1]],
        torch.rand(3, 4, 4),
        np.zeros(4, np.uint8),
    ],
)
def test_upscale__refuses_other_images(net, image):
    with pytest.raises(UserError, match='image: found'):
        upscale(net, image, scale=2)


@pytest.mark.parametrize(
    'target',
    [
        {'size': 100},
        {'size': (100.5, 20)},
        {},
        {'scale': 2, 'size': (3, 3)},
        {'scale': 0},
        {'scale': -1},
        {'size': (0, 4)},
    ],
)
def test_upscale__refuses_impossible_targets(net, target):
    with pytest.raises(UserError):
        upscale(net, photo(12, 10), **target)


def test_upscale__takes_what_torch_compile_makes_of_a_network(net):
    image = photo(12, 10)
    compiled = torch.compile(net, backend='eager')
    assert np.array_equal(upscale(compiled, image, scale=2), upscale(net, image, scale=2))


def test_upscale__rendered_blocks_stay_within_the_budget(net, monkeypatch):
    sizes = []
    render = net.render_window
    monkeypatch.setattr(
        net, 'render_window', lambda *a: sizes.append(render(*a).shape) or render(*a)
    )
    image = photo(12, 10)
    assert np.array_equal(upscale(net, image, scale=40, memory=0.4), upscale(net, image, scale=40))
    blocks = sizes[:-1]
    assert len(blocks) > 10 and max(b[2] * b[3] for b in blocks) * 12 <= 0.1 * 2**20


def test_upscale__other_encoders_and_training_mode(net):
    class Plain(torch.nn.Module):
        num_out_feat = 4

        def forward(self, x):
            return x.repeat(1, 2, 1, 1)[:, :4]

    other = LIIF(Plain(), [8]).train()
    assert upscale(other, photo(12, 10), scale=3).shape == (36, 30, 3) and other.training


def test_upscale__refuses_impossible_sizes_and_networks(net):
    with pytest.raises(UserError, match='does not fit into memory'):
        upscale(net, photo(12, 10), scale=1e8)
    with pytest.raises(UserError, match='one scale of its own'):
        upscale(torch.nn.Conv2d(3, 3, 1), photo(12, 10), scale=2)


def test_upscale__refuses_other_channels(net):
    with pytest.raises(UserError, match='5 channels'):
        upscale(net, np.zeros((4, 4, 5), np.uint8), scale=2)


@pytest.fixture
def small_windows(net, monkeypatch):
    """Windows in both directions, each in several bands of rows; says how many were encoded."""
    monkeypatch.setattr(windows, 'MIN_WINDOW', 8)
    calls = []
    monkeypatch.setattr(
        net, 'encode', lambda x, encode=net.encode: calls.append(x.shape) or encode(x)
    )
    return calls


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize('channels', [None, 1, 2, 3, 4])
def test_upscale_to_file__streamed_equals_the_array(net, tmp_path, small_windows, channels, dtype):
    shape = (25, 23) if channels is None else (25, 23, channels)
    full = 1 if dtype == np.float32 else np.iinfo(dtype).max
    image = (np.random.default_rng(0).random(shape) * full).astype(dtype)
    seen, target = [], {'size': (45, 38), 'memory': 0.04}
    assert upscale_to_file(
        net, image, tmp_path / 'a.tif', **target, progress=lambda *a: seen.append(a)
    ) == (45, 38)
    assert len(small_windows) >= 9 and seen[-1][0] == seen[-1][1]
    expected = upscale(net, image, **target)
    assert expected.dtype == dtype
    assert np.array_equal(tifffile.imread(tmp_path / 'a.tif'), expected.squeeze())
    if channels != 2:
        assert np.array_equal(read_image(tmp_path / 'a.tif').squeeze(), expected.squeeze())


def test_upscale__planes_in_windows_equal_planes_alone(net, small_windows):
    image = np.random.default_rng(0).random((25, 23, 4), np.float32)
    result = upscale(net, image, size=(45, 38), memory=0.04)
    assert len(small_windows) >= 18
    np.testing.assert_allclose(
        result[..., :3], upscale(net, image[..., :3], size=(45, 38)), atol=2e-6
    )
    np.testing.assert_allclose(
        result[..., 3], upscale(net, image[..., 3], size=(45, 38)), atol=2e-6
    )


@pytest.mark.parametrize('exception', [KeyboardInterrupt, RuntimeError])
@pytest.mark.parametrize('name', ['a.tif', 'a.png'])
def test_upscale_to_file__an_aborted_run_leaves_what_was_there(
    net, tmp_path, monkeypatch, small_windows, name, exception
):
    (tmp_path / name).write_bytes(b'old')
    render = net.render_window

    def break_later(*arguments):
        if len(small_windows) > 5:
            raise exception
        return render(*arguments)

    monkeypatch.setattr(net, 'render_window', break_later)
    net.train()
    with pytest.raises(exception):
        upscale_to_file(net, photo(41, 37), tmp_path / name, scale=3, memory=0.03)
    assert len(small_windows) == 6 and net.training and torch.is_grad_enabled()
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [(name, b'old')]


@pytest.mark.parametrize(
    'name,size,part',
    [
        ('a.jpg', (65501, 10), '.jpg holds at most 65500 pixels a side. Use .tif'),
        ('a.webp', (10, 16384), '16383'),
        ('a.png', (10, 1000001), '1000000'),
        ('a.bmp', (30000, 30000), 'at most 2,147 MB. Use .tif'),
        ('a.ppm', (30000, 30000), '2,147 MB'),
        ('a.png', (900000, 900000), r'does not fit into memory.*-o NAME.tif'),
        ('a.tif', (10**7, 10**7), r'MB free on this disk; needed 300,000,000.0 MB'),
    ],
)
def test_upscale_to_file__refuses_before_it_renders(net, tmp_path, small_windows, name, size, part):
    seen = []
    with pytest.raises(UserError, match=part) as error:
        upscale_to_file(
            net, photo(12, 10), tmp_path / name, size=size, progress=lambda *a: seen.append(a)
        )
    assert (
        '\n' not in str(error.value)
        and not seen
        and not small_windows
        and not list(tmp_path.iterdir())
    )


@pytest.mark.parametrize('name', ['a.png', 'new/a.jpg', 'a.TIFF'])
def test_upscale_to_file__every_format(net, tmp_path, name):
    assert upscale_to_file(net, photo(12, 10), tmp_path / name, scale=2) == (24, 20)
    difference = read_image(tmp_path / name) - upscale(net, photo(12, 10), scale=2).astype(float)
    assert np.abs(difference).max() <= (40 if name.endswith('jpg') else 0)


def test_upscale_to_file__memory_does_not_grow_with_the_output(tmp_path):
    """100 MB of output after 1 MB: the process's peak rises by less than 60 MB."""
    code = (
        f'{PEAK}import numpy, torch; from liif_arch import LIIF, upscale_to_file\n'
        'net = LIIF({"type": "EDSREncoder", "num_feat": 4, "num_block": 1}, [4], '
        'local_ensemble=False)\n'
        'image = numpy.zeros((60, 60, 3), numpy.float32)\n'
        'for side in (289, 2890):\n'
        '    upscale_to_file(net, image, f"{side}.tif", size=(side, side), memory=16)\n'
        '    print(peak())'
    )
    result = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', code], cwd=tmp_path, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    small, large = map(float, result.stdout.split()[-2:])
    assert (tmp_path / '2890.tif').stat().st_size > 100e6 and large - small < 60, result.stdout


def test_upscale__more_than_the_machine_has_is_said_first(net, tmp_path, monkeypatch):
    monkeypatch.setattr(memory.os, 'sysconf', lambda name: 50)
    assert upscale(net, photo(12, 10), size=(28, 28)).shape == (28, 28, 3)  # of 50 * 50 bytes
    with pytest.raises(UserError, match='30x28.*does not fit into memory'):
        upscale(net, photo(12, 10), size=(28, 30))
    with pytest.raises(UserError, match='does not fit into memory'):
        upscale_to_file(net, photo(12, 10), tmp_path / 'a.png', size=(28, 28))
    upscale_to_file(net, photo(12, 10), tmp_path / 'a.tif', size=(28, 30))


@pytest.mark.parametrize(
    'dtype,precise', [(np.uint8, False), (np.uint16, True), (np.float32, True)]
)
def test_upscale__auto_is_float32_for_more_than_8_bits(net, dtype, precise):
    net.precision = 'auto'
    seen, encode = [], net.encode
    net.encode = lambda lq: seen.append(net.precision) or encode(lq)
    top = np.iinfo(dtype).max if dtype != np.float32 else 1
    upscale(net, (photo(12, 10) / 255 * top).astype(dtype), scale=2)
    assert seen == ['float32' if precise else 'auto'] and net.precision == 'auto'


def test_upscale__a_small_part_of_a_huge_whole_takes_little(net):
    """16 million pixels a side, of which a hundred are looked at."""
    image = np.dstack([photo(16, 16), photo(16, 16)[..., 0]])
    crop = (7.1, 7.1, 1e-4, 1e-4)
    upscale(net, image, scale=2)
    tracemalloc.start()
    part = upscale(net, image, scale=10**6, crop=crop)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert part.shape == (100, 100, 4) and peak < 2**23
