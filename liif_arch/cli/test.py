"""`basicsr test -opt FILE`."""

import os
import sys
from pathlib import Path


def main() -> int:
    """Run BasicSR's test_pipeline; ends with the table and the folder of the results."""
    from liif_arch.config.files import require_option_file
    from liif_arch.config.parse import build_parser
    from liif_arch.errors import require_whole

    args = build_parser('test').parse_args()
    require_option_file(args.opt)

    from liif_arch.cli.train import from_here, print_results, without_nproc
    from liif_arch.training import launch

    if args.nproc is not None and 'RANK' not in os.environ:
        require_whole(**{'--nproc': args.nproc})
        return launch.run_processes(
            'test', without_nproc(sys.argv[1:]), args.nproc, args.max_restarts
        )
    opt = launch.run_pipeline(is_train=False)
    if opt['rank'] == 0:
        folder = Path(opt['path']['results_root'])
        print_results(folder)
        print(f'Results: {from_here(folder)}')
    return 0
