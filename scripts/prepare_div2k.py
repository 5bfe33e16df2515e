"""DIV2K as the option files name it: unpacked archives, and LMDBs of the whole images and of
480-pixel sub-images.

    python scripts/prepare_div2k.py datasets/DIV2K --archives ~/downloads        # archives you have
    python scripts/prepare_div2k.py datasets/DIV2K                               # downloads them (7
    GB, resumed)

What is there already is left as it is; run it again after an interruption.
"""

import argparse
import sys
from pathlib import Path

from liif_arch.errors import UserError, exit_status
from liif_data.archives import fetch, unpack
from liif_data.lmdb_writer import create_lmdb
from liif_data.subimages import extract_subimages

URL = 'http://data.vision.ee.ethz.ch/cvl/DIV2K'
# Archive, the folder it becomes, the folder inside it.
ARCHIVES = [
    ('DIV2K_train_HR.zip', 'DIV2K_train_HR', 'DIV2K_train_HR'),
    ('DIV2K_valid_HR.zip', 'DIV2K_valid_HR', 'DIV2K_valid_HR'),
    *(
        (
            f'DIV2K_valid_LR_bicubic_X{s}.zip',
            f'DIV2K_valid_LR_bicubic/X{s}',
            f'DIV2K_valid_LR_bicubic/X{s}',
        )
        for s in (2, 3, 4)
    ),
]


def prepare(target: Path, archives: str, sha256: dict[str, str], subimages: bool) -> None:
    """Fetch, unpack and build whatever is not there yet."""
    for name, folder, inside in ARCHIVES:
        if (target / folder).is_dir():
            print(f'{target / folder}: is there')
            continue
        archive = fetch(f'{archives.rstrip("/")}/{name}', target / 'archives', sha256.get(name))
        (target / folder).parent.mkdir(parents=True, exist_ok=True)
        unpack(archive, target / folder, inside)
        print(f'{target / folder}: {sum(1 for _ in (target / folder).iterdir())} files')
    train = target / 'DIV2K_train_HR'
    if subimages and not (target / 'DIV2K_train_HR_sub').is_dir():
        pieces = target / 'DIV2K_train_HR_sub'
        count = extract_subimages(train, pieces)
        print(f'{pieces}: {count} pieces')
    for folder in [train, *([target / 'DIV2K_train_HR_sub'] if subimages else [])]:
        database = folder.with_suffix('.lmdb')
        if database.is_dir():
            print(f'{database}: is there')
        else:
            print(f'{database}: {create_lmdb(folder, database)} images')


def main() -> None:
    """Parse the command line and prepare the data."""
    parser = argparse.ArgumentParser(description='Lay out DIV2K as the option files name it.')
    parser.add_argument('target', type=Path, help='folder to make, for instance datasets/DIV2K')
    parser.add_argument(
        '--archives', default=URL, help=f'folder or URL that holds the zip files (default {URL})'
    )
    parser.add_argument(
        '--sha256', nargs='*', default=[], metavar='NAME=SUM', help='checksums to compare with'
    )
    parser.add_argument(
        '--no-subimages', action='store_true', help='leave out the 480-pixel sub-images'
    )
    args = parser.parse_args()
    prepare(args.target, args.archives, parse_sums(args.sha256), not args.no_subimages)


def parse_sums(entries: list[str]) -> dict[str, str]:
    """`NAME=SUM` entries as a mapping; raises UserError where one is not."""
    sums = dict(e.partition('=')[::2] for e in entries)
    for name, value in sums.items():
        if len(value) != 64:
            raise UserError(f'--sha256: found {name}={value}; needed NAME=64 hexadecimal digits.')
    return sums


if __name__ == '__main__':
    sys.exit(exit_status(main, 'stopped; the same command goes on from here.'))
