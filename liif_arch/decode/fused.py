"""LIIF's decoder on a regular grid as one Triton kernel.

From table to colours all stays on the chip. A program decodes BLOCK output pixels. For each corner
it gathers their table rows, adds the coordinate terms, runs the hidden layers on the tensor cores
and the last layer, and adds the corner's share of the colour. Hidden states stay in registers, as
four parts of D / 4 channels: one layer is sixteen products, whose operands are small enough to
leave registers for the state.
Products, the last layer's too, are of the network's 16-bit type with float32 sums; coordinates and
the ensemble are float32. `fused_resources` says what it takes of each kind of GPU.
"""

import os
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor

from liif_arch.decode.first_layer import GridDecoder
from liif_arch.decode.lookup import Grid

COLOURS = 16  # the tensor cores' smallest width; colours are padded to it
INTERPRETED = os.environ.get('TRITON_INTERPRET') == '1'  # runs on a CPU, for tests
DTYPES = (torch.bfloat16, torch.float16)
WIDTHS = (64, 128, 256)  # of the hidden layers
MANY = 2**19  # pixels, which keep every processor of a GPU busy however they are cut


class Blocks(NamedTuple):
    """How a program is cut: its pixels, and the warps that share them."""

    pixels: int
    warps: int


def choices(capability: tuple[int, int]) -> list[Blocks]:
    """What is tried on GPUs of a compute capability, the fastest of which runs.

    More pixels read a layer's weights less often. Other cuts, such as 64 pixels and 4 warps, do not
    fit the registers of most, and move kilobytes a thread to memory. Where a B200 takes 64 pixels
    or more, some versions of Triton (3.6) compile nothing but a trap.
    """
    if capability[0] == 10:
        return [Blocks(32, 4)]
    cuts = [Blocks(32, 4), Blocks(128, 8)]
    return [*cuts, Blocks(64, 8)] if capability in ((8, 0), (9, 0)) else cuts


def _config(cut: Blocks) -> triton.Config:
    # Two stages of weights would take 136 KiB of shared memory and more: too much for most.
    return triton.Config({'BLOCK': cut.pixels}, num_warps=cut.warps, num_stages=1)


_CONFIGS = list(map(_config, choices((9, 0))))  # all there are, of which a GPU has its own
if INTERPRETED:
    del _CONFIGS[1:]  # the interpreter cannot time them


def _of_this_gpu(configs: list[triton.Config], arguments: dict, **_: object) -> list[triton.Config]:
    """Those of the configurations that suit the current GPU."""
    suited = choices(torch.cuda.get_device_capability())
    return [c for c in configs if Blocks(c.kwargs['BLOCK'], c.num_warps) in suited]


def supports(decoder: GridDecoder, device: torch.device) -> bool:
    """Whether the kernel can run a decoder: hidden layers of 16 bits, of one width of WIDTHS."""
    width, (activation, hidden, last) = len(decoder.rel), decoder.rest
    if device.type != 'cuda' or torch.cuda.get_device_capability(device) < (8, 0):
        return False
    if activation != 'relu' or width not in WIDTHS or len(last[0]) > COLOURS:
        return False
    kinds = {(weight.shape, weight.dtype) for weight, _ in hidden}
    return any(kinds == {((width, width), dtype)} for dtype in DTYPES)


def render_grid(decoder: GridDecoder, table: Tensor, grid: Grid) -> Tensor:
    """Colours of a regular grid; see `render.render_fused`."""
    b, h, w, d = table.shape
    corners, (height, width) = len(grid.rows.index), grid.shape
    weights, biases = zip(*decoder.rest.hidden, strict=True)
    hidden = torch.stack(weights).transpose(1, 2).contiguous()  # (layers, in, out)
    w_last, b_last = decoder.rest.last
    last = F.pad(w_last, (0, 0, 0, COLOURS - len(w_last))).t().contiguous()
    out = table.new_empty(b, len(w_last), height, width)
    # Once for each corner: one for all would be held in registers from the first to the last.
    rel = decoder.rel.t().expand(corners**2, 2, d).contiguous()
    rows = (grid.rows.index.int(), grid.rows.rel, grid.row_weight)
    cols = (grid.cols.index.int(), grid.cols.rel, grid.col_weight)

    def programs(meta: dict) -> tuple[int, int]:
        return triton.cdiv(height * width, meta['BLOCK']), b

    with _current(table.device):
        _kernel[programs](
            table.contiguous(),
            *map(torch.Tensor.contiguous, (*rows, *cols)),
            rel,
            hidden,
            torch.stack(biases).float(),
            last.to(hidden.dtype),
            b_last,
            out,
            h,
            w,
            height,
            width,
            out.shape[1],
            int(b * height * width >= MANY),
            LAYERS=len(hidden),
            CORNERS=corners,
            PART=d // 4,
            COLOURS=COLOURS,
        )
    return out


def _current(device: torch.device) -> AbstractContextManager:
    """Make a GPU the current one, on which Triton launches; a CPU needs nothing."""
    if device.type == 'cuda':
        return torch.cuda.device(device)
    return nullcontext()


