"""What every decoder on latent codes shares: the interface, and how whole images are asked for."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from liif_arch.archs.tapped_encoder import as_encoder
from liif_arch.coordinates import as_scale, make_cell, make_coord, scaled_size
from liif_arch.errors import UserError, suggest
from liif_arch.precision import PRECISIONS, autocast, resolve

TRAIN_QUERIES = (
    65536  # queries of a batch whose activations are kept for the backward pass (paper: 16 * 2304)
)


class CoordinateNetwork(nn.Module, ABC):
    """An encoder's latent codes, and a decoder that predicts the colour at continuous coordinates.

    Images are RGB (or any channels) in [0, 1] at this border; the 0.5/0.5 normalisation is inside.
    Encode once, query
    many: `feat = net.encode(lq)`, then `net.query(feat, coord, cell)` or `net.render(feat, (H,
        W))`. No state is kept.
    A decoder says what `query_plain`, `query` and `render_window` compute.

    Args:
        encoder: A network that keeps the size and has `num_out_feat`; or any other network of one
            scale, whose features before its upsampler are taken (see `TappedEncoder`); or its
            registered options ({'type': ...}).
            None: the paper's EDSR-baseline. With `receptive_radius` (in pixels, or None: all of the
            image) and `peak_floats` (see EDSREncoder) `upscale` can work in windows.
        num_in_ch: Channels of the input image; must be the encoder's.
        num_out_ch: Channels of the predicted colour.
        scale: Scale of `net(lq)` without a size, a number or a pair (sy, sx); BasicSR's own models
            call it so.
        precision: Of images rendered without gradients: float32, bfloat16, or auto (bfloat16 where
            the device has it).
        decode_memory: Budget for the decoder's activations without gradients, in MiB; queries are
            chunked to it.
            None: 16 on a CPU, where chunks that stay in the cache are fastest, 512 on other
                devices.

    Attributes:
        code_channels: Channels of what `encode` returns.
        reach: Latents beyond its own that a look-up reads, on each side.
        table_channels: Channels that the decoder holds per latent while it renders, for memory
            budgets.

    Raises:
        UserError: An option has no meaning (named).
    """

    reach: int
    table_channels: int

    def __init__(
        self,
        encoder: nn.Module | dict | None,
        num_in_ch: int,
        num_out_ch: int,
        scale: float | Sequence[float] | None,
        precision: str,
        decode_memory: float | None,
    ) -> None:
        super().__init__()
        if precision not in PRECISIONS:
            raise UserError(f'precision: found {precision!r}; {suggest(precision, PRECISIONS)}')
        if decode_memory is not None and decode_memory <= 0:
            raise UserError(f'decode_memory: found {decode_memory!r}; needed MiB above 0.')
        self.num_in_ch, self.num_out_ch = num_in_ch, num_out_ch
        self.scale = None if scale is None else as_scale(scale)
        self.precision, self.decode_memory = precision, decode_memory
        self.encoder = as_encoder(encoder or {'type': 'EDSREncoder'}, num_in_ch)
        self.code_channels = self.encoder.num_out_feat

    def encode(self, lq: Tensor) -> Tensor:
        """Latent codes of images in [0, 1]: (B, num_in_ch, h, w) -> (B, C, h, w)."""
        lq = lq if getattr(self.encoder, 'unit_range', False) else (lq - 0.5) / 0.5
        lq = lq.contiguous(memory_format=torch.channels_last)  # convolutions are faster so
        if torch.is_grad_enabled():
            return self.encoder(lq)
        with autocast(lq.device, self.render_dtype()):
            return self.encoder(lq)

    def render_dtype(self) -> torch.dtype:
        """Type of the matrix products without gradients; raises UserError where the device lacks
        it.
        """
        parameter = next(self.parameters())
        return (
            resolve(self.precision, parameter.device)
            if parameter.dtype == torch.float32
            else parameter.dtype
        )

    @abstractmethod
    def query(self, feat: Tensor, coord: Tensor, cell: Tensor, chunk: int | None = None) -> Tensor:
        """Colours at continuous coordinates, differentiable.

        Args:
            feat: Latent codes, (B, C, h, w).
            coord: Query pixel centres, (B, Q, 2), (y, x) in [-1, 1].
            cell: Height and width of the query pixels in coordinates, (B, Q, 2); a pixel of H x W
                has (2/H, 2/W).
            chunk: Queries per image decoded at a time. None: what `decode_memory` allows, all at
                once under autograd.

        Returns:
            Colours, (B, Q, num_out_ch), about [0, 1] (not clamped).
        """

    @abstractmethod
    def query_plain(self, feat: Tensor, coord: Tensor, cell: Tensor) -> Tensor:
        """`query` written out as in its paper: slow, for comparison."""

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
            feat: Latent codes of input rows and columns starting at `origin`, (B, C, h', w'); they
                must hold the latents under the rendered window and `reach` more on each side, or
                end at the image's border.
            size: Size (H, W) of the whole output.
            origin: Row and column of feat's first latent in the whole input.
            full: Size (h, w) of the whole input.
            rows: Output rows [start, stop) to render.
            cols: Output columns [start, stop) to render.
            progress: Called now and then with the number of output pixels done since.

        Returns:
            (B, num_out_ch, stop - start, stop - start), about [0, 1].
        """

    def render(self, feat: Tensor, size: tuple[int, int]) -> Tensor:
        """The image at any size, without gradients: (B, C, h, w) -> (B, num_out_ch, H, W), about
        [0, 1].
        """
        return self.render_window(
            feat, size, (0, 0), tuple(feat.shape[-2:]), (0, size[0]), (0, size[1])
        )

    def chunk_size(self, floats: int) -> int:
        """Queries, of so many floats each, that the decoder may hold at once under
        `decode_memory`.
        """
        on_cpu = next(self.parameters()).device.type == 'cpu'
        return max(64, int((self.decode_memory or (16 if on_cpu else 512)) * 2**20) // (4 * floats))

    def forward(
        self,
        lq: Tensor,
        coord: Tensor | None = None,
        cell: Tensor | None = None,
        size: tuple[int, int] | None = None,
    ) -> Tensor:
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
            return self.query(feat, coord, cell)
        if size is None:
            if self.scale is None:
                raise UserError(
                    f'{type(self).__name__} was called without coord and without size; set '
                    'network_g.scale, or use model_type: LIIFModel, which gives each image its '
                    'size.'
                )
            size = scaled_size(tuple(lq.shape[-2:]), self.scale)
        return (
            self.render(feat, size)
            if not torch.is_grad_enabled()
            else self._render_with_grad(feat, size)
        )

    def _render_with_grad(self, feat: Tensor, size: tuple[int, int]) -> Tensor:
        """`render` under autograd, for models that train on whole images; activations are
        recomputed by chunk.
        """
        b, coord = feat.shape[0], make_coord(size, feat.device)
        coord = coord.view(1, -1, 2).expand(b, -1, -1)
        cell = make_cell(size, feat.device).expand_as(coord)
        colours = self.query(feat, coord, cell, chunk=max(1, TRAIN_QUERIES // b))
        return colours.transpose(1, 2).reshape(b, -1, *size)
