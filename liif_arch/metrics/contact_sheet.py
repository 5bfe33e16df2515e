"""A picture of what a dataset gives to a training or a validation: inputs beside ground truths."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

PAIRS_A_ROW = 4


class Pair(NamedTuple):
    """An input and its ground truth, (h, w, C) and (H, W, C), of 8 or 16 bits."""

    lq: np.ndarray
    gt: np.ndarray

    @property
    def title(self) -> str:
        """Sizes (width x height) and scale, in words."""
        (h, w), (H, W) = self.lq.shape[:2], self.gt.shape[:2]
        return f'{w}x{h} to {W}x{H}, x{H / h:.3g}'


def write_contact_sheet(pairs: Iterable[Pair], path: Path) -> None:
    """Draw pairs beside each other, all as large, without smoothing; replaces the file."""
    from matplotlib.figure import Figure

    pairs = list(pairs)
    columns = min(PAIRS_A_ROW, len(pairs))
    rows = -(-len(pairs) // columns)
    figure = Figure(figsize=(3.6 * columns, 2.1 * rows), layout='constrained')
    for i, pair in enumerate(pairs):
        place = 2 * columns * (i // columns) + 2 * (i % columns) + 1
        for j, image in enumerate(pair):
            axes = figure.add_subplot(rows, 2 * columns, place + j)
            most = np.iinfo(image.dtype).max
            shown = image / most
            if shown.shape[2] not in (3, 4):
                shown = shown[..., 0]
            axes.imshow(shown, cmap='gray', vmin=0, vmax=1, interpolation='nearest')
            axes.set(xticks=[], yticks=[])
            if j == 0:
                axes.set_title(pair.title, fontsize=8, loc='left')
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
