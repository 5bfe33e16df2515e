"""Results of a validation or a test: what `metrics.json` holds, the tables people compare, and PSNR
against scale.

The results are `{dataset: {"x2": {"psnr": mean, "psnr_y": ..., "bicubic": {...}, "images": {name:
{"psnr": ..., "bicubic": {...}}}}}}`; a figure that is not finite is null.
"""

import csv
import io
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from liif_arch.files.atomic import atomic_write

TITLES = {
    'psnr': 'PSNR',
    'psnr_y': 'PSNR-Y',
    'psnr_div2k': 'PSNR-DIV2K',
    'ssim': 'SSIM',
    'lpips': 'LPIPS',
    'dists': 'DISTS',
    'niqe': 'NIQE',
}
Figures = dict[str, float | None]
Results = dict[str, dict[str, dict]]
PSNR_FIRST = ('psnr_y', 'psnr', 'psnr_div2k')  # which of them is drawn against scale


def summarize(records: list[dict]) -> dict[str, dict]:
    """Means per scale from one record an image and scale.

    Args:
        records: {'scale': 'x2', 'image': name, 'figures': {metric: value}, 'bicubic': {metric:
            value} or {}}.

    Returns:
        {scale: {metric: mean, 'bicubic': {...}, 'images': {...}}}, scales in the records' order.
    """
    images_of: dict[str, dict[str, dict]] = {}
    for record in records:
        figures: dict = _finite(record['figures'])
        if record['bicubic']:
            figures['bicubic'] = _finite(record['bicubic'])
        images_of.setdefault(record['scale'], {})[record['image']] = figures
    summary = {}
    for scale, images in images_of.items():
        summary[scale] = {**_means_of_methods(list(images.values())), 'images': images}
    return summary


def _means_of_methods(images: list[dict]) -> dict:
    """Means over images of the network's figures, and of bicubic's where they are there."""
    means: dict = _means(images)
    if 'bicubic' in images[0]:
        means['bicubic'] = _means([image['bicubic'] for image in images])
    return means


def write_report(results: Results, folder: Path) -> None:
    """Write metrics.json, metrics.csv, metrics.md and psnr_scale.png into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_text(folder / 'metrics.json', json.dumps(results, indent=1, allow_nan=False))
    _write_text(folder / 'metrics.md', format_table(results) + '\n')
    _write_text(folder / 'metrics.csv', format_csv(results))
    plot_psnr(results, folder / 'psnr_scale.png')


def read_report(folder: Path) -> Results | None:
    """What `write_report` left in a folder, or None."""
    path = folder / 'metrics.json'
    if not path.is_file():
        return None
    return json.loads(path.read_text(encoding='utf-8'))


def format_csv(results: Results) -> str:
    """One line a dataset, scale, method and image; the image `mean` is the mean over the images."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(['dataset', 'scale', 'method', 'image', *TITLES])
    for dataset, scale, entry in _entries(results):
        for image, figures in [('mean', entry), *entry['images'].items()]:
            writer.writerow([dataset, scale, 'network', image, *map(figures.get, TITLES)])
            bicubic = figures.get('bicubic')
            if bicubic:
                writer.writerow([dataset, scale, 'bicubic', image, *map(bicubic.get, TITLES)])
    return text.getvalue()


def _entries(results: Results) -> Iterator[tuple[str, str, dict]]:
    """Dataset, scale, and the figures of that scale, for all of the results."""
    for dataset, scales in results.items():
        for scale, entry in scales.items():
            yield dataset, scale, entry


def format_table(results: Results) -> str:
    """The means as an aligned Markdown table: dataset x scale, a column a metric, bicubic beside
    the network.
    """
    columns = _columns(results)
    header = ['dataset', 'scale']
    for metric, method in columns:
        header.append({'network': TITLES[metric], 'bicubic': '(bicubic)'}[method])
    rows = []
    for dataset, scale, entry in _entries(results):
        row = [dataset, scale]
        for metric, method in columns:
            row.append(_cell(metric, _figures(entry, method).get(metric)))
        rows.append(row)
    return markdown_table(header, rows)


def _columns(results: Results) -> list[tuple[str, str]]:
    """Metric and method of the table's columns, in the order of `TITLES`, the network's first."""
    measured = set()
    for _, _, entry in _entries(results):
        for method in ('network', 'bicubic'):
            for metric in _figures(entry, method):
                measured.add((metric, method))
    columns = []
    for metric in TITLES:
        for method in ('network', 'bicubic'):
            if (metric, method) in measured:
                columns.append((metric, method))
    return columns


