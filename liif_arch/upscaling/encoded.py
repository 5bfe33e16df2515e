"""An image that is encoded once and looked at many times, at any place and any size."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from liif_arch.errors import UserError
from liif_arch.upscaling.memory import explain_out_of_memory
from liif_arch.upscaling.planes import AlphaBounds, fill_hidden, has_alpha, planes_of
from liif_arch.upscaling.windows import Area, as_pixels, axis_windows, encode_image, render_windows


class EncodedImage:
    """An image's codes, and areas of it at any size; each equals that part of `upscale`'s result.

    Args:
        net: A `LatentNetwork`, in evaluation mode.
        pixels: Image (h, w, C), 8 or 16 bit, or float in [0, 1].
        memory: MiB that the codes may take, and as much again while they are made. Where they would
            take more, what an area depends on is encoded for each area again.
    """

    def __init__(self, net: nn.Module, pixels: np.ndarray, memory: float = 1536) -> None:
        channels: Any = net.num_in_ch
        if has_alpha(pixels.shape[2], channels):
            pixels = fill_hidden(pixels)
        self.net, self.pixels, self.memory = net, pixels, memory
        self.full = (pixels.shape[0], pixels.shape[1])
        self.planes = planes_of(pixels, channels)
        self.feats: list[Tensor] | None = None
        floats = math.prod(self.full) * len(self.planes) * net.code_channels
        self.kept = 4 * floats <= memory * 2**20

    @torch.no_grad()
    def encode(self) -> None:
        """Encode it, if there is room for its codes and they are not there."""
        if self.kept and self.feats is None:
            with explain_out_of_memory(self.net, self.full, self.memory):
                self.feats = encode_image(self.net, self.pixels, self.planes, self.memory)

    @torch.no_grad()
    def area(self, size: tuple[int, int], area: Area) -> np.ndarray:
        """Pixels (rows, columns, C) of an area of the image at an output size (H, W).

        The size is at least the image's.

        Raises:
            UserError: The size is smaller, or the area does not lie in it.
        """
        inside = 0 <= area.top < area.bottom <= size[0] and 0 <= area.left < area.right <= size[1]
        if not inside or size[0] < self.full[0] or size[1] < self.full[1]:
            raise UserError(
                f'area: found {tuple(area)} of {size}; needed a part of an enlargement.'
            )
        self.encode()
        if self.feats is None:
            out = np.empty((*area.shape, self.pixels.shape[2]), self.pixels.dtype)
            blocks = render_windows(self.net, self.pixels, size, self.memory, None, area)
            for rows, cols, block in blocks:
                out[
                    rows.start - area.top : rows.stop - area.top,
                    cols.start - area.left : cols.stop - area.left,
                ] = block
            return out
        return self._rendered(self.feats, size, area)

    def _rendered(self, feats: list[Tensor], size: tuple[int, int], area: Area) -> np.ndarray:
        reach = self.net.reach
        rows, cols = (area.top, area.bottom), (area.left, area.right)
        [y] = axis_windows(size[0], self.full[0], self.full[0] + 2, reach, *rows)
        [x] = axis_windows(size[1], self.full[1], self.full[1] + 2, reach, *cols)
        out = np.empty((*area.shape, self.pixels.shape[2]), self.pixels.dtype)
        out[..., -1] = self.pixels[0, 0, -1]  # alpha without a plane is the same everywhere
        for plane, feat in zip(self.planes, feats, strict=True):
            part = feat[:, :, y.first : y.last, x.first : x.last]
            colours = self.net.render_window(part, size, (y.first, x.first), self.full, rows, cols)
            values = as_pixels(colours, len(plane.read), self.pixels.dtype)
            if plane.is_alpha:
                bounds = AlphaBounds(self.pixels[..., -1], size)
                values = bounds.clip(values, slice(*rows), slice(*cols))
            out[..., plane.write] = values
        return out
