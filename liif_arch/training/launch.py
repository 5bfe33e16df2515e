"""Run BasicSR's own pipelines, with plugins loaded, remedies in place, and the options checked
first.

In this process (`run_pipeline`), or in several that are started and watched from here
(`run_processes`).
"""

import argparse
import logging
import os
import signal
import sys
import uuid
from collections.abc import Callable
from typing import TypeVar

import torch
from torch.utils.data import Dataset

from liif_arch.config import parse
from liif_arch.config.plugins import load_plugins
from liif_arch.errors import MachineError, UserError

Result = TypeVar('Result')
# Exit status of a run that a signal has stopped and that can go on: sysexits' EX_TEMPFAIL.
STOPPED = 75
LOST = 69  # exit status of a process whose run has lost another one: sysexits' EX_UNAVAILABLE
# What allocators of processors and of GPUs' libraries say.
OUT_OF_MEMORY = (
    "can't allocate memory",
    'not enough memory',
    'Cannot allocate memory',
    'out of memory',
    'ALLOC_FAILED',
)
GO_ON = 'The same command with --auto_resume goes on from the last saved state, if there is one.'
GRACE = 60  # seconds that processes have to save, once they are told to stop


class CheckedOptions:
    """Options of a run, which nothing begins with before they are found good.

    Attributes:
        opt: The options; empty before they are parsed.
        networks: The parameters of each network that they describe, without values, by name; see
            `preflight.check`.
    """

    def __init__(self) -> None:
        self.opt: dict = {}
        self.networks: dict = {}

    def parse(self, root_path: str, is_train: bool = True) -> tuple[dict, argparse.Namespace]:
        """`basicsr.utils.options.parse_options`, and everything that a run would fail of.

        Raises:
            UserError: What is wrong, and which key to change.
        """
        from liif_arch.config.check import Problems
        from liif_arch.training import preflight

        problems = Problems()
        try:
            opt, args = parse.parse_options(root_path, is_train, problems)
        except UserError:
            if int(os.environ.get('LOCAL_RANK', 0)) > 0:  # the first process of a machine says it
                raise SystemExit(2) from None
            raise
        self.networks = _agree(lambda: preflight.check(opt, problems))
        self.opt = opt
        return opt, args


class Evaluation:
    """What `test_pipeline` asks for: options that are checked, and datasets that name bad samples.

    Args:
        options: Of the run, once they are parsed.
    """

    def __init__(self, options: CheckedOptions) -> None:
        self.parse_options = options.parse

    def build_dataset(self, opt: dict) -> Dataset:
        """BasicSR's, as a `SampleSet`."""
        from basicsr.data import build_dataset

        from liif_arch.training.addressed import SampleSet

        return SampleSet(build_dataset(opt), opt)


def run_pipeline(is_train: bool) -> dict:
    """Run `train_pipeline` or `test_pipeline` on sys.argv, the current directory as root.

    Returns:
        The options of the run.

    Raises:
        UserError: Something in the options or the files that they name.
        MachineError: Something of the machine: memory, a process that is gone.
        Stopped: A signal has stopped a training.
    """
    from liif_arch.training import processes
    from liif_arch.training.supervisor import Stopped

    processes.end_when_told()
    options = CheckedOptions()
    try:
        if is_train:
            _train(options)
        else:
            _test(options)
    except Stopped:
        processes.leave()  # as all do
        raise
    except (MemoryError, RuntimeError) as error:
        explained = _explained(error, options.opt)
        if explained is None:
            raise
        raise explained from None
    processes.leave()
    return options.opt


def _train(options: CheckedOptions) -> None:
    import basicsr.train

    from liif_arch.training import basicsr_patches
    from liif_arch.training.run import Run

    run = Run(options)
    with basicsr_patches.installed(training=run), run.lasting():
        load_plugins()
        basicsr.train.train_pipeline(os.getcwd())


