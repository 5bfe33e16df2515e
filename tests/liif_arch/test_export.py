"""ONNX files and costs of every decoder, beside PyTorch and counts made by hand."""

import numpy as np
import pytest
import torch
from helpers import run_here, write_options

from liif_arch import LIIF, LTE, MetaSR, RDNEncoder, SubPixelSR
from liif_arch.complexity import complexity
from liif_arch.config.files import shipped_options
from liif_arch.config.read import load_options
from liif_arch.training.checkpoints import save_file

SMALL = {'type': 'EDSREncoder', 'num_feat': 8, 'num_block': 1}
SWINIR = {
    'type': 'SwinIR',
    'img_size': 16,
    'embed_dim': 12,
    'depths': [2],
    'num_heads': [2],
    'window_size': 4,
    'upsampler': 'pixelshuffle',
}
NETWORKS = {  # the other decoders are exported by test_decoders.py
    'liif': {'type': 'LIIF', 'encoder': SMALL, 'hidden_list': [16, 16]},
    'flags': {
        'type': 'LIIF',
        'encoder': {
            'type': 'RDNEncoder',
            'num_feat': 8,
            'num_block': 1,
            'num_layer': 2,
            'growth': 4,
        },
        'hidden_list': [8],
        'local_ensemble': False,
        'feat_unfold': False,
        'cell_decode': False,
    },
    'auto': {'type': 'LIIF', 'encoder': SMALL, 'hidden_list': [16], 'precision': 'auto'},
    'nested': {
        'type': 'LIIF',
        'encoder': {'type': 'EDSR', 'num_feat': 8, 'num_block': 2, 'tap': 'body.1'},
        'hidden_list': [8],
    },
    'rrdbnet': {
        'type': 'LIIF',
        'encoder': {'type': 'RRDBNet', 'num_feat': 8, 'num_block': 1, 'num_grow_ch': 4},
        'hidden_list': [8],
    },
}


def save(network: dict, path):
    from basicsr.archs import build_network

    torch.manual_seed(0)
    save_file({'params': build_network(network).state_dict(), 'network_g': network}, path)
    return path


@pytest.mark.parametrize('name', NETWORKS)
def test_export__equals_pytorch_at_other_sizes(name, tmp_path, monkeypatch, capsys):
    onnxruntime = pytest.importorskip('onnxruntime')
    save(NETWORKS[name], tmp_path / 'w.pth')
    assert run_here(monkeypatch, tmp_path, 'export', '--weights', 'w.pth', '-o', 'out') == 0
    out = capsys.readouterr().out
    assert '40x16 -> 148x59' in out and 'out/decoder.onnx' in out
    from liif_arch import load_network

    net = load_network(tmp_path / 'w.pth')
    net.precision = 'float32'
    lq, coord, cell = (
        torch.rand(3, 3, 9, 31),
        torch.rand(3, 77, 2) * 2 - 1,
        torch.rand(3, 77, 2) / 10,
    )
    with torch.no_grad():
        rgb = net(lq, coord, cell)
    encode, decode = (
        onnxruntime.InferenceSession(str(tmp_path / f'out/{n}.onnx'))
        for n in ('encoder', 'decoder')
    )
    feat = encode.run(None, {'lq': lq.numpy()})[0]
    colours = decode.run(None, {'feat': feat, 'coord': coord.numpy(), 'cell': cell.numpy()})[0]
    np.testing.assert_allclose(colours, rgb, rtol=0, atol=1e-4)


def test_export__of_the_quickstart_network(tmp_path, monkeypatch):
    """As `basicsr train -opt quickstart` leaves it; its files hold gathers, and no grid_sample."""
    onnx = pytest.importorskip('onnx')
    save(load_options(shipped_options()['quickstart'])['network_g'], tmp_path / 'w.pth')
    assert run_here(monkeypatch, tmp_path, 'export', '--weights', 'w.pth', '-o', 'out') == 0
    operators = {node.op_type for node in onnx.load(str(tmp_path / 'out/decoder.onnx')).graph.node}
    assert 'GridSample' not in operators and any('Gather' in op for op in operators)


def test_export__refuses(tmp_path, monkeypatch, capsys):
    pytest.importorskip('onnxruntime')
    save(NETWORKS['liif'], tmp_path / 'w.pth')
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out/decoder.onnx').write_text('precious')
    assert run_here(monkeypatch, tmp_path, 'export', '--weights', 'w.pth', '-o', 'out') == 2
    assert 'out/decoder.onnx: exists' in capsys.readouterr().err
    assert [p.name for p in (tmp_path / 'out').iterdir()] == ['decoder.onnx']
    assert (tmp_path / 'out/decoder.onnx').read_text() == 'precious'
    (tmp_path / 'file').write_text('')
    assert run_here(monkeypatch, tmp_path, 'export', '--weights', 'w.pth', '-o', 'file/x') == 2
    assert 'file/x: cannot write here (Not a directory)' in capsys.readouterr().err
    save({'type': 'SubPixelSR', 'encoder': SMALL}, tmp_path / 's.pth')
    for command in (['export', '-o', 'new'], ['complexity']):
        assert run_here(monkeypatch, tmp_path, *command, '--weights', 's.pth') == 2
        assert (
            'SubPixelSR has one scale of its own; needed a network for any: LIIF, LTE'
            in capsys.readouterr().err
        )
    monkeypatch.setattr('importlib.util.find_spec', lambda name, *a: None)
    assert run_here(monkeypatch, tmp_path, 'export', '--weights', 'w.pth', '-o', 'new') == 2
    assert (
        "onnx, onnxscript, onnxruntime: not installed; pip install 'basicsr-liif[export]'"
        in capsys.readouterr().err
    )


