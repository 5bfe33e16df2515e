"""Making an image smaller, for axes on which `upscale` is asked for fewer pixels than it has."""

import numpy as np
from PIL import Image

from liif_arch.files.pixels import full_scale


def reduce_bicubic(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Pillow's antialiased bicubic reduction, which the networks learn to undo, at any depth.

    Args:
        pixels: Image (h, w, C), 8 or 16 bit, or float: in [0, 1], or linear light, 0 or more.
        size: Size (H, W), at most (h, w) on each axis; an axis of the same length is not touched.

    Returns:
        The image (H, W, C), of the same dtype, rounded to nearest and within its range; of
        linear light nothing is brighter than the brightest value.
    """
    reduced = np.empty((*size, pixels.shape[2]), pixels.dtype)
    for channel in range(pixels.shape[2]):
        source = Image.fromarray(pixels[..., channel].astype(np.float32))
        values = np.asarray(source.resize((size[1], size[0]), Image.Resampling.BICUBIC))
        values = values.clip(0, max(full_scale(pixels.dtype), pixels[..., channel].max()))
        if pixels.dtype.kind == 'u':
            values = np.rint(values)
        reduced[..., channel] = values
    return reduced
