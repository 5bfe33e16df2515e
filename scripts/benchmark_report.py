"""Tables and plots of `scripts/benchmark.py`."""

from pathlib import Path

import numpy as np


def show(row: dict) -> None:
    """One finished row, as progress."""
    print('  ' + ', '.join(f'{name} {_format(value)}' for name, value in row.items()), flush=True)


def _format(value: object) -> str:
    """A figure with three digits, or as a whole number of thousands; other things as text."""
    if not isinstance(value, float):
        return str(value)
    if value >= 1000:
        return f'{value:,.0f}'
    return f'{value:.3g}'


def table(rows: list[dict]) -> str:
    """Rows as a Markdown table."""
    from liif_arch.metrics.report import markdown_table

    cells = []
    for row in rows:
        cells.append(list(map(_format, row.values())))
    return markdown_table(list(rows[0]), cells)


def plot(results: dict[str, list[dict]], path: Path) -> None:
    """Rendering's time per output pixel against scale, fast and plain, logarithmic."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    rows_of: dict[str, list[dict]] = {}
    for row in results['render']:
        is_per_axis = row['scale'].count('x') > 1
        if row['network'] != 'decoder alone' and not is_per_axis:
            rows_of.setdefault(row['network'], []).append(row)
    figure = Figure(figsize=(4.5 * len(rows_of), 3.6), layout='constrained')
    panels = figure.subplots(1, len(rows_of), squeeze=False)[0]
    for axes, (encoder, rows) in zip(panels, rows_of.items(), strict=True):
        for name in ('float32', 'bfloat16'):
            scales, taken = _points(rows, name, 'ns a pixel')
            if scales:
                axes.loglog(scales, taken, marker='o', markersize=4, label=name)
        scales, taken = _points(rows, 'float32', 'plain ns')
        label = 'plain form, float32'
        axes.loglog(scales, taken, marker='s', markersize=4, color='0.5', label=label)
        axes.set(title=f'{encoder}-LIIF', xlabel='scale', ylabel='ns per output pixel')
        axes.set_xticks(scales, list(map('x{:g}'.format, scales)))
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter('{x:g}')
        axes.minorticks_off()
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path, dpi=130)


def _points(rows: list[dict], precision: str, figure: str) -> tuple[list[float], list[float]]:
    """Scales, and a figure of the rows of one precision at them."""
    scales, figures = [], []
    for row in rows:
        if row['precision'] == precision:
            scales.append(float(row['scale'].removeprefix('x')))
            figures.append(row[figure])
    return scales, figures


def plot_linearity(rows: list[dict], path: Path) -> None:
    """Seconds against output pixels, both logarithmic, beside a line of slope 1."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.8, 3.6), layout='constrained')
    axes = figure.add_subplot()
    pixels = np.array([row['output pixels'] for row in rows])
    taken = np.array([row['seconds'] for row in rows])
    axes.loglog(pixels, taken[-1] / pixels[-1] * pixels, color='0.6', label='proportional')
    label = f'measured, slope {rows[0]["slope over all"]:.3f}'
    axes.loglog(pixels, taken, 'o', markersize=5, label=label)
    for row in rows:
        axes.annotate(
            row['scale'],
            (row['output pixels'], row['seconds']),
            xytext=(5, -9),
            textcoords='offset points',
        )
    axes.set(
        xlabel='output pixels', ylabel='seconds', title=f'Rendering {rows[0]["input"]} at x2 to x30'
    )
    axes.grid(alpha=0.3, which='both')
    axes.legend()
    figure.savefig(path, dpi=130)


def plot_losses(curves: dict[str, list[float]], path: Path) -> None:
    """Loss against iteration, averaged over the 20 before."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.6), layout='constrained')
    axes = figure.add_subplot()
    for name, losses in curves.items():
        window = min(20, len(losses))
        smooth = np.convolve(losses, np.ones(window) / window, 'valid')
        style = {'color': 'C1', 'linewidth': 1.8}
        if 'bfloat16' not in name:  # runs of float32 are numbered: shades of gray
            style = {'color': str(0.3 + 0.2 * int(name[-1]))}
        axes.semilogy(range(window, len(losses) + 1), smooth, label=name, **style)
    axes.set(xlabel='iteration', ylabel='L1 loss, mean of 20')
    axes.grid(alpha=0.3, which='both')
    axes.legend()
    figure.savefig(path, dpi=130)
