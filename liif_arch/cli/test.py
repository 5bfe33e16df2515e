"""`basicsr test -opt FILE`."""
from pathlib import Path


def main() -> int:
    """Run BasicSR's test_pipeline; ends with the table dataset x scale x metric."""
    from liif_arch.bridge.options import build_parser, find_option_file
    find_option_file(build_parser('test').parse_args().opt)

    from liif_arch.bridge.launch import run_pipeline
    from liif_arch.cli.train import print_results
    opt = run_pipeline(is_train=False)
    if opt['rank'] == 0:
        print_results(Path(opt['path']['results_root']))
    return 0
