"""The reports of `scripts/reproduce.py`: tables, curves and zoom panels."""

import argparse
import statistics
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from reproduce_cost import write_cost
from reproduce_runs import GROUPS, Run

from liif_data.store import open_store

PANEL_SCALES = [4, 8, 30]
CURVE_SCALE = 4  # the budgets' curves are of this scale, and of the lowest one


class Trained(NamedTuple):
    """What came of a run at one budget.

    Attributes:
        iterations: It was trained for.
        figures: What `basicsr test` has measured, by scale, once for each seed.
    """

    iterations: int
    figures: list[dict]


Figures = dict[int, list[float]]  # of a run by scale, one for each seed


def write_comparison(group: str, results: dict[str, Trained], args: argparse.Namespace) -> Path:
    """Write a table in the paper's layout beside the paper's figures, and plots.

    The plots are curves, and for the decoders zoom panels. Of several seeds the table tells the
    mean and the standard deviation.

    Args:
        group: What is compared.
        results: What came of every run, by its label.
        args: The command line's, at one budget.
    """
    from liif_arch.metrics.report import markdown_table

    metric, title = _metric(group, args)
    runs = [run for run in GROUPS[group] if run.label in results]
    figures = _figures(results, metric)
    curves = {label: _means(of_run) for label, of_run in figures.items()}
    scales = sorted(set().union(*curves.values()))
    rows = [['bicubic', '', *_cells(curves['bicubic'], scales)]]
    for run in runs:
        iterations = f'{results[run.label].iterations:,}'
        rows.append([run.label, iterations, *_cells_of_seeds(figures[run.label], scales)])
    for run in runs:
        if run.paper:
            rows.append([f'paper: {run.label}', '', *_cells(run.paper, scales)])
    text = [
        f'# {group}',
        '',
        _what_is_told(group, args),
        "The paper's figures are for its own data (DIV2K; CelebAHQ), networks and schedule: "
        'compare the order, not the level.',
        '',
        markdown_table(['method', 'iterations', *map('x{}'.format, scales)], rows),
    ]
    folder = args.folder / f'report_{group}'
    folder.mkdir(parents=True, exist_ok=True)
    if group == 'recipe' and GROUPS[group][0].label in results and len(results) > 1:
        plot_changes(figures, title, folder / 'changes.png')
        text += ['', '![What each change brings](changes.png)']
    elif len(scales) > 2:
        plot_curves(curves, title, folder / 'psnr_scale.png')
        text += ['', '![PSNR gain over bicubic against scale](psnr_scale.png)']
    if group == 'decoders':
        draw_panels(runs, args, folder / 'panels.png')
        write_cost(runs, curves, title, args, folder)
        text += ['', '![zoom panels](panels.png)']
        text += ['', 'What they cost: [cost.md](cost.md).']
        text += ['', '![PSNR against time](psnr_time.png)']
    return _write(text, folder / 'report.md')


def write_budgets(
    group: str, results: dict[int, dict[str, Trained]], args: argparse.Namespace
) -> Path:
    """Write a table of every run at every budget, and its curve over them.

    Args:
        group: What is compared.
        results: What came of every run, by budget and label.
        args: The command line's.
    """
    from liif_arch.metrics.report import markdown_table

    metric, title = _metric(group, args)
    figures = {budget: _figures(of_runs, metric) for budget, of_runs in results.items()}
    scales = sorted(
        {s for of_runs in figures.values() for curve in of_runs.values() for s in curve}
    )
    axis = 'budget (iterations)'
    if args.equal_time:
        axis = f'time, in iterations of {GROUPS[group][0].label}'
    bicubic = {scale: v for of_runs in figures.values() for scale, v in of_runs['bicubic'].items()}
    rows = [['bicubic', '', '', *_cells_of_seeds(bicubic, scales)]]
    labels = list(next(iter(results.values())))
    for label in labels:
        for budget, of_runs in figures.items():
            iterations = f'{results[budget][label].iterations:,}'
            cells = _cells_of_seeds(of_runs[label], scales)
            rows.append([label, f'{budget:,}', iterations, *cells])
    text = [
        f'# {group}: what more time brings',
        '',
        _what_is_told(group, args),
        'Every budget is a training of its own, with the whole of its schedule.',
        '',
        markdown_table(['method', axis, 'iterations', *map('x{}'.format, scales)], rows),
        '',
        '![PSNR over the budget](budgets.png)',
    ]
    folder = args.out / f'report_{group}'
    folder.mkdir(parents=True, exist_ok=True)
    path = _write(text, folder / 'budgets.md')
    drawn = [scale for scale in scales if scale in (scales[0], CURVE_SCALE)]
    plot_budgets(figures, drawn, axis, title, folder / 'budgets.png')
    return path


