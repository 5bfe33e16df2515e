"""What every network of this package is: an encoder, and what makes images of its codes."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from liif_arch.archs.encoder import Encoder
from liif_arch.archs.tapped_encoder import as_encoder
from liif_arch.coordinates import as_scale, scaled_size
from liif_arch.errors import UserError, suggest
from liif_arch.hub.methods import HubMethods
from liif_arch.precision import PRECISIONS, autocast, resolve


def to_signed(images: Tensor) -> Tensor:
    """Images in [0, 1], of any shape, in the range [-1, 1] that encoders and decoders work in."""
    return (images - 0.5) / 0.5


def to_unit(colours: Tensor) -> Tensor:
    """Colours in about [-1, 1], of any shape, in the range [0, 1] that images have outside."""
    return colours * 0.5 + 0.5


def to_unit_(colours: Tensor) -> Tensor:
    """`to_unit` in place, for whole images without gradients."""
    return colours.mul_(0.5).add_(0.5)


class LatentNetwork(HubMethods, nn.Module, ABC):
    """An encoder that makes latent codes of an image, and what makes colours of the codes.

    At this border images are RGB (or have any channels) in [0, 1]; inside they are in [-1, 1].
    Encode once, and use the codes for many sizes: `feat = net.encode(lq)`, then
    `net.render(feat, (H, W))` or `net.query(feat, coord, cell)`. A network keeps no state between
    calls.

    Args:
        encoder: A network that keeps the size and has `num_out_feat`, see `Encoder`; or any other
            network of one scale, whose features before its upsampler are taken, see
            `TappedEncoder`; or the options of a registered one ({'type': ...}). None: the
            EDSR-baseline of LIIF's paper.
        num_in_ch: Channels of the input image; must be the encoder's.
        num_out_ch: Channels of the predicted colour.
        scale: Scale of `net(lq)` without a size, a number or a pair (sy, sx); BasicSR's own models
            call it so. None: such a call is an error.
        precision: Of images rendered without gradients: float32, bfloat16, or auto (bfloat16 where
            the device has it).

    Attributes:
        code_channels: Channels of what `encode` returns.
        reach: Latents that the decoder reads beyond those that a query looks up, on each side.
        table_channels: Floats that the decoder holds for each latent while it renders, for memory
            budgets.
        in_windows: Whether an image may be encoded in parts, where the encoder's receptive field
            is known.

    Raises:
        UserError: An option has no meaning; names it.
    """

    encoder: Encoder
    reach: int
    table_channels: int
    in_windows = True

    def __init__(
        self,
        encoder: nn.Module | dict | None,
        num_in_ch: int,
        num_out_ch: int,
        scale: float | Sequence[float] | None,
        precision: str,
    ) -> None:
        super().__init__()
        if precision not in PRECISIONS:
            raise UserError(f'precision: found {precision!r}; {suggest(precision, PRECISIONS)}')
        self.num_in_ch, self.num_out_ch = num_in_ch, num_out_ch
        self.scale = None if scale is None else as_scale(scale)
        self.precision = precision
        if encoder is None:
            encoder = {'type': 'EDSREncoder'}
        self.encoder = as_encoder(encoder, num_in_ch)
        self.code_channels = self.encoder.num_out_feat

    def encode(self, lq: Tensor) -> Tensor:
        """Latent codes of images in [0, 1]: (B, num_in_ch, h, w) -> (B, code_channels, h, w)."""
        if not self.encoder.unit_range:
            lq = to_signed(lq)
        lq = lq.contiguous(memory_format=torch.channels_last)  # convolutions are faster so
        if torch.is_grad_enabled():
            return self.encoder(lq)
        with autocast(lq.device, self.render_dtype()):
            return self.encoder(lq)

    def render_dtype(self) -> torch.dtype:
        """Type of the matrix products without gradients.

        Raises:
            UserError: The device has no such type.
        """
        parameter = next(self.parameters())
        if parameter.dtype != torch.float32:
            return parameter.dtype
        return resolve(self.precision, parameter.device)

    def digest(self) -> str:
        """16 letters that tell a network from others: its options and its parameters."""
        found = hashlib.sha256(json.dumps(self.network_g, sort_keys=True).encode())
        for name, value in sorted(self.state_dict().items()):
            found.update(name.encode())
            found.update(value.cpu().contiguous().numpy().tobytes())
        return found.hexdigest()[:16]

    @abstractmethod
    def query(self, feat: Tensor, coord: Tensor, cell: Tensor) -> Tensor:
        """Colours at continuous coordinates, differentiable.

        Args:
            feat: Latent codes, (B, code_channels, h, w).
            coord: Query pixel centres, (B, Q, 2), (y, x) in [-1, 1].
            cell: Height and width of the query pixels in coordinates, (B, Q, 2); a pixel of an
                H x W image has (2/H, 2/W).

        Returns:
            Colours, (B, Q, num_out_ch), about [0, 1] (not clamped).
        """

    @abstractmethod
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
        """Part of the H x W image, from the latents of a part of the input, without gradients.

        Args:
            feat: Latent codes of input rows and columns starting at `origin`,
                (B, code_channels, h', w'). They must hold the latents that the window looks up and
                `reach` more on each side, or end at the image's border.
            size: Size (H, W) of the whole output.
            origin: Row and column of feat's first latent in the whole input.
            full: Size (h, w) of the whole input.
            rows: Output rows [start, stop) to render.
            cols: Output columns [start, stop) to render.
            progress: Called now and then with the number of output pixels done since.

        Returns:
            (B, num_out_ch, stop - start, stop - start), about [0, 1].
        """

    @abstractmethod
    def render_with_gradients(self, feat: Tensor, size: tuple[int, int]) -> Tensor:
        """`render` under autograd, for models that train on whole images."""

    def render(self, feat: Tensor, size: tuple[int, int]) -> Tensor:
        """The whole image at a size (H, W), without gradients.

        Args:
            feat: Latent codes, (B, code_channels, h, w).
            size: Output size (H, W).

        Returns:
            (B, num_out_ch, H, W), about [0, 1].
        """
        height, width = feat.shape[-2:]
        rows, cols = (0, size[0]), (0, size[1])
        return self.render_window(feat, size, (0, 0), (height, width), rows, cols)

    def forward(
        self,
        lq: Tensor,
        coord: Tensor | None = None,
        cell: Tensor | None = None,
        size: tuple[int, int] | None = None,
    ) -> Any:
        """Colours at `coord` (training), or the image at `size`, or at this network's `scale`.

        Args:
            lq: Images in [0, 1], (B, num_in_ch, h, w).
            coord: Query pixel centres, (B, Q, 2), (y, x) in [-1, 1]; with `cell`, (B, Q, 2).
            cell: See `query`.
            size: Output size (H, W), for a whole image.

        Returns:
            (B, Q, num_out_ch) with coord, else (B, num_out_ch, H, W).

        Raises:
            UserError: None of coord, size and the option `scale` is given.
        """
        feat = self.encode(lq)
        if coord is not None:
            if cell is None:
                raise UserError(
                    'cell: missing; coord needs the sizes of its query pixels, (B, Q, 2).'
                )
            return self.query(feat, coord, cell)
        if size is None:
            size = self._own_size((lq.shape[-2], lq.shape[-1]))
        if torch.is_grad_enabled():
            return self.render_with_gradients(feat, size)
        return self.render(feat, size)

    def _own_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Output size (H, W) of an input (h, w) at the option `scale`."""
        if self.scale is None:
            raise UserError(
                f'{type(self).__name__} was called without coord and without size; set '
                'network_g.scale, or use model_type: LIIFModel, which gives each image its size.'
            )
        return scaled_size(size, self.scale)
