"""`basicsr lmdb`, for those who know it by this name."""

import sys

from liif_arch.cli.lmdb import STOPPED, main
from liif_arch.errors import exit_status

if __name__ == '__main__':
    sys.exit(exit_status(main, STOPPED))
