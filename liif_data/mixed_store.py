"""Several folders behind one interface, of which samples are drawn by weights."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from liif_arch.errors import UserError
from liif_data.store import ImageStore, open_store


class MixedStore(ImageStore):
    """The images of several folders or LMDBs.

    Args:
        weights: How often a sample is of a folder, by the folder's name; of any sum.
        option: What names them in an option file.

    Raises:
        UserError: A weight is no positive number, or a folder has no images.
    """

    shares: Sequence[float]

    def __init__(self, weights: Mapping[str, float], option: str = 'dataroot_gt') -> None:
        self.root = ', '.join(map(str, weights))
        self._stores: list[ImageStore] = []
        self._places: dict[str, tuple[ImageStore, str]] = {}
        for number, (root, weight) in enumerate(weights.items()):
            if not _is_weight(weight):
                raise UserError(
                    f'found {weight!r} for {root}; needed a weight above 0: how often a sample is '
                    'of this folder.',
                    key=option,
                )
            store = open_store(root, option)
            self._stores.append(store)
            for key in store.keys:
                self._places[f'{number}/{key}'] = store, key
        if not self._stores:
            raise UserError('found no folder; needed a weight by folder.', key=option)
        total = sum(map(float, weights.values()))
        self.shares = [float(weight) / total for weight in weights.values()]
        self.keys = sorted(self._places)

    def key_of(self, index: int, rng: np.random.Generator) -> str:
        return self.draw(rng)

    def draw(self, rng: np.random.Generator) -> str:
        """The key of an image: of a folder by its weight, and there each as often as another."""
        number = rng.choice(len(self.shares), p=self.shares)
        return f'{number}/{self._stores[number].draw(rng)}'

    def path(self, key: str) -> str:
        store, name = self._places[key]
        return store.path(name)

    def read_bytes(self, key: str) -> bytes:
        store, name = self._places[key]
        return store.read_bytes(name)

    def size(self, key: str) -> tuple[int, int]:
        store, name = self._places[key]
        return store.size(name)

    def read(self, key: str, color: str = 'rgb') -> np.ndarray:
        store, name = self._places[key]
        return store.read(name, color)

    def read_window(self, key: str, rows: slice, cols: slice, color: str = 'rgb') -> np.ndarray:
        store, name = self._places[key]
        return store.read_window(name, rows, cols, color)

    def verify(self, color: str = 'rgb') -> None:
        for store in self._stores:
            store.verify(color)


def _is_weight(found: Any) -> bool:
    return isinstance(found, int | float) and not isinstance(found, bool) and 0 < found < math.inf
