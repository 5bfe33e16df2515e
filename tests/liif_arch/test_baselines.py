"""MetaSR and the fixed-scale network against loops written from their definitions, and golden
numbers.
"""

import numpy as np
import pytest
import torch
from parameters import GOLDEN

from liif_arch import EDSREncoder, MetaSR, RDNEncoder, SubPixelSR, upscale
from liif_arch.errors import UserError
from liif_arch.upscaling import windows


def small_meta() -> MetaSR:
    torch.manual_seed(0)
    return MetaSR(EDSREncoder(num_feat=6, num_block=1), [10]).double()


def loop_query(
    net: MetaSR, feat: np.ndarray, y: float, x: float, cell: tuple[float, float]
) -> np.ndarray:
    """One query, written from the definition, in float64."""
    channels, h, w = feat.shape
    corner = (y - cell[0] / 2, x - cell[1] / 2)
    i, j = (
        round(((min(max(v + 1e-6, -1 + 1e-6), 1 - 1e-6) + 1) * n - 1) / 2)
        for v, n in zip(corner, (h, w), strict=True)
    )
    latent = np.array(
        [
            feat[c, i + di, j + dj] if 0 <= i + di < h and 0 <= j + dj < w else 0.0
            for c in range(channels)
            for di in (-1, 0, 1)
            for dj in (-1, 0, 1)
        ]
    )
    rel = ((corner[0] - (-1 + 2 * i / h)) * h / 2, (corner[1] - (-1 + 2 * j / w)) * w / 2)
    hidden, last = (m for m in net.imnet.layers if isinstance(m, torch.nn.Linear))
    g = np.maximum(
        hidden.weight.detach().numpy() @ np.array([*rel, cell[0] * h / 2])
        + hidden.bias.detach().numpy(),
        0,
    )
    matrix = (last.weight.detach().numpy() @ g + last.bias.detach().numpy()).reshape(-1, 3)
    return latent @ matrix * 0.5 + 0.5


