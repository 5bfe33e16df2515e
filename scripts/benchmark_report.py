"""Tables and plots of `scripts/benchmark.py`."""

from pathlib import Path

import numpy as np


def show(row: dict) -> None:
    """One finished row, as progress."""
    print('  ' + ', '.join(f'{k} {_format(v)}' for k, v in row.items()), flush=True)


def _format(value: object) -> str:
    if not isinstance(value, float):
        return str(value)
    return f'{value:,.0f}' if value >= 1000 else f'{value:.3g}'


def table(rows: list[dict]) -> str:
    """Rows as a Markdown table."""
    from liif_arch.metrics.report import markdown_table

    return markdown_table(list(rows[0]), [[_format(v) for v in row.values()] for row in rows])


def plot(results: dict[str, list[dict]], path: Path) -> None:
    """Rendering's time per output pixel against scale, fast and plain, logarithmic."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    rows = [
        r
        for r in results['render']
        if r['network'] != 'decoder alone' and r['scale'].count('x') == 1
    ]
    encoders = list(dict.fromkeys(r['network'] for r in rows))
    figure = Figure(figsize=(4.5 * len(encoders), 3.6), layout='constrained')
    for axes, encoder in zip(
        figure.subplots(1, len(encoders), squeeze=False)[0], encoders, strict=True
    ):
        for name in ('float32', 'bfloat16'):
            points = [
                (float(r['scale'][1:]), r['ns a pixel'])
                for r in rows
                if (r['network'], r['precision']) == (encoder, name)
            ]
            if points:
                axes.loglog(*zip(*points, strict=True), marker='o', markersize=4, label=name)
        points = [
            (float(r['scale'][1:]), r['plain ns'])
            for r in rows
            if (r['network'], r['precision']) == (encoder, 'float32')
        ]
        axes.loglog(
            *zip(*points, strict=True),
            marker='s',
            markersize=4,
            color='0.5',
            label='plain form, float32',
        )
        axes.set(title=f'{encoder}-LIIF', xlabel='scale', ylabel='ns per output pixel')
        scales = sorted({float(r['scale'][1:]) for r in rows})
        axes.set_xticks(scales, [f'x{s:g}' for s in scales])
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter('{x:g}')
        axes.minorticks_off()
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path, dpi=130)


def plot_linearity(rows: list[dict], path: Path) -> None:
    """Seconds against output pixels, both logarithmic, beside a line of slope 1."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.8, 3.6), layout='constrained')
    axes = figure.add_subplot()
    pixels, taken = ([r[key] for r in rows] for key in ('output pixels', 'seconds'))
    axes.loglog(
        pixels, [taken[-1] / pixels[-1] * n for n in pixels], color='0.6', label='proportional'
    )
    axes.loglog(
        pixels, taken, 'o', markersize=5, label=f'measured, slope {rows[0]["slope over all"]:.3f}'
    )
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
        style = (
            {'color': 'C1', 'linewidth': 1.8}
            if 'bfloat16' in name
            else {'color': str(0.3 + 0.2 * int(name[-1]))}
        )
        axes.semilogy(range(window, len(losses) + 1), smooth, label=name, **style)
    axes.set(xlabel='iteration', ylabel='L1 loss, mean of 20')
    axes.grid(alpha=0.3, which='both')
    axes.legend()
    figure.savefig(path, dpi=130)
