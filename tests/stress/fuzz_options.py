"""Mutated option files: each either runs, or is refused in the checker's own words, and nothing is
moved.

    # 1,000 files, half a minute on two CPU cores.
    python tests/stress/fuzz_options.py
    python tests/stress/fuzz_options.py --count 60 --seed 7

Mutations of small trainings (LIIFModel, and BasicSR's own SRModel from files and from databases):
keys dropped, misspelt and moved, values of other types and sizes, sections nested wrongly, Python
tags, broken text. A traceback, an experiment folder that moves, or a misspelt key that is accepted
is a failure; each is printed with its file, and the exit status is 1.
"""

import argparse
import contextlib
import io
import logging
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

from mutated_options import base_options, mutate

from liif_arch.progress import progress_bar

STOPPED, LIMIT = 75, 60


def stop_long_runs(after: int = 6) -> None:
    """Let runs stop after some iterations, as a signal would stop them.

    A mutation may have made a run very long.
    """
    from liif_arch.training.supervisor import Supervisor

    begin = Supervisor.update_learning_rate

    def begin_or_stop(self, current_iter: int, warmup_iter: int = -1) -> None:
        self.signal = signal.SIGTERM if current_iter > after else self.signal
        begin(self, current_iter, warmup_iter)

    Supervisor.update_learning_rate = begin_or_stop


def run(folder: Path, text: str) -> tuple[int | None, str]:
    """Train with an option file in this process.

    Returns:
        The exit status (None: a traceback), and what was printed.
    """
    from basicsr.utils.logger import initialized_logger

    from liif_arch.cli import main

    (folder / 'o.yml').write_text(text, encoding='utf-8')
    printed = io.StringIO()
    sys.argv = ['basicsr', 'train', '-opt', 'o.yml']
    initialized_logger['basicsr'] = True  # no log file, no stream
    signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(LIMIT)
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            status = main()
    except SystemExit as stop:
        status = stop.code
    except BaseException:
        return None, printed.getvalue() + traceback.format_exc()
    finally:
        signal.alarm(0)
    return status, printed.getvalue()


def _too_long(*_: object) -> None:
    raise TimeoutError(f'it hangs: more than {LIMIT} seconds')


def fuzz(count: int, seed: int, folder: Path) -> tuple[Counter, list[str]]:
    """Run `count` mutated files; returns what came of them, and a text for each failure."""
    rng, outcomes, failures = random.Random(seed), Counter(), []
    bases = base_options(folder)
    precious = folder / 'experiments/fuzz/precious'
    for number in progress_bar(range(count), unit='file', desc='fuzz'):
        text, done, typo = mutate(rng, rng.choice(bases))
        for old in folder.glob('experiments/*'):
            _remove(old)
        precious.parent.mkdir(parents=True, exist_ok=True)
        precious.write_text('x')
        status, printed = run(folder, text)
        moved = not precious.exists()
        fault = None
        if status is None or 'Traceback' in printed:
            fault = 'a traceback'
        elif status in (0, STOPPED) or 'the loss is' in printed:  # a huge learning rate, say
            outcomes['ran'] += 1
            fault = 'an accepted typo' if typo else None
        elif status == 2:
            outcomes['refused'] += 1
            fault = 'a refusal after the experiment was moved' if moved else None
            if 'basicsr train: ' not in printed:
                fault = 'a refusal without a word'
        else:
            fault = f'status {status}'
        if (folder / 'executed').exists():
            fault = 'code that was executed'
        if fault:
            outcomes[fault] += 1
            failures.append(f'--- {number}: {fault} ({done})\n{text}\n{printed[-3000:]}')
    return outcomes, failures


def _remove(path: Path) -> None:
    import shutil

    shutil.rmtree(path, ignore_errors=True)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        description='Mutated option files run, or are refused in words.'
    )
    parser.add_argument('--count', type=int, default=1000, help='files (default 1000)')
    parser.add_argument('--seed', type=int, default=0, help='of the mutations (default 0)')
    args = parser.parse_args()
    import warnings

    import torch

    import liif_data.register  # noqa: F401

    warnings.simplefilter('ignore')
    logging.disable(logging.CRITICAL)
    torch.set_num_threads(1)
    stop_long_runs()
    start = time.time()
    with tempfile.TemporaryDirectory() as folder:
        here = os.getcwd()
        os.chdir(folder)
        outcomes, failures = fuzz(args.count, args.seed, Path(folder))
        os.chdir(here)
    print('\n'.join(failures))
    print(
        f'{args.count} files in {time.time() - start:.0f} s: '
        + ', '.join(f'{outcomes[k]} {k}' for k in ('ran', 'refused'))
        + f', {len(failures)} failures'
        + ''.join(f'; {v} {k}' for k, v in outcomes.items() if k not in ('ran', 'refused'))
    )
    return 1 if failures else 0


if __name__ == '__main__':
    sys.exit(main())
