"""Self-ensemble: the mean over an image's flips and rotations (Lim et al., CVPRW 2017, EDSR+)."""

from collections.abc import Callable
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor, nn

from liif_arch.archs.latent_network import LatentNetwork

SIZES = (4, 8)  # flips along both axes; and those of the transposed image, which are rotations too


class Turn(NamedTuple):
    """One way to lay an image: transposed first, then flipped along an axis or both."""

    transpose: bool
    flip_y: bool
    flip_x: bool

    def apply(self, image: Tensor) -> Tensor:
        """An image (..., h, w), turned."""
        if self.transpose:
            image = image.transpose(-2, -1)
        return image.flip(self._flipped())

    def undo(self, image: Tensor) -> Tensor:
        """`apply`, the other way."""
        image = image.flip(self._flipped())
        if self.transpose:
            image = image.transpose(-2, -1)
        return image

    def size(self, size: tuple[int, int]) -> tuple[int, int]:
        """The size (h, w) of a turned image."""
        if self.transpose:
            return size[::-1]
        return size

    def span(
        self, rows: tuple[int, int], cols: tuple[int, int], size: tuple[int, int]
    ) -> tuple[tuple[int, int], tuple[int, int]]:
        """Where rows and columns [start, stop) of an image of a size lie in the turned one."""
        if self.transpose:
            rows, cols, size = cols, rows, size[::-1]
        if self.flip_y:
            rows = (size[0] - rows[1], size[0] - rows[0])
        if self.flip_x:
            cols = (size[1] - cols[1], size[1] - cols[0])
        return rows, cols

    def _flipped(self) -> list[int]:
        return [axis for axis, flip in ((-2, self.flip_y), (-1, self.flip_x)) if flip]


def turns(count: int) -> list[Turn]:
    """So many ways to lay an image, 4 or 8; the image as it is comes first."""
    transposed = (False, True) if count == 8 else (False,)
    return [Turn(*turn) for turn in product(transposed, (False, True), (False, True))]


def ensemble_mean(net: nn.Module, lq: Tensor, size: tuple[int, int], count: int) -> Tensor:
    """The mean of a network's images of the turned input, turned back.

    Args:
        net: Any network that is called with `size`.
        lq: (B, C, h, w).
        size: Output size (H, W).
        count: 4 or 8 images.
    """
    images = [turn.undo(net(turn.apply(lq), size=turn.size(size))) for turn in turns(count)]
    return torch.stack(images).mean(0)


class SelfEnsemble(LatentNetwork):
    """A network whose colours are the mean over the turned image.

    Args:
        net: The network. Its encoder works in windows if it takes crops that begin anywhere.
        count: 4 or 8 images; the time is as many times as long.
    """

    def __init__(self, net: LatentNetwork, count: int) -> None:
        super().__init__(net.encoder, net.num_in_ch, net.num_out_ch, net.scale, 'float32')
        self.net, self.turns = net, turns(count)
        self.code_channels = count * net.code_channels
        # Where a pixel lies between two latents, a flipped image looks up the other one.
        self.table_channels, self.reach = net.table_channels, net.reach + 1
        # A flipped crop would begin where the crop ends, which need not be such a multiple.
        self.in_windows = net.in_windows and net.encoder.multiple == 1

    def encode(self, lq: Tensor) -> Tensor:
        """Codes of all turns, laid as the image is: (B, num_in_ch, h, w) -> (B, codes, h, w)."""
        self.net.precision = self.precision
        feats = [turn.undo(self.net.encode(turn.apply(lq))) for turn in self.turns]
        return torch.cat(feats, dim=1)

    def query(self, feat: Tensor, coord: Tensor, cell: Tensor) -> Tensor:
        """See `LatentNetwork.query`."""
        answers = []
        for turn, own in self._own(feat):
            there, size = coord, cell
            if turn.transpose:
                there, size = coord.flip(-1), cell.flip(-1)
            signs = [-1.0 if turn.flip_y else 1.0, -1.0 if turn.flip_x else 1.0]
            there = there * there.new_tensor(signs)
            answers.append(self.net.query(turn.apply(own), there, size))
        return torch.stack(answers).mean(0)

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
        height, width = feat.shape[-2:]
        held = ((origin[0], origin[0] + height), (origin[1], origin[1] + width))
        told = _shared(progress, len(self.turns))
        total = None
        for turn, own in self._own(feat):
            (first_row, _), (first_col, _) = turn.span(*held, full)
            turned_rows, turned_cols = turn.span(rows, cols, size)
            colours = self.net.render_window(
                turn.apply(own).contiguous(memory_format=torch.channels_last),
                turn.size(size),
                (first_row, first_col),
                turn.size(full),
                turned_rows,
                turned_cols,
                told,
            )
            colours = turn.undo(colours)
            total = colours if total is None else total.add_(colours)
        assert total is not None
        return total.div_(len(self.turns))

    def render_with_gradients(self, feat: Tensor, size: tuple[int, int]) -> Tensor:
        """See `LatentNetwork.render_with_gradients`."""
        images = []
        for turn, own in self._own(feat):
            image = self.net.render_with_gradients(turn.apply(own), turn.size(size))
            images.append(turn.undo(image))
        return torch.stack(images).mean(0)

    def _own(self, feat: Tensor) -> zip:
        """Every turn, and its codes."""
        return zip(self.turns, feat.split(self.net.code_channels, dim=1), strict=True)


def _shared(progress: Callable[[int], None] | None, count: int) -> Callable[[int], None] | None:
    """What tells of every pixel once, if it is told of each `count` times."""
    if progress is None:
        return None
    done = told = 0

    def tell(pixels: int) -> None:
        nonlocal done, told
        done += pixels
        if done // count > told:
            new, told = done // count - told, done // count
            progress(new)

    return tell
