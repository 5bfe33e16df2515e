"""Networks, samples and figures on a GPU without values: all on one device, and nothing waits.

Here LIIF and SubPixelSR are tried on every encoder; test_decoders.py tries every decoder.
"""

import itertools

import pytest
import torch
from fake_cuda import (
    CUDA,
    Decoded,
    Waits,
    chunks_of,
    fake_cuda,
    moved,
    rendered_on_gpu,
    trained_on_gpu,
)
from helpers import tiny_train
from torch import Tensor

from liif_arch import LIIF, SubPixelSR
from liif_arch.coordinates import grid_lookup
from liif_arch.crop_batches import make_batch
from liif_arch.decode import fast
from liif_arch.devices import constant, from_host
from liif_arch.metrics.fidelity import psnr, psnr_div2k, psnr_y
from liif_arch.models.liif_model import LIIFModel
from liif_arch.precision import autocast, resolve

ENCODERS = {
    'EDSREncoder': {'num_feat': 8, 'num_block': 1},
    'RDNEncoder': {'num_feat': 8, 'num_block': 2, 'growth': 4, 'num_layer': 2},
    'MSRResNet': {'num_feat': 8, 'num_block': 1},
}  # the last is tapped
FLAGS = [
    dict(zip(('local_ensemble', 'feat_unfold', 'cell_decode'), flags, strict=True))
    for flags in itertools.product((True, False), repeat=3)
]
NETWORKS = {
    'SubPixelSR': SubPixelSR,
    **{
        f'LIIF {list(f.values())}': lambda encoder, f=f: LIIF(encoder, [64, 64, 64], **f)
        for f in FLAGS
    },
}
TYPES = {'float32': torch.float32, 'bfloat16': torch.bfloat16}


@pytest.mark.parametrize('precision', TYPES)
@pytest.mark.parametrize('encoder', ENCODERS)
@pytest.mark.parametrize('network', NETWORKS)
def test_networks__on_a_gpu(network, encoder, precision):
    net = NETWORKS[network]({'type': encoder, **ENCODERS[encoder]})
    with fake_cuda():
        net = moved(net)
        batch = [
            torch.rand(*shape, device=CUDA) for shape in ((2, 3, 20, 27), (2, 50, 2), (2, 50, 2))
        ]
        trained_on_gpu(net, *batch, TYPES[precision])
        net.precision, net.decode_memory = precision, 2  # MiB: an image is several tiles
        rendered_on_gpu(net, *batch)


@pytest.mark.parametrize('precision', TYPES)
@pytest.mark.parametrize('flags', FLAGS, ids=lambda flags: str(list(flags.values())))
def test_decode__has_its_gradients_on_the_gpu(monkeypatch, flags, precision):
    monkeypatch.setattr(fast, 'Decode', Decoded)
    net = NETWORKS[f'LIIF {list(flags.values())}'](
        {'type': 'EDSREncoder', **ENCODERS['EDSREncoder']}
    )
    with fake_cuda(), autocast(CUDA, TYPES[precision]):
        feat, coord, cell = (
            torch.rand(*shape, device=CUDA) for shape in ((2, 8, 9, 7), (2, 50, 2), (2, 50, 2))
        )
        assert moved(net).query(feat, coord, cell).device == CUDA


@pytest.mark.parametrize('encoder', ENCODERS)
@pytest.mark.parametrize('network', NETWORKS)
def test_networks__gradients_wait_for_nothing(network, encoder):
    """By autograd's engine, on a device that has no values to wait for."""
    net = NETWORKS[network]({'type': encoder, **ENCODERS[encoder]}).to('meta')
    lq, coord, cell = (
        torch.rand(*shape, device='meta') for shape in ((2, 3, 20, 27), (2, 50, 2), (2, 50, 2))
    )
    for more in chunks_of(net):
        net.zero_grad()
        net.query(net.encode(lq), coord, cell, *more).abs().mean().backward()
        with_gradient = [p for p in net.parameters() if p.grad is not None]
        assert len(with_gradient) > 3 and {p.grad.device.type for p in with_gradient} == {'meta'}


@pytest.mark.parametrize(
    'case,launches', [('64', 1), ('96', 0), ('64, float16', 1), ('64, sm_75', 0)]
)
def test_render__by_the_kernel_where_it_has_one(case, launches):
    width = int(case[:2])
    net = LIIF({'type': 'EDSREncoder', **ENCODERS['EDSREncoder']}, [width, width])
    net = net.half() if 'float16' in case else net
    capability = (7, 5) if 'sm_75' in case else (8, 6)
    net.precision = 'auto'
    with fake_cuda(capability=capability) as launch, torch.no_grad():
        feat = torch.rand(1, 8, 5, 6, device=CUDA, dtype=next(net.parameters()).dtype)
        assert moved(net).render(feat, (11, 13)).device == CUDA
        assert launch.count == launches


