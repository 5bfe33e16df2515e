"""Convolutions with what follows them in one pass: the same features, and only where it may be."""

import pytest
import torch

from liif_arch import EDSREncoder
from liif_arch.archs import edsr_encoder_arch
from liif_arch.archs.convolutions import can_fuse
from liif_arch.decode.mlp import linear_relu
from liif_arch.precision import autocast, onednn_has


def plainly(encoder: EDSREncoder, x: torch.Tensor) -> torch.Tensor:
    """Features with each convolution on its own."""
    with torch.enable_grad():
        return encoder(x).detach()


@pytest.fixture
def fused(monkeypatch):
    """How often images were encoded in fused passes."""
    calls, own = [], EDSREncoder._fused
    monkeypatch.setattr(
        edsr_encoder_arch.EDSREncoder, '_fused', lambda self, x: (calls.append(1), own(self, x))[1]
    )
    return calls


@torch.no_grad()
@pytest.mark.parametrize('res_scale', [1, 0.1])
@pytest.mark.parametrize('shape', [(2, 3, 7, 9), (1, 3, 1, 1)])
def test_fused__features_are_the_plain_ones(res_scale, shape, fused):
    torch.manual_seed(0)
    encoder, x = EDSREncoder(num_feat=8, num_block=3, res_scale=res_scale), torch.rand(shape)
    before = x.clone()
    torch.testing.assert_close(encoder(x), plainly(encoder, x), atol=1e-6, rtol=0)
    assert len(fused) == 1
    torch.testing.assert_close(x, before, atol=0, rtol=0)  # and the image is as it was


@torch.no_grad()
def test_fused__in_bfloat16_is_as_near_as_the_plain_form(fused):
    """Where oneDNN has bfloat16; without it the plain form encodes."""
    torch.manual_seed(0)
    encoder, x = EDSREncoder(num_feat=16, num_block=4), torch.rand(1, 3, 12, 10)
    exact = encoder(x)
    with autocast(x.device, torch.bfloat16):
        ours, plain = encoder(x), plainly(encoder, x)
    assert ours.dtype == torch.float32 and len(fused) == 1 + onednn_has(torch.bfloat16)
    assert (ours - exact).abs().max() <= 2 * (plain - exact).abs().max() < 0.05


@pytest.mark.filterwarnings('ignore:.torch.jit:FutureWarning')
def test_fused__only_where_nothing_else_needs_the_single_steps(fused):
    encoder, x = EDSREncoder(num_feat=4, num_block=1), torch.rand(1, 3, 5, 5)
    encoder(x)  # under autograd
    with torch.no_grad():
        heard = []
        hook = encoder.body[0].register_forward_hook(lambda *_: heard.append(1))
        encoder(x)
        hook.remove()
        torch.jit.trace(encoder, x, check_trace=False)
        encoder.double()(x.double())
    assert heard == [1] and not fused
    with torch.no_grad():
        assert can_fuse(x, encoder)


@torch.no_grad()
@pytest.mark.filterwarnings('ignore:TF32')  # of a switch that PyTorch sets along
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_onednn__is_left_where_it_is_switched_off_or_lacks_a_type(dtype, fused):
    """Most laptops' processors have no bfloat16 in oneDNN; PyTorch computes it all the same."""
    torch.manual_seed(0)
    encoder, x = EDSREncoder(num_feat=8, num_block=2), torch.rand(1, 3, 6, 5)
    rows, weight, bias = (torch.randn(shape).to(dtype) for shape in ((7, 16), (8, 16), (8,)))
    with autocast(x.device, dtype):
        features, hidden = encoder(x), linear_relu(rows, weight, bias)
        on = len(fused)
        assert on == onednn_has(dtype)
        with torch.backends.mkldnn.flags(enabled=False):
            assert not onednn_has(dtype)
            torch.testing.assert_close(encoder(x), features, atol=0.02, rtol=0)
            torch.testing.assert_close(linear_relu(rows, weight, bias), hidden, atol=0.05, rtol=0)
    assert len(fused) == on


def test_fused__parameters_that_change_count_at_once():
    """Nothing is kept between calls."""
    encoder, x = EDSREncoder(num_feat=4, num_block=1), torch.rand(1, 3, 5, 5)
    with torch.no_grad():
        encoder(x)
        encoder.body[0].body[0].weight.mul_(3)
        torch.testing.assert_close(encoder(x), plainly(encoder, x), atol=1e-6, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize('what', [torch.nan, torch.inf])
@pytest.mark.parametrize('where', ['image', 'weight'])
def test_fused__what_is_no_number_is_not_hidden(what, where, fused):
    encoder, x = EDSREncoder(num_feat=4, num_block=2), torch.rand(1, 3, 9, 20)
    if where == 'image':
        x[..., 4, 10] = what
    else:  # whose features would be 0 behind a ReLU
        encoder.body[0].body[0].weight[0, 0, 0, 0] = what
    features = encoder(x)
    assert not features.isfinite().all() and len(fused) == 1
    assert torch.equal(features.isfinite(), plainly(encoder, x).isfinite())
