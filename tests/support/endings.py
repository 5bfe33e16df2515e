"""Trainings that end in every way there is, and what each must leave: the right status, and no
process.

    # Every combination, as a table; about half an hour.
    python tests/support/endings.py
    # The ends whose name holds a word.
    python tests/support/endings.py --only SIGTERM

The end itself is made by `ending_plugin`, inside the run.
"""

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import NamedTuple

from helpers import tiny_train, write_options, write_photos
from interrupts import restore_interrupt

PLUGIN = Path(__file__).parent / 'ending_plugin'
LONGEST = 10  # seconds from the beginning of an end until no process is left
START = 120  # seconds within which a run must have begun
STATUS = {  # of one process; several processes end alike but for SEVERAL
    'success': 0,
    'image breaks': 2,
    'step raises': 1,
    'out of memory': 1,
    'loss is no number': 2,
    'disk is full': 2,
    'worker is killed': 1,
    'process is killed': -9,
    'SIGTERM': 75,
    'SIGINT': 75,
    'SIGTERM to all': 75,
    'SIGINT to all': 75,
    'SIGTERM while saving': 75,
    'SIGINT while validating': 75,
    'two SIGINT': 130,
    'exit in the middle': 3,
    'SIGTERM while starting': 143,
}
SEVERAL = {
    'process is killed': 1,
    'parent is killed': -9,
    'exit in the middle': 1,
    'two SIGINT': 1,
    'SIGTERM while starting': 1,
}
LOADERS = {  # how the samples come
    'no workers': {'num_worker_per_gpu': 0},
    'thread': {'num_worker_per_gpu': 0, 'prefetch_mode': 'cpu', 'num_prefetch_queue': 2},
    'workers': {'num_worker_per_gpu': 2},
    'persistent workers': {'num_worker_per_gpu': 2, 'persistent_workers': True},
    'workers and thread': {
        'num_worker_per_gpu': 2,
        'prefetch_mode': 'cpu',
        'num_prefetch_queue': 2,
    },
}
METHODS = ('fork', 'spawn', 'forkserver')
WITH_WORKERS = ('worker is killed', 'SIGTERM to all', 'SIGINT to all')  # the same as others without

OF_THE_FIRST = ('disk is full',)


class Case(NamedTuple):
    """One way of ending.

    Its fields: which end, how samples come, how workers start, how many processes train.
    """

    ending: str
    loader: str
    method: str = 'fork'
    processes: int = 1

    @property
    def status(self) -> int:
        """Exit status that is right."""
        if self.processes > 1 and self.ending in SEVERAL:
            return SEVERAL[self.ending]
        return STATUS[self.ending]

    @property
    def rank(self) -> int:
        """The process in which it happens: the last, unless the first alone does such work."""
        return 0 if self.ending in OF_THE_FIRST else self.processes - 1


class Outcome(NamedTuple):
    """What a run left.

    Its fields: status, seconds from the end's beginning, processes then left, printed text.
    """

    status: int | None
    seconds: float
    left: list[str]
    output: str

    def is_right(self, case: Case) -> bool:
        """Whether it ended as it should, with nothing a user should not see."""
        is_own = self.status not in (0, 2, 75, 130, 143) or 'Traceback' not in self.output
        return self.status == case.status and not self.left and is_own


def all_cases() -> list[Case]:
    """Every combination that makes sense."""
    cases = []
    for loader, ending in itertools.product(LOADERS, [*STATUS, 'parent is killed']):
        has_workers = 'workers' in loader and loader != 'no workers'
        for method in METHODS if has_workers else METHODS[:1]:
            for processes in (1, 2):
                if ending in WITH_WORKERS and not has_workers:
                    continue
                if ending == 'parent is killed' and processes == 1:
                    continue
                if processes == 2 and method != 'fork':
                    continue
                cases.append(Case(ending, loader, method, processes))
    return cases


def processes_of(mark: str) -> list[str]:
    """Command lines of the processes whose environment holds a mark."""
    found = []
    for folder in Path('/proc').glob('[0-9]*'):
        try:
            if mark.encode() in (folder / 'environ').read_bytes():
                line = (
                    (folder / 'cmdline').read_bytes().replace(b'\0', b' ').decode(errors='replace')
                )
                found.append(f'{folder.name}: {line[:150]}')
        except OSError:  # it ended while it was looked at, or is another user's
            continue
    return found


