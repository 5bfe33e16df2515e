"""Thera against the golden numbers of its reference implementation, and a loop in float64."""

import json
import os
import pickle
import sys
import types

import numpy as np
import pytest
import torch
from parameters import GOLDEN, make_parameter

from liif_arch import Thera
from liif_arch.cli.convert import convert
from liif_arch.coordinates import make_coord
from liif_arch.errors import UserError
from liif_arch.weights.networks import build_own, load_network
from liif_arch.weights.thera import from_thera, read_pickle

NUMBERS = np.load(GOLDEN / 'thera.npz')
MORE = np.load(GOLDEN / 'thera_more.npz')


def reference_params(backbone: str, size: str) -> dict:
    """A tree as the reference saves it, of the golden parameters."""
    file, prefix = 'thera_shapes.json', f'{size}/'
    if (backbone, size) not in (('edsr-baseline', 'air'), ('edsr-baseline', 'plus')):
        file, prefix = 'thera_more_shapes.json', f'{backbone}/{size}/'
    shapes = json.loads((GOLDEN / file).read_text())
    tree = {}
    for name, shape in shapes.items():
        if not name.startswith(prefix):
            continue
        name = name.removeprefix(prefix)
        if len(shape) == 4:  # (kh, kw, in, out), filled as (out, in, kh, kw)
            order = [shape[3], shape[2], shape[0], shape[1]]
            array = make_parameter(name, order).permute(2, 3, 1, 0).numpy()
        elif len(shape) == 2 and name.endswith('kernel'):  # (in, out)
            array = make_parameter(name, shape[::-1]).t().numpy()
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
    return {'model': {'params': tree}, 'backbone': backbone, 'size': size}


@pytest.fixture(scope='module', params=['air', 'plus'])
def golden(request):
    """The name of a size, and its network."""
    return request.param, network('edsr-baseline', request.param)


def assert_near(ours: torch.Tensor, reference: np.ndarray) -> None:
    reference = torch.from_numpy(reference)
    near = 1e-4 * float(reference.abs().max())
    torch.testing.assert_close(ours, reference, atol=near, rtol=0)


def network(backbone: str, size: str):
    """The network of golden parameters."""
    converted = from_thera(reference_params(backbone, size))
    net = build_own(converted['network_g'])
    net.load_state_dict(converted['params'])
    return net.eval()


@torch.no_grad()
@pytest.mark.parametrize('backbone,size', [('rdn', 'air'), ('edsr-baseline', 'pro')])
def test_thera__features_of_the_other_encoders_are_the_references(backbone, size):
    net, lq = network(backbone, size), torch.from_numpy(MORE['lq'])
    mean = torch.tensor(net.mean).view(3, 1, 1)
    assert_near(net.encoder((lq - mean) / 0.5), MORE[f'{backbone}_{size}_feat'])


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


@pytest.mark.parametrize(
    'options,message',
    [
        ({'skip': 'bicubic'}, "^skip: found 'bicubic'; needed nearest or bilinear"),
        ({'tail': 'convnxt'}, "^tail: found 'convnxt'; did you mean convnext"),
        ({'mean': [0.5]}, '^mean: found 1 numbers; needed one for each of the 3'),
        ({'num_out_ch': 1}, '^num_out_ch: found 1; Thera adds its input'),
        ({'hidden_dim': 0}, '^hidden_dim: found 0; needed a whole number'),
    ],
)
def test_thera__refuses(options, message):
    with pytest.raises(UserError, match=message):
        Thera({'type': 'EDSREncoder', 'num_feat': 4, 'num_block': 1}, **options)


@torch.no_grad()
def test_thera__begins_at_the_bilinear_image():
    torch.manual_seed(0)
    encoder = {'type': 'EDSREncoder', 'num_feat': 16, 'num_block': 1}
    net = Thera(encoder, skip='bilinear', local_ensemble=True, bilinear_start=True)
    lq = torch.rand(1, 3, 9, 7)
    bilinear = torch.nn.functional.interpolate(lq, (27, 28), mode='bilinear')
    assert (net(lq, size=(27, 28)) - bilinear).abs().mean() < 0.05


def steps_by_phase(image: torch.Tensor, scale: int, axis: int) -> torch.Tensor:
    """Mean difference of neighbouring pixels by their place in an input pixel, (scale,); the last
    is across the border of two input pixels.
    """
    steps = image.diff(dim=axis).abs().movedim(axis, 0).flatten(1).mean(1)
    return torch.stack([steps[place::scale].mean() for place in range(scale)])


