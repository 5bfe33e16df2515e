"""Networks outside PyTorch: ONNX files of encoder and decoder, with all sizes free, compared in
onnxruntime.
"""

import contextlib
import importlib.util
import io
import logging
import warnings
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from liif_arch.archs.coordinate_network import CoordinateNetwork
from liif_arch.archs.encoder import named_network
from liif_arch.complexity import Encode, Query
from liif_arch.coordinates import make_cell, make_coord, scaled_size
from liif_arch.errors import UserError

PACKAGES = ('onnx', 'onnxscript', 'onnxruntime')
FILES = ('encoder.onnx', 'decoder.onnx')
CASES = (
    ((1, 16, 24), (2.0, 2.0)),
    ((2, 21, 17), (3.0, 1.5)),
    ((1, 16, 40), (3.7, 3.7)),
)  # batch and size; scale
TOLERANCE = 1e-4


class Compared(NamedTuple):
    """One comparison of ONNX files with the network: sizes (h, w) and (H, W), and the largest
    differences.

    Of features in shares of the largest one, of colours as they are.
    """

    size: tuple[int, int]
    out: tuple[int, int]
    features: float
    colours: float


def require_onnx() -> None:
    """Raise UserError where a package that exporting needs is missing."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"{', '.join(missing)}: not installed; pip install 'basicsr-liif[export]'.")


def export_onnx(net: CoordinateNetwork, folder: str | Path) -> Iterator[Compared]:
    """Write encoder.onnx and decoder.onnx into a folder, and compare them with the network.

    encoder.onnx: `lq` (B, C, h, w) in [0, 1] -> `feat` (B, C', h, w). decoder.onnx: `feat`, `coord`
    (B, Q, 2) pixel centres, (y, x) in [-1, 1], and `cell` (B, Q, 2) -> `rgb` (B, Q, out), about [0,
    1]. B, h, w and Q are free.

    Args:
        net: The network, on the CPU.
        folder: Where to write; neither file may exist.

    Yields:
        A comparison for each of `CASES`, after both files are written.

    Raises:
        UserError: A package is missing, a file exists, or the network cannot be exported or comes
            out differently; then neither file is left.
    """
    require_onnx()
    paths = [Path(folder, name) for name in FILES]
    for path in paths:
        if path.exists():
            raise UserError(f'{path}: exists; remove it, or name another folder.')
    net = deepcopy(net).eval().requires_grad_(False)
    net.precision = 'float32'
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        _write(net, *paths)
        yield from compare(net, *paths)
    except BaseException as error:
        with contextlib.suppress(OSError):
            for path in paths:
                path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise UserError(f'{folder}: cannot write here ({error.strerror or error}).') from None
        raise


def _write(net: CoordinateNetwork, encoder: Path, decoder: Path) -> None:
    auto = torch.export.Dim.AUTO
    lq, coord, cell = (
        torch.rand(2, net.num_in_ch, 17, 23),
        torch.rand(2, 31, 2) * 2 - 1,
        torch.rand(2, 31, 2) / 10,
    )
    with torch.no_grad():
        feat = net.encode(lq).contiguous()
    image, queries = {0: auto, 2: auto, 3: auto}, {0: auto, 1: auto}
    _export(Encode(net).eval(), {'lq': lq}, (image,), 'feat', encoder)
    _export(
        Query(net).eval(),
        {'feat': feat, 'coord': coord, 'cell': cell},
        (image, queries, queries),
        'rgb',
        decoder,
    )


def _export(
    module: torch.nn.Module, inputs: dict[str, Tensor], shapes: tuple, output: str, path: Path
) -> None:
    logging.getLogger('onnxscript').setLevel(
        logging.ERROR
    )  # what it does not fold is no concern of a user's
    try:
        with (
            torch.enable_grad(),
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
        ):
            warnings.simplefilter('ignore')
            torch.onnx.export(
                module,
                tuple(inputs.values()),
                str(path),
                dynamo=True,
                dynamic_shapes=shapes,
                input_names=list(inputs),
                output_names=[output],
                external_data=False,
                verbose=False,
            )
    except OSError:
        raise
    except Exception as error:
        text = [line for line in str(error).splitlines() if line.startswith('<class')] or [
            type(error).__name__
        ]
        name = type(named_network(module.net.encoder)).__name__
        raise UserError(
            f'{path.name}: {type(module.net).__name__} on {name} cannot be exported with free '
            'sizes '
            f'({text[0][:300]}).'
        ) from None


def compare(net: CoordinateNetwork, encoder: Path, decoder: Path) -> Iterator[Compared]:
    """Run ONNX files in onnxruntime beside the network.

    Raises:
        UserError: Something differs by more than `TOLERANCE`.
    """
    import onnxruntime

    encode, decode = (
        onnxruntime.InferenceSession(str(p), providers=['CPUExecutionProvider'])
        for p in (encoder, decoder)
    )
    generator = torch.Generator().manual_seed(0)
    for (batch, *size), scale in CASES:
        lq, out = (
            torch.rand(batch, net.num_in_ch, *size, generator=generator),
            scaled_size(tuple(size), scale),
        )
        coord = make_coord(out).view(1, -1, 2).repeat(batch, 1, 1)
        cell = make_cell(out).expand_as(coord).contiguous()
        with torch.no_grad():
            feat = net.encode(lq)
            rgb = net.query(feat, coord, cell)
        theirs = encode.run(None, {'lq': lq.numpy()})[0]
        colours = decode.run(None, {'feat': theirs, 'coord': coord.numpy(), 'cell': cell.numpy()})[
            0
        ]
        found = Compared(
            tuple(size),
            out,
            float((torch.from_numpy(theirs) - feat).abs().max() / feat.abs().max()),
            float((torch.from_numpy(colours) - rgb).abs().max()),
        )
        if not max(found.features, found.colours) <= TOLERANCE:
            raise UserError(
                f'{encoder.name}, {decoder.name}: differ from PyTorch by {found.features:.2g} and '
                f'{found.colours:.2g} on an input of {size[1]}x{size[0]}; needed {TOLERANCE:g} or '
                'less. '
                'Networks that make tables for a size, as SwinIR its attention masks, are fixed to '
                'it in '
                'ONNX.'
            )
        yield found
