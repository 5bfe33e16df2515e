"""What the network is shown of an image: gray as gray, alpha apart, hidden colours replaced."""

from typing import NamedTuple

import cv2
import numpy as np

from liif_arch.coordinates import grid_lookup
from liif_arch.errors import UserError
from liif_arch.files.pixels import full_scale

# Input pixels around the nearest one whose range bounds the alpha of an output pixel.
ALPHA_RADIUS = 2


class Plane(NamedTuple):
    """One pass through the network.

    Attributes:
        read: Channels of the image that are shown to the network; one alone is shown as gray.
        write: Channels of the result that are made of its answer; several of one read channel are
            alike.
        is_alpha: Whether it is the image's transparency.
    """

    read: list[int]
    write: list[int]
    is_alpha: bool = False


def has_alpha(image_ch: int, num_in_ch: int) -> bool:
    """Whether the last channel is transparency, for a network of `num_in_ch` channels."""
    return image_ch in (2, 4) and image_ch != num_in_ch


def require_channels(image_ch: int, num_in_ch: int) -> None:
    """Raise UserError where a network of `num_in_ch` channels cannot be shown `image_ch`."""
    if num_in_ch not in (1, image_ch) and not (num_in_ch == 3 and image_ch in (1, 2, 4)):
        raise UserError(f'the image has {image_ch} channels and the network takes {num_in_ch}.')


def planes_of(pixels: np.ndarray, num_in_ch: int) -> list[Plane]:
    """Which channels of an image go through the network together.

    An RGB image whose channels are all alike (a gray scan, saved as colours) is shown as the gray
    image that it is, so that it stays gray. Alpha that is the same everywhere needs no network and
    has no plane; otherwise its plane is the last.

    Args:
        pixels: Image (h, w, C), hidden colours filled.
        num_in_ch: Channels that the network takes; see `require_channels`.
    """
    image_ch = pixels.shape[2]
    with_alpha = has_alpha(image_ch, num_in_ch)
    colours = list(range(image_ch))
    if with_alpha:
        colours.pop()
    if len(colours) == 3 and num_in_ch in (1, 3) and is_gray(pixels):
        planes = [Plane([0], colours)]
    elif num_in_ch == 1:
        planes = [Plane([i], [i]) for i in colours]
    else:
        planes = [Plane(colours, colours)]
    if with_alpha and not is_constant(pixels[..., -1]):
        planes.append(Plane([image_ch - 1], [image_ch - 1], is_alpha=True))
    return planes


def is_gray(pixels: np.ndarray) -> bool:
    """Whether the first three channels of an image (h, w, C) are alike everywhere."""
    return np.array_equal(pixels[..., 0], pixels[..., 1]) and np.array_equal(
        pixels[..., 0], pixels[..., 2]
    )


def is_constant(channel: np.ndarray) -> bool:
    """Whether a channel (h, w) has the same value everywhere."""
    return bool((channel == channel[0, 0]).all())


def fill_hidden(pixels: np.ndarray) -> np.ndarray:
    """Give pixels of alpha 0 the colour of the nearest visible pixel, and forget what was there.

    A network mixes neighbours, so that a colour hidden under alpha 0 would appear in the visible
    edge.

    Args:
        pixels: Image (h, w, C) with alpha as its last channel.

    Returns:
        A copy, or the image itself where nothing is hidden or nothing is visible.
    """
    hidden = pixels[..., -1] == 0
    if not hidden.any() or hidden.all():
        return pixels
    # Labels number the visible pixels, and every hidden pixel has the label of the nearest of them.
    _, labels = cv2.distanceTransformWithLabels(
        hidden.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    visible = ~hidden
    position = np.empty(labels.max() + 1, np.int64)
    position[labels[visible]] = np.flatnonzero(visible)
    rows, cols = np.divmod(position[labels[hidden]], pixels.shape[1])
    filled = pixels.copy()
    filled[..., :-1][hidden] = pixels[rows, cols, :-1]
    return filled


class AlphaBounds:
    """The range within which an enlarged image's alpha stays, from the input around each pixel.

    The network's answer may leave the range of the input within `ALPHA_RADIUS` pixels by the width
    of that range, and no more. So alpha that is constant there is kept exactly (opaque stays
    opaque, empty stays empty), while edges and thin lines may become sharper than the input shows
    them.

    Args:
        alpha: Input (h, w).
        size: Output size (H, W).
    """

    def __init__(self, alpha: np.ndarray, size: tuple[int, int]) -> None:
        around = np.ones((2 * ALPHA_RADIUS + 1,) * 2, np.uint8)
        alpha = np.ascontiguousarray(alpha)
        low, high = cv2.erode(alpha, around), cv2.dilate(alpha, around)
        width = high - low
        top = alpha.dtype.type(full_scale(alpha.dtype))
        self.low = low - np.minimum(width, low)
        self.high = high + np.minimum(width, top - high)
        self.size = size

    def clip(self, alpha: np.ndarray, rows: slice, cols: slice) -> np.ndarray:
        """Output rows and columns of alpha, (rows, columns, 1), kept within their range."""
        full = self.low.shape
        nearest = np.ix_(
            _nearest(self.size[0], full[0], rows), _nearest(self.size[1], full[1], cols)
        )
        return np.clip(alpha, self.low[nearest][..., None], self.high[nearest][..., None])


def _nearest(n_out: int, n: int, part: slice) -> np.ndarray:
    """Along one axis, the index of the input (of n) that is nearest to each of a part of n_out
    outputs.
    """
    return (
        grid_lookup(n_out, n, local_ensemble=False, part=(part.start, part.stop)).index[0].numpy()
    )
