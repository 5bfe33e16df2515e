"""Linear light as the networks are shown it: they learned from pictures coded for displays."""

import numpy as np

from liif_arch.errors import UserError

GAMMA = 2.2  # of displays


class LightCurve:
    """From linear light to [0, 1] as displays take it, and back.

    The brightest value, or 1 if that is more, becomes 1. Values below 0 become 0.

    Args:
        pixels: Image (h, w, C), float.
        colours: How many of its first channels are light; others are alpha, and stay.

    Raises:
        UserError: A value is not a finite number.
    """

    def __init__(self, pixels: np.ndarray, colours: int) -> None:
        self.colours = colours
        self.white = max(1.0, float(pixels[..., :colours].max()))
        if not np.isfinite(pixels).all():
            raise UserError('image: found values that are not finite numbers; replace them before.')

    def to_display(self, pixels: np.ndarray) -> np.ndarray:
        """Values in [0, 1] of linear light."""
        coded = pixels.copy()
        light = pixels[..., : self.colours].clip(0) / self.white
        coded[..., : self.colours] = light ** (1 / GAMMA)
        return coded.clip(0, 1)  # alpha too

    def to_light(self, coded: np.ndarray) -> np.ndarray:
        """`to_display`, the other way."""
        light = coded.copy()
        light[..., : self.colours] = coded[..., : self.colours] ** GAMMA * self.white
        return light
