"""Results of a validation or a test: what `metrics.json` holds, the tables people compare, and PSNR
against scale.

`{dataset: {"x2": {"psnr": mean, "psnr_y": ..., "bicubic": {...}, "images": {name: {"psnr": ...,
"bicubic": {...}}}}}}`; a figure that is not finite is null.
"""

import csv
import io
import json
import math
from pathlib import Path

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


def summarize(records: list[dict]) -> dict[str, dict]:
    """Means per scale from one record an image and scale.

    Args:
        records: {'scale': 'x2', 'image': name, 'figures': {metric: value}, 'bicubic': {metric:
            value} or {}}.

    Returns:
        {scale: {metric: mean, 'bicubic': {...}, 'images': {...}}}, scales in the records' order.
    """
    summary: dict[str, dict] = {}
    for record in records:
        entry = summary.setdefault(record['scale'], {'images': {}})
        bicubic = {'bicubic': _finite(record['bicubic'])} if record['bicubic'] else {}
        entry['images'][record['image']] = {**_finite(record['figures']), **bicubic}
    for scale, entry in summary.items():
        images = list(entry['images'].values())
        means = _means(images)
        if 'bicubic' in images[0]:
            means['bicubic'] = _means([image['bicubic'] for image in images])
        summary[scale] = {**means, 'images': entry['images']}
    return summary


def write_report(results: Results, folder: Path) -> None:
    """Write metrics.json, metrics.csv, metrics.md and psnr_scale.png into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_text(folder / 'metrics.json', json.dumps(results, indent=1, allow_nan=False))
    _write_text(folder / 'metrics.md', format_table(results) + '\n')
    _write_text(folder / 'metrics.csv', format_csv(results))
    plot_psnr(results, folder / 'psnr_scale.png')


def format_csv(results: Results) -> str:
    """One line a dataset, scale, method and image; the image `mean` is the mean over the images."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(['dataset', 'scale', 'method', 'image', *TITLES])
    for dataset, scales in results.items():
        for scale, entry in scales.items():
            for image, figures in [('mean', entry), *entry['images'].items()]:
                for method, row in [('network', figures), ('bicubic', figures.get('bicubic'))]:
                    if row:
                        writer.writerow(
                            [dataset, scale, method, image, *(row.get(m) for m in TITLES)]
                        )
    return text.getvalue()


def read_report(folder: Path) -> Results | None:
    """What `write_report` left in a folder, or None."""
    path = folder / 'metrics.json'
    return json.loads(path.read_text(encoding='utf-8')) if path.is_file() else None


def format_table(results: Results) -> str:
    """The means as an aligned Markdown table: dataset x scale, a column a metric, bicubic beside
    the network.
    """
    entries = [entry for scales in results.values() for entry in scales.values()]
    metrics = [m for m in TITLES if any(m in e for e in entries)]
    baseline = [m for m in metrics if any(m in e.get('bicubic', {}) for e in entries)]
    header = ['dataset', 'scale']
    for metric in metrics:
        header += [TITLES[metric]] + (['(bicubic)'] if metric in baseline else [])
    rows = []
    for dataset, scales in results.items():
        for scale, entry in scales.items():
            row = [dataset, scale]
            for metric in metrics:
                row.append(_cell(metric, entry.get(metric)))
                if metric in baseline:
                    row.append(_cell(metric, entry.get('bicubic', {}).get(metric)))
            rows.append(row)
    return markdown_table(header, rows)


def markdown_table(header: list[str], rows: list[list[str]]) -> str:
    """Text columns to the left (first two), figures to the right."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]

    def line(cells: list[str]) -> str:
        aligned = [
            c.ljust(w) if i < 2 else c.rjust(w)
            for i, (c, w) in enumerate(zip(cells, widths, strict=True))
        ]
        return '| ' + ' | '.join(aligned) + ' |'

    rule = (
        '|'
        + '|'.join('-' * (w + 2) if i < 2 else '-' * (w + 1) + ':' for i, w in enumerate(widths))
        + '|'
    )
    return '\n'.join([line(header), rule, *map(line, rows)])


def plot_psnr(results: Results, path: Path) -> None:
    """PSNR against scale, a panel a dataset; per-axis scales, which have no place on the axis, are
    left out.
    """
    from matplotlib.figure import Figure

    metric = next(
        (
            m
            for m in ('psnr_y', 'psnr', 'psnr_div2k')
            for s in results.values()
            for e in s.values()
            if m in e
        ),
        None,
    )
    if metric is None:
        return
    figure = Figure(figsize=(1 + 4 * len(results), 3.6), layout='constrained')
    for i, (dataset, scales) in enumerate(results.items()):
        axes = figure.add_subplot(1, len(results), i + 1)
        curves = {
            'network': {s: e.get(metric) for s, e in scales.items()},
            'bicubic': {s: e.get('bicubic', {}).get(metric) for s, e in scales.items()},
        }
        for method, curve in curves.items():
            points = sorted(
                (float(s[1:]), v) for s, v in curve.items() if v is not None and s.count('x') == 1
            )
            if points:
                axes.plot(
                    *zip(*points, strict=True),
                    marker='o',
                    markersize=4,
                    label=method,
                    color='tab:blue' if method == 'network' else '0.6',
                )
        axes.set(title=dataset, xlabel='scale', ylabel=f'{TITLES[metric]} (dB)')
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path, dpi=120)


def _means(images: list[Figures]) -> Figures:
    means = {}
    for metric in (m for m in TITLES if m in images[0]):
        values = [image[metric] for image in images]
        means[metric] = None if None in values else sum(values) / len(values)
    return means


def _finite(figures: dict[str, float]) -> Figures:
    return {k: v if math.isfinite(v) else None for k, v in figures.items()}


def _cell(metric: str, value: float | None) -> str:
    return '-' if value is None else f'{value:.2f}' if metric.startswith('psnr') else f'{value:.4f}'


def _write_text(path: Path, text: str) -> None:
    with atomic_write(path) as file:
        file.write(text.encode())
