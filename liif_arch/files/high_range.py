"""OpenEXR, Radiance and PFM files: float values in linear light, of which white may be 1 or not."""

import os
import re
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from liif_arch.errors import UserError
from liif_arch.files.formats import EXR, format_of, sniff
from liif_arch.files.pillow_reading import require_pixels
from liif_arch.files.pixels import divide_by_alpha, swap_red_and_blue, with_channel_axis

_CHANNELS = {('Y',): 'Y', ('RGB',): 'RGB', ('RGBA',): 'RGBA'}  # of OpenEXR, by what is found
_NAMES = {1: 'Y', 3: 'RGB', 4: 'RGBA'}
_STANDARD_ERROR = threading.Lock()  # of the process
# Attributes that say how pixels are stored or projected, which the writer says anew.
_EXR_STORAGE = {
    'channels',
    'chunkCount',
    'compression',
    'dataWindow',
    'displayWindow',
    'lineOrder',
    'maxSamplesPerPixel',
    'name',
    'preview',
    'screenWindowCenter',
    'screenWindowWidth',
    'tiles',
    'type',
    'version',
}
_EXR_ASPECT = 'pixelAspectRatio'
_RADIANCE_WORDS = re.compile(rb'^(EXPOSURE|PRIMARIES|COLORCORR|PIXASPECT|GAMMA)=', re.MULTILINE)
_LONGEST_HEAD = 4096  # bytes within which the size of a Radiance or PFM file stands
_SIZE = re.compile(rb'^P[Ff]\s+(\d+)\s+(\d+)\s|[-+][XY] (\d+) [-+][XY] (\d+)\s')


class HighRange(NamedTuple):
    """What is in an OpenEXR, Radiance or PFM file.

    Attributes:
        pixels: (H, W, C) float32 in linear light, C = 1 gray, 3 RGB or 4 RGBA, alpha not multiplied
            into the colours. Values below 0 stay.
        attributes: OpenEXR's, (name, value), of the picture and not of how it is stored.
        unread: What else it says of the picture, in words.
    """

    pixels: np.ndarray
    attributes: tuple[tuple[str, Any], ...] = ()
    unread: tuple[str, ...] = ()


def read_high_range(data: bytes, name: str) -> HighRange:
    """Read an OpenEXR, Radiance or PFM file.

    Args:
        data: Contents of the file.
        name: What an error message calls it.

    Raises:
        UserError: There are other channels, values that are no finite numbers, or OpenEXR is not
            installed.
    """
    if sniff(data) is EXR:
        found = _read_exr(data, name)
    else:
        _require_size(data, name)
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        if decoded is None:
            raise ValueError('it is cut off, or not such a file')
        head = data[:_LONGEST_HEAD].partition(b'\n\n')[0]
        unread = tuple(word.decode() for word in _RADIANCE_WORDS.findall(head))
        found = HighRange(swap_red_and_blue(with_channel_axis(decoded)), unread=unread)
    if not np.isfinite(found.pixels).all():
        raise UserError(f'{name}: found values that are not finite numbers; replace them before.')
    return found._replace(pixels=np.ascontiguousarray(found.pixels, np.float32))


def _require_size(data: bytes, name: str) -> None:
    """Raise UserError where a Radiance or PFM file's header asks for too many pixels."""
    found = _SIZE.search(data[:_LONGEST_HEAD])
    if found:
        sides = [int(side) for side in found.groups() if side]
        require_pixels(sides[0] * sides[1], name)


def require_openexr(name: str) -> None:
    """Raise UserError where the package is missing that reads and writes OpenEXR."""
    if find_spec('OpenEXR') is None:
        raise UserError(
            f"{name}: OpenEXR files need the package OpenEXR; pip install 'basicsr-liif[files]'."
        )


def _read_exr(data: bytes, name: str) -> HighRange:
    require_openexr(name)
    import OpenEXR

    with tempfile.TemporaryDirectory() as folder:  # older releases read files by name alone
        path = Path(folder) / 'image.exr'
        path.write_bytes(data)
        with OpenEXR.File(str(path), header_only=True) as file:
            (left, top), (right, bottom) = file.header()['dataWindow']
            require_pixels((int(right) - int(left) + 1) * (int(bottom) - int(top) + 1), name)
        with _complaints() as complaints, OpenEXR.File(str(path)) as file:
            parts = len(file.parts)
            channels = {key: channel.pixels for key, channel in file.channels().items()}
            header = dict(file.header())
    if complaints:
        raise ValueError(complaints[-1])
    kind = _CHANNELS.get(tuple(channels))
    if kind is None or parts > 1:
        raise UserError(
            f'{name}: found the channels {", ".join(channels)} in {parts} part(s); needed one part '
            'with RGB, RGBA or Y. Save these as a file of their own.'
        )
    pixels = with_channel_axis(channels[kind].astype(np.float32))
    if kind == 'RGBA':  # whose colours are multiplied by alpha
        divide_by_alpha(pixels, 1)
    unread = ()
    if not np.array_equal(header['dataWindow'], header['displayWindow']):
        unread = ('display window',)
    attributes = {key: value for key, value in header.items() if key not in _EXR_STORAGE}
    if attributes.get(_EXR_ASPECT) == 1:
        del attributes[_EXR_ASPECT]
    return HighRange(pixels, tuple(attributes.items()), unread)


@contextmanager
def _complaints() -> Iterator[list[str]]:
    """What a library writes to standard error within, line by line, once it ends.

    OpenEXR says only there that it could not decode some pixels, which it leaves as they were.
    """
    found: list[str] = []
    with _STANDARD_ERROR, tempfile.TemporaryFile() as file:
        kept = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield found
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            found += file.read().decode('utf-8', 'replace').splitlines()


def encode_high_range(
    path: Path, pixels: np.ndarray, attributes: tuple[tuple[str, Any], ...] = ()
) -> bytes:
    """The bytes of an OpenEXR, Radiance or PFM file; its extension says which.

    Args:
        path: The file; errors name it.
        pixels: (H, W, C) float32 in linear light, that `require_format` lets pass.
        attributes: Of an OpenEXR file, see `HighRange`.
    """
    if format_of(path) is EXR:
        return _encode_exr(path, pixels, dict(attributes))
    _, data = cv2.imencode(path.suffix, swap_red_and_blue(pixels))
    return data.tobytes()


def _encode_exr(path: Path, pixels: np.ndarray, attributes: dict[str, Any]) -> bytes:
    require_openexr(str(path))
    import OpenEXR

    kind = _NAMES[pixels.shape[2]]
    if kind == 'RGBA':
        pixels = pixels.copy()
        pixels[..., :3] *= pixels[..., 3:]
    if kind == 'Y':
        pixels = pixels[..., 0]
    storage = {'compression': OpenEXR.ZIP_COMPRESSION, 'type': OpenEXR.scanlineimage}
    header = {**attributes, **storage}
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / 'image.exr'
        with OpenEXR.File(header, {kind: np.ascontiguousarray(pixels)}) as file:
            file.write(str(written))
        return written.read_bytes()
