"""Networks at one scale, as spandrel and what is built on it load them."""

import sys
from contextlib import nullcontext

import pytest
import torch
from helpers import run_here

from liif_arch import LIIF, EDSREncoder, SubPixelSR, load_network
from liif_arch.errors import UserError
from liif_arch.weights.one_scale import NETWORK, SCALE

spandrel = pytest.importorskip('spandrel')

from liif_arch.fixed_scale import (  # noqa: E402
    FixedScale,
    describe,
    install,
    load_fixed_scale,
    state_dict_of,
)

IMAGE = torch.rand(1, 3, 9, 11, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize('scale', [1, 2, 3, 4])
def test_descriptor__is_what_spandrel_says(scale):
    found = load_fixed_scale('small', scale)
    assert isinstance(found, spandrel.ImageModelDescriptor)
    assert (found.scale, found.input_channels, found.output_channels) == (scale, 3, 3)
    assert found.purpose == 'SR' and found.architecture.name == 'LIIF'
    assert not found.model.training and found.size_requirements.none
    size = (9 * scale, 11 * scale)
    with torch.no_grad():
        expected = load_network('small')(IMAGE, size=size).clamp(0, 1)
    assert torch.equal(found(IMAGE), expected)


@pytest.mark.parametrize('dtype,least', [(torch.bfloat16, 40), (torch.float16, 60)])
@pytest.mark.parametrize('weights', ['fast', 'edsr', 'liif', 'photo', 'small'])
def test_descriptor__in_other_types(weights, dtype, least):
    expected = load_fixed_scale(weights, 2)(IMAGE)
    found = load_fixed_scale(weights, 2).to(dtype)(IMAGE.to(dtype))
    assert found.dtype == dtype
    assert -10 * (found.float() - expected).square().mean().log10() > least


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
@pytest.mark.parametrize('weights', ['fast', 'liif'])
def test_file__as_other_programs_load_it(monkeypatch, tmp_path, capsys, weights, suffix):
    name = f'{weights}_x3{suffix}'
    assert run_here(monkeypatch, tmp_path, 'convert', weights, name, '--scale', '3') == 0
    assert f'{name}: at x3' in capsys.readouterr().out
    install()
    install()  # a second plugin may do so too
    found = spandrel.ModelLoader().load_from_file(str(tmp_path / name))
    assert found.scale == 3
    assert torch.equal(found(IMAGE), load_fixed_scale(weights, 3)(IMAGE))
    assert run_here(monkeypatch, tmp_path, 'convert', weights, name, '--scale', '3') == 2
    own = load_network(tmp_path / name)  # of any scale again
    with torch.no_grad():
        assert torch.equal(own(IMAGE, size=(27, 33)).clamp(0, 1), found(IMAGE))


@pytest.mark.parametrize('scale', ['0', '-2', '2.5', 'x'])
def test_scale__that_is_none(monkeypatch, tmp_path, scale):
    with pytest.raises(SystemExit, match='2') if '.' in scale or scale == 'x' else nullcontext():
        assert run_here(monkeypatch, tmp_path, 'convert', 'small', 'a.pth', '--scale', scale) == 2
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('change', ['text', 'kind', 'scale', 'half', 'missing', 'shape'])
def test_file__that_is_damaged(change):
    state_dict = state_dict_of(load_fixed_scale('small', 2).model)
    if change == 'text':
        state_dict[NETWORK] = state_dict[NETWORK][:9]
    elif change == 'kind':
        text = b'{"type": "LIFF"}'
        state_dict[NETWORK] = torch.tensor(list(text), dtype=torch.uint8)
    elif change == 'scale':
        state_dict[SCALE] = torch.tensor([2, 3])
    elif change == 'half':
        state_dict[SCALE] = torch.tensor(2.5)
    else:
        name = next(name for name in state_dict if name.startswith('net.'))
        value = state_dict.pop(name)
        if change == 'shape':
            state_dict[name] = value[:1]
    install()
    with pytest.raises(UserError, match='LIIF|found no network|needed a whole|do not fit'):
        spandrel.ModelLoader().load_from_state_dict(state_dict)


def test_file__of_another_type_and_layout(tmp_path):
    model = load_fixed_scale('small', 2).model
    whole = {name: value.half() for name, value in state_dict_of(model).items()}
    install()
    assert spandrel.ModelLoader().load_from_state_dict(whole).scale == 2
    model.to(memory_format=torch.channels_last)
    file = pytest.importorskip('safetensors.torch')
    file.save_file(state_dict_of(model), tmp_path / 'w.safetensors')


def test_network__that_no_option_describes():
    net = LIIF(EDSREncoder(num_feat=8, num_block=1), hidden_list=[16])
    with pytest.raises(UserError, match='built with a module as its encoder'):
        state_dict_of(FixedScale(net, 2))


@pytest.mark.parametrize('name', ['a.onnx', 'a.pkl', 'a'])
def test_file__of_another_ending(monkeypatch, tmp_path, capsys, name):
    assert run_here(monkeypatch, tmp_path, 'convert', 'small', name, '--scale', '3') == 2
    assert f'OUT: found {name}; needed a .pth or .safetensors' in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_network__of_one_scale():
    net = SubPixelSR({'type': 'EDSREncoder', 'num_feat': 8, 'num_block': 1}, scale=2)
    assert describe(FixedScale(net, 2))(IMAGE).shape == (1, 3, 18, 22)
    with pytest.raises(UserError, match='SubPixelSR has scale 2'):
        describe(FixedScale(net, 3))(IMAGE)


def test_package__that_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, 'spandrel', None)
    monkeypatch.delitem(sys.modules, 'liif_arch.fixed_scale')
    with pytest.raises(UserError, match=r"pip install 'basicsr-liif\[tools\]'"):
        import liif_arch.fixed_scale  # noqa: F401
