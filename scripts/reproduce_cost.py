"""What the decoders of `scripts/reproduce.py` cost: a table, and PSNR against time."""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

from reproduce_runs import Run

SIZE, SCALE = (339, 510), 4  # of the input that is timed
REPEATS = 3


def write_cost(
    runs: list[Run],
    curves: dict[str, dict[int, float]],
    title: str,
    args: argparse.Namespace,
    folder: Path,
) -> None:
    """Write `cost.md` and `psnr_time.png` into a report's folder.

    Args:
        runs: Of any scale; others are left out.
        curves: PSNR by scale, of every run and of `bicubic`.
        title: Name of the metric.
        args: The command line's, at one budget.
        folder: Of the report.
    """
    from liif_arch.complexity import complexity
    from liif_arch.metrics.report import markdown_table
    from liif_arch.weights.networks import load_network

    size = (SIZE[0] * SCALE, SIZE[1] * SCALE)
    rows, points = [], {}
    for run in [None, *(run for run in runs if run.scales is None)]:
        if run is None:
            label, macs, seconds = 'bicubic', '-', _seconds_of_bicubic(size)
        else:
            label = run.label
            net = load_network(
                args.folder / f'experiments/{run.name(args.seeds[0])}/models/net_g_latest.pth'
            )
            seconds = _seconds_of_network(net, size)
            macs = f'{complexity(net).of_image(SIZE, size) / (size[0] * size[1]) / 1e3:.1f}'
        psnr = curves[label].get(SCALE)
        points[label] = (seconds, psnr)
        shown = '-' if psnr is None else f'{psnr:.2f}'
        rows.append(
            [label, macs, f'{seconds:.3f}', f'{size[0] * size[1] / seconds / 1e6:.2f}', shown]
        )
    header = ['method', 'kMAC a pixel', 'seconds', 'Mpixel/s', f'{title} at x{SCALE}']
    text = f'{SIZE[1]}x{SIZE[0]} at x{SCALE}, float32, {_threads()} threads of a processor.\n\n'
    (folder / 'cost.md').write_text(f'# cost\n\n{text}{markdown_table(header, rows)}\n')
    _plot({label: point for label, point in points.items() if point[1] is not None}, title, folder)


def _threads() -> int:
    import torch

    return torch.get_num_threads()


def _seconds_of_bicubic(size: tuple[int, int]) -> float:
    import numpy as np

    from liif_arch.files.images import resize_bicubic

    image = np.zeros((*SIZE, 3), np.uint8)
    return _shortest(lambda: resize_bicubic(image, size))


def _seconds_of_network(net: object, size: tuple[int, int]) -> float:
    import torch

    lq = torch.rand(1, 3, *SIZE)
    with torch.no_grad():
        return _shortest(lambda: net(lq, size=size))


def _shortest(work: Callable[[], object]) -> float:
    """Seconds of the fastest of some repetitions, behind one that is not counted."""
    work()
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def _plot(points: dict[str, tuple[float, float]], title: str, folder: Path) -> None:
    """PSNR against seconds, which grow by factors."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4), layout='constrained')
    axes = figure.add_subplot()
    for label, (seconds, psnr) in points.items():
        axes.plot(seconds, psnr, 'o')
        axes.annotate(label, (seconds, psnr), (6, 4), textcoords='offset points')
    axes.set(
        xscale='log',
        xlabel=f'seconds for {SIZE[1]}x{SIZE[0]} at x{SCALE}, {_threads()} threads',
        ylabel=f'{title} at x{SCALE} (dB)',
    )
    axes.margins(x=0.25, y=0.1)
    axes.grid(alpha=0.3, which='both')
    figure.savefig(folder / 'psnr_time.png', dpi=130)
