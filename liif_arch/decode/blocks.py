"""An image decoded block by block, on a CPU by several threads at once."""

from collections.abc import Callable
from itertools import product

from torch import Tensor

from liif_arch.threads import for_each

Block = tuple[slice, slice, slice]  # images of a batch, output rows, output columns


def render_blocks(
    render: Callable[[slice, slice, slice], Tensor],
    out: Tensor,
    step: tuple[int, int],
    progress: Callable[[int], None] | None = None,
    images_at_once: int = 1,
) -> Tensor:
    """Fill images with what `render` makes of each block of rows and columns.

    Args:
        render: Maps images of the batch, output rows and output columns (slices with start and
            stop) to their colours, (images, C, rows, columns). On a CPU it is called from several
            threads.
        out: Where to write, (B, C, H, W).
        step: Rows and columns of a block.
        progress: Called with the number of output pixels of each block that is done.
        images_at_once: Images of the batch that are rendered together.

    Returns:
        `out`.
    """
    batch, _, height, width = out.shape
    blocks = list(
        product(_parts(batch, images_at_once), _parts(height, step[0]), _parts(width, step[1]))
    )

    def fill(block: Block) -> None:
        images, rows, cols = block
        out[images, :, rows, cols] = render(images, rows, cols)

    def report(block: Block) -> None:
        images, rows, cols = (part.stop - part.start for part in block)
        progress(images * rows * cols)

    for_each(fill, blocks, out.device, report if progress else None)
    return out


def _parts(length: int, step: int) -> list[slice]:
    """0..length in parts of `step`, the last one shorter."""
    return [slice(start, min(start + step, length)) for start in range(0, length, step)]
