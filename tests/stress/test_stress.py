"""The fuzzers and the crash test, short and seeded."""

import subprocess
import sys
from pathlib import Path

STRESS = Path(__file__).parent


def test_fuzz_options__each_runs_or_is_refused_in_words(tmp_path):
    result = subprocess.run(
        [sys.executable, str(STRESS / 'fuzz_options.py'), '--count', '120', '--seed', '11'],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert result.returncode == 0, result.stdout[-4000:]
    assert '120 files' in result.stdout and ' 0 failures' in result.stdout


def test_fuzz_readers__each_file_is_read_or_refused_in_a_line(tmp_path):
    result = subprocess.run(
        [sys.executable, str(STRESS / 'fuzz_readers.py'), '--count', '80', '--seed', '5'],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert result.returncode == 0, result.stdout[-4000:]
    rows = [
        [int(cell) for cell in line.split('|')[2:6]]
        for line in result.stdout.splitlines()
        if '80' in line
    ]
    assert len(rows) == 4 and all(
        row[0] == 80 == row[1] + row[2] and row[3] == 0 for row in rows
    ), result.stdout


def test_crash_test__killed_and_resumed_ends_bit_for_bit(tmp_path):
    result = subprocess.run(
        [sys.executable, str(STRESS / 'crash_test.py'), '--kills', '3', '--processes', '1'],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-2000:]
    row = [int(cell) for cell in result.stdout.strip().splitlines()[-1].strip('| ').split('|')]
    assert row[0] == 1 and row[2] >= 2 and row[4:] == [0, 0], result.stdout
