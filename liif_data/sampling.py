"""Pure functions from images to training samples; all randomness comes from the generator that is passed in."""
import numpy as np

from liif_arch.images import resize_bicubic


def generator(seed: int, index: int) -> np.random.Generator:
    """The random generator of one sample, addressed by (seed, epoch, repeat, index) and not streamed.

    `index` carries epoch and repeat when it comes from `liif_arch.bridge.sampler`; a plain int stands for epoch 0.
    """
    return np.random.default_rng([seed, getattr(index, 'epoch', 0), getattr(index, 'repeat', 0), int(index)])


def random_window(rng: np.random.Generator, size: tuple[int, int], crop: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns of a uniformly drawn crop."""
    starts = [int(rng.integers(n - c + 1)) for n, c in zip(size, crop, strict=True)]
    return tuple(slice(s, s + c) for s, c in zip(starts, crop, strict=True))


def random_scale_pair(rng: np.random.Generator, gt: np.ndarray, lq_size: int,
                      scale_range: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """A crop of round(lq_size * s) pixels, s ~ U(scale_range), and its bicubic reduction to lq_size pixels.

    Args:
        rng: Source of randomness.
        gt: Ground truth, (H, W, C) uint8.
        lq_size: Side of the low-resolution crop.
        scale_range: Lowest and highest scale.

    Returns:
        lq (lq_size, lq_size, C) and gt crop, uint8.
    """
    side = round(lq_size * rng.uniform(*scale_range))
    crop = gt[random_window(rng, gt.shape[:2], (side, side))]
    return resize_bicubic(crop, (lq_size, lq_size)), crop


def paired_crop(rng: np.random.Generator, lq: np.ndarray, gt: np.ndarray, lq_size: int,
                scale: int) -> tuple[np.ndarray, np.ndarray]:
    """The same random crop of a given pair: lq_size pixels of lq, lq_size * scale of gt."""
    rows, cols = random_window(rng, lq.shape[:2], (lq_size, lq_size))
    return lq[rows, cols], gt[rows.start * scale:rows.stop * scale, cols.start * scale:cols.stop * scale]


def augment(rng: np.random.Generator, images: list[np.ndarray], use_hflip: bool, use_rot: bool) -> list[np.ndarray]:
    """The same random flips for all images: horizontal (use_hflip), vertical and transpose (use_rot), p = 0.5 each."""
    hflip, vflip, transpose = rng.random(3) < 0.5
    if use_hflip and hflip:
        images = [image[:, ::-1] for image in images]
    if use_rot and vflip:
        images = [image[::-1] for image in images]
    if use_rot and transpose:
        images = [image.transpose(1, 0, 2) for image in images]
    return images


def query_samples(rng: np.random.Generator, gt: np.ndarray,
                  num_samples: int | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels of an image as queries.

    Args:
        rng: Source of randomness.
        gt: Image, (H, W, C).
        num_samples: Pixels to draw, without replacement; None: all, in row-major order.

    Returns:
        coord (Q, 2) pixel centres (y, x) in [-1, 1], float32; cell (Q, 2) = (2/H, 2/W), float32; colours (Q, C).
    """
    h, w = gt.shape[:2]
    flat = np.arange(h * w) if num_samples is None else rng.choice(h * w, num_samples, replace=False)
    rows, cols = np.divmod(flat, w)
    coord = np.stack([-1 + (2 * rows + 1) / h, -1 + (2 * cols + 1) / w], axis=1).astype(np.float32)
    cell = np.broadcast_to(np.array([2 / h, 2 / w], np.float32), coord.shape)
    return coord, cell, gt[rows, cols]