def _figures(entry: dict, method: str) -> Figures:
    """The means of one method in a scale's entry; empty where bicubic was not measured."""
    if method == 'bicubic':
        return entry.get('bicubic', {})
    return entry


def markdown_table(header: list[str], rows: list[list[str]]) -> str:
    """An aligned Markdown table.

    Args:
        header: Titles of the columns; the first two are text, to the left, the rest figures, to
            the right.
        rows: The cells of each row, as many as there are titles.
    """
    table = [header, *rows]
    widths = []
    for i in range(len(header)):
        widths.append(max(len(row[i]) for row in table))
    lines = []
    for row in table:
        lines.append('| ' + ' | '.join(_aligned(row, widths)) + ' |')
    rule = []
    for i, width in enumerate(widths):
        rule.append('-' * (width + 2))
        if i >= 2:
            rule[i] = '-' * (width + 1) + ':'
    lines.insert(1, '|' + '|'.join(rule) + '|')
    return '\n'.join(lines)


def _aligned(row: list[str], widths: list[int]) -> list[str]:
    """The cells of a row, filled up to the widths of their columns."""
    cells = []
    for i, (cell, width) in enumerate(zip(row, widths, strict=True)):
        if i < 2:
            cells.append(cell.ljust(width))
        else:
            cells.append(cell.rjust(width))
    return cells


def plot_psnr(results: Results, path: Path) -> None:
    """PSNR against scale, a panel a dataset; per-axis scales, which have no place on the axis, are
    left out. Without a PSNR among the metrics nothing is drawn.
    """
    from matplotlib.figure import Figure

    metric = _drawn_metric(results)
    if metric is None:
        return
    figure = Figure(figsize=(1 + 4 * len(results), 3.6), layout='constrained')
    for i, (dataset, scales) in enumerate(results.items(), 1):
        axes = figure.add_subplot(1, len(results), i)
        for method, color in (('network', 'tab:blue'), ('bicubic', '0.6')):
            xs, ys = _curve(scales, method, metric)
            if xs:
                axes.plot(xs, ys, marker='o', markersize=4, label=method, color=color)
        axes.set(title=dataset, xlabel='scale', ylabel=f'{TITLES[metric]} (dB)')
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path, dpi=120)


def _drawn_metric(results: Results) -> str | None:
    """The first kind of PSNR, in the order of `PSNR_FIRST`, that was measured anywhere."""
    for metric in PSNR_FIRST:
        for _, _, entry in _entries(results):
            if metric in entry:
                return metric
    return None


def _curve(scales: dict[str, dict], method: str, metric: str) -> tuple[list[float], list[float]]:
    """Scales in ascending order, and a method's means of a metric there."""
    values = {}
    for label, entry in scales.items():
        value = _figures(entry, method).get(metric)
        is_per_axis = label.count('x') > 1
        if value is not None and not is_per_axis:
            values[float(label.removeprefix('x'))] = value
    xs = sorted(values)
    return xs, [values[x] for x in xs]


def _means(images: list[dict]) -> Figures:
    """Means over images of the metrics that the first one has; None where a figure is missing."""
    means: Figures = {}
    for metric in TITLES:
        if metric in images[0]:
            values = [image[metric] for image in images]
            means[metric] = None
            if None not in values:
                means[metric] = sum(values) / len(values)
    return means


def _finite(figures: dict[str, float]) -> Figures:
    """Figures as JSON can hold them: None in place of NaN and infinity."""
    finite: Figures = {}
    for metric, value in figures.items():
        finite[metric] = None
        if math.isfinite(value):
            finite[metric] = value
    return finite


def _cell(metric: str, value: float | None) -> str:
    """A figure as the table shows it: dB to two digits, others to four."""
    if value is None:
        return '-'
    if metric.startswith('psnr'):
        return f'{value:.2f}'
    return f'{value:.4f}'


def _write_text(path: Path, text: str) -> None:
    with atomic_write(path) as file:
        file.write(text.encode())


def main_metric(metrics: list[str]) -> str | None:
    """The metric by which iterations are compared: a kind of PSNR, or None."""
    for metric in ('psnr', 'psnr_y', 'psnr_div2k'):
        if metric in metrics:
            return metric
    return None


def log_scalars(tb_logger: Any, dataset: str, iteration: int | str, scales: dict) -> None:
    """Give TensorBoard the means of one dataset; those that are not finite are left out.

    Args:
        tb_logger: TensorBoard's writer.
        dataset: Its name.
        iteration: At which it was validated.
        scales: Its figures by scale, see `summarize`.
    """
    for label, entry in scales.items():
        for metric, value in entry.items():
            if isinstance(value, float):
                tb_logger.add_scalar(f'metrics/{dataset}/{label}/{metric}', value, iteration)
