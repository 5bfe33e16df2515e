"""Rendering within a memory budget: windows of the input, encoded and rendered one by one."""

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import product
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from liif_arch.coordinates import grid_lookup
from liif_arch.files.images import unit_range
from liif_arch.files.pixels import full_scale
from liif_arch.precision import exact_float32
from liif_arch.upscaling.memory import explain_out_of_memory, require_encoder_memory
from liif_arch.upscaling.planes import AlphaBounds, Plane, planes_of
from liif_arch.upscaling.progress import Progress

MIN_WINDOW = 64  # latents; below this almost all work would go into the windows' margins


class Area(NamedTuple):
    """Rows [top, bottom) and columns [left, right) of an output."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.bottom - self.top, self.right - self.left


class Window(NamedTuple):
    """Output [start, stop) along one axis, and the input [first, last) that it depends on."""

    start: int
    stop: int
    first: int
    last: int


def axis_windows(
    n_out: int,
    n: int,
    length: int,
    margin: int,
    start: int = 0,
    stop: int | None = None,
    most: int | None = None,
    multiple: int = 1,
) -> Iterator[Window]:
    """Cut outputs start..stop of one axis into windows of about `length` latents.

    Args:
        n_out: Output pixels of the whole axis.
        n: Latents of the whole axis.
        length: Latents under a window, about.
        margin: Latents that its input reaches further on each side.
        start: First output.
        stop: Past the last output; None: all.
        most: Outputs that a window has at most.
        multiple: Each input begins at a multiple of so many latents.
    """
    end = n_out if stop is None else stop
    begin = start
    index = grid_lookup(n_out, n, local_ensemble=True, part=(begin, end)).index
    low, high = index[0].numpy(), index[1].numpy()  # non-decreasing
    while start < end:
        reached = low[start - begin] + length
        stop = max(start + 1, begin + int(np.searchsorted(high, reached, 'left')))
        stop = min(stop, end, start + (most or n_out))
        first = max(0, low[start - begin] - margin) // multiple * multiple
        yield Window(start, stop, first, min(n, high[stop - 1 - begin] + 1 + margin))
        start = stop


def window_lengths(
    size: tuple[int, int], margin: int, fits: Callable[[int, int], bool]
) -> tuple[int, int]:
    """Height and width of the windows that cost the least work, of those whose input fits.

    A window's input is it and a margin on each side, so many small windows do much of the work
    several times.

    Args:
        size: Size (h, w) of the image, in latents.
        margin: Latents on each side of a window.
        fits: Whether an input (height, width) fits into memory.
    """

    best, lengths = math.inf, (MIN_WINDOW, MIN_WINDOW)
    for rows, cols in product(_cuts(size[0], margin), _cuts(size[1], margin)):
        work = rows.windows * rows.input * cols.windows * cols.input
        if work < best and fits(rows.input, cols.input):
            best, lengths = work, (rows.length, cols.length)
    return lengths


class Cut(NamedTuple):
    """One way to cut an axis: how many windows, and latents of a window and of its input."""

    windows: int
    length: int
    input: int


def _cuts(n: int, margin: int) -> list[Cut]:
    """The ways to cut an axis of `n` latents into windows of about `MIN_WINDOW` or more."""
    cuts = []
    for windows in range(1, max(1, n // MIN_WINDOW) + 1):
        length = math.ceil(n / windows)
        cuts.append(Cut(windows, length, min(n, length + 2 * margin)))
    return cuts


@torch.no_grad()
def render_windows(
    net: nn.Module,
    pixels: np.ndarray,
    size: tuple[int, int],
    memory: float,
    progress: Callable[[int, int], None] | None = None,
    area: Area | None = None,
) -> Iterator[tuple[slice, slice, np.ndarray]]:
    """Render an image at `size` window by window; together they equal the whole to float rounding.

    A window's input reaches beyond it by the encoder's receptive field, so no window sees a border
    that the image does not have. An encoder whose `receptive_radius` is not known or not finite
    encodes the whole image at once.

    Args:
        net: A `LatentNetwork`; in evaluation mode until the last window.
        pixels: Image (h, w, C), hidden colours filled; 8 or 16 bit, or float in [0, 1].
        size: Output size (H, W).
        memory: Budget for activations, in MiB (a window is at least 64 x 64 latents, whatever it
            says).
        progress: See `Progress`.
        area: The part of the output to render; None: all of it. Only what it depends on is encoded.

    Yields:
        Rows and columns of the whole output, and their pixels (rows, columns, C), of the image's
        dtype.

    Raises:
        UserError: There is not enough memory.
    """
    training = net.training
    net.eval()
    own = getattr(net, '_orig_mod', net)  # torch.compile's wrapper keeps what is set on it
    precision = own.precision
    if precision == 'auto' and pixels.dtype != np.uint8:
        own.precision = 'float32'  # bfloat16 moves colours by up to half a level of 8 bits
    try:
        rendering = _Rendering(
            net, pixels, size, memory, progress, area or Area(0, size[0], 0, size[1])
        )
        for y, x in rendering.windows:
            with rendering.guarded(memory):
                feats = rendering.encode(y, x)
            for rows in rendering.bands(y, x):
                with rendering.guarded(memory):
                    block = rendering.render(feats, rows, y, x)
                yield slice(*rows[:2]), slice(*x[:2]), block
    finally:
        own.precision = precision
        net.train(training)


class _Rendering:
    """What the windows of one image have in common; see `render_windows` for its arguments."""

    def __init__(
        self,
        net: nn.Module,
        pixels: np.ndarray,
        size: tuple[int, int],
        memory: float,
        progress: Callable[[int, int], None] | None,
        area: Area,
    ) -> None:
        self.net, self.pixels, self.size, self.full = net, pixels, size, pixels.shape[:2]
        self.planes = planes_of(pixels, net.num_in_ch)
        self.bounds = None
        if self.planes[-1].is_alpha:
            self.bounds = AlphaBounds(pixels[..., -1], size)
        floats = memory * 2**20 / 4
        # A quarter of it for what is rendered, and one for what the decoder holds per latent.
        per_pixel = net.num_out_ch + pixels.shape[2] * pixels.dtype.itemsize / 4
        self.pixels_at_once = floats / 4 / per_pixel
        self.latents_at_once = floats / 4 / net.table_channels
        self.windows = list(_input_windows(net, self.full, size, floats, len(self.planes), area))
        inputs, count = 0, len(self.planes)
        for y, x in self.windows:
            inputs += (y.last - y.first) * (x.last - x.first)
        self.progress = Progress(progress, count * math.prod(area.shape), count * inputs)

    @contextmanager
    def guarded(self, memory: float) -> Iterator[None]:
        """What may run out of memory; in full float32 where colours are finer than 8 bits."""
        exact: AbstractContextManager = nullcontext()
        if self.pixels.dtype != np.uint8:
            exact = exact_float32(next(self.net.parameters()).device)
        with explain_out_of_memory(self.net, self.full, memory), exact:
            yield

    def encode(self, y: Window, x: Window) -> list[Tensor]:
        """Latent codes (1, C, h, w) of every plane of a window."""
        piece = self.pixels[y.first : y.last, x.first : x.last]
        feats = []
        for plane in self.planes:
            feats.append(encode_plane(self.net, piece[..., plane.read]))
            self.progress.encoded(piece.shape[0] * piece.shape[1])
        return feats

    def bands(self, y: Window, x: Window) -> Iterator[Window]:
        """A window's output rows, in bands that keep within the budget."""
        most = max(1, int(self.pixels_at_once / (x.stop - x.start)))
        reach = self.net.reach
        length = max(1, int(self.latents_at_once / (x.last - x.first)) - 2 * reach)
        yield from axis_windows(self.size[0], self.full[0], length, reach, y.start, y.stop, most)

    def render(self, feats: list[Tensor], rows: Window, y: Window, x: Window) -> np.ndarray:
        """Pixels (rows, columns, C) of a band of a window."""
        shape = (rows.stop - rows.start, x.stop - x.start, self.pixels.shape[2])
        block = np.empty(shape, self.pixels.dtype)
        block[..., -1] = self.pixels[0, 0, -1]  # alpha without a plane is the same everywhere
        for plane, feat in zip(self.planes, feats, strict=True):
            self.progress.begin_part()
            band = feat[:, :, rows.first - y.first : rows.last - y.first]
            colours = self.net.render_window(
                band,
                self.size,
                (rows.first, x.first),
                self.full,
                rows[:2],
                x[:2],
                self.progress.rendered,
            )
            values = as_pixels(colours, len(plane.read), self.pixels.dtype)
            if plane.is_alpha:
                values = self.bounds.clip(values, slice(*rows[:2]), slice(*x[:2]))
            block[..., plane.write] = values
        return block


