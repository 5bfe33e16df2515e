"""LIIF against a slow float64 loop written from the paper's equations, golden numbers, and its own
plain form.
"""

import itertools
import math

import numpy as np
import pytest
import torch
from helpers import assert_gradients_agree
from parameters import GOLDEN

from liif_arch import LIIF, EDSREncoder, RDNEncoder
from liif_arch.coordinates import make_cell, make_coord
from liif_arch.decode.mlp import MLP
from liif_arch.errors import UserError

FLAGS = [
    dict(zip(('local_ensemble', 'feat_unfold', 'cell_decode'), f, strict=True))
    for f in itertools.product([False, True], repeat=3)
]
ENCODER = {'type': 'EDSREncoder', 'num_feat': 6, 'num_block': 1}


def small_liif(seed: int = 0, **options) -> LIIF:
    torch.manual_seed(seed)
    return LIIF(
        options.pop('encoder', ENCODER), options.pop('hidden_list', [16, 12]), **options
    ).double()


def loop_query(
    net: LIIF, feat: np.ndarray, y: float, x: float, cell: tuple[float, float]
) -> np.ndarray:
    """One query, written from eq. 1-5 and the reference conventions, in float64."""
    channels, h, w = feat.shape
    corners = [(-1, -1), (-1, 1), (1, -1), (1, 1)] if net.flags['local_ensemble'] else [(0, 0)]
    eps = 1e-6 if net.flags['local_ensemble'] else 0
    colours, areas = [], []
    for ty, tx in corners:
        i, j = (
            round(
                ((min(max(v + t / n + eps, -1 + 1e-6), 1 - 1e-6) + 1) * n - 1) / 2
            )  # nearest, ties to even
            for v, t, n in ((y, ty, h), (x, tx, w))
        )
        if net.flags['feat_unfold']:
            latent = [
                feat[c, i + di, j + dj] if 0 <= i + di < h and 0 <= j + dj < w else 0.0
                for c in range(channels)
                for di in (-1, 0, 1)
                for dj in (-1, 0, 1)
            ]
        else:
            latent = list(feat[:, i, j])
        rel = ((y - (-1 + (2 * i + 1) / h)) * h, (x - (-1 + (2 * j + 1) / w)) * w)
        inputs = np.array(
            latent + list(rel) + ([cell[0] * h, cell[1] * w] if net.flags['cell_decode'] else [])
        )
        layers = [m for m in net.imnet.layers if isinstance(m, torch.nn.Linear)]
        for k, layer in enumerate(layers):
            inputs = layer.weight.detach().numpy() @ inputs + layer.bias.detach().numpy()
            inputs = np.maximum(inputs, 0) if k < len(layers) - 1 else inputs
        colours.append(inputs)
        areas.append(abs(rel[0] * rel[1]) + 1e-9)
    weights = areas[::-1] if net.flags['local_ensemble'] else areas
    return sum(c * a for c, a in zip(colours, weights, strict=True)) / sum(areas) * 0.5 + 0.5


