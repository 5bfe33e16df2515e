"""What readers, writers and the renderer all have to know of arrays of pixels."""

import numpy as np

_SWAPPED = {3: [2, 1, 0], 4: [2, 1, 0, 3]}  # RGB and BGR; RGBA and BGRA


def full_scale(dtype: np.dtype) -> int:
    """The value of white, and of full opacity: 255, 65535, or 1 for floats."""
    if dtype.kind == 'u':
        return int(np.iinfo(dtype).max)
    return 1


def with_channel_axis(image: np.ndarray) -> np.ndarray:
    """An image (H, W) as (H, W, 1), and (H, W, C) as it is; the memory is shared."""
    if image.ndim == 2:
        return image[..., None]
    return image


def swap_red_and_blue(pixels: np.ndarray) -> np.ndarray:
    """Pixels (H, W, C) from RGB or RGBA to OpenCV's order, or back; gray as it is."""
    order = _SWAPPED.get(pixels.shape[2])
    if order is None:
        return pixels
    return pixels[..., order]
