"""How long an iteration of the runs of `scripts/reproduce.py` takes on this machine."""

import argparse
import json
import re
import shutil
import statistics
from datetime import datetime
from itertools import pairwise

from reproduce_command import basicsr
from reproduce_options import training_options
from reproduce_runs import Run

from liif_arch.files.atomic import atomic_write

PROBED = 60  # iterations of a short training
ROUNDS = 2  # a ratio is measured so often in each order


class Speeds:
    """What was measured, once, and is kept in `OUT/speeds.json`: the same command again has the
    same budgets, whatever the machine does meanwhile. Remove the file to have it measured anew.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.path = args.out / 'speeds.json'
        self.found: dict[str, float] = {}
        if self.path.exists():
            self.found = json.loads(self.path.read_text())

    def seconds(self, run: Run) -> float:
        """Seconds of an iteration."""
        key = f'seconds of {run.name()}'
        if key not in self.found:
            self._keep(key, self._median(run))
        return self.found[key]

    def relative(self, run: Run, first: Run) -> float:
        """Iterations of a run in the time of one of the first run.

        They are measured in turn, the one first and then the other, and the median of the rounds'
        ratios counts: other work on a machine changes its speed from minute to minute.
        """
        key = f'{run.name()} to {first.name()}'
        if key not in self.found:
            ratios = []
            for one, other in [(first, run), (run, first)] * ROUNDS:
                ratio = self._median(one) / self._median(other)
                ratios.append(ratio if one is first else 1 / ratio)
            self._keep(key, statistics.median(ratios))
        return self.found[key]

    def _keep(self, key: str, value: float) -> None:
        """Note a figure in the file."""
        self.found[key] = round(value, 4)
        with atomic_write(self.path) as file:
            file.write((json.dumps(self.found, indent=2) + '\n').encode())

    def _median(self, run: Run) -> float:
        """Seconds of an iteration of a short training."""
        return statistics.median(self._probe(run))

    def _probe(self, run: Run) -> list[float]:
        """Seconds of an iteration of a short training: the mean of every ten but the first."""
        opt = training_options(run, self.args, PROBED)
        opt['name'] = 'probe'
        opt['logger'].update(print_freq=10, save_checkpoint_freq=10**9)
        folder = self.args.out / 'experiments/probe'
        shutil.rmtree(folder, ignore_errors=True)
        basicsr('train', opt, 'probe', self.args.out, quiet=True)
        (log,) = folder.glob('train_*.log')
        seconds = seconds_in(log.read_text())
        shutil.rmtree(folder)
        return seconds


def seconds_in(log: str) -> list[float]:
    """Seconds of an iteration between the lines of a training's log, which tell of every tenth."""
    lines = re.findall(r'^(\S+ \S+) INFO: \[.*\biter: ', log, re.MULTILINE)
    times = [datetime.strptime(line, '%Y-%m-%d %H:%M:%S,%f') for line in lines]
    return [(after - before).total_seconds() / 10 for before, after in pairwise(times)]
