"""LTE against a loop written from its equations, and golden numbers."""

import math

import numpy as np
import pytest
import torch
from parameters import GOLDEN, load_parameters

from liif_arch import LTE, EDSREncoder
from liif_arch.errors import UserError


def small(**changes) -> LTE:
    torch.manual_seed(0)
    return LTE(
        EDSREncoder(num_feat=6, num_block=1), **{'hidden_dim': 8, 'hidden_list': [10, 7], **changes}
    ).double()


def loop_query(
    net: LTE, lq: np.ndarray, feat: np.ndarray, y: float, x: float, cell: tuple[float, float]
) -> np.ndarray:
    """One query, from the equations, in float64; lq (3, h, w) in [0, 1], feat the encoder's."""
    (_, h, w), eps = lq.shape, 1e-6

    def conv(layer, i, j):
        weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
        total = bias.copy()
        for di in (-1, 0, 1):
            for dj in (-1, 0, 1):
                if 0 <= i + di < h and 0 <= j + dj < w:
                    total += weight[:, :, di + 1, dj + 1] @ feat[:, i + di, j + dj]
        return total

    phase = net.phase.weight.detach().numpy() @ np.array([cell[0] * h, cell[1] * w])
    colours, areas = [], []
    for ty, tx in [(-1, -1), (-1, 1), (1, -1), (1, 1)]:
        sy, sx = (
            min(max(v + t / n + eps, -1 + eps), 1 - eps) for v, t, n in ((y, ty, h), (x, tx, w))
        )
        i, j = (round(((v + 1) * n - 1) / 2) for v, n in ((sy, h), (sx, w)))
        rel = ((y - (-1 + (2 * i + 1) / h)) * h, (x - (-1 + (2 * j + 1) / w)) * w)
        amplitude, frequency = conv(net.coef, i, j), conv(net.freq, i, j)
        u = frequency[0::2] * rel[0] + frequency[1::2] * rel[1] + phase
        hidden = amplitude * np.concatenate([np.cos(math.pi * u), np.sin(math.pi * u)])
        linear = [m for m in net.imnet.layers if isinstance(m, torch.nn.Linear)]
        for layer in linear:
            hidden = layer.weight.detach().numpy() @ hidden + layer.bias.detach().numpy()
            hidden = hidden if layer is linear[-1] else np.maximum(hidden, 0)
        colours.append(hidden)
        areas.append(abs(rel[0] * rel[1]) + 1e-9)
    total = sum(c * a for c, a in zip(colours, areas[::-1], strict=True)) / sum(areas)
    py, px = ((v + 1) * n / 2 - 0.5 for v, n in ((y, h), (x, w)))  # bilinear, border
    i, j = math.floor(py), math.floor(px)
    image = (lq - 0.5) / 0.5
    for a, wy in ((i, 1 - (py - i)), (i + 1, py - i)):
        for b, wx in ((j, 1 - (px - j)), (j + 1, px - j)):
            total = total + wy * wx * image[:, min(max(a, 0), h - 1), min(max(b, 0), w - 1)]
    return total * 0.5 + 0.5


@pytest.mark.parametrize(
    'size,out,limit', [((5, 7), (11, 12), None), ((4, 3), (3, 10), None), ((6, 5), (39, 33), 4)]
)
def test_lte__loop_from_the_equations(size, out, limit):
    net, lq = small(max_scale=limit), torch.rand(2, 3, *size, dtype=torch.float64)
    codes = net.encode(lq)
    with torch.no_grad():
        feat = net.encoder((lq - 0.5) / 0.5)

    def clamped(cell):
        return (
            cell
            if limit is None
            else tuple(max(c, 2 / limit / n) for c, n in zip(cell, size, strict=True))
        )

    coord, cell = (
        torch.rand(2, 9, 2, dtype=torch.float64) * 2 - 1,
        torch.rand(2, 9, 2, dtype=torch.float64) / 3,
    )
    expected = np.array(
        [
            [
                loop_query(
                    net,
                    lq[b].numpy(),
                    feat[b].numpy(),
                    *coord[b, q].tolist(),
                    clamped(cell[b, q].tolist()),
                )
                for q in range(9)
            ]
            for b in range(2)
        ]
    )
    for colours in (
        net.query(codes, coord, cell),
        net.query_plain(codes, coord, cell),
        net.query(codes, coord, cell, 4),
    ):
        np.testing.assert_allclose(colours.detach(), expected, atol=1e-10)
    image = net.render(codes, out)
    for i, j in [(0, 0), (out[0] - 1, out[1] - 1), (out[0] // 2, out[1] // 2), (1, out[1] - 2)]:
        value = loop_query(
            net,
            lq[1].numpy(),
            feat[1].numpy(),
            -1 + (2 * i + 1) / out[0],
            -1 + (2 * j + 1) / out[1],
            clamped((2 / out[0], 2 / out[1])),
        )
        np.testing.assert_allclose(image[1, :, i, j].detach(), value, atol=1e-6)


def test_lte__golden():
    arrays = np.load(GOLDEN / 'lte.npz')
    net = LTE(EDSREncoder(), max_scale=None)
    net.load_state_dict(load_parameters('lte_shapes.json'))
    lq, coord, cell = (torch.from_numpy(arrays[k]) for k in ('lq', 'coord', 'cell'))
    images = [k for k in arrays if k.startswith('image_')]
    assert images
    with torch.no_grad():
        codes = net.encode(lq)
        for colours in (net.query(codes, coord, cell), net.query_plain(codes, coord, cell)):
            np.testing.assert_allclose(
                colours, arrays['query'], rtol=0, atol=1e-5 * np.abs(arrays['query']).max()
            )
        for name in images:
            size = tuple(map(int, name.removeprefix('image_').split('x')))
            image = net.render(codes, size)
            np.testing.assert_allclose(
                image, arrays[name], rtol=0, atol=1e-5 * np.abs(arrays[name]).max()
            )


def test_lte__bfloat16_is_near_float32(monkeypatch):
    monkeypatch.setattr('liif_arch.precision.has_bfloat16', lambda device: True)
    torch.manual_seed(0)
    net, lq = (
        LTE(EDSREncoder(num_feat=8, num_block=1), hidden_dim=32, hidden_list=[32, 32]),
        torch.rand(1, 3, 8, 9),
    )
    with torch.no_grad():
        exact = net(lq, size=(20, 31))
        net.precision = 'bfloat16'
        rounded = net(lq, size=(20, 31))
    assert rounded.dtype == torch.float32 and 0 < (exact - rounded).abs().max() < 0.02


@pytest.mark.parametrize(
    'options,part',
    [
        ({'hidden_dim': 7}, 'hidden_dim: found 7'),
        ({'max_scale': 0}, 'max_scale: found 0'),
        ({'num_out_ch': 1}, 'num_out_ch: found 1'),
        ({'hidden_list': []}, 'hidden_list: found'),
    ],
)
def test_lte__refuses(options, part):
    with pytest.raises(UserError, match=part):
        small(**options)
