"""How `basicsr` begins and ends as a process: the installed command and `python -m
liif_arch.cli`.
"""

import io
import logging
import os
import sys
import traceback

from liif_arch.cli import main


def run() -> int:
    """Run one subcommand, and leave at once where Python cannot be taken down safely.

    Returns:
        The exit status, where Python can.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # names of files need not be text
        sys.stdout.reconfigure(errors='backslashreplace')
    try:
        status = main()
    except SystemExit as end:
        if not _must_leave(end.code):
            raise
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        if not _must_leave(1):
            raise
        traceback.print_exc()
        status = 1
    if _must_leave(status):
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    return status


def _must_leave(status: object) -> bool:
    """Whether threads are left that would abort the process while Python is taken down.

    They would also replace its status, which says what went wrong. Three kinds do so: those of a
    process group, to which a failed process of several still refers by its exception, a prefetching
    thread that was in the middle of a sample when the time for it was over, and those of a page's
    server, which may be rendering.
    """
    if 'RANK' in os.environ and status not in (0, None):
        return True
    if 'uvicorn' in sys.modules:
        return True
    workers = sys.modules.get('liif_arch.training.workers')
    return workers is not None and workers.is_prefetching()


if __name__ == '__main__':
    sys.exit(run())
