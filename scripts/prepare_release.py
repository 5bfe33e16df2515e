"""Lay out the training images of the weights that ship, and the images held out of them.

    python scripts/prepare_release.py FOLDER datasets/release

FOLDER holds BSDS400, T91 and ImageNet928 (folders of images). BSDS400 and T91 are taken as they
are; ImageNet928, which are JPEGs, reduced to half, which softens their blocks. Of BSDS400 and of
ImageNet928 twelve images each, evenly spaced, are held out; images under 96 pixels are left out.
Writes train/ and heldout/ (PNG), and train.lmdb (decoded pixels, as `basicsr lmdb --encoding raw`
writes them); and large/ and large.lmdb, those of train/ that have 160 pixels or more a side.
"""

import argparse
import sys
from pathlib import Path

from liif_arch.errors import UserError, exit_status
from liif_arch.files.images import is_image_file, read_image, resize_bicubic, write_image
from liif_arch.progress import progress_bar
from liif_data.lmdb_writer import create_lmdb
from liif_data.store import open_store

SOURCES = {'BSDS400': 1, 'T91': 1, 'ImageNet928': 2}  # and what they are reduced by
HELD_OUT = {'BSDS400': 12, 'ImageNet928': 12}
# Pixels of the smaller side that an image needs: crops of train_release_liif have as many at its
# highest scale. Smaller images are left out.
LEAST = 96
LARGE = 160  # as many for those of train_release_continue


def prepare(source: Path, target: Path) -> None:
    """Write both folders and the LMDB.

    Raises:
        UserError: A folder or its images are missing, or `target` exists.
    """
    if target.exists():
        raise UserError(f'{target} exists; remove it first, or name another folder.')
    paths, held = {}, set()
    for name in SOURCES:
        found = sorted(filter(is_image_file, source.joinpath(name).glob('*')))
        count = HELD_OUT.get(name, 0)
        if len(found) <= count:
            raise UserError(
                f'{source / name}: found {len(found)} images; needed the folder {name}.'
            )
        if count:
            held.update(found[:: len(found) // count][:count])
        paths[name] = found
    with progress_bar(total=sum(map(len, paths.values())), unit='image') as bar:
        for name, found in paths.items():
            for path in found:
                bar.update()
                folder = target / 'train'
                if path in held:
                    folder = target / 'heldout'
                _write_reduced(path, SOURCES[name], folder / f'{name}_{path.stem}.png')
    create_lmdb(target / 'train', target / 'train.lmdb', encoding='raw')
    _link_large(target / 'train', target / 'large')
    if (target / 'large').exists():
        create_lmdb(target / 'large', target / 'large.lmdb', encoding='raw')


def _link_large(source: Path, target: Path) -> None:
    """Hard links to the larger images of a folder, in another one; nothing where there are none."""
    store = open_store(str(source))
    for key in store.keys:
        if min(store.size(key)) >= LARGE:
            target.mkdir(exist_ok=True)
            (target / f'{key}.png').hardlink_to(store.path(key))


def _write_reduced(path: Path, factor: int, target: Path) -> None:
    """Write an image, its sides divided by a factor; nothing where it is too small then."""
    image = read_image(path, 'rgb')
    size = image.shape[0] // factor, image.shape[1] // factor
    if min(size) < LEAST:
        return
    if factor != 1:
        image = resize_bicubic(image, size)
    write_image(target, image)


def main() -> None:
    """Parse the command line and prepare."""
    parser = argparse.ArgumentParser(description='Training images of the weights that ship.')
    parser.add_argument('FOLDER', type=Path, help='holds BSDS400, T91 and ImageNet928')
    parser.add_argument('OUT', type=Path)
    args = parser.parse_args()
    prepare(args.FOLDER, args.OUT)


if __name__ == '__main__':
    sys.exit(exit_status(main))
