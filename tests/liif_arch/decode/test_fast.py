"""Queries: gradients against the plain form in float64, precision, and the images of a batch
apart.
"""

import itertools

import pytest
import torch

from liif_arch import LIIF, MetaSR
from liif_arch.decode.fast import relu_backward_
from liif_arch.decode.lookup import sum_corners
from liif_arch.decode.mlp import linear_relu

FLAGS = [
    dict(zip(('local_ensemble', 'feat_unfold', 'cell_decode'), f, strict=True))
    for f in itertools.product([False, True], repeat=3)
]
ENCODER = {'type': 'EDSREncoder', 'num_feat': 6, 'num_block': 1}


def inputs(dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    """Latent codes (2, 6, 5, 7), coordinates and cells (2, 40, 2), all with gradients."""
    torch.manual_seed(1)
    feat, coord, cell = (
        torch.randn(2, 6, 5, 7),
        torch.rand(2, 40, 2) * 1.9 - 0.95,
        torch.rand(2, 40, 2) * 0.3,
    )
    return [t.to(dtype).requires_grad_() for t in (feat, coord, cell)]


def gradients(net: LIIF, query, tensors: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    """Of a loss that weighs every colour differently: of the inputs and the decoder's
    parameters.
    """
    net.zero_grad()
    colours = query(*tensors)
    (
        colours * torch.linspace(-1, 2, colours.numel(), dtype=colours.dtype).view_as(colours)
    ).sum().backward()
    named = dict(zip(('feat', 'coord', 'cell'), tensors, strict=True)) | dict(
        net.imnet.named_parameters()
    )
    out = {name: t.grad.clone() for name, t in named.items() if t.grad is not None}
    for t in tensors:
        t.grad = None
    return out


@pytest.mark.parametrize('chunk', [None, 17])
@pytest.mark.parametrize(
    'flags', FLAGS, ids=lambda f: '-'.join(k for k, v in f.items() if v) or 'none'
)
def test_query__gradients_of_the_plain_form(flags, chunk):
    torch.manual_seed(0)
    net = LIIF(ENCODER, [16, 16, 12], **flags).double()
    tensors = inputs()
    plain = gradients(net, net.query_plain, tensors)
    fast = gradients(net, lambda *t: net.query(*t, chunk=chunk), tensors)
    assert plain.keys() == fast.keys() and 'feat' in fast and 'layers.6.weight' in fast
    for name, expected in plain.items():
        near = (
            1e-5 if name == 'coord' else 1e-9
        )  # the two forms of the weights differ by 1e-9 over an area
        torch.testing.assert_close(fast[name], expected, rtol=near, atol=near, msg=name)


def test_query__one_hidden_layer():
    torch.manual_seed(0)
    net = LIIF(ENCODER, [16]).double()
    tensors = inputs()
    plain, fast = (gradients(net, q, tensors) for q in (net.query_plain, net.query))
    for name in ('feat', 'layers.0.weight', 'layers.2.bias'):
        torch.testing.assert_close(fast[name], plain[name], rtol=1e-8, atol=1e-8, msg=name)


def test_query__bfloat16_products_float32_colours():
    net = LIIF(ENCODER, [32, 32, 32])
    feat, coord, cell = inputs(torch.float32)
    exact = gradients(net, net.query_plain, [feat, coord, cell])
    with torch.autocast('cpu', torch.bfloat16):
        colours = net.query(feat, coord, cell)
        rough = gradients(net, net.query, [feat, coord, cell])
    assert colours.dtype == torch.float32
    difference = (colours - net.query_plain(feat, coord, cell)).detach()
    assert 0 < difference.abs().max() < 5e-3
    for name in ('feat', 'layers.0.weight', 'layers.2.weight', 'layers.4.bias', 'layers.6.weight'):
        alike = torch.cosine_similarity(rough[name].flatten(), exact[name].flatten(), dim=0)
        assert 0.99 < alike and rough[name].dtype == torch.float32, (name, alike)


def test_query__a_batch_is_its_images():
    net = LIIF(ENCODER, [16, 16])
    feat, coord, cell = (t.detach() for t in inputs(torch.float32))
    together = net.query(feat, coord, cell)
    for i in range(2):
        torch.testing.assert_close(
            together[i : i + 1], net.query(feat[i : i + 1], coord[i : i + 1], cell[i : i + 1])
        )


def test_sum_corners__rounded_weights_sum_to_one():
    """In bfloat16 weights no longer sum to 1; the result is nearer to the exact sum than without
    what mends that.
    """
    torch.manual_seed(0)
    weight = torch.rand(500, 4).softmax(1)
    hidden = (2 + 0.1 * torch.randn(2000, 8)).bfloat16()
    corners = torch.arange(2000).view(4, 500).t()
    exact = torch.einsum('ntd,nt->nd', hidden.double()[corners], weight.double())
    total = sum_corners(hidden, corners, weight)
    raw = torch.nn.functional.embedding_bag(
        corners, hidden, mode='sum', per_sample_weights=weight.bfloat16()
    )
    assert total.dtype == torch.float32
    assert (total - exact).pow(2).mean() < 0.9 * (raw - exact).pow(2).mean()
    torch.testing.assert_close(sum_corners(hidden.double(), corners, weight.double()), exact)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
@pytest.mark.parametrize('network', [LIIF, MetaSR])
def test_query__a_network_of_half_precision(network, dtype):
    torch.manual_seed(0)
    net = network(ENCODER, [16, 16])
    feat, coord, cell = (t.detach() for t in inputs(torch.float32))
    expected, image = net.query(feat, coord, cell), net.render(feat, (11, 12))
    net = net.to(dtype)
    torch.testing.assert_close(
        net.query(feat.to(dtype), coord, cell).float(), expected, rtol=0, atol=2e-2
    )
    torch.testing.assert_close(
        net.render(feat.to(dtype), (11, 12)).float(), image, rtol=0, atol=2e-2
    )


def test_query__second_derivatives_are_refused():
    """They would be wrong: the written-out gradients keep no graph."""
    net = LIIF(ENCODER, [16, 16]).double()
    feat, coord, cell = inputs()
    with pytest.raises(RuntimeError, match='second derivatives'):
        torch.autograd.grad(net.query(feat, coord, cell).sum(), coord, create_graph=True)


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_linear_relu__and_its_gradient(dtype):
    torch.manual_seed(0)
    x, w, b = (
        torch.randn(40, 24).to(dtype),
        torch.randn(16, 24).to(dtype),
        torch.randn(16).to(dtype),
    )
    out = linear_relu(x, w, b)
    expected = (x.double() @ w.double().t() + b.double()).clamp_min(0)
    torch.testing.assert_close(
        out.double(), expected, rtol=1e-2 if dtype == torch.bfloat16 else 1e-5, atol=1e-5
    )
    x[3, 5] = torch.nan
    assert torch.equal(linear_relu(x, w, b).isnan(), x.isnan().any(1)[:, None].expand(40, 16))
    grad = torch.randn(40, 16).to(dtype)
    assert torch.equal(
        relu_backward_(grad.clone(), out), torch.where(out > 0, grad, torch.zeros_like(grad))
    )