def as_pixels(colours: Tensor, read: int, dtype: np.dtype) -> np.ndarray:
    """A network's answer (1, C, rows, columns) as pixels (rows, columns, C) of a dtype.

    Args:
        colours: In about [0, 1]; clamped, and changed.
        read: Channels of the image that the network was shown. Of fewer than it answers with, the
            pixels are the mean of the colours.
        dtype: uint8 or uint16, in whose range they are, or a float's, in [0, 1].
    """
    if read < colours.shape[1]:
        colours = colours.mean(1, keepdim=True)
    values = colours[0].clamp_(0, 1).permute(1, 2, 0)
    if dtype.kind == 'u':
        values = values.mul_(full_scale(dtype)).round_()
    if values.device.type != 'cpu' and dtype == np.uint8:
        values = values.to(torch.uint8)  # a quarter of the bytes to copy
    return values.cpu().numpy().astype(dtype)


def encode_plane(net: nn.Module, plane: np.ndarray) -> Tensor:
    """Latent codes of one plane (h, w, c); a single channel is shown to the network as gray."""
    if plane.shape[2] < net.num_in_ch:
        plane = np.broadcast_to(plane, (*plane.shape[:2], net.num_in_ch))
    lq = torch.from_numpy(unit_range(plane)).permute(2, 0, 1)[None]
    return net.encode(lq.to(next(net.parameters()).device))


