"""The skeleton of every decoder that predicts the colour at any coordinate from latent codes."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from liif_arch.archs.latent_network import LatentNetwork, to_unit, to_unit_
from liif_arch.coordinates import AxisLookup, grid_lookup, make_cell, make_coord
from liif_arch.decode.lookup import Grid, Lookups, by_chunks, nearest
from liif_arch.decode.tiles import TileDecoder, decode_tiles
from liif_arch.errors import require_mebibytes
from liif_arch.precision import autocast

# Queries of a batch whose activations are kept for the backward pass (LIIF's paper: 16 * 2304).
TRAIN_QUERIES = 65536
CPU_MEMORY, GPU_MEMORY = 16, 512  # MiB of activations without gradients


class CoordinateNetwork(LatentNetwork):
    """An encoder's latent codes, and a decoder that predicts the colour at continuous coordinates.

    A decoder says three things, in [-1, 1] and without a word about chunks, tiles, windows and
    devices, which this class owns:

    1. `table`: what it holds for each latent, computed once from the codes of an image.
    2. `colours`: the colours of queries, from the latents that they look up in the table. It is
       used for training and for single queries.
    3. `floats_per_query`: what a query costs, from which the sizes of chunks and tiles follow.

    It also says `plain_colours`, its equations written out slowly, with which tests compare the
    rest, and the attributes of a `LatentNetwork`. Regular grids are rendered by `colours` too,
    unless a decoder has something faster: then it says `grid_table` and `tile_decoder`. One that
    looks up other latents than the nearest says `look_up` and `look_up_axis`.

    Args:
        encoder: See `LatentNetwork`, as for num_in_ch, num_out_ch, scale and precision. With
            `receptive_radius` and `peak_floats` (see `Encoder`), `upscale` can work in windows.
        decode_memory: Budget for the decoder's activations without gradients, in MiB; chunks and
            tiles are as large as it allows. None: 16 on a CPU, where activations that stay in the
            cache are fastest, 512 on other devices.

    Attributes:
        local_ensemble: Queries look up the four nearest latents, whose predictions are weighted
            (LIIF eq. 4); else the nearest one.
        images_at_once: Images of a batch of which a tile is decoded together; None: all, for
            decoders whose images share work.
        floats_per_query: Floats that `colours` holds at once for a query, beside its look-ups; an
            estimate does.

    Raises:
        UserError: An option has no meaning; names it.
    """

    local_ensemble: bool = True
    images_at_once: int | None = 1
    floats_per_query: int

    def __init__(
        self,
        encoder: nn.Module | dict | None,
        num_in_ch: int,
        num_out_ch: int,
        scale: float | Sequence[float] | None,
        precision: str,
        decode_memory: float | None,
    ) -> None:
        if decode_memory is not None:
            require_mebibytes(decode_memory=decode_memory)
        super().__init__(encoder, num_in_ch, num_out_ch, scale, precision)
        self.decode_memory = decode_memory

    # ----------------------------------------------------------------------------------------------
    # What a decoder says

    @abstractmethod
    def table(self, feat: Tensor) -> Tensor:
        """What the decoder holds for each latent.

        Args:
            feat: Latent codes, (B, code_channels, h, w).

        Returns:
            (B, h, w, ...), contiguous, at least float32; see `decode.lookup.by_latent`.
        """

    @abstractmethod
    def colours(self, table: Tensor, found: Lookups) -> Tensor:
        """Colours of queries, differentiable.

        Args:
            table: What `table` returned, (B, h, w, ...).
            found: Look-ups of N queries in it.

        Returns:
            (N, num_out_ch), about [-1, 1], at least float32.
        """

    @abstractmethod
    def plain_colours(self, feat: Tensor, coord: Tensor, cell: Tensor) -> Tensor:
        """The decoder's equations written out as in its paper, differentiable and slow.

        Args:
            feat, coord, cell: See `query`.

        Returns:
            (B, Q, num_out_ch), about [-1, 1].
        """

    def grid_table(self, feat: Tensor, cell: tuple[float, float]) -> Tensor:
        """`table` for a regular grid, whose pixels share one cell (height, width), in latents."""
        return self.table(feat)

    def tile_decoder(self, cell: tuple[float, float]) -> TileDecoder:
        """What decodes a tile of a regular grid, without gradients.

        It is asked for once an image: what is the same for all tiles is made ready here.

        Args:
            cell: Height and width of all output pixels, in latents.

        Returns:
            A function of a part of `grid_table` (b, h', w', ...) and look-ups in it, which returns
            colours (b, num_out_ch, rows, columns), about [-1, 1].
        """
        return self._tile_by_queries

    def look_up(self, coord: Tensor, cell: Tensor, size: tuple[int, int]) -> Lookups:
        """The latents of an image of (h, w) that queries look up; see `query`."""
        return nearest(coord, cell, size, self.local_ensemble)

    def look_up_axis(
        self, n_out: int, n: int, device: torch.device, part: tuple[int, int] | None = None
    ) -> AxisLookup:
        """The latents of n that n_out output pixels of a regular grid look up along one axis, or
        a part [start, stop) of them.
        """
        return grid_lookup(n_out, n, self.local_ensemble, device, part)

    # ----------------------------------------------------------------------------------------------
    # What follows from it

    def query(self, feat: Tensor, coord: Tensor, cell: Tensor, chunk: int | None = None) -> Tensor:
        """Colours at continuous coordinates, differentiable.

        Args:
            feat, coord, cell: See `LatentNetwork.query`.
            chunk: Queries of each image that are decoded at a time. None: as many as
                `decode_memory` allows; under autograd all at once.

        Returns:
            Colours, (B, Q, num_out_ch), about [0, 1] (not clamped).
        """
        if chunk is None and not torch.is_grad_enabled():
            chunk = self.chunk_size(self.floats_per_query * max(1, len(feat)))
        at = partial(self._colours_at, self.table(feat))
        return to_unit(by_chunks(at, coord, cell, chunk))

    def query_plain(self, feat: Tensor, coord: Tensor, cell: Tensor) -> Tensor:
        """`query` by the equations as its paper writes them: slow, for comparison."""
        return to_unit(self.plain_colours(feat, coord, cell))

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
        """See `LatentNetwork.render_window`."""
        cell = (2 * full[0] / size[0], 2 * full[1] / size[1])
        by_row = self.look_up_axis(size[0], full[0], feat.device, rows)
        by_col = self.look_up_axis(size[1], full[1], feat.device, cols)
        grid = Grid.of(by_row.counted_from(origin[0]), by_col.counted_from(origin[1]), cell)
        return to_unit_(self.decode_grid(self.grid_table(feat, cell), grid, progress))

    def decode_grid(
        self, table: Tensor, grid: Grid, progress: Callable[[int], None] | None = None
    ) -> Tensor:
        """Colours of a regular grid, tile by tile, without gradients.

        Args:
            table: What `grid_table` returned, (B, h, w, ...).
            grid: Look-ups of R rows and C columns in it.
            progress: Called with the number of output pixels of each tile that is done.

        Returns:
            (B, num_out_ch, R, C), about [-1, 1].
        """
        decode, pixels = self.tile_decoder(grid.cell), self.chunk_size(self.floats_per_query)
        return decode_tiles(
            decode, table, grid, self.num_out_ch, pixels, self.images_at_once, progress
        )

    def render_with_gradients(self, feat: Tensor, size: tuple[int, int]) -> Tensor:
        """`render` under autograd; activations are computed again chunk by chunk."""
        b, coord = feat.shape[0], make_coord(size, feat.device)
        coord = coord.view(1, -1, 2).expand(b, -1, -1)
        cell = make_cell(size, feat.device).expand_as(coord)
        colours = self.query(feat, coord, cell, chunk=max(1, TRAIN_QUERIES // max(1, b)))
        return colours.transpose(1, 2).reshape(b, self.num_out_ch, *size)

    def chunk_size(self, floats: int) -> int:
        """Queries of so many floats each that the decoder may hold at once (`decode_memory`)."""
        budget = self.decode_memory
        if budget is None:
            on_cpu = next(self.parameters()).device.type == 'cpu'
            budget = CPU_MEMORY if on_cpu else GPU_MEMORY
        return max(64, int(budget * 2**20) // (4 * floats))

    def _colours_at(self, table: Tensor, coord: Tensor, cell: Tensor) -> Tensor:
        """Colours of queries (B, Q, 2) in a table, (B, Q, num_out_ch), about [-1, 1]."""
        if coord.numel() == 0:
            return table.new_zeros(*coord.shape[:2], self.num_out_ch)
        found = self.look_up(coord, cell, (table.shape[1], table.shape[2]))
        # Not len(table): exporters take that for a constant.
        return self.colours(table, found).unflatten(0, (table.shape[0], -1))

    def _tile_by_queries(self, table: Tensor, grid: Grid) -> Tensor:
        """A tile of one image by `colours`."""
        with autocast(table.device, self.render_dtype()):
            colours = self.colours(table, grid.lookups(table.shape[2]))
        return colours.view(1, *grid.shape, -1).permute(0, 3, 1, 2)
