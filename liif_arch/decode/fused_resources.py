"""What the Triton kernel takes of each kind of GPU: compiled ahead of time, without a GPU."""

import re
import subprocess
import tempfile
from collections.abc import Iterable
from itertools import product
from pathlib import Path
from typing import NamedTuple

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from liif_arch.decode import fused
from liif_arch.errors import UserError

SHARED_LIMITS = {  # of a block, in bytes, by compute capability
    (8, 0): 166912,  # A100
    (8, 6): 101376,  # RTX 30, A10
    (8, 9): 101376,  # RTX 40, L4
    (9, 0): 232448,  # H100
    (10, 0): 232448,  # B200
    (12, 0): 101376,  # RTX 50
}
# Bytes a thread: what a layer moves out and in again is then small beside its products.
MOST_SPILLED = 512
_NAMES = {torch.bfloat16: 'bf16', torch.float16: 'fp16'}
_POINTERS = {
    'table': 'fp32',
    'row_index': 'i32',
    'row_rel': 'fp32',
    'row_weight': 'fp32',
    'col_index': 'i32',
    'col_rel': 'fp32',
    'col_weight': 'fp32',
    'w_rel': 'fp32',
    'w_hidden': None,
    'b_hidden': 'fp32',
    'w_last': None,
    'b_last': 'fp32',
    'out': 'fp32',
}  # None: the network's type
_NUMBERS = ('h', 'w', 'height', 'width', 'num_out', 'many')


class Resources(NamedTuple):
    """What one thread or block of a compiled kernel takes.

    Attributes:
        registers: Of a thread, at most 255.
        spilled: Bytes of a thread that do not fit its registers and go to memory.
        shared: Bytes of a block's shared memory.
    """

    registers: int
    spilled: int
    shared: int


def resources(
    capability: tuple[int, int],
    dtype: torch.dtype,
    width: int,
    cut: fused.Blocks,
    layers: int = 3,
    corners: int = 2,
) -> Resources:
    """Compile the kernel for a compute capability.

    Args:
        capability: Such as (8, 6); a key of SHARED_LIMITS has a known limit.
        dtype: One of `fused.DTYPES`.
        width: Of the hidden layers, one of `fused.WIDTHS`.
        cut: One of `fused.choices(capability)`, or another.
        layers: Hidden layers behind the first.
        corners: 2 with local ensemble, else 1: of an axis.

    Raises:
        UserError: Triton's tools do not say what the kernel takes.
    """
    constants = {
        'LAYERS': layers,
        'CORNERS': corners,
        'PART': width // 4,
        'COLOURS': fused.COLOURS,
        'BLOCK': cut.pixels,
    }
    signature, aligned = {}, {}
    for i, (name, kind) in enumerate(_POINTERS.items()):
        signature[name] = f'*{kind or _NAMES[dtype]}'
        aligned[(i,)] = [['tt.divisibility', 16]]  # as PyTorch's memory is
    signature |= dict.fromkeys(_NUMBERS, 'i32') | dict.fromkeys(constants, 'constexpr')
    source = ASTSource(fused._kernel.fn, signature, constants, aligned)
    target = GPUTarget('cuda', 10 * capability[0] + capability[1], 32)
    compiled = triton.compile(
        source, target=target, options={'num_warps': cut.warps, 'num_stages': 1}
    )
    registers, spilled = _usage(compiled.asm['cubin'])
    return Resources(registers, spilled, compiled.metadata.shared)


def _usage(cubin: bytes) -> tuple[int, int]:
    """Registers of a thread, and bytes of its stack: without arrays, these are what was spilled."""
    tool = Path(triton.__file__).parent / 'backends/nvidia/bin/cuobjdump'
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, 'kernel.cubin')
        path.write_bytes(cubin)
        try:
            found = subprocess.run(
                [tool, '--dump-resource-usage', path], capture_output=True, text=True
            ).stdout
        except OSError as error:
            found = str(error)
    usage = re.search(r'REG:(\d+) STACK:(\d+)', found)
    if usage is None:
        raise UserError(
            f"{tool}: this part of Triton's package does not say what a kernel takes: {found[:200]}"
        )
    return int(usage[1]), int(usage[2])


def table(width: int, capabilities: Iterable[tuple[int, int]]) -> list[dict]:
    """A row for every compute capability, type and cut that is tried there.

    Args:
        width: Of the hidden layers.
        capabilities: A block's limit of shared memory is known of those in SHARED_LIMITS.
    """
    rows = []
    for capability, dtype in product(capabilities, fused.DTYPES):
        limit = SHARED_LIMITS.get(capability, max(SHARED_LIMITS.values()))
        for cut in fused.choices(capability):
            found = resources(capability, dtype, width, cut)
            fits = found.spilled <= MOST_SPILLED and found.shared <= limit
            rows.append(
                {
                    'GPU': f'sm_{capability[0]}{capability[1]}',
                    'type': _NAMES[dtype],
                    'pixels': cut.pixels,
                    'warps': cut.warps,
                    'registers': found.registers,
                    'spilled bytes': found.spilled,
                    'shared KiB': found.shared / 1024,
                    'of KiB': limit / 1024,
                    'fits': fits,
                }
            )
    return rows
