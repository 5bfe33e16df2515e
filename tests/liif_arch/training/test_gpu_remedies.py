"""What BasicSR does on GPUs that would be wrong here, without a GPU."""

import os
from types import SimpleNamespace

import pytest
from basicsr.data.prefetch_dataloader import CUDAPrefetcher

from liif_arch.training import basicsr_patches, launch, remedies


class Stream:
    """Stands in for one of CUDA's."""

    def __init__(self, order: list[str], name: str) -> None:
        self.order, self.name = order, name

    def wait_stream(self, other: 'Stream') -> None:
        """See `torch.cuda.Stream`."""
        self.order.append(f'{self.name} waits for {other.name}')


def test_samples_that_a_gpu_still_reads_are_not_overwritten(monkeypatch):
    """The copy of the next batch begins after what the device has been given so far."""
    order: list[str] = []
    monkeypatch.setattr('torch.cuda.current_stream', lambda: Stream(order, 'steps'))
    monkeypatch.setattr(remedies, 'basicsr_preload', lambda self: order.append('copy'))
    remedies.preload(SimpleNamespace(stream=Stream(order, 'copies')))
    assert order == ['copies waits for steps', 'copy']
    [patch] = [row for row in basicsr_patches.ALWAYS if row.owner is CUDAPrefetcher]
    assert (patch.name, patch.by) == ('preload', remedies.preload)


def test_a_task_of_slurm_has_the_gpu_of_its_number_on_the_machine(monkeypatch):
    """Tasks 0 and 2 of a job may be the first two of one machine."""
    chosen: list[int] = []
    monkeypatch.setattr('torch.cuda.is_available', lambda: True)
    monkeypatch.setattr('torch.cuda.device_count', lambda: 2)
    monkeypatch.setattr('torch.cuda.set_device', chosen.append)
    monkeypatch.setattr(remedies, 'basicsr_init_dist_slurm', lambda *arguments: chosen.append(0))
    monkeypatch.setenv('LOCAL_RANK', '0')
    monkeypatch.setenv('SLURM_LOCALID', '1')
    remedies.init_dist_slurm('nccl')
    assert chosen == [0, 1] and os.environ['LOCAL_RANK'] == '1'


@pytest.mark.parametrize(
    'text',
    [
        'CUDA error: out of memory',
        'CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`',
        "NCCL error: unhandled cuda error, Cuda failure 2 'out of memory'",
    ],
)
def test_memory__of_a_gpus_libraries_is_told_as_such(text):
    assert 'memory ran out' in str(launch._explained(RuntimeError(text), {}))
