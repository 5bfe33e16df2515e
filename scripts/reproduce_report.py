"""The reports of `scripts/reproduce.py`: what was measured, in tables."""

import argparse
import statistics
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from reproduce_cost import write_cost
from reproduce_plots import (
    PLOTTED,
    Figures,
    deviation,
    draw_panels,
    plot_budgets,
    plot_changes,
    plot_curves,
)
from reproduce_runs import GROUPS


class Trained(NamedTuple):
    """What came of a run at one budget.

    Attributes:
        iterations: It was trained for.
        figures: What `basicsr test` has measured, by scale, once for each seed.
    """

    iterations: int
    figures: list[dict]


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
    drawn = [scale for scale in scales if scale in (scales[0], PLOTTED)]
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


def _cells(curve: Mapping[int, float], scales: Iterable[int]) -> list[str]:
    """A row's figures at the scales, with a dash where there is none."""
    return [f'{curve[scale]:.2f}' if scale in curve else '-' for scale in scales]


def _cells_of_seeds(figures: Figures, scales: Iterable[int]) -> list[str]:
    """A row's means at the scales, of several seeds with their standard deviations."""
    cells = []
    for scale, mean in zip(scales, _cells(_means(figures), scales), strict=True):
        values = figures.get(scale, [])
        if len(values) > 1:
            mean += f' \u00b1 {deviation(values):.2f}'
        cells.append(mean)
    return cells
