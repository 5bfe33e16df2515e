"""How far a network looks: measured by running it, for networks that do not say."""

from collections.abc import Callable

import torch
from torch import Tensor

from liif_arch.devices import set_to

SHORTEST, LONGEST = 64, 2048  # pixels of the strips by which it is measured
WIDTH = 8  # pixels across a strip, about
TOLERANCE = 1e-4  # of the largest feature; float32 rounding is below a tenth of it in deep networks


@torch.no_grad()
def measured_radius(
    encode: Callable[[Tensor], Tensor], channels: int, multiple: int, like: Tensor
) -> int | None:
    """Input pixels that a feature depends on, on each side of its own, at any weights.

    A pixel that is no number makes no number of everything that is computed from it, whatever the
    weights are. How far that reaches in strips of growing length is the receptive field; where it
    always reaches the strip's ends, the network looks at the whole image (channel attention, global
    means). Networks whose windows are laid out from the image's corner (attention, pixel
    unshuffling) are met at a whole multiple of `multiple` pixels, so that the answer holds for
    crops that begin at such a multiple. At last, features of crops are compared with those of the
    whole, since a network could know a position by other means (an embedding of it, or the image's
    size).

    Args:
        encode: Images (1, channels, h, w) to features (1, C, h, w), in evaluation mode.
        channels: Of the images.
        multiple: Sizes of images are multiples of it, and crops begin at one.
        like: A tensor of the device and dtype that `encode` takes.

    Returns:
        The radius; None where it is not finite, longer than strips of `LONGEST` pixels show, or
        where crops do not have the features of the whole.
    """
    # On GPUs not by cuDNN, some of whose ways to convolve spread what is no number over a tile.
    with set_to(torch.backends.cudnn, enabled=False):
        return _measured(encode, channels, multiple, like)


def _measured(
    encode: Callable[[Tensor], Tensor], channels: int, multiple: int, like: Tensor
) -> int | None:
    radius, length = 0, SHORTEST
    for axis in (-1, -2):
        while length <= LONGEST:
            strip = _strip(length, channels, multiple, axis, like)
            reached = _reach(encode, strip, multiple, axis)
            if reached is not None:
                break
            length *= 2
        else:
            return None
        radius = max(radius, reached)
    for axis in (-1, -2):
        if not _crops_equal_whole(encode, channels, multiple, radius, axis, like):
            return None
    return radius


def _strip(length: int, channels: int, multiple: int, axis: int, like: Tensor) -> Tensor:
    """A random image that is long on one axis (-1: columns, -2: rows), (1, channels, h, w)."""
    shape = [1, channels, WIDTH, WIDTH]
    shape[axis] = length
    for side in (-1, -2):
        shape[side] = -(-shape[side] // multiple) * multiple
    return torch.rand(shape, generator=torch.Generator().manual_seed(0)).to(like)


def _reach(
    encode: Callable[[Tensor], Tensor], image: Tensor, multiple: int, axis: int
) -> int | None:
    """How far `multiple` lines in the middle reach along an axis; None: to its ends, or further."""
    length = image.shape[axis]
    middle = length // 2 // multiple * multiple
    image.narrow(axis, middle, multiple).fill_(torch.nan)
    touched = encode(image).isnan().transpose(axis, -1).flatten(0, -2).any(0).nonzero().flatten()
    if not len(touched):  # a network that replaces what is no number
        return None
    first, last = int(touched[0]), int(touched[-1])
    if first == 0 or last == length - 1:
        return None
    # Of all lines that were touched, as if by the furthest of the middle ones.
    return max(middle + multiple - 1 - first, last - middle)


def _crops_equal_whole(
    encode: Callable[[Tensor], Tensor],
    channels: int,
    multiple: int,
    radius: int,
    axis: int,
    like: Tensor,
) -> bool:
    """Whether crops at the start, within and at the end have the features of the whole."""
    margin = -(-radius // multiple) * multiple
    image = _strip(2 * margin + 8 * multiple + 3 * WIDTH, channels, multiple, axis, like)
    # An end that networks have to pad.
    image = image.narrow(axis, 0, image.shape[axis] - multiple // 2)
    length, whole = image.shape[axis], encode(image)
    start = multiple * 2
    stop = start + 2 * margin + 2 * multiple + WIDTH
    for first, last in ((0, stop), (start, stop), (start, length)):
        part = encode(image.narrow(axis, first, last - first))
        # Of the part, what lies further than the radius from where it was cut.
        begin, end = 0, last - first
        if first > 0:
            begin = margin
        if last < length:
            end -= radius
        kept = end - begin
        difference = part.narrow(axis, begin, kept) - whole.narrow(axis, first + begin, kept)
        if not difference.abs().max() <= TOLERANCE * whole.abs().max():
            return False
    return True