@pytest.mark.parametrize(
    'flags', FLAGS, ids=lambda f: '-'.join(k for k, v in f.items() if v) or 'none'
)
@pytest.mark.parametrize('size,out', [((5, 7), (11, 12)), ((4, 3), (3, 10))])
def test_liif__loop_from_the_equations(flags, size, out):
    net = small_liif(**flags)
    lq = torch.rand(2, 3, *size, dtype=torch.float64)
    feat = net.encode(lq)
    coord = torch.rand(2, 9, 2, dtype=torch.float64) * 2 - 1
    cell = torch.rand(2, 9, 2, dtype=torch.float64)
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
    for colours in (net.query(feat, coord, cell), net.query_plain(feat, coord, cell)):
        np.testing.assert_allclose(colours.detach(), expected, atol=1e-7)
    image = net.render(feat, out)
    assert image.shape == (2, 3, *out)
    for i, j in [(0, 0), (out[0] - 1, 0), (out[0] // 2, out[1] // 2), (1, out[1] - 1)]:
        value = loop_query(
            net,
            feat[1].detach().numpy(),
            -1 + (2 * i + 1) / out[0],
            -1 + (2 * j + 1) / out[1],
            (2 / out[0], 2 / out[1]),
        )
        np.testing.assert_allclose(
            image[1, :, i, j].detach(), value, atol=1e-6
        )  # relative coordinates are float32


@pytest.mark.parametrize(
    'case', [f'ensemble{e}_unfold{u}_cell{c}' for e in (0, 1) for u in (0, 1) for c in (0, 1)]
)
def test_golden__flags(golden, case):
    arrays = np.load(GOLDEN / 'liif_flags.npz')
    net = LIIF(
        {'type': 'EDSREncoder', 'num_feat': 12, 'num_block': 2},
        [32, 24],
        local_ensemble='ensemble1' in case,
        feat_unfold='unfold1' in case,
        cell_decode='cell1' in case,
    )
    net.load_state_dict(golden(f'liif_flags/{case}'))
    lq, coord, cell = (torch.from_numpy(arrays[k]) for k in ('lq', 'coord', 'cell'))
    with torch.no_grad():
        for colours in (net(lq, coord, cell), net.query_plain(net.encode(lq), coord, cell)):
            np.testing.assert_allclose(colours, arrays[case], rtol=0, atol=1e-5)


@pytest.mark.parametrize('size', [(19, 31), (14, 18), (64, 50)])
def test_golden__whole_images(golden, size):
    arrays = np.load(GOLDEN / 'liif_flags.npz')
    net = LIIF({'type': 'EDSREncoder', 'num_feat': 12, 'num_block': 2}, [32, 24])
    net.load_state_dict(golden('liif_flags/image'))
    with torch.no_grad():
        image = net(torch.from_numpy(arrays['lq']), size=size)
    np.testing.assert_allclose(image, arrays['image_{}x{}'.format(*size)], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    'name,encoder', [('edsr_baseline_liif', EDSREncoder), ('rdn_liif', RDNEncoder)]
)
def test_golden__full_size_networks(golden, name, encoder):
    arrays = np.load(GOLDEN / 'networks.npz')
    net = LIIF(encoder())  # the defaults are the paper's
    net.load_state_dict(golden(f'networks/{name}'))
    with torch.no_grad():
        feat = net.encode(torch.from_numpy(arrays['lq']))
        colours = net.query(
            feat, torch.from_numpy(arrays['coord']), torch.from_numpy(arrays['cell'])
        )
    np.testing.assert_allclose(feat, arrays[f'{name}_feat'], rtol=0, atol=1e-5)
    np.testing.assert_allclose(colours, arrays[name], rtol=0, atol=1e-5)


def test_golden__free_size_crops_of_published_weights(shared):
    from liif_arch import load_network, read_image

    net = load_network(shared / 'checkpoints/edsr-baseline-liif.pth')
    crops = np.load(shared / 'fixtures/set5_crops.npz')
    assert len(crops.files) == 3
    for name in crops.files:
        image, size, y, x = name.replace('_to_', ' ').replace('_at_', ' ').replace('_', ' ').split()
        y, x, size = int(y), int(x), tuple(map(int, size.split('x')))
        lq = read_image(shared / f'data/benchmark/Set5/LR_bicubic/X4/{image}.png')
        lq = torch.from_numpy(lq).permute(2, 0, 1)[None] / 255
        with torch.no_grad():
            crop = net(lq, size=size)[0, :, y : y + 48, x : x + 48]
        np.testing.assert_allclose(crop, crops[name], rtol=0, atol=1e-4)


@pytest.mark.parametrize('channels', [1, 2, 5])
def test_liif__any_number_of_channels(channels):
    net = LIIF(
        {'type': 'EDSREncoder', 'num_feat': 4, 'num_block': 1},
        [8],
        num_in_ch=channels,
        num_out_ch=channels,
    )
    assert net(torch.rand(1, channels, 5, 4), size=(9, 9)).shape == (1, channels, 9, 9)


@pytest.mark.parametrize(
    'scale,expected', [(2.5, (15, 18)), ([2, 3], (12, 21)), (1, (6, 7)), (30, (180, 210))]
)
def test_forward__at_the_options_scale(scale, expected):
    net = small_liif(scale=scale).float()
    with torch.no_grad():
        assert net(torch.rand(1, 3, 6, 7)).shape[-2:] == expected


def test_forward__with_gradients_equals_render(monkeypatch):
    """Models that train on whole images (SRModel) get gradients, chunked with recomputation, and
    the same image.
    """
    from liif_arch.archs import coordinate_network as module

    net, lq = small_liif(scale=3), torch.rand(2, 3, 6, 5, dtype=torch.float64)
    whole = net(lq)
    whole.pow(2).sum().backward()
    gradients = [p.grad.clone() for p in net.parameters()]
    monkeypatch.setattr(module, 'TRAIN_QUERIES', 64)  # several chunks now
    net.zero_grad()
    chunked = net(lq)
    chunked.pow(2).sum().backward()
    torch.testing.assert_close(chunked, whole)
    for a, b in zip(gradients, net.parameters(), strict=True):
        torch.testing.assert_close(a, b.grad)
    with torch.no_grad():
        torch.testing.assert_close(net(lq), whole.float().double(), atol=1e-5, rtol=0)


def test_forward__without_any_size_says_so():
    with pytest.raises(ValueError, match='network_g.scale'):
        small_liif()(torch.rand(1, 3, 4, 4, dtype=torch.float64))


def test_unfolded_features__are_never_built(monkeypatch):
    """The path users run holds no tensor of 9C channels."""
    widths = []
    linear, conv = torch.nn.functional.linear, torch.nn.functional.conv2d
    monkeypatch.setattr(torch.nn.functional, 'unfold', None)
    monkeypatch.setattr(
        torch.nn.functional, 'linear', lambda x, *a: widths.append(x.shape[-1]) or linear(x, *a)
    )
    monkeypatch.setattr(
        torch.nn.functional,
        'conv2d',
        lambda x, *a, **k: widths.append(x.shape[1]) or conv(x, *a, **k),
    )
    net = small_liif().float()
    lq = torch.rand(1, 3, 6, 6)
    net(lq, torch.zeros(1, 4, 2), torch.ones(1, 4, 2)).sum().backward()
    net.render(net.encode(lq), (13, 13))
    assert widths and max(widths) <= 16 < 9 * 6


@pytest.mark.parametrize('scale', [2, 3, 4, 5])
def test_render__differs_from_the_areas_only_where_they_all_vanish(scale):
    """At odd scales one row and one column lie on the last latent's centre; everywhere else the
    plain form agrees.
    """
    net, lq = small_liif(), torch.rand(1, 3, 6, 5, dtype=torch.float64)
    size = (6 * scale, 5 * scale)
    coord = make_coord(size, dtype=torch.float64).view(1, -1, 2)
    with torch.no_grad():
        feat = net.encode(lq)
        plain = net.query_plain(feat, coord, make_cell(size, dtype=torch.float64).expand_as(coord))
        plain = plain.transpose(1, 2).view(1, 3, *size)
        difference = (net.render(feat, size) - plain).abs().amax((0, 1))
    row, col = 6 * scale - 1 - scale // 2, 5 * scale - 1 - scale // 2
    if scale % 2:
        assert difference[row].max() > 1e-4 and difference[:, col].max() > 1e-4
        difference[row] = difference[:, col] = 0
    assert difference.max() < 1e-5


@pytest.mark.parametrize(
    'options,message',
    [
        ({'hidden_list': []}, 'hidden_list'),
        ({'hidden_list': [0]}, 'hidden_list'),
        ({'scale': 0}, 'scale'),
        ({'decode_memory': -1}, 'decode_memory'),
    ],
)
def test_liif__refuses_meaningless_options(options, message):
    with pytest.raises(ValueError, match=message):
        LIIF(EDSREncoder(num_feat=4, num_block=1), **options)


@pytest.mark.parametrize(
    'encoder',
    [EDSREncoder(num_feat=8, num_block=2), RDNEncoder(3, 8, 2, 2, 8)],
    ids=['EDSREncoder', 'RDNEncoder'],
)
def test_encoders__receptive_radius_is_exact(encoder):
    """The feature in the middle depends on input pixels up to the radius, and on none beyond."""
    encoder, radius = encoder.double(), encoder.receptive_radius
    side = 2 * radius + 7
    x = torch.rand(1, 3, side, side, dtype=torch.float64, requires_grad=True)
    encoder(x)[0, :, side // 2, side // 2].sum().backward()
    touched = x.grad[0].abs().sum(0).nonzero()
    assert (touched - side // 2).abs().max() <= radius
    reach = (touched - side // 2).abs().max().item()
    assert reach > radius / 2  # ReLUs may close the outermost paths, not most of them


def test_encoders__parameter_counts_of_the_paper():
    count = [sum(p.numel() for p in e.parameters()) for e in (EDSREncoder(), RDNEncoder())]
    assert math.isclose(count[0], 1.22e6, rel_tol=0.01)
    assert math.isclose(count[1], 22.0e6, rel_tol=0.02)


# --------------------------------------------------------------------------------------------------
# Sine activations


@pytest.mark.parametrize(
    'flags', [{}, {'local_ensemble': False, 'cell_decode': False}, {'feat_unfold': False}]
)
def test_sine__equals_the_plain_form(flags):
    torch.manual_seed(0)
    net = LIIF(EDSREncoder(num_feat=6, num_block=1), [10, 7], activation='sine', **flags).double()
    lq, size = torch.rand(2, 3, 6, 5, dtype=torch.float64), (13, 17)
    assert_gradients_agree(
        net, lq, rtol=1e-5, atol=1e-6
    )  # 1e-9 in a weight, times 30, layer by layer
    with torch.no_grad():
        feat, grid = (
            net.encode(lq),
            make_coord(size, dtype=torch.float64).view(1, -1, 2).expand(2, -1, -1),
        )
        plain = net.query_plain(feat, grid, make_cell(size, dtype=torch.float64).expand_as(grid))
        image = net.render(feat, size).flatten(2).transpose(1, 2)
    torch.testing.assert_close(
        image, plain, rtol=0, atol=1e-5
    )  # the grid's relative coordinates are float32


def test_sine__starts_with_activations_that_are_spread():
    """SIREN's initialisation keeps the variance of every layer; PyTorch's own would let it
    vanish.
    """
    torch.manual_seed(0)
    mlp = MLP(64, 3, [256, 256, 256], 'sine')
    x = torch.rand(4096, 64) * 2 - 1
    for layer in mlp.layers[:-1]:
        x = layer(x)
        if not isinstance(layer, torch.nn.Linear):
            assert 0.6 < x.std() < 0.8


def test_sine__trains_and_stays_float32(monkeypatch):
    monkeypatch.setattr('liif_arch.precision.has_bfloat16', lambda device: True)
    torch.manual_seed(0)
    net, lq = (
        LIIF(EDSREncoder(num_feat=8, num_block=1), [16, 16], activation='sine'),
        torch.rand(1, 3, 6, 7),
    )
    with torch.no_grad():
        exact = net(lq, size=(11, 12))
        net.precision = 'bfloat16'
        assert (net(lq, size=(11, 12)) - exact).abs().max() < 0.1
    with pytest.raises(UserError, match="activation: found 'sin'; did you mean sine?"):
        LIIF(EDSREncoder(num_feat=8, num_block=1), activation='sin')


@pytest.mark.parametrize(
    'encoder',
    [ENCODER, {'type': 'RDNEncoder', 'num_feat': 6, 'num_block': 2, 'num_layer': 2, 'growth': 4}],
    ids=lambda e: e['type'],
)
@pytest.mark.parametrize(
    'options',
    [
        {},
        {'feat_unfold': False, 'cell_decode': False},
        {'hidden_list': [8]},
        {'local_ensemble': False},
    ],
    ids=str,
)
def test_bilinear_start__renders_the_enlargement_and_learns(encoder, options):
    net = small_liif(encoder=encoder, bilinear_start=True, **options)
    lq = torch.rand(2, 3, 9, 12, dtype=torch.float64)
    mode = 'bilinear' if net.flags['local_ensemble'] else 'nearest-exact'
    expected = torch.nn.functional.interpolate(lq, (23, 40), mode=mode)
    assert torch.allclose(net.render(net.encode(lq), (23, 40)), expected, atol=1e-6)
    net(lq, size=(23, 40)).sub(torch.rand_like(expected)).square().mean().backward()
    last = net.imnet.layers[-1].weight.grad
    assert (last.abs().sum(0) > 0).sum() > len(
        last
    )  # what starts with no part in the colours can take one


@pytest.mark.parametrize(
    'options,part',
    [
        ({'encoder': {'type': 'RRDBNet', 'num_feat': 8, 'num_block': 1}}, 'encoder RRDBNet'),
        ({'hidden_list': [9, 2]}, 'of 2 channels'),
        ({'activation': 'sine'}, 'activation sine'),
        ({'num_out_ch': 1}, 'num_out_ch 1'),
        ({'encoder': {'type': 'EDSREncoder', 'num_feat': 2, 'num_block': 1}}, '2 channels'),
    ],
)
def test_bilinear_start__needs(options, part):
    with pytest.raises(UserError, match=f'bilinear_start: found .*{part}'):
        small_liif(bilinear_start=True, **options)