@pytest.mark.parametrize('patch', [False, True])
def test_make_batch__on_a_gpu(patch):
    with fake_cuda():
        crop = torch.zeros(3, 48, 48, 3, dtype=torch.uint8, device=CUDA)
        size = torch.zeros(3, 2, dtype=torch.int64, device=CUDA)
        batch = make_batch(crop, size, size[:, 0], 12, 100, patch)
        assert {x.device for x in batch.values()} == {CUDA}
        assert batch['lq'].shape == (3, 3, 12, 12) and batch['gt'].shape == (3, 100, 3)


@pytest.mark.parametrize('figure', [psnr, psnr_y, psnr_div2k])
def test_figures__of_images_on_a_gpu_wait_once(figure):
    """For the figure itself. SSIM is BasicSR's, by OpenCV: both images go to the host first."""
    with fake_cuda(reads=1):
        sr, gt = (torch.rand(3, 40, 50, device=CUDA) for _ in range(2))
        assert isinstance(figure(sr, gt, (2, 2)), float)
        with pytest.raises(Waits, match='a number is read'):
            figure(sr, gt, (2, 2))


@pytest.mark.parametrize('degrade', ['worker', 'device'])
def test_step__of_a_training_waits_for_nothing(tmp_path, photos, monkeypatch, degrade):
    """A batch goes over, forward, Adam, the moving average; losses are looked at later."""
    options = tiny_train(photos, train__precision='float32')
    options['datasets']['train']['degrade'] = degrade
    options.update(is_train=True, dist=False, rank=0, world_size=1)
    options['path'].update(
        experiments_root=str(tmp_path), models=str(tmp_path), training_states=str(tmp_path)
    )
    model = LIIFModel(options)
    batch = {
        'lq': torch.rand(2, 3, 8, 8),
        'gt': torch.rand(2, 32, 3),
        'coord': torch.rand(2, 32, 2),
        'cell': torch.rand(2, 32, 2),
    }
    if degrade == 'device':
        batch = {
            'crop': torch.zeros(2, 32, 32, 3, dtype=torch.uint8),
            'size': torch.tensor([[9, 32], [32, 20]]),
            'seed': torch.tensor([1, 2]),
        }
    options['train']['optim_g']['type'] = 'Adam'  # BasicSR has taken it out
    monkeypatch.setattr(Tensor, 'backward', lambda loss: _gradients(model.net_g))
    with fake_cuda():
        model.device, model.dtype = CUDA, torch.bfloat16
        model.net_g, model.net_g_ema = moved(model.net_g), moved(model.net_g_ema)
        model.setup_optimizers()
        model.feed_data(batch)
        model.optimize_parameters(1)
        assert model.log_dict['l_pix'].device == CUDA
        with pytest.raises(Waits, match='a number is read'):
            float(model.log_dict['l_pix'])  # as a run does when it logs


def _gradients(net: torch.nn.Module) -> None:
    for parameter in net.parameters():
        parameter.grad = torch.ones_like(parameter)


@pytest.mark.parametrize(
    'what,work',
    [
        ('a number', lambda x: x.sum().item()),
        ('a number', lambda x: bool(x.sum() > 0)),
        ('goes from', lambda x: x.new_tensor([1.0])),
        ('goes from', lambda x: x.cpu()),
        ('goes from', lambda x: x.copy_(torch.zeros(3))),
        ('a mask', lambda x: x[x > 0]),
        ('an index', lambda x: x[torch.tensor([0, 1])]),
        ('at least two devices', lambda x: x + torch.zeros(3)),
        ('nonzero', lambda x: x.nonzero()),
        ('equal', lambda x: torch.equal(x, x)),
    ],
)
def test_fake_cuda__sees_what_waits(what, work):
    with fake_cuda(), pytest.raises(Exception, match=what):
        work(torch.zeros(3, device=CUDA))


@pytest.mark.parametrize('capability,expected', [((7, 5), torch.float32), ((8, 0), torch.bfloat16)])
def test_precision__auto_asks_the_gpu(capability, expected):
    with fake_cuda(capability=capability):
        assert resolve('auto', CUDA) == expected


def test_from_host__and_constants():
    values = torch.arange(3)
    assert from_host(values, 'cpu') is values
    made = constant((1.5, 2), torch.zeros(1, dtype=torch.float64))
    assert made.dtype == torch.float64 and made.tolist() == [1.5, 2.0]
    with fake_cuda():
        assert from_host(values, 'cuda').device == CUDA
        assert constant([1.0], torch.zeros(2, device=CUDA)).device == CUDA


@pytest.mark.parametrize(
    'n_out,n,local_ensemble', [(30, 10, True), (31, 12, False), (5, 9, True), (1, 1, True)]
)
def test_span__is_that_of_the_indices(n_out, n, local_ensemble):
    lookup = grid_lookup(n_out, n, local_ensemble)
    for start, origin in itertools.product(range(0, n_out, 3), (0, 2)):
        part = lookup.window(start, start + 4, origin)
        assert part.span() == (part.index.min().item(), part.index.max().item() + 1)
