"""Windows of images that are drawn and read, one of several candidates where that is asked for."""

from collections.abc import Callable

import numpy as np

from liif_data.crops import Window, mean_gradient, random_window
from liif_data.store import ImageStore

Place = tuple[ImageStore, str, Window]


class WindowReader:
    """Reads windows of images.

    Args:
        color: See `liif_arch.files.images.decode_image`.
        keeps: Decoded images are kept in memory.
        candidates: So many windows are drawn, of which one is taken, see `choose`.
    """

    def __init__(self, color: str, keeps: bool, candidates: int) -> None:
        self.color, self.keeps, self.candidates = color, keeps, candidates
        self._kept: dict[str, np.ndarray] = {}

    def read(self, store: ImageStore, key: str, window: Window) -> np.ndarray:
        """A window of an image, (rows, cols, C)."""
        if not self.keeps:
            return store.read_window(key, *window, self.color)
        name = store.path(key)
        if name not in self._kept:
            self._kept[name] = store.read(key, self.color)
        return self._kept[name][window]

    def choose(
        self,
        rng: np.random.Generator,
        image: tuple[int, int],
        crop: tuple[int, int],
        places: Callable[[Window], list[Place]],
    ) -> list[np.ndarray]:
        """What lies at a window that is drawn; of several, one with a probability in proportion to
        the mean gradient of its first image.

        Args:
            rng: Source of randomness.
            image: Height and width of what windows are drawn of.
            crop: Height and width of a window.
            places: The stores, keys and windows to read for a window.
        """
        candidates = []
        for _ in range(self.candidates):
            window = random_window(rng, image, crop)
            candidates.append([self.read(*place) for place in places(window)])
        if len(candidates) == 1:
            return candidates[0]
        gradients = np.array([mean_gradient(crops[0]) for crops in candidates]) + 1e-6
        return candidates[rng.choice(len(candidates), p=gradients / gradients.sum())]
