"""In which precision a GPU multiplies, as its settings say; and how it cuts an image."""

import subprocess
import sys
import textwrap
from contextlib import nullcontext

import numpy as np
import pytest
import torch

from liif_arch import LIIF, Thera, upscale
from liif_arch.decode import heat_field_grid
from liif_arch.devices import set_to
from liif_arch.precision import exact_float32
from liif_arch.upscaling import windows
from liif_arch.upscaling.upscale import enlarged


@pytest.mark.parametrize('device,inside', [('cuda', (False, False)), ('cpu', (True, True))])
def test_exact_float32__on_a_gpu_without_tensorfloat(monkeypatch, device, inside):
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    with set_to(cudnn, allow_tf32=True), set_to(matmul, allow_tf32=True):
        with exact_float32(torch.device(device)):
            assert (cudnn.allow_tf32, matmul.allow_tf32) == inside
        assert cudnn.allow_tf32 and matmul.allow_tf32


def test_exact_float32__where_a_program_has_set_the_convolutions_alone():
    """PyTorch then no longer lets the older setting of all cuDNN be read."""
    cudnn = torch.backends.cudnn
    if not hasattr(cudnn, 'conv'):
        pytest.skip('this PyTorch has one setting for all of cuDNN')
    script = """
        import torch
        from liif_arch.precision import exact_float32
        conv = torch.backends.cudnn.conv
        torch.backends.cudnn.rnn.fp32_precision = 'ieee'
        conv.fp32_precision = 'tf32'
        with exact_float32(torch.device('cuda')):
            assert conv.fp32_precision == 'ieee'
        assert conv.fp32_precision == 'tf32'
    """
    command = [sys.executable, '-c', textwrap.dedent(script)]  # the setting is for good
    assert subprocess.run(command).returncode == 0


@pytest.mark.parametrize('dtype,asked', [(np.uint8, []), (np.uint16, ['cpu'] * 2)])
def test_upscale__is_exact_for_colours_finer_than_8_bits(monkeypatch, dtype, asked):
    found = []

    def watched(device):
        found.append(device.type)
        return nullcontext()

    monkeypatch.setattr(windows, 'exact_float32', watched)
    net = LIIF({'type': 'EDSREncoder', 'num_feat': 8, 'num_block': 1}, [16])
    upscale(net, np.full((9, 8, 3), 77, dtype), scale=2)
    assert found == asked  # to encode and to decode


def test_set_to__puts_back_what_was_there_after_an_error():
    cudnn = torch.backends.cudnn
    before = cudnn.benchmark
    with pytest.raises(ZeroDivisionError), set_to(cudnn, benchmark=not before):
        assert cudnn.benchmark != before
        raise ZeroDivisionError
    assert cudnn.benchmark == before


@pytest.mark.parametrize('device,scale,rows', [('cpu', 4, 32), ('cuda', 4, 128), ('cuda', 0.5, 32)])
def test_heat_field__rows_of_a_band(device, scale, rows):
    assert heat_field_grid.rows_of_a_band(torch.device(device), 2 / scale) == rows


@torch.no_grad()
@pytest.mark.parametrize('rows', [1, 7, 128])
def test_heat_field__bands_of_any_height_give_the_same(monkeypatch, rows):
    """On GPUs they are higher than on processors."""
    torch.manual_seed(0)
    net = Thera(
        {'type': 'EDSREncoder', 'num_feat': 8, 'num_block': 1}, 8, None, 'bilinear', True
    ).eval()
    lq = torch.rand(1, 3, 13, 11)
    expected = net(lq, size=(70, 41))
    monkeypatch.setattr(heat_field_grid, 'BAND_ROWS', rows)
    torch.testing.assert_close(net(lq, size=(70, 41)), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize('count', [None, 4])
def test_enlarged__in_windows_leaves_the_network_as_it_was(monkeypatch, count):
    torch.manual_seed(0)
    net = LIIF(
        {'type': 'EDSREncoder', 'num_feat': 8, 'num_block': 1}, [16], precision='auto'
    ).eval()
    lq = torch.rand(1, 3, 9, 8)
    expected, is_whole = enlarged(net, lq, (20, 21), count)
    assert is_whole

    def refuse(*arguments, **more):
        raise torch.OutOfMemoryError('CUDA out of memory.')

    monkeypatch.setattr(LIIF, 'forward', refuse)
    found, is_whole = enlarged(net, lq, (20, 21), count)
    assert not is_whole and net.precision == 'auto'
    assert not any(module.training for module in net.modules())
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-2)