@triton.jit
def _relu(x):
    """The positive part; what is not a number stays so."""
    return tl.maximum(x, 0.0, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def _first_part(first, rel_y, rel_x, w_rel, inside, WIDTH: tl.constexpr, DTYPE: tl.constexpr):
    """The first layer's response at BLOCK pixels, in the channels of `first` and `w_rel`."""
    x = tl.load(first, inside[:, None], 0.0)
    x += rel_y[:, None] * tl.load(w_rel)[None, :]
    x += rel_x[:, None] * tl.load(w_rel + WIDTH)[None, :]
    return _relu(x).to(DTYPE)


@triton.jit
def _product(a, b, c, d, weight, STEP: tl.constexpr):
    """A hidden state's parts times some columns of a matrix; the next rows lie STEP further."""
    out = tl.dot(a, tl.load(weight), input_precision='ieee')
    out = tl.dot(b, tl.load(weight + STEP), out, input_precision='ieee')
    out = tl.dot(c, tl.load(weight + 2 * STEP), out, input_precision='ieee')
    return tl.dot(d, tl.load(weight + 3 * STEP), out, input_precision='ieee')


@triton.jit
def _next_part(a, b, c, d, weight, bias, STEP: tl.constexpr):
    """A part of the next hidden state, in the type of this one."""
    out = _product(a, b, c, d, weight, STEP) + tl.load(bias)[None, :]
    return _relu(out).to(a.dtype)


@triton.autotune(
    _CONFIGS,
    key=['LAYERS', 'CORNERS', 'PART', 'many'],  # what is best for few pixels is not for many
    prune_configs_by=None if INTERPRETED else {'early_config_prune': _of_this_gpu},
)
# It is compiled once, not for each kind of size: a multiple of 16, 1, or another.
@triton.jit(do_not_specialize=['h', 'w', 'height', 'width', 'num_out', 'many'])
def _kernel(
    table,
    row_index,
    row_rel,
    row_weight,
    col_index,
    col_rel,
    col_weight,
    w_rel,
    w_hidden,
    b_hidden,
    w_last,
    b_last,
    out,
    h,
    w,
    height,
    width,
    num_out,
    many,
    LAYERS: tl.constexpr,
    CORNERS: tl.constexpr,
    PART: tl.constexpr,
    COLOURS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """One program: BLOCK pixels of one image. a to d: parts of a hidden state, (BLOCK, PART)."""
    WIDTH: tl.constexpr = 4 * PART
    STEP: tl.constexpr = PART * WIDTH
    DTYPE: tl.constexpr = w_hidden.dtype.element_ty
    image = tl.program_id(1).to(tl.int64)
    pixel = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = pixel < tl.cast(height, tl.int64) * width
    y, x = pixel // width, pixel % width
    channel = tl.arange(0, PART)
    square = channel[:, None] * WIDTH + channel[None, :]  # PART rows and columns of a weight matrix
    colour = tl.arange(0, COLOURS)
    last = w_last + channel[:, None] * COLOURS + colour[None, :]
    total = tl.zeros((BLOCK, COLOURS), tl.float32)
    for corner in range(CORNERS * CORNERS):
        i, j = corner // CORNERS, corner % CORNERS
        row, col = i * height + y, j * width + x
        latent = (image * h + tl.load(row_index + row, inside, 0)) * w + tl.load(
            col_index + col, inside, 0
        )
        rel_y, rel_x = tl.load(row_rel + row, inside, 0.0), tl.load(col_rel + col, inside, 0.0)
        first = table + latent[:, None] * WIDTH + channel[None, :]
        rel = w_rel + corner * (2 * WIDTH) + channel
        a = _first_part(first, rel_y, rel_x, rel, inside, WIDTH, DTYPE)
        b = _first_part(first + PART, rel_y, rel_x, rel + PART, inside, WIDTH, DTYPE)
        c = _first_part(first + 2 * PART, rel_y, rel_x, rel + 2 * PART, inside, WIDTH, DTYPE)
        d = _first_part(first + 3 * PART, rel_y, rel_x, rel + 3 * PART, inside, WIDTH, DTYPE)
        for layer in range(LAYERS):
            weight = w_hidden + layer * (4 * STEP) + square
            bias = b_hidden + layer * WIDTH + channel
            next_a = _next_part(a, b, c, d, weight, bias, STEP)
            next_b = _next_part(a, b, c, d, weight + PART, bias + PART, STEP)
            next_c = _next_part(a, b, c, d, weight + 2 * PART, bias + 2 * PART, STEP)
            d = _next_part(a, b, c, d, weight + 3 * PART, bias + 3 * PART, STEP)
            a, b, c = next_a, next_b, next_c
        share = tl.load(row_weight + row, inside, 0.0) * tl.load(col_weight + col, inside, 0.0)
        total += share[:, None] * _product(a, b, c, d, last, PART * COLOURS)
    total += tl.load(b_last + colour, colour < num_out, 0.0)[None, :]
    plane = (image * num_out + colour)[None, :] * (tl.cast(height, tl.int64) * width)
    tl.store(out + plane + pixel[:, None], total, inside[:, None] & (colour < num_out)[None, :])
