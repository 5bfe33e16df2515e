"""Linear light as the networks are shown it: they learned from pictures coded for displays."""

import numpy as np

from liif_arch.errors import UserError

GAMMA = 2.2  # of displays


class LightCurve:
    """From linear light to [0, 1] as displays take it, and back.

    Up to 1, white, it is the displays' power, and above it a logarithm of the same slope, so that
    a bright light leaves room for everything else. The brightest value, or 1 if that is more,
    becomes 1; values below 0 become 0.

    Args:
        pixels: Image (h, w, C), float.
        colours: How many of its first channels are light; others are alpha, and stay.

    Raises:
        UserError: A value is not a finite number.
    """

    def __init__(self, pixels: np.ndarray, colours: int) -> None:
        if not np.isfinite(pixels).all():
            raise UserError('image: found values that are not finite numbers; replace them before.')
        self.colours = colours
        brightest = np.float64(max(1.0, float(pixels[..., :colours].max())))
        self.top = 1 + np.log(brightest) / GAMMA

    def in_range(self, pixels: np.ndarray) -> np.ndarray:
        """The image with light of 0 or more, and alpha in [0, 1]."""
        top = np.full(pixels.shape[2], np.inf, pixels.dtype)
        top[self.colours :] = 1
        return pixels.clip(0, top)

    def to_display(self, pixels: np.ndarray) -> np.ndarray:
        """Values in [0, 1] of linear light."""
        coded = pixels.copy()
        light = pixels[..., : self.colours].clip(0)
        bright = 1 + np.log(np.maximum(light, 1)) / GAMMA
        coded[..., : self.colours] = np.where(light > 1, bright, light ** (1 / GAMMA)) / self.top
        return coded.clip(0, 1)  # alpha too

    def to_light(self, coded: np.ndarray) -> np.ndarray:
        """`to_display`, the other way."""
        light = coded.copy()
        value = coded[..., : self.colours] * self.top
        bright = np.exp(GAMMA * (np.maximum(value, 1) - 1))
        light[..., : self.colours] = np.where(value > 1, bright, value**GAMMA)
        return light