def _test(options: CheckedOptions) -> None:
    import basicsr.test

    from liif_arch.training import basicsr_patches

    with basicsr_patches.installed(test=Evaluation(options)):
        load_plugins()
        basicsr.test.test_pipeline(os.getcwd())


def _explained(error: Exception, opt: dict) -> MachineError | None:
    """An error that ended a run, in a line, where it is no fault of the code; None for any
    other.
    """
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    if isinstance(error, MachineError):
        return MachineError(f'{first} {GO_ON}')
    if _is_out_of_memory(error):
        batch, train = '', opt.get('datasets', {}).get('train')
        if train:
            batch = f' (now {train["batch_size_per_gpu"]})'
        return MachineError(
            f'memory ran out: {first} Lower datasets.train.batch_size_per_gpu{batch}, lq_size or '
            f'num_samples, or set train.precision: bfloat16. {GO_ON}'
        )
    if opt.get('dist') and 'onnection' in first:  # the process that failed first says how to go on
        return MachineError(f'process {opt["rank"]} has lost another one, and ends.', LOST)
    return None


def _is_out_of_memory(error: Exception) -> bool:
    """Whether an error is of memory, of a GPU or of one of the CPU's allocators."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return any(text in str(error) for text in OUT_OF_MEMORY)


def _agree(check: Callable[[], Result]) -> Result:
    """The result of a check in all processes; if it fails in any, all end, and one says why."""
    from liif_arch.training import processes

    result, error = None, None
    try:
        result = check()
    except UserError as found:
        error = str(found)
    errors = processes.gather(error)
    if any(errors) and processes.get_dist_info()[0] > 0:
        raise SystemExit(2)
    for rank, text in enumerate(errors):
        if text and rank == 0:
            raise UserError(text)
        if text:
            raise UserError(f'process {rank}: {text}')
    return result


def run_processes(command: str, arguments: list[str], count: int, max_restarts: int = 0) -> int:
    """`basicsr COMMAND ARGUMENTS --launcher pytorch` in `count` processes of this machine, by
    torchrun's launcher.

    Returns:
        Exit status: 0; 2 where the processes found a user's mistake (and said so); `STOPPED` after
        a signal; else 1.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    # What failed is said below, in a line.
    logging.getLogger('torch.distributed.elastic').setLevel(logging.CRITICAL)
    os.environ.setdefault('OMP_NUM_THREADS', str(max(1, (os.cpu_count() or 1) // count)))
    grace = {}
    if 'shutdown_timeout' in LaunchConfig.__dataclass_fields__:  # of newer versions of torch
        grace['shutdown_timeout'] = GRACE
    config = LaunchConfig(
        1,
        1,
        count,
        rdzv_backend='c10d',
        rdzv_endpoint='localhost:0',
        max_restarts=max_restarts,
        run_id=uuid.uuid4().hex,
        **grace,
    )
    try:
        elastic_launch(config, sys.executable)(
            '-m', 'liif_arch.cli', command, *arguments, '--launcher', 'pytorch'
        )
    except ChildFailedError as error:
        codes = {rank: failure.exitcode for rank, failure in error.failures.items()}
        return _status(command, codes)
    except SignalException as error:
        print(
            f'basicsr {command}: {signal.Signals(error.sigval).name}: stopped, see above.',
            file=sys.stderr,
        )
        return STOPPED
    return 0


def _status(command: str, codes: dict[int, int]) -> int:
    """What the exit codes of failed processes, by rank, come to; one that failed by itself is
    named.
    """
    if STOPPED in codes.values():
        return STOPPED
    if 2 in codes.values():
        return 2
    ended_by_others = (LOST, -signal.SIGTERM)
    rank, code = min(codes.items(), key=lambda item: item[1] in ended_by_others)
    how = f'ended with status {code}'
    if code < 0:
        how = f'was killed by {signal.Signals(-code).name}'
    way_on = ''
    if command == 'train':
        way_on = f' {GO_ON}'
    print(
        f'basicsr {command}: process {rank} {how}; the others were ended.{way_on}',
        file=sys.stderr,
    )
    return 1
