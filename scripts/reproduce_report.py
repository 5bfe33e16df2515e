"""The reports of `scripts/reproduce.py`: tables, curves and zoom panels."""

import argparse
from pathlib import Path

from reproduce_runs import GROUPS, Run

from liif_data.store import open_store

PANEL_SCALES = [4, 8, 30]


def write_report(group: str, results: dict[str, dict], args: argparse.Namespace) -> Path:
    """Write a table in the paper's layout beside the paper's figures, and plots.

    The plots are curves, and for the decoders zoom panels.
    """
    from liif_arch.metrics.report import TITLES, markdown_table

    metric = 'psnr' if group == 'size-varied' else args.metric
    runs = [r for r in GROUPS[group] if r.label in results]
    scales = sorted({int(s[1:]) for r in results.values() for s in r})
    rows = []
    bicubic = {s: e['bicubic'][metric] for r in results.values() for s, e in r.items()}
    rows.append(['bicubic', '', *[_cell(bicubic.get(f'x{s}')) for s in scales]])
    for run in runs:
        figures = {s: e[metric] for s, e in results[run.label].items()}
        rows.append(
            [
                run.label,
                f'{args.budgets[run.option]} it.',
                *[_cell(figures.get(f'x{s}')) for s in scales],
            ]
        )
    for run in runs:
        if run.paper:
            rows.append([f'paper: {run.label}', '', *[_cell(run.paper.get(s)) for s in scales]])
    data = (
        f'faces of {args.faces}'
        if group == 'size-varied'
        else f'trained on {args.train}, tested on {args.test}'
    )
    text = [
        f'# {group}',
        '',
        f'{TITLES[metric]} (dB); network: {args.network}, trained in {args.precision}; {data}.',
        "The paper's figures are for its own data (DIV2K; CelebAHQ), networks and schedule: "
        'compare the order, not the level.',
        '',
        markdown_table(['method', 'budget', *[f'x{s}' for s in scales]], rows),
    ]
    folder = args.out / f'report_{group}'
    folder.mkdir(parents=True, exist_ok=True)
    if len(scales) > 2:
        curves = {r.label: {s: e[metric] for s, e in results[r.label].items()} for r in runs}
        plot_curves({'bicubic': bicubic, **curves}, TITLES[metric], folder / 'psnr_scale.png')
        text += ['', '![PSNR gain over bicubic against scale](psnr_scale.png)']
    if group == 'decoders':
        draw_panels(runs, args, folder / 'panels.png')
        text += ['', '![zoom panels](panels.png)']
    (folder / 'report.md').write_text('\n'.join(text) + '\n')
    print('\n' + '\n'.join(text[2 : 6 + len(rows) + 2]) + f'\n{folder / "report.md"}')
    return folder / 'report.md'


def plot_curves(curves: dict[str, dict[str, float]], title: str, path: Path) -> None:
    """Gain over bicubic against scale, which shows differences that absolute PSNR hides."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4), layout='constrained')
    axes = figure.add_subplot()
    bicubic = curves.pop('bicubic')
    for label, curve in curves.items():
        points = sorted((int(s[1:]), v - bicubic[s]) for s, v in curve.items())
        axes.plot(*zip(*points, strict=True), marker='o', markersize=4, label=label)
    axes.axhline(0, color='0.6', linewidth=1, label='bicubic')
    axes.axvspan(1, 4, color='0.5', alpha=0.1, label='training scales')
    axes.set(xlabel='scale', ylabel=f'{title} over bicubic (dB)')
    axes.grid(alpha=0.3)
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

    nets = {
        r.label: load_network(args.out / f'experiments/{r.option}/models/net_g_latest.pth')
        for r in sorted(runs, key=lambda r: r.label != 'MetaSR')
        if r.scales is None
    }
    store = open_store(args.test, '--test')
    rows = []
    with torch.no_grad():
        for scale in PANEL_SCALES:
            gt = store.read(store.keys[0])
            small = reduced_size(gt.shape[:2], (scale, scale))
            size = scaled_size(small, (scale, scale))
            gt = gt[: size[0], : size[1]]
            lq = resize_bicubic(gt, small)
            methods = {n: upscale(net, lq, size=size) for n, net in nets.items()}
            methods = {'bicubic': resize_bicubic(lq, size), **methods, 'original': gt}
            rows.append(Row(store.keys[0], f'x{scale}', methods))
    write_panel(rows, path)


def _cell(value: float | None) -> str:
    return '-' if value is None else f'{value:.2f}'
