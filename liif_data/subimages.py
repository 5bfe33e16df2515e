"""Large images cut into overlapping pieces, so that a training sample decodes a piece and not a 2K
photograph.
"""

import os
import shutil
from functools import partial
from pathlib import Path

from liif_arch.errors import UserError
from liif_arch.files.images import read_image, write_image
from liif_arch.progress import progress_bar
from liif_data.lmdb_writer import list_images
from liif_data.parallel import in_processes


def starts(length: int, size: int, step: int) -> list[int]:
    """Where pieces of `size` begin along an axis: every `step`, and one that ends at the end."""
    if length <= size:
        return [0]
    positions = list(range(0, length - size + 1, step))
    if positions[-1] + size < length:
        positions.append(length - size)
    return positions


def cut(path: Path, target: Path, size: int, step: int) -> int:
    """Write the pieces of one image as NAME_s001.png, ... (BasicSR's names); returns how many."""
    image = read_image(path)
    count = 0
    for y in starts(image.shape[0], size, step):
        for x in starts(image.shape[1], size, step):
            count += 1
            name = f'{path.stem}_s{count:03d}.png'
            write_image(target / name, image[y : y + size, x : x + size])
    return count


def extract_subimages(
    folder: Path, target: Path, size: int = 480, step: int = 240, workers: int = os.cpu_count() or 1
) -> int:
    """Cut every image of a folder; the target appears when all are there.

    Returns:
        Number of pieces.

    Raises:
        UserError: The target exists, or an image does not decode.
    """
    images = list_images(folder)
    if target.exists():
        raise UserError(f'{target}: exists; remove it to cut {folder} again.')
    temporary = target.with_name(f'.{target.name}.part')
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        run = partial(cut, target=temporary, size=size, step=step)
        pieces = in_processes(run, images.values(), workers)
        count = sum(progress_bar(pieces, total=len(images), unit='image', desc='cut'))
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return count
