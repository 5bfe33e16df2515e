"""Fixed-scale baselines: an encoder with a sub-pixel tail, as EDSR-baseline has it (Lim et al.,
CVPRW 2017).
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from liif_arch.archs.latent_network import LatentNetwork, to_unit
from liif_arch.coordinates import nearest_index
from liif_arch.errors import UserError, is_whole
from liif_arch.precision import autocast


def upsampler(scale: int, num_feat: int) -> nn.Sequential:
    """Layers that enlarge features (B, num_feat, h, w) by a scale, 3 or a power of two.

    Each step is a convolution and a pixel shuffle: one of 3, or one of 2 for each factor of two.
    """
    layers, step = nn.Sequential(), 3 if scale == 3 else 2
    while scale > 1:
        layers.append(nn.Conv2d(num_feat, step * step * num_feat, 3, 1, 1))
        layers.append(nn.PixelShuffle(step))
        scale //= step
    return layers


class SubPixelSR(LatentNetwork):
    """An encoder and a sub-pixel tail for one scale.

    It predicts whole images at its scale. `query` looks colours up in them, so that it trains on
    the same samples as the networks for any scale.

    Args:
        encoder: See `LatentNetwork`, as for num_in_ch, num_out_ch and precision.
        scale: 3, or a power of two.
    """

    reach = 2  # one latent for each of the tail's two ends; what lies between sees less

    def __init__(
        self,
        encoder: nn.Module | dict | None = None,
        scale: int = 2,
        num_in_ch: int = 3,
        num_out_ch: int = 3,
        precision: str = 'float32',
    ) -> None:
        if scale != 3 and (not is_whole(scale) or scale < 2 or scale & (scale - 1)):
            raise UserError(f'scale: found {scale!r}; a sub-pixel tail is for 3 or a power of two.')
        super().__init__(encoder, num_in_ch, num_out_ch, scale, precision)
        self.factor = scale
        num_feat = self.encoder.num_out_feat
        self.tail = nn.Sequential(
            upsampler(scale, num_feat), nn.Conv2d(num_feat, num_out_ch, 3, 1, 1)
        )
        self.table_channels = 2 * scale * scale * num_feat

    def query(self, feat: Tensor, coord: Tensor, cell: Tensor) -> Tensor:
        """The predicted image's nearest pixels; see `LatentNetwork.query` (cells have no use)."""
        image = self._image(feat)  # (B, out, H, W)
        height, width = image.shape[-2:]
        rows = nearest_index(coord[..., 0], height)
        index = rows * width + nearest_index(coord[..., 1], width)  # (B, Q)
        index = index[:, None].expand(-1, image.shape[1], -1)
        return image.flatten(2).gather(2, index).transpose(1, 2)

    @torch.no_grad()
    def render_window(
        self,
        feat: Tensor,
        size: tuple[int, int],
        origin: tuple[int, int],
        full: tuple[int, int],
        rows: tuple[int, int],
        cols: tuple[int, int],
        progress: Callable[[int], None] | None = None,
    ) -> Tensor:
        """See `LatentNetwork.render_window`.

        Raises:
            UserError: `size` is not this network's scale.
        """
        self._require_own_scale(full, size)
        top, left = origin[0] * self.factor, origin[1] * self.factor
        with autocast(feat.device, self.render_dtype()):
            image = self._image(feat)
        image = image[..., rows[0] - top : rows[1] - top, cols[0] - left : cols[1] - left]
        if progress:
            progress(image.shape[-2] * image.shape[-1])
        return image

    def render_with_gradients(self, feat: Tensor, size: tuple[int, int]) -> Tensor:
        """See `LatentNetwork.render_with_gradients`.

        Raises:
            UserError: `size` is not this network's scale.
        """
        self._require_own_scale((feat.shape[-2], feat.shape[-1]), size)
        return self._image(feat)

    def _image(self, feat: Tensor) -> Tensor:
        """The whole image, about [0, 1]; its last convolution is float32 in every precision."""
        dtype = next(
            self.tail.parameters()
        ).dtype  # features may be bfloat16 where no autocast is around
        wide = self.tail[0](feat.to(dtype))
        with autocast(feat.device, torch.float32):
            return to_unit(self.tail[1](wide.to(dtype)))

    def _require_own_scale(self, full: tuple[int, int], size: tuple[int, int]) -> None:
        """Raise UserError where an input (h, w) does not become (H, W) at this network's scale."""
        own = (full[0] * self.factor, full[1] * self.factor)
        if tuple(size) != own:
            raise UserError(
                f'SubPixelSR has scale {self.factor}: an input of {full[1]}x{full[0]} becomes '
                f'{own[1]}x{own[0]}, not {size[1]}x{size[0]} (width x height); use its scale alone.'
            )
