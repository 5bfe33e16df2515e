"""Images and their networks as a page is asked to show them."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from torch import nn

from liif_arch.errors import UserError, require_mebibytes
from liif_arch.files.lossy import lossy_format
from liif_arch.view.pictures import TAKEN, Gallery, Shown
from liif_arch.weights import DEFAULT, PHOTO, labels

MEMORY = 1536  # MiB that the codes of an image may take


def suited(path: Path) -> str:
    """The weights that ship for a file: `photo` for a lossy format, else `fast`."""
    lossy = path.is_file() and lossy_format(path.read_bytes()) is not None
    return PHOTO if lossy else DEFAULT


def open_gallery(
    images: Sequence[str | Path],
    load: Callable[[str], nn.Module],
    weights: Sequence[str] | None = None,
    gt: Sequence[str | Path] | None = None,
    memory: float = MEMORY,
) -> Gallery:
    """The images, each with the networks that were asked for, or the one that suits it.

    Args:
        images: Files.
        load: The network of some weights; it is called several times for the same ones.
        weights: Those of every image; None: `photo` for lossy files, `fast` for others.
        gt: What the images should be, one for each; None: not known.
        memory: MiB that the codes of an image may take.

    Raises:
        UserError: An image does not decode, there are no such weights, or ground truths do not fit.
    """
    for image in (*images, *(gt or ())):
        if not isinstance(image, (str, Path)):
            raise UserError(
                f'found a {type(image).__name__} as an image; needed the path of a file.'
            )
    if gt is not None and len(gt) != len(images):
        raise UserError(
            f'found {len(gt)} ground truths for {len(images)} images; needed one for each.'
        )
    require_mebibytes(memory=memory)
    if not images:
        raise UserError('found no images; needed one or more.')
    shown = []
    for number, image in enumerate(images):
        path = Path(image)
        chosen = weights or [suited(path)]
        named = zip(labels(chosen, TAKEN), chosen, strict=True)
        networks = {label: partial(load, name) for label, name in named}
        shown.append(Shown(path, networks, Path(gt[number]) if gt is not None else None, memory))
        for name in chosen:
            load(name)  # what is wrong with it is said before the page is there
    return Gallery(shown)
