"""Losses of images, for BasicSR's registry: of their spectra, edges, structure and textures.

They compare images (B, C, H, W), as BasicSR's own do. LIIFModel uses them on the square samples of
a data set with `patch: true`.
"""

from abc import ABC, abstractmethod

import torch
from basicsr.utils.registry import LOSS_REGISTRY
from torch import Tensor, nn
from torch.nn import functional

from liif_arch.devices import constant
from liif_arch.errors import UserError
from liif_arch.metrics.perceptual import LEAST, network_of

WINDOW, SIGMA = 11, 1.5  # of SSIM's Gaussian (Wang et al., 2004)
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of MS-SSIM (Wang et al., 2003)
C1, C2 = 0.01**2, 0.03**2


class ImageLoss(nn.Module, ABC):
    """What they have in common.

    Args:
        loss_weight: The loss is multiplied by it.
        reduction: Means alone are taken; BasicSR's option files say so.
    """

    def __init__(self, loss_weight: float = 1.0, reduction: str = 'mean') -> None:
        super().__init__()
        if reduction != 'mean':
            raise UserError(f'found {reduction}; needed mean.', key='reduction')
        self.loss_weight, self.reduction = loss_weight, reduction

    def forward(self, pred: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """The loss of images against others, a number ()."""
        return self.loss_weight * self.distance(pred, target)

    @abstractmethod
    def distance(self, pred: Tensor, target: Tensor) -> Tensor:
        """The loss before its weight."""


@LOSS_REGISTRY.register()
class FFTLoss(ImageLoss):
    """The mean absolute difference of the spectra (Cho et al., 2021), whose transform keeps the
    norm.
    """

    def distance(self, pred: Tensor, target: Tensor) -> Tensor:
        """See the class."""
        spectra = [
            torch.view_as_real(torch.fft.rfft2(image, norm='ortho')) for image in (pred, target)
        ]
        return functional.l1_loss(*spectra)


@LOSS_REGISTRY.register()
class GradientLoss(ImageLoss):
    """The mean absolute difference of Sobel's derivatives, which are those of a ramp of 1 a pixel
    1.
    """

    def distance(self, pred: Tensor, target: Tensor) -> Tensor:
        """See the class."""
        difference = pred - target  # the derivative is linear
        across = constant([-1, 0, 1, -2, 0, 2, -1, 0, 1], difference).view(3, 3) / 8
        kernels = torch.stack([across, across.t()])[:, None]
        channels = difference.shape[1]
        kernels = kernels.repeat(channels, 1, 1, 1)
        return functional.conv2d(difference, kernels, groups=channels).abs().mean()


@LOSS_REGISTRY.register()
class MSSSIMLoss(ImageLoss):
    """1 - MS-SSIM of images in [0, 1] (Wang et al., 2003).

    Images that are too small for five scales have fewer, with the first weights, normalised.
    """

    def distance(self, pred: Tensor, target: Tensor) -> Tensor:
        """See the class."""
        count = scales_of(min(pred.shape[-2:]))
        if count == 0:
            raise UserError(
                f'MSSSIMLoss: found squares of {min(pred.shape[-2:])} pixels; needed {WINDOW} or '
                'more a side (num_samples).'
            )
        weights = constant(SCALE_WEIGHTS[:count], pred)
        weights = weights / weights.sum()
        values = []
        for scale in range(count):
            structure, luminance = _ssim_parts(pred, target)
            last = scale == count - 1
            values.append((structure * luminance if last else structure).mean((1, 2, 3)))
            pred, target = functional.avg_pool2d(pred, 2), functional.avg_pool2d(target, 2)
        # A negative correlation has no real power.
        powers = torch.stack(values).clamp_min(1e-6).log() * weights[:, None]
        return 1 - powers.sum(0).exp().mean()  # `prod` would wait for the device to count zeros


@LOSS_REGISTRY.register()
class DISTSLoss(ImageLoss):
    """DISTS of images in [0, 1], RGB or gray: structure and texture of VGG's features (Ding et al.,
    arXiv 2004.07728).

    It is pyiqa's, which fetches its weights. They stay as they are.

    Args:
        loss_weight, reduction: As of the others.

    Raises:
        UserError: pyiqa is missing, or its weights are.
    """

    def __init__(self, loss_weight: float = 1.0, reduction: str = 'mean') -> None:
        super().__init__(loss_weight, reduction)
        self.net = network_of('dists').requires_grad_(False).eval()

    def distance(self, pred: Tensor, target: Tensor) -> Tensor:
        """See the class."""
        side = min(pred.shape[-2:])
        if side < LEAST['dists']:
            raise UserError(
                f'DISTSLoss: found squares of {side} pixels; needed {LEAST["dists"]} or more a '
                'side (num_samples).'
            )
        return self.net(pred.expand(-1, 3, -1, -1), target.expand(-1, 3, -1, -1)).mean()


def scales_of(side: int) -> int:
    """How many scales of MS-SSIM images of a side have."""
    count = 0
    while count < len(SCALE_WEIGHTS) and side >= WINDOW:
        count, side = count + 1, side // 2
    return count


def _ssim_parts(pred: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Contrast and structure, and luminance, where the window fits, (B, C, H - 10, W - 10)."""
    channels = pred.shape[1]
    place = torch.arange(WINDOW, dtype=pred.dtype, device=pred.device) - WINDOW // 2
    line = torch.exp(-(place**2) / (2 * SIGMA**2))
    line = line / line.sum()
    window = (line[:, None] * line)[None, None].repeat(channels, 1, 1, 1)

    def mean(image: Tensor) -> Tensor:
        return functional.conv2d(image, window, groups=channels)

    mean_p, mean_t = mean(pred), mean(target)
    var_p, var_t = mean(pred * pred) - mean_p**2, mean(target * target) - mean_t**2
    covariance = mean(pred * target) - mean_p * mean_t
    structure = (2 * covariance + C2) / (var_p + var_t + C2)
    luminance = (2 * mean_p * mean_t + C1) / (mean_p**2 + mean_t**2 + C1)
    return structure, luminance
