"""CelebAHQ as the option files name it: faces of 256, 128, 64 and 32 pixels, train and val, in
LMDBs.

    python scripts/prepare_celebahq.py CelebA-HQ_1024 datasets/CelebAHQ [--split split.json]

A split file is JSON: {"train": [names], "val": [names]}. Without one every sixth image, in the
order of names, is for validation.
"""

import argparse
import json
import os
import shutil
import sys
from functools import partial
from pathlib import Path

from liif_arch.errors import UserError, exit_status
from liif_arch.files.images import EXTENSIONS, read_image, resize_bicubic, write_image
from liif_arch.progress import progress_bar
from liif_data.lmdb_writer import create_lmdb, list_images, lmdb_key
from liif_data.parallel import in_processes

SIDES = (256, 128, 64, 32)


def read_split(path: Path | None, names: list[str]) -> dict[str, list[str]]:
    """Names of the training and validation images.

    Raises:
        UserError: The file is not such a split, or names images that are not there.
    """
    if path is None:
        return {'train': [n for i, n in enumerate(names) if i % 6], 'val': names[::6]}
    try:
        split = json.loads(path.read_text(encoding='utf-8'))
        split = {k: [_key(str(name)) for name in split[k]] for k in ('train', 'val')}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f'--split: {path}: needed JSON with lists "train" and "val" ({error}).'
        ) from None
    missing = sorted({*split['train'], *split['val']} - set(names))
    if missing:
        raise UserError(
            f'--split: {path} names {len(missing)} images that are not there, {missing[0]} first.'
        )
    return split


def _key(name: str) -> str:
    """The key of an image that a split names, with or without its extension."""
    path = Path(name)
    if path.suffix.lower() not in EXTENSIONS:
        path = Path(f'{name}.png')
    return lmdb_key(path)


def reduce(path: Path, target: Path) -> None:
    """Write one face at every side, each reduced from the original."""
    image = read_image(path, 'rgb')
    if image.shape[0] != image.shape[1] or image.shape[0] < max(SIDES):
        raise UserError(
            f'{path}: is {image.shape[1]}x{image.shape[0]}; '
            f'needed square faces of at least {max(SIDES)}.'
        )
    for side in SIDES:
        write_image(target / str(side) / f'{path.stem}.png', resize_bicubic(image, (side, side)))


def prepare(
    folder: Path, target: Path, split_file: Path | None, folders: bool, workers: int
) -> None:
    """Write both splits at every size; each appears when it is whole."""
    images = list_images(folder)
    split = read_split(split_file, list(images))
    for part, names in split.items():
        if not names:
            raise UserError(f'{part}: no images for this split.')
        done = target / part
        if done.exists():
            raise UserError(f'{done}: exists; remove it to make it again.')
        partial_folder = target / f'.{part}.part'
        shutil.rmtree(partial_folder, ignore_errors=True)
        try:
            reduced = in_processes(
                partial(reduce, target=partial_folder), [images[n] for n in names], workers
            )
            list(progress_bar(reduced, total=len(names), unit='image', desc=part))
            for side in SIDES if not folders else ():
                create_lmdb(partial_folder / str(side), partial_folder / f'{side}.lmdb', workers)
                shutil.rmtree(partial_folder / str(side))
            partial_folder.rename(done)
        except OSError as error:
            raise UserError(f'{target}: cannot write here ({error.strerror or error}).') from None
        finally:
            shutil.rmtree(partial_folder, ignore_errors=True)
        print(f'{done}: {len(names)} faces at {", ".join(map(str, SIDES))} pixels')


def main() -> None:
    """Parse the command line and prepare the data."""
    parser = argparse.ArgumentParser(
        description='Reduce CelebAHQ faces to the sizes that the option files name.'
    )
    parser.add_argument('folder', type=Path, help='1024-pixel faces')
    parser.add_argument('target', type=Path, help='for instance datasets/CelebAHQ')
    parser.add_argument('--split', type=Path, help='JSON with lists "train" and "val"')
    parser.add_argument(
        '--folders', action='store_true', help='leave folders of PNG files instead of LMDBs'
    )
    parser.add_argument('--workers', type=int, default=os.cpu_count() or 1)
    args = parser.parse_args()
    prepare(args.folder, args.target, args.split, args.folders, args.workers)


if __name__ == '__main__':
    sys.exit(exit_status(main, 'stopped; what was made stays.'))
