"""What several processes of one run do together: agree, gather, share a validation out."""

import gc
import os
import signal
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from functools import lru_cache

import torch
import torch.distributed as dist
from basicsr.models.sr_model import SRModel
from basicsr.utils.dist_util import get_dist_info
from torch.utils.data import DataLoader, Dataset

from liif_arch.training.patching import Patch, replaced

# A validation may take hours; a process that dies ends the others by itself.
LONG = timedelta(days=7)

_started_by = os.getppid()


def launcher_is_gone() -> bool:
    """Whether torchrun, or `basicsr train --nproc`, has been killed: nobody would end this process
    any more.
    """
    return 'TORCHELASTIC_RUN_ID' in os.environ and os.getppid() != _started_by


def end_when_told() -> None:
    """Until its training begins, let SIGTERM end this process of several at once.

    It may wait for another process, which is gone, in code that runs no handler of Python's;
    nothing is written yet.
    """
    if 'RANK' in os.environ and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@lru_cache(maxsize=1)
def _host_group():
    """A group that waits on the CPU, so that a GPU's work goes on."""
    return dist.new_group(backend='gloo', timeout=LONG)


def any_of(flag: bool) -> bool:
    """Whether `flag` holds in any process; all get the same answer."""
    if get_dist_info()[1] == 1:
        return flag
    found = torch.tensor([int(flag)])
    dist.all_reduce(found, dist.ReduceOp.MAX, group=_host_group())
    return bool(found)


def gather(value: object) -> list:
    """Every process's value, by rank."""
    from mmengine.dist import all_gather_object

    if get_dist_info()[1] == 1:
        return [value]
    return all_gather_object(value, _host_group())


class _Share(Dataset):
    """A process's part of a dataset: every how manyth item."""

    def __init__(self, dataset: Dataset) -> None:
        rank, ranks = get_dist_info()
        self.dataset, self.opt, self.items = dataset, dataset.opt, range(rank, len(dataset), ranks)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict:
        return self.dataset[self.items[index]]


def dist_validation(
    model: SRModel, loader: DataLoader, current_iter: int, tb_logger, save_img: bool
) -> None:
    """`SRModel.dist_validation`, shared out, with the figures of one process to the last digit.

    BasicSR validates in the first process, while the others run into the next exchange of gradients
    and time out.
    """
    share, metrics = _Share(loader.dataset), list(model.opt['val'].get('metrics') or {})
    figures = _figures_of(
        model,
        lambda: (
            len(share) and model.nondist_validation(DataLoader(share), current_iter, None, save_img)
        ),
    )
    gathered = gather(figures)
    if not metrics:
        return
    name, count = loader.dataset.opt['name'], len(loader.dataset)
    ranks = len(gathered)
    model._initialize_best_metric_results(name)
    model.metric_results = dict.fromkeys(metrics, 0)
    for i in range(count):  # in the order of one process, whose sums are these
        for k, metric in enumerate(metrics):
            model.metric_results[metric] += gathered[i % ranks][i // ranks * len(metrics) + k]
    for metric in metrics:
        model.metric_results[metric] /= count
        model._update_best_metric_result(name, metric, model.metric_results[metric], current_iter)
    if get_dist_info()[0] == 0:
        model._log_validation_metric_values(current_iter, name, tb_logger)


def _figures_of(model: SRModel, validate: Callable[[], object]) -> list[float]:
    """Every figure that BasicSR's validation computes, in its order; what it would log and remember
    is left out.
    """
    # Some plugins copy the function, to change a line.
    module = sys.modules[type(model).nondist_validation.__module__]
    figures, calculate = [], module.calculate_metric

    def record(data: dict, opt: dict) -> float:
        figures.append(calculate(data, opt))
        return figures[-1]

    def nothing(*_: object) -> None:
        """What one process of several neither logs nor remembers."""

    why = 'the figures are put together first'
    patches = [
        Patch(module, 'calculate_metric', record, why),
        Patch(model, '_update_best_metric_result', nothing, why),
        Patch(model, '_log_validation_metric_values', nothing, why),
    ]
    with replaced(patches):
        validate()
    return figures


def leave() -> None:
    """End the process groups while everything is still there: gloo's threads, if they outlive it,
    abort the process.
    """
    if dist.is_available() and dist.is_initialized():
        _host_group.cache_clear()
        gc.collect()  # models that hold a group
        dist.destroy_process_group()
