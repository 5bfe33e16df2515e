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
from dataclasses import fields

import torch

from liif_arch.config import parse
from liif_arch.config.plugins import load_plugins
from liif_arch.errors import MachineError, UserError

STOPPED = (
    75  # exit status of a run that a signal has stopped and that can go on: sysexits' EX_TEMPFAIL
)
LOST = 69  # exit status of a process whose run has lost another one: sysexits' EX_UNAVAILABLE
OUT_OF_MEMORY = (
    "can't allocate memory",
    'not enough memory',
    'Cannot allocate memory',
)  # of CPU allocators
GO_ON = 'The same command with --auto_resume goes on from the last saved state, if there is one.'
GRACE = 60  # seconds that processes have to save, once they are told to stop


def run_pipeline(is_train: bool) -> dict:
    """Run `train_pipeline` or `test_pipeline` on sys.argv, the current directory as root.

    Returns:
        The options of the run.
    """
    from liif_arch.config.check import Problems
    from liif_arch.training import preflight, processes, remedies

    processes.end_when_told()
    remedies.apply()
    load_plugins()
    seen: dict = {}

    def parse_and_check(root_path: str, is_train: bool = True) -> tuple[dict, argparse.Namespace]:
        try:
            problems = Problems()
            opt, args = parse.parse_options(root_path, is_train, problems)
        except UserError:
            if int(os.environ.get('LOCAL_RANK', 0)) > 0:  # the first process of a machine says it
                raise SystemExit(2) from None
            raise
        _agree(lambda: preflight.check(opt, problems))
        seen['opt'] = opt
        return opt, args

    from liif_arch.training.run import Stopped

    try:
        _run(is_train, parse_and_check)
    except Stopped:
        processes.leave()  # as all do
        raise
    except (MemoryError, RuntimeError) as error:
        explained = _explained(error, seen.get('opt', {}))
        if explained is None:
            raise
        raise explained from None
    processes.leave()
    return seen['opt']


def _explained(error: Exception, opt: dict) -> MachineError | None:
    """An error that ended a run, in a line, where it is no fault of the code; None for any
    other.
    """
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    is_allocation = any(text in str(error) for text in OUT_OF_MEMORY)
    if isinstance(error, MachineError):
        reason, status = first, 1
    elif is_allocation or isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        train = opt.get('datasets', {}).get('train')
        batch = f' (now {train["batch_size_per_gpu"]})' if train else ''
        reason, status = (
            (
                f'memory ran out: {first} Lower datasets.train.batch_size_per_gpu{batch}, lq_size '
                'or '
                'num_samples, or set train.precision: bfloat16.'
            ),
            1,
        )
    elif opt.get('dist') and 'onnection' in first:
        reason, status = f'process {opt["rank"]} has lost another one, and ends.', LOST
    else:
        return None
    if status != LOST:  # the process that failed first says how to go on
        reason += f' {GO_ON}'
    return MachineError(reason, status)


def _run(is_train: bool, parse_and_check: Callable) -> None:
    import basicsr.test
    import basicsr.train

    if is_train:
        from liif_arch.training.run import Run

        basicsr.train.parse_options = parse_and_check
        with Run().installed():
            basicsr.train.train_pipeline(os.getcwd())
    else:
        from liif_arch.training.samples import SampleSet

        basicsr.test.parse_options = parse_and_check
        basicsr.test.build_dataset = lambda opt: SampleSet(basicsr.data.build_dataset(opt), opt)
        basicsr.test.test_pipeline(os.getcwd())


def _agree(check: Callable[[], None]) -> None:
    """Run a check in all processes; if it fails in any, all end, and one says why."""
    from liif_arch.training import processes

    error = None
    try:
        check()
    except UserError as found:
        error = str(found)
    errors = processes.gather(error)
    if any(errors):
        if processes.get_dist_info()[0] > 0:
            raise SystemExit(2)
        rank = next(i for i, e in enumerate(errors) if e)
        raise UserError(errors[rank] if errors[0] else f'process {rank}: {errors[rank]}')


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

    logging.getLogger('torch.distributed.elastic').setLevel(
        logging.CRITICAL
    )  # what failed is said below, in a line
    os.environ.setdefault('OMP_NUM_THREADS', str(max(1, (os.cpu_count() or 1) // count)))
    known = {field.name for field in fields(LaunchConfig)}
    grace = {'shutdown_timeout': GRACE} if 'shutdown_timeout' in known else {}
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
        return _status(
            command, {rank: failure.exitcode for rank, failure in error.failures.items()}
        )
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
    how = f'was killed by {signal.Signals(-code).name}' if code < 0 else f'ended with status {code}'
    way_on = ''
    if command == 'train':
        way_on = f' {GO_ON}'
    print(
        f'basicsr {command}: process {rank} {how}; the others were ended.{way_on}',
        file=sys.stderr,
    )
    return 1
