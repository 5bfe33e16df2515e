"""Put the images of a folder into a BasicSR-format LMDB.

    python scripts/create_lmdb.py datasets/DIV2K/DIV2K_train_HR datasets/DIV2K/DIV2K_train_HR.lmdb

With --encoding raw it holds decoded pixels: larger, and a training sample reads its crop alone.
Existing targets are never touched; nothing appears under the target's name before every value has been read back.
"""
import argparse
import os
import sys

from liif_arch.errors import exit_status
from liif_data.lmdb_writer import ENCODINGS, create_lmdb


def main() -> None:
    """Parse the command line and build the database."""
    parser = argparse.ArgumentParser(description='Put the images of a folder into a BasicSR-format LMDB.')
    parser.add_argument('folder', help='images (PNG and JPEG are stored as they are, others as PNG)')
    parser.add_argument('target', help='LMDB folder to make, named *.lmdb')
    parser.add_argument('--workers', type=int, default=os.cpu_count() or 1, help='processes that read and check images')
    parser.add_argument('--encoding', default='file', metavar='|'.join(ENCODINGS),
                        help="file (default): image files, which BasicSR's own datasets read too; "
                             'raw: decoded pixels, larger, of which training reads its crop alone')
    args = parser.parse_args()
    count = create_lmdb(args.folder, args.target, args.workers, args.encoding)
    print(f'{args.target}: {count} images, each read back and compared')


if __name__ == '__main__':
    sys.exit(exit_status(main, 'stopped; nothing was left behind.'))
