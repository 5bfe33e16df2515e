"""What the published Thera networks have between an encoder and the heads of their fields.

Air has nothing there, Plus a ConvNeXt (Liu et al., CVPR 2022) and Pro a SwinIR (Liang et al.,
ICCVW 2021).
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from liif_arch.archs.encoder import Encoder
from liif_arch.errors import UserError, suggest

CONVNEXT_WIDTHS = (64, 96, 128)
CONVNEXT_BLOCKS = (6, 7, 3)
SWINIR_WINDOW = 8  # pixels a side, of its attention
SWINIR = {'embed_dim': 180, 'depths': [7, 6], 'num_heads': [6, 6], 'mlp_ratio': 2}


class ConvNeXtBlock(nn.Module):
    """x + a depthwise 3x3 convolution, normalised over channels, and an MLP of each pixel."""

    def __init__(self, num_feat: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(num_feat, num_feat, 3, 1, 1, groups=num_feat, bias=False)
        self.norm = nn.LayerNorm(num_feat, eps=1e-6)
        self.widen = nn.Linear(num_feat, 4 * num_feat)
        self.narrow = nn.Linear(4 * num_feat, num_feat)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w)."""
        hidden = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        hidden = self.narrow(F.gelu(self.widen(hidden), approximate='tanh'))
        return x + hidden.permute(0, 3, 1, 2)


class Projection(nn.Module):
    """Another number of channels, of channels that are normalised first."""

    def __init__(self, num_feat: int, num_out_feat: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(num_feat, eps=1e-6)
        self.linear = nn.Linear(num_feat, num_out_feat)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, num_out_feat, h, w)."""
        return self.linear(self.norm(x.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)


class ConvNeXtTail(nn.Sequential):
    """Thera Plus' tail: 6 blocks of 64 channels, 7 of 96 and 3 of 128.

    Args:
        num_feat: Channels of the encoder's features; a projection follows where they are not 64.
    """

    num_out_feat = CONVNEXT_WIDTHS[-1]
    receptive_radius = sum(CONVNEXT_BLOCKS)  # a pixel for each block

    def __init__(self, num_feat: int) -> None:
        layers: list[nn.Module] = []
        for width, blocks in zip(CONVNEXT_WIDTHS, CONVNEXT_BLOCKS, strict=True):
            if num_feat != width:
                layers.append(Projection(num_feat, width))
            layers += [ConvNeXtBlock(width) for _ in range(blocks)]
            num_feat = width
        super().__init__(*layers)

    def peak_floats(self, height: int, width: int) -> int:
        """Floats that are alive at once without gradients: a block's input, norm and MLP."""
        return 10 * self.num_out_feat * height * width


class SwinIRTail(nn.Module):
    """Thera Pro's tail: BasicSR's SwinIR on features, without its upsampler.

    Args:
        num_feat: Channels of the encoder's features.
    """

    num_out_feat = 64
    receptive_radius = None  # it depends on where the windows of its attention lie
    peak_floats: Callable[[int, int], float] | None = None

    def __init__(self, num_feat: int) -> None:
        super().__init__()
        from basicsr.archs.swinir_arch import Mlp, SwinIR

        net = SwinIR(
            in_chans=num_feat,
            upsampler='pixelshuffle',
            upscale=2,
            window_size=SWINIR_WINDOW,
            **SWINIR,
        )
        for module in net.modules():
            if isinstance(module, Mlp):
                module.act = nn.GELU(approximate='tanh')  # as the published networks have it
        for name in ('upsample', 'conv_last'):
            delattr(net, name)
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        """(B, num_feat, h, w) -> (B, 64, h, w)."""
        net, (height, width) = self.net, x.shape[-2:]
        multiple = SWINIR_WINDOW
        below, right = -height % multiple, -width % multiple
        # A reflection is at most as long as the image.
        mode = 'reflect' if below < height and right < width else 'replicate'
        x = net.conv_first(F.pad(x, (0, right, 0, below), mode))
        x = x + net.conv_after_body(net.forward_features(x))
        return net.conv_before_upsample(x)[..., :height, :width]


TAILS: dict[str, type[ConvNeXtTail] | type[SwinIRTail]] = {
    'convnext': ConvNeXtTail,
    'swinir': SwinIRTail,
}


class TailedEncoder(Encoder):
    """An encoder and a tail behind it, as one encoder.

    Args:
        encoder: See `Encoder`.
        tail: One of `TAILS`.

    Raises:
        UserError: There is no such tail.
    """

    def __init__(self, encoder: Encoder, tail: str) -> None:
        super().__init__()
        if tail not in TAILS:
            raise UserError(f'found {tail!r}; {suggest(str(tail), TAILS)}', key='tail')
        self.net: Encoder = encoder
        self.tail: ConvNeXtTail | SwinIRTail = TAILS[tail](encoder.num_out_feat)
        self.num_out_feat = self.tail.num_out_feat
        self.unit_range, self.multiple = encoder.unit_range, encoder.multiple
        self.removed = encoder.removed
        if encoder.peak_floats is not None and self.tail.peak_floats is not None:
            self.peak_floats = self._peak_floats

    @property
    def receptive_radius(self) -> int | None:  # type: ignore[override]  # measuring it takes time
        """The sum of both; None where one of them has none."""
        if self.tail.receptive_radius is None or self.net.receptive_radius is None:
            return None
        return self.net.receptive_radius + self.tail.receptive_radius

    def _peak_floats(self, height: int, width: int) -> float:
        """Floats that are alive at once while an image is encoded without gradients."""
        assert self.net.peak_floats is not None and self.tail.peak_floats is not None
        behind = self.tail.peak_floats(height, width) + self.net.num_out_feat * height * width
        return max(self.net.peak_floats(height, width), behind)

    def forward(self, x: Tensor) -> Tensor:
        """(B, num_in_ch, h, w) -> (B, num_out_feat, h, w)."""
        features = self.net(x)
        return self.tail(features.to(torch.promote_types(features.dtype, torch.float32)))