def encode_image(
    net: nn.Module, pixels: np.ndarray, planes: list[Plane], memory: float
) -> list[Tensor]:
    """Latent codes (1, C, h, w) of an image's planes, made window by window within a budget.

    Args:
        net: A `LatentNetwork`, in evaluation mode.
        pixels: Image (h, w, C), hidden colours filled.
        planes: Its planes.
        memory: See `render_windows`; the codes that are returned are not counted.
    """
    full, floats, feats = pixels.shape[:2], memory * 2**20 / 4, []
    whole = Area(0, full[0], 0, full[1])
    windows = list(_input_windows(net, full, full, floats, len(planes), whole))
    for plane in planes:
        feat = None
        for y, x in windows:
            piece = pixels[y.first : y.last, x.first : x.last]
            codes = encode_plane(net, piece[..., plane.read])
            if feat is None:
                feat = codes if len(windows) == 1 else codes.new_empty(1, codes.shape[1], *full)
            if feat is not codes:
                rows = slice(y.start - y.first, y.stop - y.first)
                cols = slice(x.start - x.first, x.stop - x.first)
                feat[..., y.start : y.stop, x.start : x.stop] = codes[..., rows, cols]
        feats.append(feat)
    return feats


def _input_windows(
    net: nn.Module,
    full: tuple[int, int],
    size: tuple[int, int],
    floats: float,
    planes: int,
    area: Area,
) -> Iterator[tuple[Window, Window]]:
    """Windows (y, x) of an area, of an input of size `full`, encoded within so many floats."""
    kept = planes * net.code_channels - net.encoder.num_out_feat
    peak_floats = net.encoder.peak_floats

    def fits(height: int, width: int) -> bool:
        return peak_floats(height, width) + kept * height * width <= floats

    radius, multiple = None, net.encoder.multiple
    too_large = peak_floats is not None and not fits(*full)
    if net.in_windows and (too_large or area.shape != size):
        # Some encoders measure it, which takes them seconds.
        radius = net.encoder.receptive_radius
    if radius is None and too_large:
        require_encoder_memory(net, full)
    lengths = (full[0] + 2, full[1] + 2)  # one window
    margin = net.reach + max(full)  # of the whole input
    if radius is not None:
        margin = net.reach + radius
        lengths = window_lengths(full, margin + multiple - 1, fits)
    top, bottom, left, right = area
    for y in axis_windows(size[0], full[0], lengths[0], margin, top, bottom, multiple=multiple):
        for x in axis_windows(size[1], full[1], lengths[1], margin, left, right, multiple=multiple):
            yield y, x
