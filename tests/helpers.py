"""What tests share: small images on disk, and the command as a user runs it."""
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np

from liif_arch.images import write_image


def photo(h: int, w: int, seed: int = 0) -> np.ndarray:
    """A smooth random colour image, (h, w, 3) uint8."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (max(2, h // 6), max(2, w // 6), 3), dtype=np.uint8)
    return cv2.resize(coarse, (w, h), interpolation=cv2.INTER_CUBIC)


def write_photos(folder: Path, sizes: list[tuple[int, int]], names: list[str] | None = None) -> Path:
    """Write random PNG images of the given (h, w) into a folder."""
    for i, (h, w) in enumerate(sizes):
        write_image(folder / f'{names[i] if names else f"im{i:02d}"}.png', photo(h, w, i))
    return folder


def run_basicsr(*arguments: object, cwd: Path, timeout: int = 300) -> subprocess.CompletedProcess:
    """Run the `basicsr` command as a user would."""
    environment = {**os.environ, 'PYTHONWARNINGS': 'ignore', 'OMP_NUM_THREADS': '2'}
    return subprocess.run([sys.executable, '-m', 'liif_arch.cli', *map(str, arguments)], cwd=cwd, timeout=timeout,
                          capture_output=True, text=True, env=environment)


def assert_one_line(result: subprocess.CompletedProcess, *parts: str) -> None:
    """The command failed with one clear line that holds all parts, and no traceback."""
    lines = [line for line in result.stderr.strip().splitlines() if line.startswith('basicsr')]
    assert result.returncode == 2, result.stdout + result.stderr
    assert 'Traceback' not in result.stderr + result.stdout, result.stderr
    assert len(lines) == 1, result.stderr
    for part in parts:
        assert part in lines[0], f'{part!r} is not in {lines[0]!r}'
