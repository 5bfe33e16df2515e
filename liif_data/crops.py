"""Crops of images, and the pixels that are drawn from them: what a training sample is made of.

All randomness comes from the generator that is passed in.
"""

import math
from functools import lru_cache

import cv2
import numpy as np

from liif_arch.crop_batches import INDEX_BITS, hash32, patch_corner

Window = tuple[slice, slice]

SCALE_DISTRIBUTIONS = ('uniform', 'log', 'reciprocal')


def generator(seed: int, index: int) -> np.random.Generator:
    """The random generator of one sample, addressed by (seed, epoch, repeat, index) and not
    streamed.

    `index` carries epoch and repeat when it comes from `liif_arch.training.addressed`; a plain int
    stands for epoch 0.
    """
    address = [seed, getattr(index, 'epoch', 0), getattr(index, 'repeat', 0), int(index)]
    # An array is twice as fast as a list.
    return np.random.default_rng(np.array(address, np.uint32))


def draw_seed(rng: np.random.Generator) -> int:
    """The 32-bit seed of a sample's subset of pixels."""
    return int(rng.integers(2**32))


def random_window(rng: np.random.Generator, size: tuple[int, int], crop: tuple[int, int]) -> Window:
    """Rows and columns of a uniformly drawn crop."""
    top = int(rng.integers(size[0] - crop[0] + 1))
    left = int(rng.integers(size[1] - crop[1] + 1))
    return slice(top, top + crop[0]), slice(left, left + crop[1])


def random_scale(
    rng: np.random.Generator, scale_range: tuple[float, float], distribution: str = 'uniform'
) -> float:
    """A scale in a range, of one of `SCALE_DISTRIBUTIONS`.

    Args:
        rng: Source of randomness; one number is drawn of it.
        scale_range: Lowest and highest scale, above 0.
        distribution: Of what is uniform: the scale itself, its logarithm (every doubling as often),
            or its reciprocal (low scales oftener still).
    """
    low, high = scale_range
    scale = rng.uniform(low, high) if distribution == 'uniform' else low
    if distribution == 'log':
        scale = math.exp(rng.uniform(math.log(low), math.log(high)))
    elif distribution == 'reciprocal':
        scale = 1 / rng.uniform(1 / high, 1 / low)
    return min(max(scale, low), high)  # rounding may leave the range


def random_size(
    rng: np.random.Generator,
    lq_size: int,
    scale_range: tuple[float, float],
    distribution: str = 'uniform',
    per_axis: bool = False,
) -> tuple[int, int]:
    """Height and width of a ground-truth crop, round(lq_size * s) pixels with a scale s that is
    drawn as `random_scale` does: one for both, or one for each (`per_axis`).
    """
    scales = [random_scale(rng, scale_range, distribution)]
    scales.append(random_scale(rng, scale_range, distribution) if per_axis else scales[0])
    return round(lq_size * scales[0]), round(lq_size * scales[1])


def enlarged_size(
    rng: np.random.Generator,
    size: tuple[int, int],
    image: tuple[int, int],
    probability: float,
    low: float,
    high: float,
) -> tuple[int, int]:
    """Height and width of the crop that is reduced to `size` first: Thera's augmentation of scales.

    Args:
        rng: Source of randomness; two numbers are drawn of it.
        size: Height and width of the ground truth, no more than the image's.
        image: Height and width of the image, which the crop stays within.
        probability: How often it is reduced at all.
        low: Least factor.
        high: Greatest factor.
    """
    drawn, factor = rng.random(), rng.uniform(low, high)
    if drawn >= probability:
        return size
    factor = min(factor, image[0] / size[0], image[1] / size[1])
    return (
        max(size[0], min(image[0], round(size[0] * factor))),
        max(size[1], min(image[1], round(size[1] * factor))),
    )


def mean_gradient(image: np.ndarray) -> float:
    """The mean absolute difference of neighbouring pixels, of an image (h, w, C): how much there
    is to see in it.
    """
    pixels = image.mean(2, dtype=np.float32)
    across = np.abs(np.diff(pixels, axis=1)).mean() if pixels.shape[1] > 1 else 0
    down = np.abs(np.diff(pixels, axis=0)).mean() if pixels.shape[0] > 1 else 0
    return float(across + down)