@pytest.mark.parametrize('size,out', [((5, 7), (11, 12)), ((4, 3), (3, 10)), ((6, 6), (18, 15))])
def test_metasr__loop_from_the_definition(size, out):
    net, lq = small_meta(), torch.rand(2, 3, *size, dtype=torch.float64)
    feat = net.encode(lq)
    coord = torch.rand(2, 9, 2, dtype=torch.float64) * 2 - 1
    cell = torch.rand(2, 9, 2, dtype=torch.float64) / 3
    expected = np.array(
        [
            [
                loop_query(
                    net, feat[b].detach().numpy(), *coord[b, q].tolist(), cell[b, q].tolist()
                )
                for q in range(9)
            ]
            for b in range(2)
        ]
    )
    for colours in (
        net.query(feat, coord, cell),
        net.query_plain(feat, coord, cell),
        net.query(feat, coord, cell, 4),
    ):
        np.testing.assert_allclose(colours.detach(), expected, atol=1e-10)
    image = net.render(feat, out)
    for i, j in [(0, 0), (out[0] - 1, out[1] - 1), (out[0] // 2, out[1] // 2), (1, out[1] - 2)]:
        value = loop_query(
            net,
            feat[1].detach().numpy(),
            -1 + (2 * i + 1) / out[0],
            -1 + (2 * j + 1) / out[1],
            (2 / out[0], 2 / out[1]),
        )
        np.testing.assert_allclose(image[1, :, i, j].detach(), value, atol=1e-6)


@pytest.mark.parametrize(
    'name,encoder', [('edsr_baseline_metasr', EDSREncoder), ('rdn_metasr', RDNEncoder)]
)
def test_metasr__golden(golden, name, encoder):
    arrays = np.load(GOLDEN / 'networks.npz')
    net = MetaSR(encoder())
    net.load_state_dict(golden(f'networks/{name}'))
    lq, coord, cell = (torch.from_numpy(arrays[k]) for k in ('lq', 'coord', 'cell'))
    with torch.no_grad():
        feat = net.encode(lq)
        image = net.render(feat, (30, 25))
        golden_feat = arrays[f'{name}_feat']
        np.testing.assert_allclose(feat, golden_feat, rtol=0, atol=1e-5 * np.abs(golden_feat).max())
        for colours in (net.query(feat, coord, cell), net.query_plain(feat, coord, cell)):
            np.testing.assert_allclose(
                colours, arrays[name], rtol=0, atol=1e-5 * np.abs(arrays[name]).max()
            )
    golden_image = arrays[f'{name}_image_30x25']
    np.testing.assert_allclose(image, golden_image, rtol=0, atol=1e-5 * np.abs(golden_image).max())


@pytest.mark.parametrize('scale', [2, 3, 4])
def test_fixed_scale__golden(golden, scale):
    arrays = np.load(GOLDEN / 'networks.npz')
    net = SubPixelSR(scale=scale)
    parameters = golden(f'networks/edsr_baseline_x{scale}')
    net.load_state_dict({k.replace('encoder.tail', 'tail'): v for k, v in parameters.items()})
    expected = arrays[f'edsr_baseline_x{scale}_image']
    with torch.no_grad():
        np.testing.assert_allclose(
            net(torch.from_numpy(arrays['lq'])),
            expected,
            rtol=0,
            atol=1e-5 * np.abs(expected).max(),
        )


@pytest.mark.parametrize('scale', [2, 3, 4, 8])
def test_fixed_scale__queries_look_up_the_image(scale):
    from liif_arch.coordinates import make_cell, make_coord

    net, lq = SubPixelSR(EDSREncoder(num_feat=4, num_block=1), scale), torch.rand(2, 3, 5, 6)
    size = (5 * scale, 6 * scale)
    coord = make_coord(size).view(1, -1, 2).expand(2, -1, -1)
    with torch.no_grad():
        image = net(lq)
        assert image.shape == (2, 3, *size)
        assert torch.equal(
            net(lq, coord, make_cell(size).expand_as(coord)).transpose(1, 2).view_as(image), image
        )
        assert torch.equal(net(lq, size=size), image)


def test_fixed_scale__windows_equal_the_whole(monkeypatch):
    monkeypatch.setattr(windows, 'MIN_WINDOW', 8)
    net = SubPixelSR(EDSREncoder(num_feat=4, num_block=1), 4)
    image = np.random.default_rng(0).random((41, 37, 3), np.float32)
    whole = upscale(net, image, scale=4)
    np.testing.assert_allclose(upscale(net, image, scale=4, memory=0.05), whole, atol=2e-6)


def test_fixed_scale__refuses_other_scales():
    with pytest.raises(UserError, match='power of two'):
        SubPixelSR(EDSREncoder(num_feat=4, num_block=1), 5)
    net = SubPixelSR(EDSREncoder(num_feat=4, num_block=1), 2)
    with pytest.raises(UserError, match='becomes 12x10, not 18x15'), torch.no_grad():
        net(torch.rand(1, 3, 5, 6), size=(15, 18))


def test_fixed_scale__forward_with_gradients_equals_render():
    net, lq = SubPixelSR(EDSREncoder(num_feat=4, num_block=1), 2), torch.rand(1, 3, 5, 6)
    image = net(lq)
    image.sum().backward()
    assert net.encoder.head[0].weight.grad.abs().sum() > 0
    with torch.no_grad():
        torch.testing.assert_close(net(lq), image.detach(), atol=2e-6, rtol=0)
    with pytest.raises(UserError, match='becomes 12x10, not 18x15'):
        net(lq, size=(15, 18))


def test_liif_at_x30__no_seams_between_latents():
    """From 17 rows to 510: steps across latent borders are no larger than those within, with the
    ensemble on.
    """
    from liif_arch import LIIF

    torch.manual_seed(0)
    lq = torch.rand(1, 3, 17, 12)
    steps = {}
    for ensemble in (True, False):
        torch.manual_seed(1)
        net = LIIF(EDSREncoder(num_feat=16, num_block=2), [32, 32], local_ensemble=ensemble)
        with torch.no_grad():
            image = net(lq, size=(510, 360))
        step = (
            (image[:, :, 1:] - image[:, :, :-1]).abs().mean((0, 1, 3))[15:-15]
        )  # between row i and i + 1
        # With the ensemble latents change over at the latents' centres, without it at their
        # borders.
        changes = (torch.arange(15, 494) + 1 + (15 if ensemble else 0)) % 30 == 0
        steps[ensemble] = (step[changes].mean() / step[~changes].mean()).item()
    assert steps[True] < 1.5 < 3 < steps[False]