def test_export__what_cannot_be_leaves_nothing(tmp_path, monkeypatch, capsys):
    pytest.importorskip('onnxruntime')
    save({'type': 'LIIF', 'encoder': SWINIR, 'hidden_list': [8]}, tmp_path / 'w.pth')
    monkeypatch.setattr('torch.onnx.export', lambda *a, **k: 1 / 0)
    assert run_here(monkeypatch, tmp_path, 'export', '--weights', 'w.pth', '-o', 'out') == 2
    assert (
        'encoder.onnx: LIIF on SwinIR cannot be exported with free sizes' in capsys.readouterr().err
    )
    assert not list((tmp_path / 'out').iterdir())


def test_export__of_attention_masks_is_refused(tmp_path, monkeypatch, capsys):
    """Their exporter fixes them to the size that it saw, without a word; the comparison finds
    it.
    """
    pytest.importorskip('onnxruntime')
    save(
        {
            'type': 'LIIF',
            'encoder': SWINIR,
            'hidden_list': [8],
        },
        tmp_path / 'w.pth',
    )
    assert run_here(monkeypatch, tmp_path, 'export', '--weights', 'w.pth', '-o', 'out') == 2
    assert 'as SwinIR its attention masks' in capsys.readouterr().err and not list(
        (tmp_path / 'out').iterdir()
    )


def convolution(inputs: int, outputs: int) -> int:
    return inputs * outputs * 9


def test_complexity__counts_made_by_hand():
    edsr = convolution(3, 64) + 33 * convolution(64, 64)
    liif = complexity(LIIF())
    assert liif.per_input == edsr + convolution(64, 256)
    assert (
        liif.per_output == 4 * (2 * 256 + 3 * 256**2) + 2 * 256 + 3 * 256
    )  # four corners; cell; last layer
    assert (liif.encoder, liif.decoder) == (1220416, 346883)
    lte = complexity(LTE())
    assert lte.per_input == edsr + 2 * convolution(64, 256)
    assert lte.per_output == 4 * 3 * 256**2 + 2 * 128 + 3 * 256
    meta = complexity(MetaSR())
    assert (
        meta.per_input == edsr + convolution(64, 3 * 257) and meta.per_output == 3 * 256 + 3 * 256
    )
    fixed = complexity(SubPixelSR(scale=2))
    assert fixed.per_output == 0 and fixed.per_input == edsr + convolution(
        64, 256
    ) + 4 * convolution(64, 3)
    small = complexity(
        LIIF(RDNEncoder(num_feat=4, num_block=1, num_layer=1, growth=2), [8], local_ensemble=False)
    )
    assert small.per_output == 2 * 8 + 2 * 8 + 3 * 8
    assert liif.of_image((10, 20), (40, 30)) == liif.per_input * 200 + liif.per_output * 1200


def test_complexity__as_a_command(tmp_path, monkeypatch, capsys):
    assert run_here(monkeypatch, tmp_path, 'complexity', '-opt', 'train_liif_edsr') == 0
    row = capsys.readouterr().out.splitlines()[-1]
    assert [cell.strip() for cell in row.split('|')[1:-1]] == [
        'LIIF',
        'EDSREncoder',
        '1,567,299',
        '1,220,416',
        '1,365.7',
        '789.8',
        '74.1',
        '229.4',
    ]
    assert run_here(monkeypatch, tmp_path, 'complexity') == 2
    assert '--weights, -opt: needed one of them.' in capsys.readouterr().err


@pytest.mark.parametrize(
    'network,part',
    [
        ('LIIF', 'network_g: found'),
        ({'type': 'LIIF', 'encoder': 'EDSR'}, 'encoder'),
        ({'type': 'LIIF', 'encoder': {'num_feat': 3}}, 'needed "type: NAME"'),
        (
            {'type': 'LIIF', 'encoder': {**SWINIR, 'window_size': 7}},
            'cannot build its network_g (shape',
        ),
    ],
)
def test_complexity__of_options_that_describe_no_network(
    network, part, tmp_path, monkeypatch, capsys
):
    write_options(tmp_path / 'o.yml', {'network_g': network})
    assert run_here(monkeypatch, tmp_path, 'complexity', '-opt', 'o.yml') == 2
    error = capsys.readouterr().err
    assert part in error and 'Traceback' not in error and error.count('\n') == 1, error


def test_complexity__of_attention():
    """Windows of 4x4, 12 channels in 2 heads: qkv, scores, sums, projection and MLP of two blocks,
    and convolutions.

    mmengine counts five a value for each of the six layer norms.
    """
    cost = complexity(LIIF(SWINIR, [8]))
    block = 3 * 12 * 12 + 16 * 12 + 16 * 12 + 12 * 12 + 2 * 12 * 48
    assert cost.per_input == (
        convolution(3, 12)
        + 2 * block
        + 2 * convolution(12, 12)
        + convolution(12, 64)
        + convolution(64, 8)
        + 6 * 5 * 12
    )