@torch.no_grad()
@pytest.mark.parametrize('scale', [8, 12, 30])
@pytest.mark.parametrize('axis', [-1, -2])
@pytest.mark.parametrize('local_ensemble', [True, False])
def test_thera__has_no_seams_between_input_pixels(scale, axis, local_ensemble):
    """With ensemble and bilinear image; the nearest fields alone have them, as published."""
    torch.manual_seed(0)
    encoder = {'type': 'EDSREncoder', 'num_feat': 16, 'num_block': 1}
    net = Thera(encoder, skip='bilinear', local_ensemble=local_ensemble, bilinear_start=True)
    net.head.weight[: 3 * 32] *= 30  # as strong as a trained field
    image = net(torch.rand(1, 3, 12, 12), size=(12 * scale, 12 * scale))
    *within, border = steps_by_phase(image, scale, axis)
    assert bool(border <= 1.1 * max(within)) == local_ensemble


@pytest.fixture
def flax_and_jax(monkeypatch):
    """Stand-ins of the two things of Flax and JAX that the reference's pickles name."""
    flax, jax = types.ModuleType('flax.core.frozen_dict'), types.ModuleType('jax._src.array')

    class FrozenDict(dict):
        def __reduce__(self):
            return FrozenDict, (), {'_dict': dict(self), '_hash': None}

        def __setstate__(self, state):
            raise AssertionError('Flax itself was asked')

    def _reconstruct_array(function, arguments, state, weak):
        raise AssertionError('JAX itself was asked')

    for module, thing in ((flax, FrozenDict), (jax, _reconstruct_array)):
        thing.__module__, thing.__qualname__ = module.__name__, thing.__name__
        setattr(module, thing.__name__, thing)
        monkeypatch.setitem(sys.modules, module.__name__, module)
        for parent in ('flax', 'flax.core', 'jax', 'jax._src'):
            monkeypatch.setitem(sys.modules, parent, types.ModuleType(parent))
    return FrozenDict, _reconstruct_array


def as_saved(tree, frozen, function):
    """A tree of frozen dictionaries and JAX's arrays, which pickle as the reference's do."""

    class Array:
        def __init__(self, values):
            self.values = values

        def __reduce__(self):
            make, arguments, state = np.asarray(self.values).__reduce__()
            return function, (make, arguments, state, {'weak_type': False})

    if isinstance(tree, dict):
        return frozen({key: as_saved(value, frozen, function) for key, value in tree.items()})
    return Array(tree)


def test_convert__a_file_of_the_reference(tmp_path, flax_and_jax):
    content = reference_params('edsr-baseline', 'air')
    content['model'] = as_saved(content['model'], *flax_and_jax)
    (tmp_path / 'model.pkl').write_bytes(pickle.dumps(content))
    assert 'for BasicSR' in convert(tmp_path / 'model.pkl', tmp_path / 'thera.pth')
    lq, expected = torch.from_numpy(NUMBERS['lq']), NUMBERS['air_image_12x18']
    for file in ('thera.pth', 'model.pkl'):
        with torch.no_grad():
            assert_near(load_network(tmp_path / file)(lq, size=(12, 18)), expected)


class Runs:
    """Pickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def test_load_network__a_file_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match='cannot read these weights'):
        load_network(tmp_path / 'model.pkl')


@pytest.mark.parametrize(
    'content,found',
    [
        (Runs(os.mkdir, 'made'), 'posix.mkdir'),
        (Runs(np.ndarray, (10**15,)), 'needed a pickle of arrays'),
        ({'model': Runs(eval, 'print(1)')}, 'builtins.eval'),
        ([1, 2], 'found list'),
        ({'model': {}, 'backbone': 'edsr-baseline', 'size': 'huge'}, 'Thera huge on edsr-baseline'),
        ({'model': {'params': {}}, 'backbone': 'rdn', 'size': 'air'}, 'missing components'),
    ],
)
def test_convert__refuses(tmp_path, monkeypatch, content, found):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'model.pkl').write_bytes(pickle.dumps(content))
    with pytest.raises(UserError, match=found):
        convert(tmp_path / 'model.pkl', tmp_path / 'thera.pth')
    assert [path.name for path in tmp_path.iterdir()] == ['model.pkl']


# NumPy complains of an array that was cut short, when it goes.
@pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning')
def test_convert__a_damaged_file(tmp_path):
    """Cut short, or with any one byte changed: an error in a line, or the same weights' names."""
    whole = pickle.dumps({'model': {'params': {'k': np.ones(2)}}, 'backbone': 'x', 'size': 'y'})
    path = tmp_path / 'model.pkl'
    for at in range(len(whole)):
        for damaged in (whole[:at], whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :]):
            path.write_bytes(damaged)
            try:
                read_pickle(path)
            except UserError as error:
                assert str(error).startswith(str(path))
