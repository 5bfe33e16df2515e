"""EDSR-baseline without its upsampler (Lim et al., CVPRW 2017), as LIIF's encoder."""

import torch
from torch import Tensor, nn

from liif_arch.archs.convolutions import add_convolved_, can_fuse, convolved
from liif_arch.archs.encoder import Encoder
from liif_arch.errors import require_whole
from liif_arch.precision import ambient_dtype, autocast


class ResidualBlock(nn.Module):
    """x + res_scale * conv(relu(conv(x))), 3x3 convolutions, no normalisation."""

    def __init__(self, num_feat: int, res_scale: float) -> None:
        super().__init__()
        self.res_scale = res_scale
        self.body = nn.Sequential(
            nn.Conv2d(num_feat, num_feat, 3, 1, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(num_feat, num_feat, 3, 1, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        residual = self.body(x)
        if self.res_scale != 1:
            residual = residual * self.res_scale
        return x + residual

    def overwrite(self, x: Tensor) -> Tensor:
        """The same where `can_fuse`, written into x, in x's type."""
        hidden = convolved(self.body[0], x).relu_()
        if self.res_scale == 1:
            return add_convolved_(x, self.body[2], hidden)
        return x.add_(convolved(self.body[2], hidden), alpha=self.res_scale)


@torch.no_grad()
def copy_channels(conv: nn.Conv2d, count: int, factor: float = 1) -> None:
    """Change a convolution's weights so that its first outputs are its first inputs, times a
    factor.
    """
    assert conv.bias is not None  # as all convolutions of the encoders have one
    middle = conv.kernel_size[0] // 2
    conv.weight[:count], conv.bias[:count] = 0, 0
    for i in range(count):
        conv.weight[i, i, middle, middle] = factor


class EDSREncoder(Encoder):
    """Features of EDSR: head, residual blocks, tail convolution and global skip; the input's size
    is kept.

    Args:
        num_in_ch: Input channels.
        num_feat: Width C of every layer.
        num_block: Residual blocks (baseline: 16).
        res_scale: Factor on each block's residual (baseline: 1).

    Attributes:
        num_out_feat: Channels C of the features.
        receptive_radius: Input pixels that a feature sees on each side of its own.
    """

    def __init__(
        self, num_in_ch: int = 3, num_feat: int = 64, num_block: int = 16, res_scale: float = 1
    ) -> None:
        super().__init__()
        require_whole(num_in_ch=num_in_ch, num_feat=num_feat, num_block=num_block)
        self.num_out_feat = num_feat
        self.receptive_radius = 2 * num_block + 2
        # Parameter names are those of the reference checkpoints: head.0, body.N.body.{0,2},
        # body.<num_block>.
        self.head = nn.Sequential(nn.Conv2d(num_in_ch, num_feat, 3, 1, 1))
        self.body = nn.Sequential()
        for _ in range(num_block):
            self.body.append(ResidualBlock(num_feat, res_scale))
        self.body.append(nn.Conv2d(num_feat, num_feat, 3, 1, 1))

    def start_as_copy(self) -> None:
        """Change the initial weights so that the first `num_in_ch` features are the input."""
        first, last = self.head[0], self.body[-1]
        assert isinstance(first, nn.Conv2d) and isinstance(last, nn.Conv2d)
        copy_channels(first, first.in_channels)
        copy_channels(last, first.in_channels, 0)

    def peak_floats(self, height: int, width: int) -> int:
        """Floats that are alive at once while an image is encoded without gradients.

        Measured on a CPU, for memory budgets.
        """
        return 5 * self.num_out_feat * height * width

    def forward(self, x: Tensor) -> Tensor:
        """(B, num_in_ch, h, w) -> (B, C, h, w)."""
        with autocast(x.device, torch.float32):  # in bfloat16 it would round the image itself
            x = self.head(x)
        if can_fuse(x, self):
            return self._fused(x)
        return x + self.body(x)  # the sums of blocks stay in x's type

    def _fused(self, x: Tensor) -> Tensor:
        """What follows the head, where `can_fuse`: fewer passes over memory, which limits it.

        In bfloat16 the sums of blocks are bfloat16 too, but the last one is float32.
        """
        hidden = x.to(ambient_dtype(x.device), memory_format=torch.channels_last, copy=True)
        *blocks, last = self.body
        for block in blocks:
            assert isinstance(block, ResidualBlock)
            hidden = block.overwrite(hidden)
        return x.add_(convolved(last, hidden))
