"""LIIF: Learning Continuous Image Representation with Local Implicit Image Function (Chen et al., CVPR 2021)."""
from collections.abc import Sequence

import torch
from basicsr.archs import build_network
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn

from liif_arch.coordinates import as_scale, grid_lookup, make_cell, make_coord, scaled_size
from liif_arch.decode.fast import FirstLayer, cell_bias, query_fast, render_fast
from liif_arch.decode.plain import query_plain
from liif_arch.errors import UserError

TRAIN_QUERIES = 65536  # queries of a batch whose activations are kept for the backward pass (paper: 16 * 2304)


class MLP(nn.Module):
    """The decoder f: linear layers with ReLU between them (`layers.0`, `layers.2`, ... as in reference checkpoints)."""

    def __init__(self, in_dim: int, out_dim: int, hidden_list: Sequence[int]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for hidden in hidden_list:
            layers += [nn.Linear(in_dim, hidden), nn.ReLU()]
            in_dim = hidden
        self.layers = nn.Sequential(*layers, nn.Linear(in_dim, out_dim))

    def forward(self, x: Tensor) -> Tensor:
        """(..., in_dim) -> (..., out_dim)."""
        return self.layers(x)


@ARCH_REGISTRY.register()
class LIIF(nn.Module):
    """An image as local latent codes, and one decoder that predicts the colour at any continuous coordinate.

    Images are RGB (or any channels) in [0, 1] at this border; the 0.5/0.5 normalisation is inside. Encode once, query
    many: `feat = net.encode(lq)`, then `net.query(feat, coord, cell)` or `net.render(feat, (H, W))`. No state is kept.

    Args:
        encoder: A network that keeps the size and has `num_out_feat`, or its registered options ({'type': ...}).
            None: the paper's EDSR-baseline.
        hidden_list: Widths of the decoder's hidden layers.
        local_ensemble: Weighted prediction of the four nearest latents (eq. 4).
        feat_unfold: Concatenate each latent's 3x3 neighbourhood (eq. 3).
        cell_decode: Tell the decoder the size of the queried pixel (eq. 5).
        num_in_ch: Channels of the input image; must be the encoder's.
        num_out_ch: Channels of the predicted colour.
        scale: Scale of `net(lq)` without a size, a number or a pair (sy, sx); BasicSR's own models call it so.
        decode_memory: Budget for the decoder's activations without gradients, in MiB; queries are chunked to it.
            None: 16 on a CPU, where chunks that stay in the cache are fastest, 512 on other devices.

    Raises:
        UserError: An option has no meaning (named).
    """

    def __init__(self, encoder: nn.Module | dict | None = None, hidden_list: Sequence[int] = (256, 256, 256, 256),
                 local_ensemble: bool = True, feat_unfold: bool = True, cell_decode: bool = True, num_in_ch: int = 3,
                 num_out_ch: int = 3, scale: float | Sequence[float] | None = None,
                 decode_memory: float | None = None) -> None:
        super().__init__()
        if not hidden_list or any(not isinstance(n, int) or n < 1 for n in hidden_list):
            raise UserError(f'hidden_list: found {hidden_list!r}; needed one or more positive widths.')
        if decode_memory is not None and decode_memory <= 0:
            raise UserError(f'decode_memory: found {decode_memory!r}; needed MiB above 0.')
        self.local_ensemble, self.feat_unfold, self.cell_decode = local_ensemble, feat_unfold, cell_decode
        self.num_in_ch, self.num_out_ch = num_in_ch, num_out_ch
        self.scale = None if scale is None else as_scale(scale)
        self.decode_memory = decode_memory
        if not isinstance(encoder, nn.Module):
            encoder = build_network({'num_in_ch': num_in_ch, **(encoder or {'type': 'EDSREncoder'})})
        self.encoder = encoder
        in_dim = encoder.num_out_feat * (9 if feat_unfold else 1) + 2 + (2 if cell_decode else 0)
        self.imnet = MLP(in_dim, num_out_ch, hidden_list)

    @property
    def flags(self) -> dict[str, bool]:
        """The paper's three switches, as keywords of `decode.plain` and `decode.fast`."""
        return {'local_ensemble': self.local_ensemble, 'feat_unfold': self.feat_unfold, 'cell_decode': self.cell_decode}

    def encode(self, lq: Tensor) -> Tensor:
        """Latent codes of images in [0, 1]: (B, num_in_ch, h, w) -> (B, C, h, w)."""
        return self.encoder((lq - 0.5) / 0.5)

    def query(self, feat: Tensor, coord: Tensor, cell: Tensor) -> Tensor:
        """Colours at continuous coordinates, differentiable.

        Args:
            feat: Latent codes, (B, C, h, w).
            coord: Query pixel centres, (B, Q, 2), (y, x) in [-1, 1].
            cell: Height and width of the query pixels in coordinates, (B, Q, 2); a pixel of H x W has (2/H, 2/W).

        Returns:
            Colours, (B, Q, num_out_ch), about [0, 1] (not clamped).
        """
        chunk = None if torch.is_grad_enabled() else self.chunk_pixels(queries_share_corners=True)
        return query_fast(self.imnet, feat, coord, cell, **self.flags, chunk=chunk) * 0.5 + 0.5

    def query_plain(self, feat: Tensor, coord: Tensor, cell: Tensor) -> Tensor:
        """`query` written out as in the paper: slow, for comparison."""
        return query_plain(self.imnet, feat, coord, cell, **self.flags) * 0.5 + 0.5

    def render(self, feat: Tensor, size: tuple[int, int]) -> Tensor:
        """The image at any size, without gradients: (B, C, h, w) -> (B, num_out_ch, H, W), about [0, 1]."""
        return self.render_window(feat, size, (0, 0), feat.shape[-2:], (0, size[0]), (0, size[1]))

    @torch.no_grad()
    def render_window(self, feat: Tensor, size: tuple[int, int], origin: tuple[int, int], full: tuple[int, int],
                      rows: tuple[int, int], cols: tuple[int, int]) -> Tensor:
        """Part of the H x W image, from the latents of a part of the input.

        Args:
            feat: Latent codes of input rows and columns starting at `origin`, (B, C, h', w'); they must reach one
                latent (two with feature unfolding) beyond those under the rendered window, or the image's border.
            size: Size (H, W) of the whole output.
            origin: Row and column of feat's first latent in the whole input.
            full: Size (h, w) of the whole input.
            rows: Output rows [start, stop) to render.
            cols: Output columns [start, stop) to render.

        Returns:
            (B, num_out_ch, stop - start, stop - start), about [0, 1].
        """
        first = FirstLayer.split(self.imnet.layers[0], feat.shape[1], self.feat_unfold, self.cell_decode)
        cell = (2 * full[0] / size[0], 2 * full[1] / size[1])
        table = first.table(feat, cell_bias(first, cell))
        lookups = [grid_lookup(size[i], full[i], self.local_ensemble, feat.device).window(*window, origin[i])
                   for i, window in enumerate((rows, cols))]
        return render_fast(self.imnet, first, table, *lookups, chunk=self.chunk_pixels()).mul_(0.5).add_(0.5)

    def chunk_pixels(self, queries_share_corners: bool = False) -> int:
        """Output pixels that the decoder may hold at once under `decode_memory`."""
        width = max(layer.out_features for layer in self.imnet.layers if isinstance(layer, nn.Linear))
        on_cpu = self.imnet.layers[0].weight.device.type == 'cpu'
        memory = self.decode_memory or (16 if on_cpu else 512)
        alive = 16 if queries_share_corners else 4  # D-wide float32 vectors per output pixel
        return max(256, int(memory * 2**20) // (4 * width * alive))

    def forward(self, lq: Tensor, coord: Tensor | None = None, cell: Tensor | None = None,
                size: tuple[int, int] | None = None) -> Tensor:
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
                raise UserError('LIIF was called without coord and without size; '
                                'set network_g.scale, or use model_type: LIIFModel, which gives each image its size.')
            size = scaled_size(tuple(lq.shape[-2:]), self.scale)
        return self.render(feat, size) if not torch.is_grad_enabled() else self._render_with_grad(feat, size)

    def _render_with_grad(self, feat: Tensor, size: tuple[int, int]) -> Tensor:
        """`render` under autograd, for models that train on whole images; activations are recomputed by chunk."""
        b, coord = feat.shape[0], make_coord(size, feat.device)
        coord = coord.view(1, -1, 2).expand(b, -1, -1)
        cell = make_cell(size, feat.device).expand(b, coord.shape[1], 2)
        colours = query_fast(self.imnet, feat, coord, cell, **self.flags, chunk=max(1, TRAIN_QUERIES // b)) * 0.5 + 0.5
        return colours.transpose(1, 2).reshape(b, -1, *size)
