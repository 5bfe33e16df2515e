"""A network recorded as a CUDA graph, without a GPU: passes that are called again stand in for
those that are recorded.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import pytest
import torch
from helpers import run_here, saved_train, write_options
from torch import Tensor, nn

from liif_arch.errors import UserError
from liif_arch.models import cuda_graph
from liif_arch.models.cuda_graph import GraphedNetwork
from liif_arch.training.checkpoints import load_file

capture_on_a_gpu = cuda_graph.capture


def capture(*passes: Callable[[], None]) -> list[SimpleNamespace]:
    """As `cuda_graph.capture`: all passes once, then each again when it is replayed."""
    for work in passes:
        work()
    return [SimpleNamespace(replay=torch.enable_grad()(work)) for work in passes]


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch):
    """Every test of this file."""
    monkeypatch.setattr(cuda_graph, 'capture', capture)


class Net(nn.Module):
    """With a layer that its output does not depend on."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
        self.unused = nn.Linear(2, 2)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """(B, 3), (B, 2) -> (B, 2)."""
        return self.layers(x) * y


def gradients(net: nn.Module, work: Callable[..., Tensor], *batches: tuple) -> list[Tensor | None]:
    """Of the sum of squares of what several batches give."""
    net.zero_grad()
    for batch in batches:
        work(*batch).pow(2).sum().backward()
    return [each.grad for each in net.parameters()]


def batch(size: int) -> tuple[Tensor, Tensor]:
    return torch.randn(size, 3), torch.randn(size, 2)


@pytest.mark.parametrize('sizes', [[5], [5, 5], [5, 7], [7, 5, 5]])
def test_gradients__are_those_without_a_recording(sizes):
    """Of batches one after the other, of parts of a batch, and of another size."""
    torch.manual_seed(0)
    net = Net()
    graphed = GraphedNetwork(net, net)
    graphed(*batch(5))
    for _ in range(3):
        batches = [batch(size) for size in sizes]
        expected = gradients(net, net, *batches)
        found = gradients(net, graphed, *batches)
        assert [each is None for each in found] == [False] * 4 + [True] * 2
        for one, other in zip(found[:4], expected[:4], strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=0)
        with torch.no_grad():
            for each in net.parameters():
                each.add_(0.1)


def test_recording__is_done_again_for_parameters_that_lie_elsewhere(monkeypatch):
    """As an optimiser may put them, which replaces them; a recording reads where they were."""
    recorded = []
    monkeypatch.setattr(
        cuda_graph, 'capture', lambda *passes: (recorded.append(1), capture(*passes))[1]
    )
    net = Net()
    graphed = GraphedNetwork(net, net)
    inputs = batch(5)
    for count in (1, 1, 2, 2):
        if count > len(recorded) > 0:
            net.layers[0].weight.data = net.layers[0].weight.data + 1
            graphed(*batch(4))  # of another size: it is not what is recorded
        assert torch.equal(graphed(*inputs), net(*inputs)) and len(recorded) == count


def test_recording__moves_neither_buffers_nor_random_numbers():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
    inputs = torch.randn(6, 3)
    before = torch.get_rng_state()
    expected = net(inputs)
    mean = net[1].running_mean.clone()
    net[1].reset_running_stats()
    torch.set_rng_state(before)
    found = GraphedNetwork(net, net)(inputs)
    assert torch.equal(found, expected) and torch.equal(net[1].running_mean, mean)
    assert net[1].num_batches_tracked == 1


