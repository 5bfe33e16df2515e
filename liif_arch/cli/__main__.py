"""`python -m liif_arch.cli`, for launchers such as torchrun."""
import sys

from liif_arch.cli import main

if __name__ == '__main__':
    sys.exit(main())
