"""Frames between decoder and encoder: what both sides of a film have to know."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

# An enlarged frame (H, W, C) of a frame (h, w, C), of its dtype.
Enlarge = Callable[[np.ndarray], np.ndarray]


class Done(NamedTuple):
    """What became of a film.

    Attributes:
        source, result: Size (h, w) of its upright frames before and after.
        frames: How many there are.
        made: How many of them were made now; others were there since a stop.
        notes: What was left out or changed, in words.
    """

    source: tuple[int, int]
    result: tuple[int, int]
    frames: int
    made: int
    notes: tuple[str, ...] = ()