def scaled_window(window: Window, scale: int) -> Window:
    """The rows and columns of the ground truth that a window of its low-resolution image shows."""
    rows, cols = window
    return (
        slice(rows.start * scale, rows.stop * scale),
        slice(cols.start * scale, cols.stop * scale),
    )


def augment(
    rng: np.random.Generator, images: list[np.ndarray], use_hflip: bool, use_rot: bool
) -> list[np.ndarray]:
    """The same random flips for all images: horizontal (use_hflip), vertical and transpose
    (use_rot), p = 0.5 each.
    """
    hflip, vflip, transpose = rng.random(3) < 0.5
    turned = []
    for image in images:
        turned.append(_turn(image, use_hflip and hflip, use_rot and vflip, use_rot and transpose))
    return turned


def _turn(image: np.ndarray, hflip: bool, vflip: bool, transpose: bool) -> np.ndarray:
    """Flip, then transpose, an image (H, W, C); OpenCV copies pixels ten times faster than a
    strided NumPy copy.
    """
    channels = image.shape[2]
    if hflip and vflip:
        image = cv2.flip(image, -1)
    elif hflip or vflip:
        image = cv2.flip(image, int(hflip))
    if transpose:
        image = cv2.transpose(image)
    return image.reshape(*image.shape[:2], channels)


def pad_square(image: np.ndarray, side: int) -> np.ndarray:
    """An image (h, w, C) in the top-left corner of zeros, (side, side, C)."""
    padded = np.zeros((side, side, image.shape[2]), image.dtype)
    padded[: image.shape[0], : image.shape[1]] = image
    return padded


def query_samples(
    gt: np.ndarray, num_samples: int | None, seed: int, patch: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels of an image as queries.

    Args:
        gt: Image, (H, W, C).
        num_samples: Pixels to draw, without replacement; None: all, in row-major order.
        seed: Seed of the draw, see `draw_seed`.
        patch: Draw a square of sqrt(num_samples) pixels a side instead, in row-major order.

    Returns:
        coord (Q, 2) pixel centres (y, x) in [-1, 1], float32; cell (Q, 2) = (2/H, 2/W), float32;
        colours (Q, C).
    """
    h, w = gt.shape[:2]
    if num_samples is None:
        index = np.arange(h * w)
    elif patch:
        index = draw_patch(h, w, num_samples, seed)
    else:
        index = draw_indices(h * w, num_samples, seed)
    rows, cols = np.divmod(index, w)
    coord = np.stack([-1 + (2 * rows + 1) / h, -1 + (2 * cols + 1) / w], axis=1).astype(np.float32)
    cell = np.broadcast_to(np.array([2 / h, 2 / w], np.float32), coord.shape)
    return coord, cell, gt[rows, cols]


def draw_indices(count: int, num_samples: int, seed: int) -> np.ndarray:
    """Whole numbers below `count`, without replacement: those whose hash of (seed, number) is
    smallest.

    The same as `liif_arch.crop_batches.draw_pixels` draws. Only numbers below a hash that all but
    surely leaves enough are sorted.

    Returns:
        (num_samples,) int64, in ascending order of the hash.
    """
    hashes = hash32(_hashed_indices(count) ^ np.uint32(seed))
    expected = num_samples + 6 * math.sqrt(num_samples)  # six standard deviations
    few = np.flatnonzero(hashes <= np.uint32(min(1, expected / count) * (2**32 - 1)))
    index = few
    if len(few) < num_samples:
        index = np.arange(count)
    keys = np.sort(hashes[index].astype(np.int64) << INDEX_BITS | index)
    return keys[:num_samples] & (2**INDEX_BITS - 1)


def draw_patch(h: int, w: int, num_samples: int, seed: int) -> np.ndarray:
    """Row-major indices of a square of num_samples pixels of an h x w image, which hashes of the
    seed place.

    The same as `liif_arch.crop_batches.draw_pixels` draws.
    """
    side = math.isqrt(num_samples)
    tops, lefts = patch_corner(np.array([seed], np.uint32), h - side + 1, w - side + 1)
    rows = tops.item() + np.arange(side)
    cols = lefts.item() + np.arange(side)
    return (rows[:, None] * w + cols).ravel()


def _hashed_indices(count: int) -> np.ndarray:
    return _hash_table((count - 1).bit_length())[:count]


@lru_cache(maxsize=4)
def _hash_table(bits: int) -> np.ndarray:
    return hash32(np.arange(2**bits, dtype=np.uint32))
