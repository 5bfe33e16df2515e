"""`decode.render.render_grid` as one Triton kernel: between the table and the colours nothing leaves the chip.

A program decodes BLOCK output pixels. For each corner it gathers their table rows, adds the coordinate terms, runs the
hidden layers on the tensor cores and the last layer, and adds the corner's share of the colour; hidden states stay in
registers, as two halves of D / 2 channels, so that one layer's products are four of half the width whose weights fit
into any GPU's shared memory. Products, the last layer's too, are bfloat16 with float32 sums; coordinates and the
ensemble are float32.
"""
import os
from contextlib import nullcontext
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor

from liif_arch.coordinates import AxisLookup, axis_weights

if TYPE_CHECKING:
    from liif_arch.decode.render import Decoder

COLOURS = 16  # the tensor cores' smallest width; colours are padded to it
INTERPRETED = os.environ.get('TRITON_INTERPRET') == '1'  # runs on a CPU, for tests
_CONFIGS = [triton.Config({'BLOCK': block}, num_warps=warps, num_stages=1)  # two stages of weights do not fit
            for block, warps in ((64, 4), (64, 8), (128, 8), (128, 16))]


def supports(decoder: 'Decoder', device: torch.device) -> bool:
    """Whether the kernel can run a decoder on a device: bfloat16, hidden layers of one width of 32 to 256."""
    width, (activation, hidden, last) = len(decoder.rel), decoder.rest
    shapes, dtypes = {tuple(weight.shape) for weight, _ in hidden}, {weight.dtype for weight, _ in hidden}
    return (device.type == 'cuda' and torch.cuda.get_device_capability(device) >= (8, 0) and activation == 'relu'
            and dtypes == {torch.bfloat16} and shapes == {(width, width)} and width in (32, 64, 128, 256)
            and len(last[0]) <= COLOURS)


def render_grid(decoder: 'Decoder', table: Tensor, rows: AxisLookup, cols: AxisLookup) -> Tensor:
    """See `render.render_grid`; (B, h, w, D) float32 -> (B, out, H, W) float32."""
    b, h, w, d = table.shape
    (corners, height), (_, width) = rows.index.shape, cols.index.shape
    hidden = torch.stack([weight.t() for weight, _ in decoder.rest.hidden]).contiguous()  # (layers, in, out)
    bias = torch.stack([bias for _, bias in decoder.rest.hidden]).float()
    last = F.pad(decoder.rest.last[0], (0, 0, 0, COLOURS - len(decoder.rest.last[0]))).t().contiguous()
    out = table.new_empty(b, len(decoder.rest.last[0]), height, width)
    axes = [t.contiguous() for axis in (rows, cols) for t in (axis.index.int(), axis.rel, axis_weights(axis.rel))]

    def grid(meta: dict) -> tuple[int, int]:
        return triton.cdiv(height * width, meta['BLOCK']), b

    with torch.cuda.device(table.device) if table.is_cuda else nullcontext():  # Triton launches on the current one
        _kernel[grid](table.contiguous(), *axes, decoder.rel.t().contiguous(), hidden, bias, last.to(hidden.dtype),
                      decoder.rest.last[1], out, h, w, height, width, out.shape[1],
                      LAYERS=len(hidden), CORNERS=corners, HALF=d // 2, COLOURS=COLOURS)
    return out


@triton.autotune([triton.Config({'BLOCK': 32})] if INTERPRETED else _CONFIGS, key=['LAYERS', 'CORNERS', 'HALF'])
@triton.jit
def _kernel(table, row_index, row_rel, row_weight, col_index, col_rel, col_weight, w_rel, w_hidden, b_hidden,
            w_last, b_last, out, h, w, height, width, num_out,
            LAYERS: tl.constexpr, CORNERS: tl.constexpr, HALF: tl.constexpr, COLOURS: tl.constexpr,
            BLOCK: tl.constexpr):
    """One program: BLOCK pixels of one image. Letters: a and b are the halves of a hidden state, (BLOCK, HALF)."""
    image = tl.program_id(1).to(tl.int64)
    pixel = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = pixel < tl.cast(height, tl.int64) * width
    y, x = pixel // width, pixel % width
    channel = tl.arange(0, HALF)
    square = channel[:, None] * (2 * HALF) + channel[None, :]  # a (HALF, HALF) quarter of a weight matrix
    colour = tl.arange(0, COLOURS)
    total = tl.zeros((BLOCK, COLOURS), tl.float32)
    for corner in range(CORNERS * CORNERS):
        i, j = corner // CORNERS, corner % CORNERS
        row, col = i * height + y, j * width + x
        latent = (image * h + tl.load(row_index + row, inside, 0)) * w + tl.load(col_index + col, inside, 0)
        rel_y, rel_x = tl.load(row_rel + row, inside, 0.), tl.load(col_rel + col, inside, 0.)
        first = table + latent[:, None] * (2 * HALF) + channel[None, :]
        a = tl.load(first, inside[:, None], 0.)
        a += rel_y[:, None] * tl.load(w_rel + channel)[None, :]
        a += rel_x[:, None] * tl.load(w_rel + 2 * HALF + channel)[None, :]
        b = tl.load(first + HALF, inside[:, None], 0.)
        b += rel_y[:, None] * tl.load(w_rel + HALF + channel)[None, :]
        b += rel_x[:, None] * tl.load(w_rel + 3 * HALF + channel)[None, :]
        a = tl.maximum(a, 0.).to(w_hidden.dtype.element_ty)
        b = tl.maximum(b, 0.).to(w_hidden.dtype.element_ty)
        for layer in range(LAYERS):
            weight = w_hidden + layer * (4 * HALF * HALF) + square
            bias = b_hidden + layer * (2 * HALF) + channel
            next_a = tl.dot(a, tl.load(weight), input_precision='ieee')
            next_a = tl.dot(b, tl.load(weight + 2 * HALF * HALF), next_a, input_precision='ieee')
            next_a = tl.maximum(next_a + tl.load(bias)[None, :], 0.).to(w_hidden.dtype.element_ty)
            next_b = tl.dot(a, tl.load(weight + HALF), input_precision='ieee')
            next_b = tl.dot(b, tl.load(weight + 2 * HALF * HALF + HALF), next_b, input_precision='ieee')
            b = tl.maximum(next_b + tl.load(bias + HALF)[None, :], 0.).to(w_hidden.dtype.element_ty)
            a = next_a
        last = w_last + channel[:, None] * COLOURS + colour[None, :]
        value = tl.dot(a, tl.load(last), input_precision='ieee')
        value = tl.dot(b, tl.load(last + HALF * COLOURS), value, input_precision='ieee')
        share = tl.load(row_weight + row, inside, 0.) * tl.load(col_weight + col, inside, 0.)
        total += share[:, None] * value
    total += tl.load(b_last + colour, colour < num_out, 0.)[None, :]
    plane = (image * num_out + colour)[None, :] * (tl.cast(height, tl.int64) * width)
    tl.store(out + plane + pixel[:, None], total, inside[:, None] & (colour < num_out)[None, :])