def _metric(group: str, args: argparse.Namespace) -> tuple[str, str]:
    """Which figure of `basicsr test` is told, and what it is called."""
    from liif_arch.metrics.report import TITLES

    metric = 'psnr' if group == 'size-varied' else args.metric
    return metric, TITLES[metric]


def _what_is_told(group: str, args: argparse.Namespace) -> str:
    """A sentence on the figures of a table."""
    data = f'trained on {args.train}, tested on {args.test}'
    if group == 'size-varied':
        data = f'faces of {args.faces}'
    seeds = ''
    if len(args.seeds) > 1:
        seeds = f', mean and standard deviation of {len(args.seeds)} seeds'
    _, title = _metric(group, args)
    network = f'network: {args.network}, trained in {args.precision}'
    return f'{title} (dB){seeds}; {network}; {data}.'


def _write(text: list[str], path: Path) -> Path:
    """Write a report, and print its table."""
    path.write_text('\n'.join(text) + '\n')
    print('\n' + '\n'.join(text[2:6]) + f'\n{path}')
    return path


def _figures(results: dict[str, Trained], metric: str) -> dict[str, Figures]:
    """A metric by scale, of bicubic first and then of every run in the results."""
    figures: dict[str, Figures] = {'bicubic': {}}
    for label, trained in results.items():
        figures[label] = {}
        for entries in trained.figures:
            for scale, entry in entries.items():
                if entry[metric] is None:  # infinite
                    continue
                number = int(scale.removeprefix('x'))
                figures[label].setdefault(number, []).append(entry[metric])
                figures['bicubic'][number] = [entry['bicubic'][metric]]
    return figures


def _means(figures: Figures) -> dict[int, float]:
    """The mean over the seeds by scale."""
    return {scale: statistics.fmean(values) for scale, values in figures.items()}


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
            deviations = [_deviation(values) for values in of_label.values()]
            look = {'marker': 'o', 'markersize': 4, 'capsize': 3, 'color': f'C{number}'}
            axes.errorbar(list(of_label), means, deviations, label=label, **look)
        axes.set(title=f'x{scale}', xlabel=axis, ylabel=f'{title} (dB)', xscale='log')
        axes.set_xticks(list(figures), [f'{budget:,}' for budget in figures])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    handles, names = every_axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc='outside right upper')
    figure.savefig(path, dpi=130)


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
    scales = sorted(shared & {min(shared), CURVE_SCALE})
    figure = Figure(figsize=(6.4, 1 + 0.32 * len(labels)), layout='constrained')
    axes = figure.add_subplot()
    for i, scale in enumerate(scales):
        base = statistics.fmean(figures[first][scale])
        gains, deviations = [], []
        for label in labels:
            values = figures[label][scale]
            gains.append(statistics.fmean(values) - base)
            deviations.append(_deviation(values))
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


def _deviation(values: list[float]) -> float:
    """The standard deviation of the seeds; 0 of one."""
    return statistics.stdev(values) if len(values) > 1 else 0.0


def _cells(curve: Mapping[int, float], scales: Iterable[int]) -> list[str]:
    """A row's figures at the scales, with a dash where there is none."""
    return [f'{curve[scale]:.2f}' if scale in curve else '-' for scale in scales]


def _cells_of_seeds(figures: Figures, scales: Iterable[int]) -> list[str]:
    """A row's means at the scales, of several seeds with their standard deviations."""
    cells = []
    for scale, mean in zip(scales, _cells(_means(figures), scales), strict=True):
        values = figures.get(scale, [])
        if len(values) > 1:
            mean += f' \u00b1 {_deviation(values):.2f}'
        cells.append(mean)
    return cells
