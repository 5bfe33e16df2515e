"""Comparison pictures: the same detail by several methods, at several scales."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

DETAIL = 128  # side of the detail, in output pixels


class Row(NamedTuple):
    """One line of the picture: the same image, (H, W, C) uint8, by several methods, the original
    among them.
    """

    image: str
    scale: str
    methods: dict[str, np.ndarray]


def busiest_window(image: np.ndarray, side: int) -> tuple[slice, slice]:
    """Rows and columns of the square with the most detail (mean gradient), on a coarse grid."""
    gray = image.astype(np.float32).mean(2)
    energy = np.abs(np.diff(gray, axis=0))[:, :-1] + np.abs(np.diff(gray, axis=1))[:-1]
    total = np.pad(energy.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    h, w = min(side, energy.shape[0]), min(side, energy.shape[1])
    sums = total[h:, w:] - total[:-h, w:] - total[h:, :-w] + total[:-h, :-w]
    y, x = np.unravel_index(sums[::8, ::8].argmax(), sums[::8, ::8].shape)
    return slice(8 * int(y), 8 * int(y) + side), slice(8 * int(x), 8 * int(x) + side)


def write_panel(rows: list[Row], path: Path) -> None:
    """Draw a row a line, a column a method (the first row's order), each titled with its PSNR over
    the detail.
    """
    from matplotlib.figure import Figure

    columns = list(rows[0].methods)
    figure = Figure(figsize=(2.8 * len(columns), 2.95 * len(rows)), layout='constrained')
    for i, row in enumerate(rows):
        window = busiest_window(row.methods['original'], DETAIL)
        for j, name in enumerate(columns):
            detail, original = row.methods[name][window], row.methods['original'][window]
            axes = figure.add_subplot(len(rows), len(columns), len(columns) * i + j + 1)
            title = name
            if name != 'original':
                title += f'  {_psnr(detail, original):.2f} dB'
            if detail.shape[2] != 3:
                detail = detail[..., 0]  # matplotlib colours one channel by `cmap`
            axes.imshow(detail, cmap='gray', vmin=0, vmax=255, interpolation='nearest')
            axes.set(xticks=[], yticks=[])
            axes.set_title(title, fontsize=9)
            if j == 0:
                axes.set_ylabel(f'{row.image}  {row.scale}', fontsize=9)
    figure.supxlabel('PSNR: RGB, of the detail shown', fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)


def _psnr(image: np.ndarray, original: np.ndarray) -> float:
    """PSNR in dB of 8-bit images, all channels; infinite for equal ones."""
    mse = np.mean((image.astype(np.float64) - original) ** 2)
    if mse == 0:
        return float('inf')
    return float(10 * np.log10(255**2 / mse))
