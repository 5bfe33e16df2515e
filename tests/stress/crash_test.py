"""Trainings killed with `kill -9` at random moments, a third of them while they save, and resumed
until they end.

    # 36 kills, five to ten minutes on two CPU cores.
    python tests/stress/crash_test.py
    python tests/stress/crash_test.py --kills 3 --processes 1

Every run must go on after every kill, and end bit for bit as the run that nobody killed:
parameters, their moving average, optimiser, schedule, random generators and best figures. One
process and two; exit status 1 where one does not.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

TOTAL, SAVED_EVERY, VALIDATED_EVERY = 60, 6, 20


class Kill(NamedTuple):
    """One kill.

    Its fields: at which iteration it came, whether while saving, from where the run went on.
    """

    iteration: int
    saving: bool
    resumed: int | None


def write_case(folder: Path, processes: int) -> None:
    """Write the option file and images of a training of seconds.

    Its network is large enough that a save takes a while.
    """
    import yaml

    from liif_arch.files.images import write_image

    for i in range(4):
        image = np.random.default_rng(i).integers(256, size=(48, 48, 3), dtype=np.uint8)
        write_image(folder / 'gt' / f'{i}.png', image)
    options = {
        'name': 'crash',
        'model_type': 'LIIFModel',
        'num_gpu': 0,
        'manual_seed': 1,
        'datasets': {
            'train': {
                'name': 't',
                'type': 'RandomScalePairedDataset',
                'dataroot_gt': 'gt',
                'lq_size': 8,
                'scale_range': [1, 4],
                'num_samples': 32,
                'dataset_enlarge_ratio': 10,
                'batch_size_per_gpu': 2 // processes,
                'num_worker_per_gpu': 2 - processes,
            },
            'val': {'name': 'v', 'type': 'ScaleSetDataset', 'dataroot_gt': 'gt', 'scales': [2]},
        },
        'network_g': {
            'type': 'LIIF',
            'encoder': {'type': 'EDSREncoder', 'num_feat': 32, 'num_block': 4},
            'hidden_list': [256, 256],
        },
        'path': {'pretrain_network_g': None},
        'train': {
            'total_iter': TOTAL,
            'optim_g': {'type': 'Adam', 'lr': 1e-3},
            'ema_decay': 0.9,
            'scheduler': {'type': 'MultiStepLR', 'milestones': [20, 40], 'gamma': 0.5},
            'pixel_opt': {'type': 'L1Loss', 'loss_weight': 1.0, 'reduction': 'mean'},
        },
        'val': {
            'val_freq': VALIDATED_EVERY,
            'save_img': False,
            'pbar': False,
            'metrics': ['psnr', 'ssim'],
        },
        'logger': {'print_freq': 1, 'save_checkpoint_freq': SAVED_EVERY, 'keep_checkpoints': 3},
    }
    (folder / 'o.yml').write_text(yaml.safe_dump(options))


def start(folder: Path, processes: int, *flags: str) -> subprocess.Popen:
    """`basicsr train` in a session of its own, its output in output.txt."""
    command = [sys.executable, '-m', 'liif_arch.cli', 'train', '-opt', 'o.yml', *flags]
    command += ['--nproc', str(processes)] if processes > 1 else []
    environment = {
        **os.environ,
        'OMP_NUM_THREADS': '1',
        'PYTHONWARNINGS': 'ignore',
        'NVIDIA_TF32_OVERRIDE': '0',  # TensorFloat-32 rounds differently for parts of a batch
    }
    with open(folder / 'output.txt', 'wb') as output:
        return subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def descendants(parent: int) -> list[int]:
    """A process and all that it started."""
    children: dict[int, list[int]] = {}
    for stat in Path('/proc').glob('[0-9]*/stat'):
        try:
            fields = stat.read_text().rpartition(')')[2].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found = [parent]
    for number in found:
        found += children.get(number, [])
    return found


def kill(process: subprocess.Popen) -> None:
    """SIGKILL to all of a run at once."""
    for number in descendants(process.pid):
        try:
            os.kill(number, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait()


def last_iteration(folder: Path) -> int:
    """The last iteration that the run has logged."""
    text = (folder / 'output.txt').read_text(errors='replace')
    found = [
        line.split('iter:')[1].split(',')[0]
        for line in text.splitlines()
        if 'l_pix' in line and 'iter:' in line
    ]
    return int(found[-1].replace(' ', '')) if found else 0


def is_saving(folder: Path) -> bool:
    """Whether a network or a state is being written."""
    run = folder / 'experiments/crash'
    return any(
        name.startswith('.')
        for part in ('models', 'training_states')
        if (run / part).is_dir()
        for name in os.listdir(run / part)
    )


def wait_and_kill(
    rng: random.Random, folder: Path, process: subprocess.Popen, saving: bool
) -> int | None:
    """Kill the run at a random iteration, or while it saves after one.

    None says that it had ended before.
    """
    begun = newest_state(folder) or 0
    target = begun + rng.randint(1, 2 * SAVED_EVERY)
    while process.poll() is None:
        at = last_iteration(folder)
        if at >= target and not saving:
            time.sleep(rng.random() * 0.05)
            break
        if at >= min(target, begun + SAVED_EVERY) - 1 and saving and is_saving(folder):
            time.sleep(rng.random() * 0.004)
            break
        time.sleep(0.0005 if saving and at >= target - SAVED_EVERY else 0.01)
    if process.poll() is not None:
        return None
    kill(process)
    return last_iteration(folder)


def newest_state(folder: Path) -> int | None:
    """Iteration of the newest training state under its final name."""
    states = [
        int(p.stem)
        for p in folder.glob('experiments/crash/training_states/*.state')
        if p.stem.isdigit()
    ]
    return max(states, default=None)


def results(folder: Path) -> dict:
    """All that a finished run leaves."""
    from liif_arch.training.checkpoints import load_file

    run = folder / 'experiments/crash'
    return {
        'state': load_file(run / f'training_states/{TOTAL}.state'),
        'network': load_file(run / f'models/net_g_{TOTAL}.pth'),
        'latest': load_file(run / 'models/net_g_latest.pth'),
        'figures': json.loads((run / 'metrics.json').read_text()),
    }


def equal(a: object, b: object) -> bool:
    """Equal to the last bit."""
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(equal, a, b))
    return a == b


def tortured_run(
    rng: random.Random, folder: Path, processes: int, kills: int
) -> tuple[list[Kill], str]:
    """Kill a run up to `kills` times, resume it each time, and let it end.

    Returns:
        The kills, and what went wrong.
    """
    write_case(folder, processes)
    done: list[Kill] = []
    flags: tuple[str, ...] = ()
    for number in range(kills):
        saving = number % 3 == 2
        process = start(folder, processes, *flags)
        at = wait_and_kill(rng, folder, process, saving)
        if at is None:
            return (
                done,
                ''
                if process.returncode == 0
                else f'it ended with {process.returncode}: {tail(folder)}',
            )
        done.append(Kill(at, saving, newest_state(folder)))
        flags = ('--auto_resume',)
        print(
            f'  {processes} process{"es" * (processes > 1)}: killed at iteration {at}'
            f'{" while saving" * saving}, the newest state is of {done[-1].resumed}',
            flush=True,
        )
    process = start(folder, processes, *flags)
    process.wait()
    return (
        done,
        ''
        if process.returncode == 0
        else f'it does not resume, {process.returncode}: {tail(folder)}',
    )


def tail(folder: Path) -> str:
    """The end of a run's output."""
    return (folder / 'output.txt').read_text(errors='replace')[-1500:]


