"""`basicsr train -opt FILE`."""
import sys
from pathlib import Path

STOPPED = 75  # a run that a signal has stopped and that can go on: sysexits' EX_TEMPFAIL


def main() -> int:
    """Run BasicSR's train_pipeline; ends with the table of the last validation."""
    from liif_arch.bridge.options import build_parser, find_option_file
    find_option_file(build_parser('train').parse_args().opt)  # --help and a wrong path answer before torch is imported

    from liif_arch.bridge.launch import run_pipeline
    from liif_arch.bridge.run import Stopped
    try:
        opt = run_pipeline(is_train=True)
    except Stopped as stop:
        print(f'basicsr train: {stop}', file=sys.stderr)
        return STOPPED
    if opt['rank'] == 0:
        print_results(Path(opt['path']['experiments_root']))
    return 0


def print_results(folder: Path) -> None:
    """Print the table in a run's folder, if it wrote one, and where its pictures are."""
    from liif_arch.metrics.report import format_table, read_report
    results = read_report(folder)
    if results is None:
        return
    print('\n' + format_table(results))
    for path in [*sorted(folder.glob('comparison_*.png')), folder / 'psnr_scale.png', folder / 'metrics.json']:
        if path.is_file():
            print(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
