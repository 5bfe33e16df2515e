"""Training samples made from ground-truth crops by the model's device, a batch of different scales
at once.

Every figure equals the one that the loader makes of the same crop: Pillow's 8-bit bicubic reduction
in exact integer arithmetic, and a subset of pixels that a hash of (seed, pixel) picks. Nothing here
waits for the device. Letters in shapes: B batch, C channels, M side of the padded crops, h and w
height and width of a crop in its top-left corner, Q queries.
"""

import math
from collections.abc import Mapping
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from liif_arch.devices import from_host

Integers = TypeVar('Integers', Tensor, np.ndarray)

_WEIGHT_BITS = 22  # Pillow's fixed-point weights: 32 bits less 8 of the pixel and 2 of overshoot
INDEX_BITS = 31  # of a key, below the 32 bits of its hash: together a non-negative int64


def make_batch(
    crop: Tensor,
    size: Tensor,
    seed: Tensor,
    lq_size: int,
    num_samples: int,
    patch: bool = False,
    lq: Tensor | None = None,
) -> dict[str, Tensor]:
    """A training batch from ground-truth crops.

    Args:
        crop: Crops in the top-left corners, (B, M, M, C) uint8, RGB.
        size: Heights and widths of the crops, (B, 2), at most M.
        seed: Seeds of the pixel subsets, (B,), int64 in [0, 2**32).
        lq_size: Side of the low-resolution images, in pixels.
        num_samples: Pixels Q drawn from every crop, at most its h * w.
        patch: They are a square, in row-major order.
        lq: The low-resolution images, (B, C, lq_size, lq_size) in [0, 1], where they are not the
            crops' reductions.

    Returns:
        lq (B, C, lq_size, lq_size) and gt (B, Q, C) in [0, 1]; coord and cell (B, Q, 2), (y, x);
        all float32.
    """
    coord, cell, colours = draw_pixels(crop, size, seed, num_samples, patch)
    if lq is None:
        lq = _unit_range(reduce_crops(crop, size, lq_size))
    return {
        'lq': lq,
        'gt': _unit_range(colours),
        'coord': coord,
        'cell': cell,
    }


def batch_of_crops(
    data: Mapping[str, Tensor], options: Mapping, device: torch.device
) -> dict[str, Tensor]:
    """`make_batch` of what a data loader gives, on a device.

    Args:
        data: crop, size and seed of a batch, and lq where it is degraded, see `make_batch`.
        options: Of the dataset, of which lq_size, num_samples and patch are read.
        device: Where to make it.
    """
    lq = None
    if 'lq' in data:
        lq = from_host(data['lq'], device)
    return make_batch(
        from_host(data['crop'], device),
        from_host(data['size'], device),
        from_host(data['seed'], device),
        options['lq_size'],
        options['num_samples'],
        options.get('patch', False),
        lq,
    )


def _unit_range(pixels: Tensor) -> Tensor:
    """8-bit values to float32 in [0, 1]; a CUDA device divides exactly by tensors, but not by
    Python numbers.
    """
    return pixels.float() / torch.full((), 255.0, device=pixels.device)


# --------------------------------------------------------------------------------------------------
# Pillow's bicubic reduction


def reduce_crops(crop: Tensor, size: Tensor, lq_size: int) -> Tensor:
    """Reduce crops of different sizes to one, bit for bit as
    `liif_arch.files.images.resize_bicubic` does.

    Pillow multiplies 8-bit pixels by integer weights along rows, rounds and clips to 8 bits, then
    does the same along columns. All sums lie below 2**53, so float64 matrix products are exact in
    any order.

    Args:
        crop: Crops in the top-left corners, (B, M, M, C) uint8.
        size: Heights and widths of the crops, (B, 2).
        lq_size: Side of the reduced images.

    Returns:
        (B, C, lq_size, lq_size), whole float64 values in 0..255.
    """
    down, across = (reduction_weights(side, lq_size, crop.shape[1]) for side in size.unbind(1))
    rows = _to_8_bits(torch.einsum('bjx,byxc->bcyj', across, crop.double()))
    return _to_8_bits(torch.einsum('biy,bcyj->bcij', down, rows))


def reduction_weights(side: Tensor, lq_size: int, width: int) -> Tensor:
    """Pillow's fixed-point bicubic weights for reducing `side` pixels to `lq_size` along one axis.

    Every product and quotient is taken in Pillow's order, and divisors are tensors (see
    `_unit_range`).

    Returns:
        (B, lq_size, width), whole float64 values; about 2**22 in sum over the last dimension, 0
        from `side` on.
    """
    size = side.double()[:, None, None]
    pixel = torch.arange(width, device=side.device, dtype=torch.float64)
    scale = size / torch.full_like(size, lq_size)
    stretch = scale.clamp(min=1)  # antialiasing: the kernel widens when the image shrinks
    centre = (torch.arange(lq_size, device=side.device, dtype=torch.float64)[:, None] + 0.5) * scale
    first = (centre - 2 * stretch + 0.5).trunc().clamp(min=0)
    last = torch.minimum((centre + 2 * stretch + 0.5).trunc(), size)
    values = _cubic(((pixel - centre + 0.5) * stretch.reciprocal()).abs())
    values = torch.where((pixel >= first) & (pixel < last), values, 0)
    fixed = values / values.sum(-1, keepdim=True) * 2**_WEIGHT_BITS
    return (fixed + torch.where(fixed < 0, -0.5, 0.5).double()).trunc()