def _table(rows: list[dict[str, object]]) -> str:
    """Lay rows out as a Markdown table; the first row's keys are its header."""
    from liif_arch.metrics.report import markdown_table

    cells = [list(map(str, row.values())) for row in rows]
    return markdown_table(list(rows[0]), cells)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        description='Kill trainings at random moments; all must resume, and end alike.'
    )
    parser.add_argument('--kills', type=int, default=36, help='in all (default 36)')
    parser.add_argument(
        '--processes',
        type=int,
        nargs='+',
        default=[1, 2],
        help='processes of the runs (default 1 2)',
    )
    parser.add_argument('--seed', type=int, default=0, help='of the moments (default 0)')
    args = parser.parse_args()
    rng, rows, faults = random.Random(args.seed), [], []
    for processes in args.processes:
        with tempfile.TemporaryDirectory() as root:
            whole = Path(root, 'whole')
            whole.mkdir()
            _, fault = tortured_run(rng, whole, processes, 0)
            expected = None if fault else results(whole)
            left, run = args.kills // len(args.processes), 0
            row = {
                'processes': processes,
                'runs': 0,
                'kills': 0,
                'while saving': 0,
                'did not resume': bool(fault) * 1,
                'ended otherwise': 0,
            }
            while left > 0 and not fault:
                folder = Path(root, str(run))
                folder.mkdir()
                kills, fault = tortured_run(rng, folder, processes, min(left, 6))
                row['runs'], run, left = row['runs'] + 1, run + 1, left - max(1, len(kills))
                row['kills'] += len(kills)
                row['while saving'] += sum(k.saving for k in kills)
                row['did not resume'] += bool(fault)
                row['ended otherwise'] += not fault and not equal(results(folder), expected)
            rows.append(row)
            faults += [fault] if fault else []
    print('\n' + _table(rows))
    print('\n'.join(faults))
    return 1 if faults or any(r['ended otherwise'] for r in rows) else 0


if __name__ == '__main__':
    sys.exit(main())
