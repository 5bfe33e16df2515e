"""PSNR under the three protocols that LIIF's figures are reported in, and SSIM; on float images,
not rounded to 8 bits.

Images are (C, H, W) in [0, 1]; the prediction is clamped by the caller. BasicSR's own
`calculate_psnr` rounds to 8 bits first, so its figures differ in the second decimal.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from liif_arch.devices import constant

# Of an image and its ground truth, (C, H, W) in [0, 1], and the scale (sy, sx).
Metric = Callable[[Tensor, Tensor, tuple[float, float]], float]

LUMA = (65.738 / 256, 129.057 / 256, 25.064 / 256)  # RGB -> Y of BT.601, without its offset of 16


def psnr(sr: Tensor, gt: Tensor, scale: tuple[float, float]) -> float:
    """Plain protocol: RGB, nothing shaved (validation while training, CelebAHQ)."""
    return _psnr(sr - gt, (0, 0))


def psnr_y(sr: Tensor, gt: Tensor, scale: tuple[float, float]) -> float:
    """Benchmark protocol: luma of the difference, S pixels shaved on each side (Set5, Set14, B100,
    Urban100).
    """
    return _psnr(luma(sr - gt), shave(scale))


def psnr_div2k(sr: Tensor, gt: Tensor, scale: tuple[float, float]) -> float:
    """DIV2K protocol: RGB, S + 6 pixels shaved on each side."""
    return _psnr(sr - gt, shave(scale, 6))


def ssim(sr: Tensor, gt: Tensor, scale: tuple[float, float]) -> float:
    """SSIM of the luma, S pixels shaved: BasicSR's (Wang et al. 2004, 11x11 Gaussian window),
    nothing rounded.
    """
    from basicsr.metrics.psnr_ssim import _ssim

    dy, dx = shave(scale)
    pair = [_crop(luma(x.double()), dy, dx)[0].cpu().numpy() * 255 for x in (sr, gt)]
    if min(pair[0].shape) < 11:
        return math.nan
    return float(np.mean(_ssim(*pair)))


FIDELITY: dict[str, Metric] = {
    'psnr': psnr,
    'psnr_y': psnr_y,
    'psnr_div2k': psnr_div2k,
    'ssim': ssim,
}


def luma(image: Tensor) -> Tensor:
    """(3, H, W) -> (1, H, W); another number of channels is left as it is."""
    if image.shape[0] != 3:
        return image
    return (image * constant(LUMA, image)[:, None, None]).sum(0, keepdim=True)


def shave(scale: tuple[float, float], extra: int = 0) -> tuple[int, int]:
    """Rows and columns left out on each side: S + extra; a fractional S counts up."""
    return math.ceil(scale[0]) + extra, math.ceil(scale[1]) + extra


def _crop(image: Tensor, dy: int, dx: int) -> Tensor:
    return image[:, dy : max(dy, image.shape[1] - dy), dx : max(dx, image.shape[2] - dx)]


def _psnr(difference: Tensor, border: tuple[int, int]) -> float:
    """NaN where shaving leaves nothing, infinite for equal images."""
    difference = _crop(difference, *border)
    if not difference.numel():
        return math.nan
    mse = torch.mean(difference.double() ** 2).item()
    if mse == 0:
        return math.inf
    return -10 * math.log10(mse)
