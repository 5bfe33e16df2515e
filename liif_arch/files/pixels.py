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


def divide_by_alpha(pixels: np.ndarray, top: int) -> None:
    """Take alpha out of colours that were multiplied by it, in place; black where it is 0."""
    alpha = pixels[..., -1:].astype(np.float64)
    colours = np.zeros((*pixels.shape[:2], pixels.shape[2] - 1))
    np.divide(pixels[..., :-1] * float(top), alpha, out=colours, where=alpha > 0)
    if pixels.dtype.kind == 'u':
        colours = np.clip(np.rint(colours), 0, top)
    pixels[..., :-1] = colours
