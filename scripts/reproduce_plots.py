"""The pictures in the reports of `scripts/reproduce.py`: curves, bars and zoom panels."""

import argparse
import statistics
from pathlib import Path

from reproduce_runs import Run

from liif_data.store import open_store

PANEL_SCALES = [4, 8, 30]
PLOTTED = 4  # the scale of bars and of curves over the budget, beside the lowest one

Figures = dict[int, list[float]]  # of a run by scale, one for each seed


def deviation(values: list[float]) -> float:
    """The standard deviation of the seeds; 0 of one."""
    return statistics.stdev(values) if len(values) > 1 else 0.0


def plot_curves(curves: dict[str, dict[int, float]], title: str, path: Path) -> None:
    """Gain over bicubic against scale, which shows differences that absolute PSNR hides.

    Args:
        curves: Figures by scale, of every run and of `bicubic`.
        title: Name of the metric.
        path: Picture to write.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4), layout='constrained')
    axes = figure.add_subplot()
    bicubic = curves['bicubic']
    for label, curve in curves.items():
        if label != 'bicubic':
            scales = sorted(curve)
            gains = [curve[scale] - bicubic[scale] for scale in scales]
            axes.plot(scales, gains, marker='o', markersize=4, label=label)
    axes.axhline(0, color='0.6', linewidth=1, label='bicubic')
    axes.axvspan(1, 4, color='0.5', alpha=0.1, label='training scales')
    axes.set(xlabel='scale', ylabel=f'{title} over bicubic (dB)')
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=130)


def plot_changes(figures: dict[str, Figures], title: str, path: Path) -> None:
    """What each run brings over the first one, at the lowest scale and at x4, with the standard
    deviation of the seeds.

    Args:
        figures: By scale, of `bicubic` and of every run; the first of these is compared with.
        title: Name of the metric.
        path: Picture to write.
    """
    from matplotlib.figure import Figure

    first, *labels = [label for label in figures if label != 'bicubic']
    shared = set.intersection(*(set(figures[label]) for label in (first, *labels)))
    scales = sorted(shared & {min(shared), PLOTTED})
    figure = Figure(figsize=(6.4, 1 + 0.32 * len(labels)), layout='constrained')
    axes = figure.add_subplot()
    for i, scale in enumerate(scales):
        base = statistics.fmean(figures[first][scale])
        gains, deviations = [], []
        for label in labels:
            values = figures[label][scale]
            gains.append(statistics.fmean(values) - base)
            deviations.append(deviation(values))
        height = 0.8 / len(scales)
        places = [place + (i - (len(scales) - 1) / 2) * height for place in range(len(labels))]
        axes.barh(places, gains, height, xerr=deviations, label=f'x{scale}')
    axes.set_yticks(range(len(labels)), labels)
    axes.invert_yaxis()
    axes.axvline(0, color='0.3', linewidth=1)
    axes.set(xlabel=f'{title} over {first} (dB)')
    axes.grid(alpha=0.3, axis='x')
    axes.legend()
    figure.savefig(path, dpi=130)


def plot_budgets(
    figures: dict[int, dict[str, Figures]], scales: list[int], axis: str, title: str, path: Path
) -> None:
    """PSNR over the budget, of the runs that have it, with the deviation of the seeds.

    Args:
        figures: By budget and run (`bicubic` too) and scale.
        scales: Each has a plot of its own.
        axis: What the budget is counted in.
        title: Name of the metric.
        path: Picture to write.
    """
    from matplotlib.figure import Figure

    labels = [label for label in next(iter(figures.values())) if label != 'bicubic']
    figure = Figure(figsize=(4.8 * len(scales) + 1.6, 4), layout='constrained')
    every_axes = figure.subplots(1, len(scales), squeeze=False)[0]
    for axes, scale in zip(every_axes, scales, strict=True):
        for number, label in enumerate(labels):
            of_label = {
                b: runs[label][scale] for b, runs in figures.items() if scale in runs[label]
            }
            means = [statistics.fmean(values) for values in of_label.values()]
            deviations = [deviation(values) for values in of_label.values()]
            look = {'marker': 'o', 'markersize': 4, 'capsize': 3, 'color': f'C{number}'}
            axes.errorbar(list(of_label), means, deviations, label=label, **look)
        axes.set(title=f'x{scale}', xlabel=axis, ylabel=f'{title} (dB)', xscale='log')
        axes.set_xticks(list(figures), [f'{budget:,}' for budget in figures])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    handles, names = every_axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc='outside right upper')
    figure.savefig(path, dpi=130)


def draw_panels(runs: list[Run], args: argparse.Namespace, path: Path) -> None:
    """Bicubic, the decoders and the original at x4, x8 and x30 of the first test image."""
    import torch

    from liif_arch.coordinates import reduced_size, scaled_size
    from liif_arch.files.images import resize_bicubic
    from liif_arch.metrics.panel import Row, write_panel
    from liif_arch.upscaling.upscale import upscale
    from liif_arch.weights.networks import load_network

    nets = {}
    for run in sorted(runs, key=lambda run: run.label != 'MetaSR'):  # MetaSR first
        if run.scales is None:
            weights = args.folder / f'experiments/{run.name(args.seeds[0])}/models/net_g_latest.pth'
            nets[run.label] = load_network(weights)
    store = open_store(args.test, '--test')
    rows = []
    with torch.no_grad():
        for scale in PANEL_SCALES:
            gt = store.read(store.keys[0])
            small = reduced_size(gt.shape[:2], (scale, scale))
            size = scaled_size(small, (scale, scale))
            gt = gt[: size[0], : size[1]]
            lq = resize_bicubic(gt, small)
            methods = {'bicubic': resize_bicubic(lq, size)}
            for label, net in nets.items():
                methods[label] = upscale(net, lq, size=size)
            methods['original'] = gt
            rows.append(Row(store.keys[0], f'x{scale}', methods))
    write_panel(rows, path)
