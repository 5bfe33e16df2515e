"""`python -m liif_arch.cli`, for launchers such as torchrun."""

import logging
import os
import sys
import traceback

from liif_arch.cli import main


def main_of_several() -> int:
    """One process of several: one that fails leaves without taking Python down.

    An exception still refers to the model, and so to a process group, whose threads would abort the
    process in the end; its status, which says what went wrong, would be lost.
    """
    try:
        status = main()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        status = 1
    if status != 0:
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    return status


if __name__ == '__main__':
    sys.exit(main_of_several() if 'RANK' in os.environ else main())
