"""RDN without its upsampler (Zhang et al., CVPR 2018), as LIIF's encoder."""

from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from liif_arch.archs.edsr_encoder_arch import copy_channels
from liif_arch.archs.encoder import Encoder
from liif_arch.errors import require_whole
from liif_arch.precision import autocast

TILE = 256  # side of what a dense block works on at once in inference


class DenseConv(nn.Module):
    """Appends relu(conv(x)), `growth` channels, to x."""

    def __init__(self, in_ch: int, growth: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(in_ch, growth, 3, 1, 1), nn.ReLU(inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.conv(x)], dim=1)


class ResidualDenseBlock(nn.Module):
    """Densely connected convolutions, local feature fusion (1x1) and a skip.

    Without gradients a large image is worked on in tiles that overlap by the convolutions' reach:
    what lies between has nine times as many channels as what comes in and goes out.
    """

    def __init__(self, num_feat: int, growth: int, num_layer: int) -> None:
        super().__init__()
        self.reach = num_layer
        self.convs = nn.Sequential()
        for i in range(num_layer):
            self.convs.append(DenseConv(num_feat + i * growth, growth))
        self.LFF = nn.Conv2d(num_feat + num_layer * growth, num_feat, 1)

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled() or max(x.shape[-2:]) <= TILE + 2 * self.reach:
            return self.LFF(self.convs(x)) + x
        out = x.clone()
        height, width = x.shape[-2:]
        for top, left in product(range(0, height, TILE), range(0, width, TILE)):
            rows, cols = self._around(top), self._around(left)
            tile = self.LFF(self.convs(x[..., rows, cols]))
            tile = tile[..., top - rows.start :, left - cols.start :]
            out[..., top : top + TILE, left : left + TILE] += tile[..., :TILE, :TILE]
        return out

    def _around(self, start: int) -> slice:
        """What a tile that begins at `start` depends on, along one axis."""
        return slice(max(0, start - self.reach), start + TILE + self.reach)


class RDNEncoder(Encoder):
    """Features of RDN: shallow extraction, dense blocks, global fusion and skip; the input's size
    is kept.

    Args:
        num_in_ch: Input channels.
        num_feat: Width G0 = C.
        num_block: Dense blocks D (configuration B: 16).
        num_layer: Convolutions per block (configuration B: 8).
        growth: Channels G that each convolution adds (64).

    Attributes:
        num_out_feat: Channels C of the features.
        receptive_radius: Input pixels that a feature sees on each side of its own.
    """

    def __init__(
        self,
        num_in_ch: int = 3,
        num_feat: int = 64,
        num_block: int = 16,
        num_layer: int = 8,
        growth: int = 64,
    ) -> None:
        super().__init__()
        require_whole(
            num_in_ch=num_in_ch,
            num_feat=num_feat,
            num_block=num_block,
            num_layer=num_layer,
            growth=growth,
        )
        self.num_out_feat = num_feat
        self.receptive_radius = num_block * num_layer + 3
        self.dense_channels = num_feat + num_layer * growth
        self.block_reach = num_layer
        # Parameter names are those of the reference checkpoints.
        self.SFENet1 = nn.Conv2d(num_in_ch, num_feat, 3, 1, 1)
        self.SFENet2 = nn.Conv2d(num_feat, num_feat, 3, 1, 1)
        self.RDBs = nn.ModuleList()
        for _ in range(num_block):
            self.RDBs.append(ResidualDenseBlock(num_feat, growth, num_layer))
        self.GFF = nn.Sequential(
            nn.Conv2d(num_block * num_feat, num_feat, 1), nn.Conv2d(num_feat, num_feat, 3, 1, 1)
        )

    def start_as_copy(self) -> None:
        """Change the initial weights so that the first `num_in_ch` features are the input."""
        last = self.GFF[1]
        assert isinstance(last, nn.Conv2d)
        copy_channels(self.SFENet1, self.SFENet1.in_channels)
        copy_channels(last, self.SFENet1.in_channels, 0)

    def peak_floats(self, height: int, width: int) -> int:
        """Floats that are alive at once while an image is encoded without gradients.

        Measured on a CPU, for memory budgets.
        """
        side = TILE + 2 * self.block_reach
        in_tile = min(height, side) * min(width, side)
        return 4 * self.num_out_feat * height * width + 3 * self.dense_channels * in_tile

    def forward(self, x: Tensor) -> Tensor:
        """(B, num_in_ch, h, w) -> (B, C, h, w)."""
        with autocast(x.device, torch.float32):  # in bfloat16 it would round the image itself
            shallow = self.SFENet1(x)
        x = self.SFENet2(shallow)
        # GFF.0 over the concatenated blocks, summed block by block: the 1024-channel tensor is
        # never held.
        first, last = self.GFF
        assert isinstance(first, nn.Conv2d) and first.bias is not None
        fused = first.bias.view(1, -1, 1, 1)
        weights = first.weight.split(self.num_out_feat, dim=1)
        for block, weight in zip(self.RDBs, weights, strict=True):
            x = block(x)
            fused = fused + F.conv2d(x, weight)
        return last(fused) + shallow