def test_what_cannot_be_recorded_is_named(monkeypatch):
    """By what CUDA said first, and by the option; a network's own errors stay what they are."""
    faults = {}

    @contextmanager
    def recording(*settings: object, **more: object) -> Iterator[None]:
        try:
            yield
        finally:
            if faults:
                raise RuntimeError('CUDA error: operation failed due to a previous error')

    stream = SimpleNamespace(wait_stream=lambda other: None)
    monkeypatch.setattr(cuda_graph, 'capture', capture_on_a_gpu)
    for name, value in {
        'Stream': lambda: stream,
        'current_stream': lambda: stream,
        'stream': lambda it: nullcontext(),
        'graph_pool_handle': lambda: 0,
        'CUDAGraph': lambda: SimpleNamespace(replay=None),
        'graph': recording,
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    calls = []

    def work(self: object, x: Tensor, y: Tensor) -> Tensor:
        calls.append(1)
        if len(calls) > cuda_graph.WARM_UPS:  # it is recorded
            faults['first'] = True
            raise RuntimeError('CUDA error: operation not permitted\nCompile with ...')
        return self.layers(x) * y

    monkeypatch.setattr(Net, 'forward', work)
    net = Net()
    graphed = GraphedNetwork(net, net)
    with pytest.raises(UserError) as caught:
        graphed(*batch(5))
    assert str(caught.value.within('LIIFModel, first step')).startswith(
        'LIIFModel, first step: train.cuda_graph: Net cannot be recorded '
        '(CUDA error: operation not permitted); set it to false'
    )
    calls.clear()
    with pytest.raises(RuntimeError, match='shapes cannot be multiplied'):
        GraphedNetwork(net, net)(torch.randn(5, 2), torch.randn(5, 2))


def test_a_second_call_before_the_backward_pass_is_an_error():
    net = Net()
    graphed = GraphedNetwork(net, net)
    first = graphed(*batch(5))
    graphed(*batch(5))
    with pytest.raises(RuntimeError, match='called again'):
        first.sum().backward()


def test_too_little_memory_stays_what_it_is(monkeypatch):
    def fail(*passes: object) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(cuda_graph, 'capture', fail)
    net = Net()
    with pytest.raises(torch.OutOfMemoryError):
        GraphedNetwork(net, net)(*batch(5))


def train(monkeypatch, folder, options: dict, *flags: str) -> dict:
    """The network at the end of a training."""
    folder.mkdir(exist_ok=True)
    write_options(folder / 'o.yml', options)
    assert run_here(monkeypatch, folder, 'train', '-opt', 'o.yml', *flags) == 0
    return load_file(folder / 'experiments/tiny/models/net_g_6.pth')


PARTS = {'train__accumulate': 2, 'train__max_grad_norm': 0.1, 'train__ema_decay': 0.9}
CONSISTENCY = {'train__consistency_opt': {'type': 'L1Loss'}}


@pytest.mark.parametrize('changes', [{}, PARTS, CONSISTENCY])
def test_train__ends_as_without_it(monkeypatch, tmp_path, photos, changes):
    """Stopped and resumed, too."""
    expected = train(monkeypatch, tmp_path / 'plain', saved_train(photos, **changes))
    recorded = []
    monkeypatch.setattr(cuda_graph, 'is_able', lambda device: True)
    monkeypatch.setattr(
        cuda_graph, 'capture', lambda *passes: (recorded.append(1), capture(*passes))[1]
    )
    options = saved_train(photos, train__cuda_graph=True, **changes)
    found = train(monkeypatch, tmp_path / 'graph', options)
    assert recorded
    folder = tmp_path / 'graph/experiments/tiny'
    for stale in (*folder.glob('training_states/[456].state'), *folder.glob('models/*_[456l]*')):
        stale.unlink()
    again = train(monkeypatch, tmp_path / 'graph', options, '--auto_resume')
    for end in (found, again):
        for key, value in expected['params'].items():
            torch.testing.assert_close(end['params'][key], value, rtol=0, atol=0)


def test_options__of_pytorchs_that_record_what_is_gone(monkeypatch, tmp_path, photos, capsys):
    monkeypatch.setattr(torch, '__version__', torch.torch_version.TorchVersion('2.10.1+cu128'))
    options = saved_train(photos, train__cuda_graph=True)
    options['network_g']['encoder'] = {'type': 'SwinIR', 'embed_dim': 12}
    write_options(tmp_path / 'o.yml', options)
    assert run_here(monkeypatch, tmp_path, 'train', '-opt', 'o.yml') == 2
    found = capsys.readouterr().err
    assert 'train.cuda_graph: found it with PyTorch 2.10.1+cu128 and SwinIR; needed' in found


def test_train__on_a_cpu_records_nothing(monkeypatch, tmp_path, photos):
    monkeypatch.setattr(cuda_graph, 'capture', None)
    train(monkeypatch, tmp_path / 'cpu', saved_train(photos, train__cuda_graph=True))


@pytest.mark.parametrize(
    'changes,text',
    [
        ({'train__compile': True}, 'beside compile'),
        (
            {
                'train__distill_opt': {'features': {'type': 'L1Loss'}},
                'path__pretrain_network_t': 'fast',
            },
            'beside distill_opt.features',
        ),
    ],
)
def test_options__that_a_recording_leaves_out(monkeypatch, tmp_path, photos, capsys, changes, text):
    options = saved_train(photos, train__cuda_graph=True, **changes)
    write_options(tmp_path / 'o.yml', options)
    assert run_here(monkeypatch, tmp_path, 'train', '-opt', 'o.yml') == 2
    assert f'train.cuda_graph: found it {text}' in capsys.readouterr().err
