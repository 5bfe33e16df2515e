"""TinySR: three convolutions and a pixel shuffle, for one scale."""

from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn


@ARCH_REGISTRY.register()
class TinySR(nn.Module):
    """A network for one scale; as an encoder of LIIF, its features before `tail`.

    Args:
        num_in_ch, num_out_ch: Channels of input and output.
        num_feat: Width.
        upscale: Its scale.
    """

    def __init__(
        self, num_in_ch: int = 3, num_out_ch: int = 3, num_feat: int = 16, upscale: int = 2
    ) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(num_in_ch, num_feat, 3, 1, 1),
            nn.ReLU(),
            nn.Conv2d(num_feat, num_feat, 3, 1, 1),
            nn.ReLU(),
        )
        self.tail = nn.Sequential(
            nn.Conv2d(num_feat, num_out_ch * upscale**2, 3, 1, 1), nn.PixelShuffle(upscale)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, num_in_ch, h, w) in [0, 1] -> (B, num_out_ch, upscale h, upscale w)."""
        return self.tail(self.body(x))
