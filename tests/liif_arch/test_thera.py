"""Thera against the golden numbers of its reference implementation, and a loop in float64."""

import json

import numpy as np
import pytest
import torch
from parameters import GOLDEN, make_parameter

from liif_arch.coordinates import make_coord
from liif_arch.weights.networks import build_own
from liif_arch.weights.thera import from_thera

NUMBERS = np.load(GOLDEN / 'thera.npz')


def reference_params(size: str) -> dict:
    """A tree as the reference saves it, of the golden parameters."""
    shapes = json.loads((GOLDEN / 'thera_shapes.json').read_text())
    tree = {}
    for name, shape in shapes.items():
        kind, _, name = name.partition('/')
        if kind != size:
            continue
        if len(shape) == 4:  # (kh, kw, in, out), filled as (out, in, kh, kw)
            order = [shape[3], shape[2], shape[0], shape[1]]
            array = make_parameter(name, order).permute(2, 3, 1, 0).numpy()
        elif name == 'components':
            array = 28 * make_parameter(name, shape).numpy()
        elif name == 'k':
            array = np.float32(0.0612)
        else:
            array = make_parameter(name, shape).numpy() + name.endswith('.scale')
        place = tree
        *path, last = name.split('.')
        for key in path:
            place = place.setdefault(key, {})
        place[last] = array
    return {'model': {'params': tree}, 'backbone': 'edsr-baseline', 'size': size}


@pytest.fixture(scope='module', params=['air', 'plus'])
def golden(request):
    """The name of a size, and its network."""
    converted = from_thera(reference_params(request.param))
    net = build_own(converted['network_g'])
    net.load_state_dict(converted['params'])
    return request.param, net.eval()


def assert_near(ours: torch.Tensor, reference: np.ndarray) -> None:
    reference = torch.from_numpy(reference)
    near = 1e-4 * float(reference.abs().max())
    torch.testing.assert_close(ours, reference, atol=near, rtol=0)


@torch.no_grad()
def test_thera__features_are_the_references(golden):
    size, net = golden
    lq = torch.from_numpy(NUMBERS['lq'])
    mean = torch.tensor(net.mean).view(3, 1, 1)
    assert_near(net.encoder((lq - mean) / 0.5), NUMBERS[f'{size}_feat'])


@torch.no_grad()
@pytest.mark.parametrize('shape', ['12x18', '14x21', '48x72', '20x30'])
def test_thera__images_are_the_references(golden, shape):
    size, net = golden
    height, width = map(int, shape.split('x'))
    image = net(torch.from_numpy(NUMBERS['lq']), size=(height, width))
    assert_near(image, NUMBERS[f'{size}_image_{shape}'])


@torch.no_grad()
def test_gradient__is_the_references(golden):
    size, net = golden
    feat = net.encode(torch.from_numpy(NUMBERS['lq']))
    coord = make_coord((20, 30)).view(1, -1, 2).expand(2, -1, -1)
    gradient = net.gradient(feat, coord).unflatten(1, (20, 30))
    assert_near(gradient, NUMBERS[f'{size}_jac_20x30'])
