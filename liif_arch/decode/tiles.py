"""A regular grid of colours, decoded tile by tile; on a CPU by several threads at once."""

from collections.abc import Callable
from itertools import product

from torch import Tensor

from liif_arch.decode.lookup import Grid
from liif_arch.threads import for_each

TILE_ROWS = 16  # more rows share more of a tile's work, fewer have longer runs of memory
LEAST_COLUMNS = 64

Tile = tuple[slice, slice, slice]  # images of a batch, output rows, output columns
TileDecoder = Callable[[Tensor, Grid], Tensor]
"""Maps a table (b, h', w, D) and look-ups in it to colours (b, out, rows, columns)."""


def decode_tiles(
    decode: TileDecoder,
    table: Tensor,
    grid: Grid,
    num_out: int,
    pixels: int,
    images_at_once: int | None = 1,
    progress: Callable[[int], None] | None = None,
) -> Tensor:
    """Decode all pixels of a regular grid, without gradients.

    Args:
        decode: Decodes one tile. It sees only the rows of the table that the tile looks up, and
            look-ups that are counted from the first of them. On a CPU several threads call it.
        table: What the decoder holds for each latent, (B, h, w, ...).
        grid: Look-ups of the H output rows and W output columns in the table.
        num_out: Channels of a colour.
        pixels: Output pixels of a tile, about.
        images_at_once: Images of the batch that are decoded together. None: all of them.
        progress: Called with the number of output pixels of each tile that is done.

    Returns:
        Colours (B, num_out, H, W), of the table's type.
    """
    height, width = grid.shape
    out = table.new_empty(len(table), num_out, height, width)

    def fill(tile: Tile) -> None:
        images, rows, cols = tile
        low, high = grid.rows.window(rows.start, rows.stop).span()
        part = grid.window(rows, cols, low)
        out[images, :, rows, cols] = decode(table[images, low:high], part)

    def report(tile: Tile) -> None:
        images, rows, cols = (part.stop - part.start for part in tile)
        progress(images * rows * cols)

    step_y, step_x = tile_size(grid, pixels)
    batches = _parts(len(table), images_at_once or len(table))
    tiles = list(product(batches, _parts(height, step_y), _parts(width, step_x)))
    for_each(fill, tiles, out.device, report if progress else None)
    return out


def tile_size(grid: Grid, pixels: int) -> tuple[int, int]:
    """Rows and columns of tiles of about so many output pixels."""
    height, width = grid.shape
    step_x = _even(width, max(LEAST_COLUMNS, pixels // TILE_ROWS))
    step_y = _even(height, max(1, pixels // step_x))
    low, high = grid.rows.span()
    latents = high - low
    if latents > height:  # where the output is the smaller one, a tile spans many latents
        step_y = max(1, step_y * height // latents)
    return step_y, step_x


def _even(length: int, most: int) -> int:
    """The length of the parts when 0..length is cut into as few as possible of at most `most`."""
    parts = -(-length // most)
    return -(-length // parts)


def _parts(length: int, step: int) -> list[slice]:
    """0..length in parts of `step`, the last one shorter."""
    return [slice(start, min(start + step, length)) for start in range(0, length, step)]
