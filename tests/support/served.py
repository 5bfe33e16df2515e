"""A command that serves a page, for tests of it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def served(command: str, *arguments: str, cwd: Path, **environment: str) -> Iterator[str]:
    """The address of a page, while its command runs; it must close on Ctrl+C with a line."""
    process = subprocess.Popen(
        [sys.executable, '-m', 'liif_arch.cli', command, *arguments, '--no-browser'],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, 'OMP_NUM_THREADS': '2', **environment},
    )
    line = process.stdout.readline()
    assert line.startswith('http://127.0.0.1:'), process.stderr.read()
    yield line.split()[0]
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and f'basicsr {command}: closed.' in errors