def run(case: Case, folder: Path, longest: float = LONGEST) -> Outcome:
    """Train in a folder until the case's end, and look at what is left so many seconds after it."""
    folder.mkdir(parents=True, exist_ok=True)
    write_photos(folder / 'gt', [(40, 48), (48, 40), (44, 44)])
    options = tiny_train(
        folder / 'gt',
        train__total_iter=6 if case.ending == 'success' else 12,
        logger__save_checkpoint_freq=4,
        val__val_freq=4,
    )
    options['datasets']['train'].update(LOADERS[case.loader], dataset_enlarge_ratio=20)
    options['datasets']['train']['dataroot_gt'] = 'gt'
    write_options(folder / 'o.yml', options)
    mark = f'ENDING_MARK={uuid.uuid4().hex}'
    environment = {
        **os.environ,
        'PYTHONPATH': str(PLUGIN),
        'PYTHONWARNINGS': 'ignore',
        'OMP_NUM_THREADS': '1',
        'ENDING': case.ending,
        'ENDING_METHOD': case.method,
        'ENDING_RANK': str(case.rank),
        'ENDING_MARK': mark.partition('=')[2],
    }
    command = [sys.executable, '-m', 'liif_arch.cli', 'train', '-opt', 'o.yml']
    command += ['--nproc', str(case.processes)] if case.processes > 1 else []
    with open(folder / 'output.txt', 'w') as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    return watch(process, folder, mark, longest)


def watch(process: subprocess.Popen, folder: Path, mark: str, longest: float) -> Outcome:
    """Wait for the end to begin, then for all processes to be gone; kill what is left."""
    started = time.monotonic()
    while not (folder / 'ending').exists() and process.poll() is None:
        if time.monotonic() - started > START:
            break
        time.sleep(0.02)
    begun = time.monotonic()
    left = processes_of(mark)
    while (process.poll() is None or left) and time.monotonic() - begun < longest:
        time.sleep(0.05)
        left = processes_of(mark) if process.poll() is not None else left
    seconds = time.monotonic() - begun
    left = processes_of(mark)
    for line in left:
        try:
            os.kill(int(line.partition(':')[0]), 9)
        except ProcessLookupError:
            continue
    status = process.poll() if not left else None
    process.wait()
    return Outcome(status, seconds, left, (folder / 'output.txt').read_text(errors='replace'))


def main() -> int:
    """Run every case, print a table of ends and loaders, and what was wrong."""
    parser = argparse.ArgumentParser(description='Trainings that end in every way there is.')
    parser.add_argument('--only', default='', help='cases whose name holds this word')
    parser.add_argument(
        '--longest',
        type=float,
        default=LONGEST,
        help=f'seconds that an end may take (default {LONGEST})',
    )
    parser.add_argument('--repeat', type=int, default=1, help='how often each is run (default 1)')
    args = parser.parse_args()
    restore_interrupt()
    cases = [c for c in all_cases() if args.only in ', '.join(map(str, c))] * args.repeat
    wrong, longest = [], 0.0
    for number, case in enumerate(cases, 1):
        with tempfile.TemporaryDirectory() as folder:
            outcome = run(case, Path(folder), args.longest)
        longest = max(longest, outcome.seconds)
        state = 'right' if outcome.is_right(case) else 'WRONG'
        print(
            f'{number}/{len(cases)} {state}: {", ".join(map(str, case))}: status {outcome.status} '
            f'(needed {case.status}) after {outcome.seconds:.1f} s, {len(outcome.left)} left',
            flush=True,
        )
        if state == 'WRONG':
            wrong.append(case)
            print(
                '    ' + '\n    '.join([*outcome.left, *outcome.output.splitlines()[-6:]]),
                flush=True,
            )
    print(f'{len(cases)} ends, {len(wrong)} wrong; the slowest took {longest:.1f} s.')
    return 1 if wrong else 0


if __name__ == '__main__':
    sys.exit(main())
