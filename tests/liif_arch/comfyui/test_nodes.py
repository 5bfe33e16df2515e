"""The nodes in a stand-in of ComfyUI, and without it."""

import pytest
import torch
from comfy import Host, Refused, Stopped, load, run
from helpers import run_here

from liif_arch import LIIF, load_network, upscale
from liif_arch.comfyui import nodes as own_nodes
from liif_arch.errors import UserError
from liif_arch.training.checkpoints import save_file

LINE = 'from liif_arch.comfyui import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS\n'
IMAGES = torch.rand(2, 9, 11, 3, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def host(tmp_path, monkeypatch):
    (tmp_path / 'upscale_models').mkdir()
    found = Host(tmp_path / 'upscale_models')
    found.install(monkeypatch)
    return found


@pytest.fixture
def nodes(tmp_path, host):
    """As ComfyUI finds them, by the file that docs/share.md tells to write."""
    (tmp_path / 'custom_nodes').mkdir()
    (tmp_path / 'custom_nodes/liif.py').write_text(LINE)
    return load(tmp_path / 'custom_nodes/liif.py')[0]


def enlarged(nodes: dict, kind: str, weights: str = 'small', **inputs: object) -> torch.Tensor:
    """What a workflow of two nodes makes of `IMAGES`."""
    workflow = {
        'load': {'class_type': 'LIIFLoader', 'inputs': {'weights': weights}},
        'up': {
            'class_type': kind,
            'inputs': {'model': ['load', 0], 'image': ['image', 0], **inputs},
        },
    }
    return run(nodes, workflow, {'image': (('IMAGE', IMAGES),)})['up'][0]


def expected(**target: object) -> torch.Tensor:
    """The same by this package's function."""
    net = load_network('small')
    net.precision = 'auto'
    images = [torch.from_numpy(upscale(net, image.numpy(), **target)) for image in IMAGES]
    return torch.stack(images).clamp(0, 1)


@pytest.mark.parametrize('scale', [2, 2.37, 0.5])
def test_by_a_factor(nodes, scale):
    found = enlarged(nodes, 'LIIFUpscaleBy', scale=scale)
    assert found.dtype == torch.float32 and found.device.type == 'cpu'
    assert torch.equal(found, expected(scale=scale))


@pytest.mark.parametrize(
    'width,height,size', [(33, 20, (20, 33)), (33, 0, (27, 33)), (0, 27, (27, 33)), (5, 0, (4, 5))]
)
def test_to_a_size(nodes, width, height, size):
    found = enlarged(nodes, 'LIIFUpscaleTo', width=width, height=height)
    assert torch.equal(found, expected(size=size))


def test_to_no_size(nodes):
    with pytest.raises(UserError, match='width, height: found 0 for both'):
        enlarged(nodes, 'LIIFUpscaleTo', width=0, height=0)


@pytest.mark.parametrize(
    'kind,inputs',
    [
        ('LIIFUpscaleBy', {'scale': 0}),
        ('LIIFUpscaleBy', {'scale': 65}),
        ('LIIFUpscaleBy', {'scale': 2, 'weights': 'none.pth'}),
        ('LIIFUpscaleBy', {}),
        ('LIIFUpscaleTo', {'width': -1, 'height': 0}),
        ('LIIFUpscaleTo', {'width': 2, 'height': 0, 'model': ['image', 0]}),
    ],
)
def test_workflow__that_is_refused(nodes, kind, inputs):
    with pytest.raises(Refused):
        enlarged(nodes, kind, **inputs)


def test_loader__files_and_those_that_ship(nodes, host):
    net = LIIF({'type': 'EDSREncoder', 'num_feat': 8, 'num_block': 1}, [16])
    content = {'params': net.state_dict(), 'network_g': net.network_g}
    save_file(content, host.folder / 'mine.safetensors')
    (host.folder / 'notes.txt').write_text('no weights')
    names, options = nodes['LIIFLoader'].INPUT_TYPES()['required']['weights']
    assert names == ['edsr', 'fast', 'liif', 'photo', 'small', 'mine.safetensors']
    assert options['default'] in names
    found = run(nodes, {'l': {'class_type': 'LIIFLoader', 'inputs': {'weights': names[-1]}}}, {})
    assert found['l'][0].network_g == net.network_g


def test_loader__of_the_hub(nodes, monkeypatch):
    asked = []
    monkeypatch.setattr(
        own_nodes, 'load_network', lambda name: asked.append(name) or load_network('small')
    )
    for hub in ('me/n', ' hf:me/n '):
        inputs = {'weights': 'fast', 'hub': hub}
        run(nodes, {'l': {'class_type': 'LIIFLoader', 'inputs': inputs}}, {})
    assert asked == ['hf:me/n', 'hf:me/n']


def test_progress__and_room(nodes, host):
    enlarged(nodes, 'LIIFUpscaleBy', scale=2)
    assert host.reports == sorted(host.reports) and host.reports[-1] == (2000, 2000)
    assert host.reports[0][0] == 0 and (1000, 2000) in host.reports
    assert host.freed and host.freed[0] > 2**30


def test_stop__in_the_middle(nodes, host, monkeypatch):
    """The device is given back."""
    moved = []
    monkeypatch.setattr(LIIF, 'to', lambda self, device: moved.append(str(device)))
    host.stop_after = 1
    with pytest.raises(Stopped):
        enlarged_here = own_nodes.LIIFUpscaleBy().upscale
        enlarged_here(LIIF({'type': 'EDSREncoder', 'num_feat': 8, 'num_block': 1}, [16]), IMAGES, 2)
    assert moved == ['cpu', 'cpu']  # there, and back


def test_batch__of_none(nodes):
    with pytest.raises(UserError, match='image: found a batch of none'):
        own_nodes.LIIFUpscaleBy().upscale(load_network('small'), IMAGES[:0], 2)


def test_upscale_model__of_any_whole_scale(nodes, host):
    workflow = {
        'load': {'class_type': 'LIIFLoader', 'inputs': {'weights': 'small'}},
        'as': {'class_type': 'LIIFAsUpscaleModel', 'inputs': {'model': ['load', 0], 'scale': 3}},
    }
    outputs = run(nodes, workflow, {})
    [model] = outputs['as']
    # What ComfyUI's own node does with it.
    found = model.to(torch.device('cpu'))(IMAGES[:1].movedim(-1, -3)).movedim(-3, -1)
    assert model.scale == 3
    torch.testing.assert_close(found, expected(size=(27, 33))[:1], atol=0.02, rtol=0)
    model.to(torch.bfloat16)
    assert next(outputs['load'][0].parameters()).dtype == torch.float32


def test_comfyuis_own_loader__reads_files_of_one_scale(nodes, monkeypatch, tmp_path):
    spandrel = pytest.importorskip('spandrel')
    arguments = ('convert', 'small', 'small_x2.safetensors', '--scale', '2')
    assert run_here(monkeypatch, tmp_path, *arguments) == 0
    state_dict = pytest.importorskip('safetensors.torch').load_file('small_x2.safetensors')
    assert spandrel.ModelLoader().load_from_state_dict(state_dict).eval().scale == 2


def test_nodes__outside_comfyui():
    [net] = own_nodes.LIIFLoader().load('small')
    [image] = own_nodes.LIIFUpscaleBy().upscale(net, IMAGES[:1], 2)
    assert image.shape == (1, 18, 22, 3)
    assert own_nodes.LIIFLoader.INPUT_TYPES()['required']['weights'][0][0] == 'edsr'
