"""Set5, Set14, B100 and Urban100 as the option files name them, from the benchmark archive of
EDSR's authors.

    python scripts/prepare_benchmarks.py datasets/benchmark --archive ~/downloads/benchmark.tar
    python scripts/prepare_benchmarks.py datasets/benchmark                      # downloads it (250
    MB, resumed)

The archive holds benchmark/<set>/HR and benchmark/<set>/LR_bicubic/X{2,3,4}. A set without images
is reported.
"""

import argparse
import sys
from pathlib import Path

from liif_arch.errors import UserError, exit_status
from liif_data.archives import fetch, unpack

URL = 'https://cv.snu.ac.kr/research/EDSR/benchmark.tar'
SETS = ('Set5', 'Set14', 'B100', 'Urban100')


def prepare(target: Path, archive: str, sha256: str | None) -> None:
    """Fetch and unpack the archive, and say what it holds."""
    if target.exists():
        raise UserError(f'{target}: exists; remove it to unpack the archive again.')
    target.parent.mkdir(parents=True, exist_ok=True)
    unpack(fetch(archive, target.parent, sha256), target, 'benchmark')
    for name in SETS:
        images = len(list(target.glob(f'{name}/HR/*')))
        counts = []
        for folder in sorted(target.glob(f'{name}/LR_bicubic/X*')):
            counts.append(f'{folder.name}: {len(list(folder.iterdir()))}')
        if images:
            print(f'{target / name}: {images} images; inputs {", ".join(counts) or "none"}')
        else:
            print(f'{target / name}: missing')


def main() -> None:
    """Parse the command line and prepare the data."""
    parser = argparse.ArgumentParser(
        description='Lay out the benchmark sets as the option files name them.'
    )
    parser.add_argument('target', type=Path, help='folder to make, for instance datasets/benchmark')
    parser.add_argument('--archive', default=URL, help=f'path or URL (default {URL})')
    parser.add_argument('--sha256', help='checksum to compare with')
    args = parser.parse_args()
    prepare(args.target, args.archive, args.sha256)


if __name__ == '__main__':
    sys.exit(exit_status(main, 'stopped; the same command goes on from here.'))
