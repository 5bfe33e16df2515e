"""The checks of `scripts/gpu_check.py` that train: stopped and resumed, and on several GPUs."""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
import yaml
from gpu_paths import Check

sys.path.append(str(Path(__file__).absolute().parents[1] / 'tests/stress'))

import crash_test  # the trainings that it kills and resumes are trained here, too

STOPPED = 75  # exit status of a training that a signal has stopped
LONGEST = 900  # seconds that one of the trainings may take


def resume(args: argparse.Namespace, device: torch.device) -> list[Check]:
    """A training that is stopped and resumed, beside one that is not; `deterministic: true`."""
    with tempfile.TemporaryDirectory() as root:
        whole, cut = Path(root, 'whole'), Path(root, 'cut')
        for folder in (whole, cut):
            write_training(folder, 1, device)
        wait(crash_test.start(whole, 1), whole, 0)
        process = crash_test.start(cut, 1)
        stop(process, cut)
        wait(process, cut, STOPPED)
        wait(crash_test.start(cut, 1, '--auto_resume'), cut, 0)
        one, two = crash_test.results(whole), crash_test.results(cut)
    differ = [part for part in one if not crash_test.equal(one[part], two[part])]
    return [
        Check(
            'a training, stopped and resumed',
            ', '.join(differ) or 'equal',
            'equal, bit for bit',
            not differ,
        )
    ]


def together(args: argparse.Namespace, device: torch.device) -> list[Check]:
    """A training by two processes beside one process's: NCCL on two GPUs, gloo on CPUs."""
    name = 'two processes train as one'
    if device.type == 'cuda' and torch.cuda.device_count() < 2:
        return [Check(name, 'needs two GPUs', '', None)]
    ends = []
    with tempfile.TemporaryDirectory() as root:
        for processes in (1, 2):
            folder = Path(root, str(processes))
            write_training(folder, processes, device)
            wait(crash_test.start(folder, processes), folder, 0)
            ends.append(crash_test.results(folder)['network']['params'])
    largest = max((ends[0][key] - ends[1][key]).abs().max().item() for key in ends[0])
    return [
        Check.of(f'{name}: largest difference of a parameter', largest, 0.01)
    ]  # Adam enlarges the sums' rounding


def write_training(folder: Path, processes: int, device: torch.device) -> None:
    """Option file and images of `crash_test`'s training, which the device makes samples of."""
    folder.mkdir()
    crash_test.write_case(folder, processes)
    path = folder / 'o.yml'
    options = yaml.safe_load(path.read_text())
    options['deterministic'] = True
    options['num_gpu'] = processes if device.type == 'cuda' else 0
    options['train']['cuda_graph'] = processes == 1
    options['datasets']['train']['degrade'] = 'device'
    path.write_text(yaml.safe_dump(options))


def stop(process: subprocess.Popen, folder: Path) -> None:
    """SIGTERM once a third of the iterations is done."""
    end = time.monotonic() + LONGEST
    while process.poll() is None and time.monotonic() < end:
        if crash_test.last_iteration(folder) >= crash_test.TOTAL // 3:
            break
        time.sleep(0.01)
    if process.poll() is None:
        os.kill(process.pid, signal.SIGTERM)


def wait(process: subprocess.Popen, folder: Path, expected: int) -> None:
    """Until a training ends.

    Raises:
        RuntimeError: It takes too long, or ends with another status; with the end of its output.
    """
    try:
        status = process.wait(LONGEST)
    except subprocess.TimeoutExpired:
        crash_test.kill(process)
        status = f'nothing after {LONGEST} seconds'
    if status != expected:
        last = crash_test.tail(folder).strip().splitlines()[-3:]
        raise RuntimeError(f'a training ended with {status}, not {expected}: {" / ".join(last)}')
