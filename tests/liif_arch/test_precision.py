"""In which precision a GPU multiplies, as its settings say."""

import numpy as np
import pytest
import torch

from liif_arch import LIIF, Thera, upscale
from liif_arch.decode import heat_field_grid
from liif_arch.devices import set_to


@pytest.mark.parametrize('dtype,precision', [(np.uint8, 'tf32'), (np.uint16, 'ieee')])
def test_windows__full_float32_for_colours_finer_than_8_bits(monkeypatch, dtype, precision):
    """On GPUs TensorFloat-32 keeps 10 bits of what is convolved; afterwards the setting is back."""
    cudnn, found = torch.backends.cudnn, []
    if not hasattr(cudnn, 'conv'):
        pytest.skip('this PyTorch has one setting for all of cuDNN')
    net = LIIF({'type': 'EDSREncoder', 'num_feat': 8, 'num_block': 1}, [16]).eval()
    encode = net.encode
    net.encode = lambda lq: (found.append(cudnn.conv.fp32_precision), encode(lq))[1]
    upscale(net, np.full((9, 8, 3), 77, dtype), scale=2)
    assert found == [precision] and cudnn.conv.fp32_precision == 'tf32'


def test_set_to__puts_back_what_was_there_after_an_error():
    cudnn = torch.backends.cudnn
    before = cudnn.benchmark
    with pytest.raises(ZeroDivisionError), set_to(cudnn, benchmark=not before):
        assert cudnn.benchmark != before
        raise ZeroDivisionError
    assert cudnn.benchmark == before


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
