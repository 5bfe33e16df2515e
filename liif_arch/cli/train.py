"""`basicsr train -opt FILE`."""

import os
import shlex
import sys
from pathlib import Path

STOPPED = (
    'stopped. The same command with --auto_resume goes on from the last saved state, if there is '
    'one.'
)


def main() -> int:
    """Run BasicSR's train_pipeline; ends with the last validation's table and the weights."""
    from liif_arch.config.files import require_option_file
    from liif_arch.config.parse import build_parser
    from liif_arch.errors import require_whole

    args = build_parser('train').parse_args()
    require_option_file(args.opt)  # --help and a wrong path answer before torch is imported

    from liif_arch.training import launch

    if args.nproc is not None and 'RANK' not in os.environ:
        require_whole(**{'--nproc': args.nproc})
        return launch.run_processes(
            'train', without_nproc(sys.argv[1:]), args.nproc, args.max_restarts
        )
    from liif_arch.training.supervisor import Stopped

    try:
        opt = launch.run_pipeline(is_train=True)
    except Stopped as stop:
        if stop.args:  # the first of several processes says it
            print(f'basicsr train: {stop}', file=sys.stderr)
        return launch.STOPPED
    if opt['rank'] == 0:
        print_results(Path(opt['path']['experiments_root']))
        print_weights(opt)
    return 0


def without_nproc(arguments: list[str]) -> list[str]:
    """A command's arguments for each of its processes."""
    import argparse

    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for flag in ('--nproc', '--max_restarts'):
        parser.add_argument(flag)
    return parser.parse_known_args(arguments)[1]


def print_results(folder: Path) -> None:
    """Print the table in a run's folder, if it wrote one, and where its pictures are."""
    from liif_arch.metrics.report import format_table, read_report

    results = read_report(folder)
    if results is None:
        return
    print('\n' + format_table(results))
    for path in [
        *sorted(folder.glob('comparison_*.png')),
        folder / 'psnr_scale.png',
        folder / 'metrics.json',
    ]:
        if path.is_file():
            print(from_here(path))


def print_weights(opt: dict) -> None:
    """Print where a training's last weights are and, where `basicsr upscale` takes them, how."""
    path = Path(opt['path']['models'], 'net_g_latest.pth')
    if not path.is_file():
        return
    shown = from_here(path)
    print(f'Weights: {shown}')
    scale = scale_to_try(opt['network_g'])
    if scale is not None:
        print(f'basicsr upscale photo.jpg --weights {shlex.quote(str(shown))} --scale {scale}')


def scale_to_try(network: dict) -> int | None:
    """A scale to try a network at; None where `basicsr upscale` does not take it.

    Args:
        network: The option `network_g`.
    """
    from basicsr.utils.registry import ARCH_REGISTRY

    from liif_arch.archs.latent_network import LatentNetwork
    from liif_arch.archs.subpixel_arch import SubPixelSR
    from liif_arch.config.registries import registered

    kind = registered(ARCH_REGISTRY)[network['type']]
    if not (isinstance(kind, type) and issubclass(kind, LatentNetwork)):
        return None
    if kind is SubPixelSR:
        return network.get('scale', 2)
    return 4


def from_here(path: Path) -> Path:
    """A path as it is named in the current folder."""
    if path.is_relative_to(Path.cwd()):
        return path.relative_to(Path.cwd())
    return path
