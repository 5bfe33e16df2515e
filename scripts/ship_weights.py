"""Make weights that ship of finished trainings: liif_arch/weights/NAME.pth, and its curves,
NAME.png.

    python scripts/ship_weights.py small experiments/train_release_small
    python scripts/ship_weights.py edsr experiments/train_release_edsr \\
        experiments/train_release_continue

Several experiments are the steps of one training, in order. The file holds the last one's EMA
weights in float16 and the option of their network.
"""

import argparse
import re
import statistics
import sys
from pathlib import Path
from typing import NamedTuple

from liif_arch.errors import UserError, exit_status
from liif_arch.files.atomic import atomic_write
from liif_arch.training.checkpoints import load_file, save_file
from liif_arch.weights import FOLDER
from liif_arch.weights.networks import load_network

MOST_BYTES = 4 * 2**20
LOSS = re.compile(r'iter:\s*([\d,]+),.* l_pix: (\S+)')
VALIDATION = re.compile(r'Validation \S+, iteration (\d+)')
HEADER = re.compile(r'\| dataset *\| scale *\| *PSNR\S* *\| *\(bicubic\)')
ROW = re.compile(
    r'\| *(\S+) *\| *(x[\d.x]+) *\| *([\d.]+) *\| *([\d.]+) *\|'
)  # a dataset's scale, PSNR, (bicubic)


class Curves(NamedTuple):
    """What the logs of the steps of a training say, by iteration since its first step began.

    Attributes:
        loss: {iteration: loss}.
        psnr: {(dataset, scale): {iteration: PSNR}}, of the held-out images.
        bicubic: {(dataset, scale): PSNR}.
        ends: Iteration at which each step ended.
    """

    loss: dict[int, float]
    psnr: dict[tuple[str, str], dict[int, float]]
    bicubic: dict[tuple[str, str], float]
    ends: list[int]


def read_curves(experiments: list[Path]) -> Curves:
    """Read the logs; of iterations that a resumed run did again its own count."""
    found = Curves({}, {}, {}, [])
    for experiment in experiments:
        header = ''
        begin, at, rows = max(found.ends, default=0), 0, 0
        for log in sorted(experiment.glob('train_*.log')):
            for line in log.read_text(encoding='utf-8').splitlines():
                if match := LOSS.search(line):
                    at = begin + int(match[1].replace(',', ''))
                    found.loss[at] = float(match[2])
                elif match := VALIDATION.search(line):
                    at = begin + int(match[1])
                elif line.startswith('| dataset'):
                    header = line
                elif (match := ROW.match(line)) and HEADER.match(header):
                    rows += 1
                    row = match[1], match[2]
                    found.psnr.setdefault(row, {})[at] = float(match[3])
                    found.bicubic[row] = float(match[4])
        if at <= begin:
            raise UserError(
                f'{experiment}: found no train_*.log with losses; needed the folder of a training.'
            )
        if not rows:
            raise UserError(
                f'{experiment}: found no validation with PSNR and bicubic in train_*.log; needed a '
                'training with val.bicubic: true, and psnr first of val.metrics.'
            )
        found.ends.append(at)
    return found


def plot(curves: Curves, path: Path, title: str) -> None:
    """Loss, and PSNR over bicubic, against iterations."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.6), layout='constrained')
    left, right = figure.subplots(1, 2)
    iterations = sorted(curves.loss)
    losses = [curves.loss[iteration] for iteration in iterations]
    left.plot(iterations, losses, color='0.8', linewidth=0.8, label='batch')
    means = []
    for end in range(1, len(losses) + 1):
        means.append(statistics.fmean(losses[max(0, end - 10) : end]))
    left.plot(iterations, means, color='tab:blue', label='mean of 10 in the log')
    left.set(title=f'{title}: training loss (L1)', yscale='log')
    several = len({dataset for dataset, _ in curves.psnr}) > 1
    for (dataset, scale), values in curves.psnr.items():
        at = sorted(values)
        gains = [values[iteration] - curves.bicubic[dataset, scale] for iteration in at]
        label = f'{dataset} {scale}' if several else scale
        right.plot(at, gains, marker='o', markersize=3, label=label)
    right.set(title='PSNR over bicubic (dB), held-out images')
    for axes in (left, right):
        for end in curves.ends[:-1]:
            axes.axvline(end, color='0.6', linewidth=0.8, linestyle='--')
        axes.set_xlabel('iteration')
        axes.grid(alpha=0.3)
        axes.legend()
    with atomic_write(path) as file:
        figure.savefig(file, format='png', dpi=110)


def ship(name: str, experiments: list[Path], folder: Path) -> str:
    """Write both files; returns a line that says what they are.

    Raises:
        UserError: An experiment has no weights or no log, or the weights are larger than a package
            should be.
    """
    if not re.fullmatch(r'\w+', name):
        raise UserError(
            f'NAME: found {name!r}; needed letters, digits and _, as weights are named by.'
        )
    if folder.exists() and not folder.is_dir():
        raise UserError(f'--out: {folder} is a file; name a folder.')
    curves = read_curves(experiments)
    source, target = experiments[-1] / 'models' / 'net_g_latest.pth', folder / f'{name}.pth'
    net, network = load_network(source), load_file(source)['network_g']
    for key in ('bilinear_start', 'precision'):  # of the training alone
        network.pop(key, None)
    weights = {key: value.half() for key, value in net.state_dict().items()}
    size = sum(value.numel() * value.element_size() for value in weights.values())
    if size > MOST_BYTES:
        raise UserError(
            f'{source}: {size / 2**20:.1f} MiB in float16; '
            f'needed {MOST_BYTES / 2**20:.0f} MiB or less.'
        )
    if not all(value.isfinite().all() for value in weights.values()):
        raise UserError(f'{source}: holds values that float16 does not.')
    folder.mkdir(parents=True, exist_ok=True)
    plot(curves, folder / f'{name}.png', name)
    save_file({'params': weights, 'network_g': network}, target)
    moved = 0.0
    for key, value in net.state_dict().items():
        moved = max(moved, float((weights[key].float() - value).abs().max()))
    return (
        f'{target}: {target.stat().st_size / 2**20:.2f} MiB, {curves.ends[-1]} iterations; '
        f'float16 moved no value by more than {moved:.1e}\n{target.with_suffix(".png")}'
    )


def main() -> None:
    """Parse the command line and write."""
    parser = argparse.ArgumentParser(description='Make weights that ship of finished trainings.')
    parser.add_argument('NAME', help='fast, photo, edsr, ...')
    parser.add_argument(
        'EXPERIMENT', type=Path, nargs='+', help='folders of the steps of a training, in order'
    )
    parser.add_argument(
        '--out', type=Path, default=FOLDER, help='folder to write to (default: liif_arch/weights)'
    )
    args = parser.parse_args()
    print(ship(args.NAME, args.EXPERIMENT, args.out))


if __name__ == '__main__':
    sys.exit(exit_status(main))
