"""The contract of every decoder: what holds for each network of any scale, stated once.

A new decoder is a row of `decoders.DECODERS`. What its colours are is tested beside its equations.
"""

import numpy as np
import pytest
import torch
from decoders import DECODERS
from fake_cuda import CUDA, chunks_of, fake_cuda, moved, rendered_on_gpu, trained_on_gpu
from helpers import assert_gradients_agree
from torch import Tensor

from liif_arch import upscale
from liif_arch.archs.coordinate_network import CoordinateNetwork
from liif_arch.complexity import complexity
from liif_arch.coordinates import make_cell, make_coord
from liif_arch.decode.lookup import corner_rows
from liif_arch.export import CASES, TOLERANCE, export_onnx
from liif_arch.upscaling import windows

pytestmark = pytest.mark.parametrize('decoder', DECODERS)
SIZES = [(17, 22), (18, 15), (6, 40), (3, 4), (1, 1)]  # of an input of 6x5: per-axis, and smaller


def build(decoder: str) -> CoordinateNetwork:
    """A network with the same initial weights at each call."""
    torch.manual_seed(0)
    return DECODERS[decoder]()


def queries(batch: int, count: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Random coordinates and cells, (batch, count, 2) each."""
    torch.manual_seed(1)
    coord, cell = torch.rand(2, batch, count, 2, dtype=dtype)
    return coord * 2 - 1, cell / 3


@torch.no_grad()
@pytest.mark.parametrize('size', SIZES)
def test_render__any_size_equals_queries_on_the_grid(decoder, size):
    net, lq = build(decoder), torch.rand(2, 3, 6, 5)
    feat = net.encode(lq)
    coord = make_coord(size).view(1, -1, 2).expand(2, -1, -1)
    colours = net.query(feat, coord, make_cell(size).expand_as(coord))
    expected = colours.transpose(1, 2).view(2, 3, *size)
    image = net.render(feat, size)
    assert image.dtype == torch.float32
    torch.testing.assert_close(image, expected, atol=1e-5, rtol=0)
    assert torch.equal(net(lq, size=size), image)


@torch.no_grad()
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16, torch.float64])
def test_render__by_parameters_of_another_type(decoder, dtype):
    net, lq = build(decoder), torch.rand(1, 3, 6, 5)
    expected = net(lq, size=(17, 22))
    image = net.to(dtype)(lq.to(dtype), size=(17, 22))
    near = {torch.bfloat16: 0.05, torch.float16: 0.005, torch.float64: 1e-5}[dtype]
    torch.testing.assert_close(image, expected, atol=near, rtol=0, check_dtype=False)


@torch.no_grad()
def test_render__images_of_a_batch_are_apart(decoder):
    net, lq = build(decoder), torch.rand(3, 3, 6, 5)
    together = net(lq, size=(17, 22))
    alone = torch.cat([net(image[None], size=(17, 22)) for image in lq])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


@torch.no_grad()
def test_render_window__is_that_of_the_whole(decoder):
    """From latents that reach `net.reach` beyond those that are looked up, and no further."""
    net = build(decoder)
    feat, size, told = net.encode(torch.rand(1, 3, 24, 31)), (60, 70), []
    rows, cols = (20, 50), (30, 64)
    looked_up = [
        net.look_up_axis(out, n, feat.device).window(*part).span()
        for out, n, part in zip(size, (24, 31), (rows, cols), strict=True)
    ]
    (top, bottom), (left, right) = ((a - net.reach, b + net.reach) for a, b in looked_up)
    assert top > 0 and left > 0 and bottom < 24 and right < 31
    part = feat[:, :, top:bottom, left:right]
    window = net.render_window(part, size, (top, left), (24, 31), rows, cols, told.append)
    whole = net.render(feat, size)[..., slice(*rows), slice(*cols)]
    torch.testing.assert_close(window, whole, atol=1e-5, rtol=0)
    assert sum(told) == 30 * 34


@pytest.mark.parametrize('dtype', [np.uint8, np.float32])
def test_upscale__windows_equal_the_whole(decoder, dtype, monkeypatch):
    """With alpha, at a scale of its own on each axis."""
    net = build(decoder)
    image = np.random.default_rng(0).integers(0, 256, (60, 47, 4), dtype=np.uint8)
    if dtype == np.float32:
        image = image[..., :3].astype(np.float32) / 255
    whole = upscale(net, image, scale=(1.7, 2.3))
    assert whole.shape == (102, 108, image.shape[2])
    monkeypatch.setattr(windows, 'MIN_WINDOW', 16)
    count, rendering = [], net.render_window
    monkeypatch.setattr(net, 'render_window', lambda *a: count.append(1) or rendering(*a))
    pieces = upscale(net, image, scale=(1.7, 2.3), memory=0.2)
    assert len(count) > 4
    difference = np.abs(whole.astype(np.float64) - pieces)
    assert difference.max() <= (1 if dtype == np.uint8 else 1e-5)
    assert (difference > 0.5).mean() < 1e-3


def test_query__gradients_equal_the_plain_form(decoder):
    lq = torch.rand(2, 3, 6, 5, dtype=torch.float64)
    # The 1e-9 in the ensemble's areas stands in other places; a sine multiplies it by 30.
    near = 1e-5 if 'sine' in decoder else 1e-6
    assert_gradients_agree(build(decoder).double(), lq, rtol=near, atol=near / 10)


def test_forward__with_gradients_equals_render(decoder):
    net, lq = build(decoder), torch.rand(1, 3, 6, 5)
    image = net(lq, size=(13, 17))
    image.sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    with torch.no_grad():
        torch.testing.assert_close(net(lq, size=(13, 17)), image.detach(), atol=1e-5, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize('chunk', [1, 7, 199, 1000])
def test_query__chunks_do_not_change_the_result(decoder, chunk):
    net = build(decoder)
    feat, (coord, cell) = net.encode(torch.rand(2, 3, 6, 5)), queries(2, 200)
    whole = net.query(feat, coord, cell, 10**6)
    torch.testing.assert_close(net.query(feat, coord, cell, chunk), whole, atol=1e-6, rtol=0)
    torch.testing.assert_close(net.query_plain(feat, coord, cell), whole, atol=1e-5, rtol=0)


@torch.no_grad()
def test_decode_memory__does_not_change_the_result(decoder):
    net = build(decoder)
    feat, (coord, cell) = net.encode(torch.rand(1, 3, 9, 8)), queries(1, 3000)
    image, colours = net.render(feat, (57, 183)), net.query(feat, coord, cell)
    before, net.decode_memory = net.chunk_size(net.floats_per_query), 0.01
    assert net.chunk_size(net.floats_per_query) < before
    torch.testing.assert_close(net.render(feat, (57, 183)), image, atol=2e-6, rtol=0)
    torch.testing.assert_close(net.query(feat, coord, cell), colours, atol=2e-6, rtol=0)


@pytest.mark.parametrize('shape', [(2, 0), (0, 4)])
@pytest.mark.parametrize('gradients', [True, False])
def test_query__nothing_asked(decoder, shape, gradients):
    net, coord = build(decoder), torch.zeros(*shape, 2)
    feat = torch.randn(shape[0], net.code_channels, 5, 7)
    with torch.set_grad_enabled(gradients):
        assert net.query(feat, coord, coord).shape == (*shape, 3)


def test_render__in_inference_mode_by_several_threads(decoder):
    net, lq, threads = build(decoder), torch.rand(1, 3, 6, 5), torch.get_num_threads()
    corner_rows.cache_clear()
    try:
        torch.set_num_threads(2)
        net.decode_memory = 0.01  # MiB: an image is several tiles
        with torch.inference_mode():
            image = net(lq, size=(57, 183))
        with torch.no_grad():
            torch.testing.assert_close(net(lq, size=(57, 183)), image)
    finally:
        torch.set_num_threads(threads)
    # What was made in inference mode, and is kept, serves with gradients too.
    assert not corner_rows(2, 3, 2, 5, lq.device).is_inference()


@torch.no_grad()
def test_render__of_no_images(decoder):
    net = build(decoder)
    feat = torch.randn(0, net.code_channels, 5, 7)
    assert net.render(feat, (11, 12)).shape == (0, 3, 11, 12)
    assert net.render_with_gradients(feat, (11, 12)).shape == (0, 3, 11, 12)


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16], ids=str)
def test_devices__all_on_the_gpu_and_nothing_waits(decoder, dtype):
    net = build(decoder)
    with fake_cuda():
        net, shapes = moved(net), ((2, 3, 20, 27), (2, 50, 2), (2, 50, 2))
        batch = [torch.rand(*shape, device=CUDA) for shape in shapes]
        trained_on_gpu(net, *batch, dtype)
        net.precision = str(dtype).removeprefix('torch.')
        net.decode_memory = 2  # MiB: an image is several tiles
        rendered_on_gpu(net, *batch)


def test_devices__gradients_wait_for_nothing(decoder):
    """By autograd's engine, on a device that has no values to wait for."""
    net, shapes = build(decoder).to('meta'), ((2, 3, 20, 27), (2, 50, 2), (2, 50, 2))
    lq, coord, cell = (torch.rand(*shape, device='meta') for shape in shapes)
    for more in chunks_of(net):
        net.zero_grad()
        net.query(net.encode(lq), coord, cell, *more).abs().mean().backward()
        assert {p.grad.device.type for p in net.parameters()} == {'meta'}


@pytest.mark.slow  # it compiles
def test_export__equals_pytorch_with_free_sizes(decoder, tmp_path):
    pytest.importorskip('onnxruntime')
    compared = list(export_onnx(build(decoder), tmp_path))
    assert len(compared) == len(CASES)
    assert max(max(c.features, c.colours) for c in compared) <= TOLERANCE


def test_complexity__counts_all_parameters_and_grows_with_the_output(decoder):
    pytest.importorskip('mmengine')
    net = build(decoder)
    cost = complexity(net)
    assert cost.encoder + cost.decoder == sum(p.numel() for p in net.parameters())
    assert cost.decoder > 0 and cost.per_output >= 0 and cost.encoding > 0
    assert cost.of_image((5, 6), (20, 30)) >= cost.of_image((5, 6), (10, 15))
    assert cost.of_image((10, 12), (20, 30)) > cost.of_image((5, 6), (20, 30))
