"""`basicsr lmdb FOLDER TARGET.lmdb`: a folder of images as a BasicSR-format LMDB."""

import argparse
import os

from liif_arch.arguments import CommandParser

STOPPED = 'stopped; nothing was left behind.'


def build_parser() -> argparse.ArgumentParser:
    """The command's flags."""
    parser = CommandParser(
        prog='basicsr lmdb',
        description='Put the images of a folder into a BasicSR-format LMDB. An existing target is '
        'never touched; its name appears once every value has been read back.',
    )
    parser.add_argument(
        'folder',
        metavar='FOLDER',
        help='images (PNG and JPEG are stored as they are, others as PNG)',
    )
    parser.add_argument('target', metavar='TARGET.lmdb', help='LMDB folder to make, named *.lmdb')
    parser.add_argument(
        '--encoding',
        default='file',
        metavar='KIND',
        help="file (default): image files, which BasicSR's own datasets read too; "
        'raw: decoded pixels, larger, of which training reads its crop alone',
    )
    parser.add_argument(
        '--workers',
        type=int,
        default=os.cpu_count() or 1,
        metavar='N',
        help='processes that read and check images (default: one a core)',
    )
    return parser


def main() -> None:
    """Build the database."""
    args = build_parser().parse_args()
    from liif_arch.errors import require_whole
    from liif_data.lmdb_writer import create_lmdb

    require_whole(**{'--workers': args.workers})
    count = create_lmdb(args.folder, args.target, args.workers, args.encoding)
    print(f'{args.target}: {count} images, each read back and compared')
