"""However a training ends: its status, and that no process is left. All of it: `tests/support/endings.py`."""

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
