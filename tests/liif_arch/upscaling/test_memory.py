"""How much memory computations take, and what is said where there is too little."""

import pytest
import torch
from helpers import photo
from torch import nn

from liif_arch import LIIF, upscale
from liif_arch.archs.tapped_encoder import as_encoder
from liif_arch.errors import UserError
from liif_arch.upscaling import memory


def test_peak_bytes__of_tensors_that_are_alive_at_once():
    x = torch.zeros(1000)  # 4,000 bytes, made before

    def run():
        y = x + 1
        y.add_(1).view(10, 100)  # in place, and a view
        y = torch.cat([y, y])  # 4,000 and 8,000
        del y
        return x * 2

    assert memory.peak_bytes(run) == 12000
    assert memory.peak_bytes(lambda: x.view(10, 100)) <= 4000


def test_peak_floats__of_a_convolution_and_of_attention_between_all_pixels():
    class Network(nn.Module):
        def __init__(self, attention: bool) -> None:
            super().__init__()
            self.first, self.up = nn.Conv2d(3, 8, 3, 1, 1), nn.Conv2d(8, 12, 3, 1, 1)
            self.shuffle, self.attention = nn.PixelShuffle(2), attention

        def forward(self, x):
            x = self.first(x)
            if self.attention:
                tokens = x.flatten(2)
                x = (tokens @ (tokens.transpose(1, 2) @ tokens).softmax(-1)).view(x.shape)
            return self.shuffle(self.up(x))

    convolution, attention = (as_encoder(Network(kind), 3) for kind in (False, True))
    assert convolution.peak_floats(100, 200) == pytest.approx(memory.WORKSPACE * 8 * 20000)
    assert attention.peak_floats(64, 128) > 3.5 * attention.peak_floats(64, 64)


@pytest.mark.parametrize(
    'limit,expected', [('max', 1000), ('300', 300), ('9223372036854771712', 1000), (None, 1000)]
)
def test_machine_memory__of_a_container(tmp_path, monkeypatch, limit, expected):
    monkeypatch.setattr(
        memory.os, 'sysconf', lambda name: {'SC_PAGE_SIZE': 10, 'SC_PHYS_PAGES': 100}[name]
    )
    monkeypatch.setattr(memory, 'CGROUP_LIMITS', [tmp_path / 'limit'])
    if limit is not None:
        (tmp_path / 'limit').write_text(limit + '\n')
    assert memory.machine_memory() == expected


@pytest.mark.parametrize(
    'error',
    [
        MemoryError(),
        torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 9 GiB'),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ],
)
@pytest.mark.parametrize(
    'encoder,part',
    [
        (
            {'type': 'EDSREncoder', 'num_feat': 4, 'num_block': 1},
            'at a budget of 64 MiB; lower it .--memory 32',
        ),
        (
            {'type': 'RCAN', 'num_feat': 8, 'num_group': 1, 'num_block': 1, 'squeeze_factor': 2},
            'RCAN has to see all of an image of 10x12',
        ),
    ],
)
@pytest.mark.parametrize('where', ['encode', 'render_window'])
def test_out_of_memory__names_the_way_out(monkeypatch, error, encoder, part, where):
    net = LIIF(encoder, [8])

    def fail(*_):
        raise error

    monkeypatch.setattr(net, where, fail)
    with pytest.raises(UserError, match=f'memory: this machine has none left.*{part}'):
        upscale(net, photo(12, 10), scale=2, memory=64)


def test_out_of_memory__other_errors_are_not_hidden(monkeypatch):
    net = LIIF({'type': 'EDSREncoder', 'num_feat': 4, 'num_block': 1}, [8])

    def fail(*_):
        raise RuntimeError('shapes do not match')

    monkeypatch.setattr(net, 'encode', fail)
    with pytest.raises(RuntimeError, match='shapes do not match'):
        upscale(net, photo(12, 10), scale=2)
