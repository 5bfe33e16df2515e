"""However a training ends: its status, and that no process is left. All of it:
`tests/support/endings.py`.
"""

import subprocess
import sys

import pytest
from endings import Case, all_cases, run

CASES = [
    Case('success', 'persistent workers'),
    Case('success', 'workers and thread'),
    Case('success', 'workers', 'forkserver'),
    Case('success', 'persistent workers', processes=2),
    Case('image breaks', 'persistent workers'),
    Case('image breaks', 'thread'),
    Case('step raises', 'persistent workers'),
    Case('step raises', 'workers and thread', 'spawn'),
    Case('step raises', 'persistent workers', processes=2),
    Case('out of memory', 'workers'),
    Case('loss is no number', 'workers and thread'),
    Case('disk is full', 'persistent workers'),
    Case('worker is killed', 'persistent workers'),
    Case('worker is killed', 'workers and thread', processes=2),
    Case('process is killed', 'persistent workers', 'forkserver'),
    Case('process is killed', 'workers', processes=2),
    Case('parent is killed', 'persistent workers', processes=2),
    Case('SIGTERM', 'workers and thread'),
    Case('SIGINT', 'persistent workers'),
    Case('SIGTERM to all', 'persistent workers', 'spawn'),
    Case('SIGINT to all', 'workers', processes=2),
    Case('SIGTERM while saving', 'persistent workers'),
    Case('SIGINT while validating', 'workers'),
    Case('two SIGINT', 'persistent workers'),
    Case('exit in the middle', 'workers and thread'),
    Case('SIGTERM while starting', 'persistent workers', processes=2),
]


@pytest.mark.parametrize('case', CASES, ids=lambda case: ', '.join(map(str, case)))
def test_end__has_its_status_and_leaves_no_process(tmp_path, case):
    outcome = run(case, tmp_path)
    assert outcome.left == [] and outcome.status == case.status, outcome.output[-3000:]
    assert outcome.is_right(case), outcome.output[-3000:]


def test_cases__cover_every_end_and_every_way_of_making_samples():
    known = all_cases()
    assert set(CASES) <= set(known)
    for field in ('ending', 'method', 'processes'):
        assert {getattr(c, field) for c in CASES} == {getattr(c, field) for c in known}, field


@pytest.mark.parametrize('end', ['return 2', 'raise SystemExit(2)', 'raise RuntimeError("broken")'])
def test_prefetching_thread_that_does_not_end__process_leaves_with_its_status(end):
    """Such a thread would abort the process while Python is taken down."""
    code = f"""
import atexit, sys, threading
import torch
from liif_arch.cli import __main__ as entry
from liif_arch.training import workers

def compute():
    while True:
        torch.rand(100, 100) @ torch.rand(100, 100)

def main():
    {end}

thread = threading.Thread(target=compute, daemon=True)
thread.start()
workers._prefetching.add(thread)
atexit.register(print, 'taken down')
entry.main = main
sys.exit(entry.run())
"""
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=60)
    assert done.returncode == (1 if 'Runtime' in end else 2), done.stderr
    assert 'taken down' not in done.stdout
    assert ('broken' in done.stderr) == ('broken' in end)