def _cubic(x: Tensor) -> Tensor:
    """Keys' cubic convolution kernel with a = -0.5, for x >= 0."""
    inner = (1.5 * x - 2.5) * x * x + 1
    outer = (((x - 5) * x + 8) * x - 4) * -0.5
    return torch.where(x < 1, inner, torch.where(x < 2, outer, 0))


def _to_8_bits(total: Tensor) -> Tensor:
    """Fixed-point sums to the nearest whole value in 0..255, halves up."""
    return ((total + 2 ** (_WEIGHT_BITS - 1)) / 2**_WEIGHT_BITS).floor().clamp(0, 255)


# --------------------------------------------------------------------------------------------------
# Pixels drawn without replacement


def hash32(x: Integers) -> Integers:
    """A permutation of 32-bit numbers that looks random (two rounds of multiply and xor-shift).

    Args:
        x: Whole numbers in [0, 2**32): an int64 tensor, or a NumPy array of uint32 or int64.

    Returns:
        The same type and shape, in [0, 2**32).
    """
    x = (x ^ (x >> 16)) * 0x7FEB352D & 0xFFFFFFFF
    x = (x ^ (x >> 15)) * 0x846CA68B & 0xFFFFFFFF
    return x ^ (x >> 16)


def patch_corner(
    seed: Integers, rows: Integers | int, cols: Integers | int
) -> tuple[Integers, Integers]:
    """Where a square begins that has `rows` x `cols` places, drawn by hashes of seeds.

    Args:
        seed: Seeds in [0, 2**32), as `hash32` takes them.
        rows: Number of rows that it may begin at, of the shape of `seed` or one for all.
        cols: Number of columns that it may begin at, likewise.

    Returns:
        Row and column of its top-left pixel, of the shape of `seed`.
    """
    first = hash32(seed)
    return first % rows, hash32(first) % cols


def draw_pixels(
    crop: Tensor, size: Tensor, seed: Tensor, num_samples: int, patch: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """Pixels of every crop, without replacement: those whose hash of (seed, row-major index) is
    smallest.

    With `patch` a square of sqrt(num_samples) pixels a side, in row-major order.

    Args:
        crop: Crops in the top-left corners, (B, M, M, C).
        size: Heights and widths of the crops, (B, 2).
        seed: Seeds, (B,), int64 in [0, 2**32).
        num_samples: Pixels Q to draw from each.

    Returns:
        coord (B, Q, 2) pixel centres (y, x) in [-1, 1], and cell (B, Q, 2), float32; colours (B, Q,
        C).
    """
    padded, channels = crop.shape[1], crop.shape[3]
    height, width = size.unbind(1)
    if patch:
        inner = torch.arange(num_samples, device=crop.device)
        length = math.isqrt(num_samples)
        top, left = patch_corner(seed, height - length + 1, width - length + 1)
        rows, cols = top[:, None] + inner // length, left[:, None] + inner % length
    else:
        keys = _pixel_keys(padded, size, seed).flatten(1)
        drawn = keys.topk(num_samples, largest=False, sorted=True).values & (2**INDEX_BITS - 1)
        rows, cols = drawn // width[:, None], drawn % width[:, None]
    pixels = (rows * padded + cols)[..., None].expand(-1, -1, channels)
    colours = crop.flatten(1, 2).gather(1, pixels)
    sizes = size.double()[:, None]
    coord = (-1 + (2 * torch.stack([rows, cols], dim=-1) + 1) / sizes).float()
    return coord, (torch.full_like(sizes, 2) / sizes).float().expand_as(coord), colours


def _pixel_keys(padded: int, size: Tensor, seed: Tensor) -> Tensor:
    """Hash and index of every pixel in one number, (B, padded, padded) int64; padding has the
    largest.

    Args:
        padded: Side of the padded crops.
        size: Heights and widths of the crops, (B, 2).
        seed: Seeds, (B,).
    """
    height, width = size[..., None, None].unbind(1)
    pixel = torch.arange(padded, device=size.device)
    row, col = pixel[:, None], pixel
    index = row * width + col
    keys = hash32(hash32(index) ^ seed[:, None, None]) << INDEX_BITS | index
    return torch.where((row < height) & (col < width), keys, torch.iinfo(torch.int64).max)
