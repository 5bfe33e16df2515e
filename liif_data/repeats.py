"""Finitely many training samples: those of an epoch come again some epochs later, and have numbers.

A sample is addressed by (seed, epoch, repeat, index), see `liif_arch.training.addressed`. Where
epochs come again, that leaves images * dataset_enlarge_ratio * repeat_epochs samples.
"""

import hashlib
from collections.abc import Iterable

from liif_arch.training.addressed import SampleIndex
from liif_data.store import ImageStore


def repeated(index: int, epochs: int | None) -> SampleIndex:
    """The address whose sample stands at an address, one of the first `epochs` epochs.

    Args:
        index: A `SampleIndex`; a plain number is of the first epoch.
        epochs: After how many epochs samples come again; None: never.
    """
    epoch, repeat = getattr(index, 'epoch', 0), getattr(index, 'repeat', 0)
    if epochs is not None:
        epoch %= epochs
    return SampleIndex(int(index), epoch, repeat)


def number_of(address: SampleIndex, images: int, ratio: int) -> int:
    """Which of all samples an address is: by epoch, then repeat, then image.

    Args:
        address: What `repeated` returned.
        images: Number of images of the data set.
        ratio: Its dataset_enlarge_ratio, above every repeat.
    """
    return (address.epoch * ratio + address.repeat) * images + int(address)


def fingerprint(stores: Iterable[ImageStore]) -> int:
    """A number of 62 bits that tells one set of images from another.

    It is made of their names and sizes, the pixels of the first and of the last one (the same
    pictures may have been reduced in two ways), and how often a sample is of which folder.
    """
    digest = hashlib.sha256()
    for store in stores:
        digest.update(repr(store.shares).encode())
        for key in store.keys:
            digest.update(repr((key, *store.size(key))).encode())
        for key in dict.fromkeys((store.keys[0], store.keys[-1])):
            digest.update(store.read(key).tobytes())
    return int.from_bytes(digest.digest()[:8], 'big') >> 2
