"""Pixels to (lq, coord, cell, gt): image stores, samples and datasets for training and testing at
any scale.
"""

import liif_arch  # noqa: F401  makes BasicSR importable before any module here imports it
