"""What the page shows: images, and the ways to enlarge them, each at any level of zoom."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from PIL import Image
from torch import nn

from liif_arch.errors import UserError
from liif_arch.files.encoding import encode_png
from liif_arch.files.images import read_picture, require_unit_range
from liif_arch.files.pillow_reading import to_srgb
from liif_arch.files.pixels import full_scale
from liif_arch.upscaling.encoded import EncodedImage
from liif_arch.upscaling.light import LightCurve
from liif_arch.upscaling.reduction import reduce_bicubic
from liif_arch.upscaling.windows import Area

TILE = 256  # pixels of a tile's side
STEPS = 4  # levels that double the scale
HIGHEST = 40  # level: x1024
CACHE_BYTES = 2**26  # of tiles that were encoded
THUMBNAIL = 96  # pixels of its longer side
ORIGINAL = 'original'
MOST_COMPARED = 2**20  # pixels of the area of which PSNR is told


def scale_of(level: int) -> float:
    """Pixels of the result for a pixel of the image, at a level; a level is a quarter octave."""
    return 2 ** (level / STEPS)


def size_at(full: tuple[int, int], level: int) -> tuple[int, int]:
    """Size (H, W) of an image (h, w) at a level."""
    scale = scale_of(level)
    return max(1, round(full[0] * scale)), max(1, round(full[1] * scale))


class Method(Protocol):
    """One way to enlarge an image."""

    def area(self, size: tuple[int, int], area: Area) -> np.ndarray:
        """Pixels (rows, columns, C), 8 bits, of an area of the image at a size (H, W)."""


class Nearest:
    """The nearest pixel of an image (h, w, C) of 8 bits."""

    def __init__(self, pixels: np.ndarray) -> None:
        self.pixels = pixels

    def area(self, size: tuple[int, int], area: Area) -> np.ndarray:
        """See `Method`."""
        (h, w), (height, width) = self.pixels.shape[:2], size
        rows = (2 * np.arange(area.top, area.bottom) + 1) * h // (2 * height)
        cols = (2 * np.arange(area.left, area.right) + 1) * w // (2 * width)
        return self.pixels[rows][:, cols]


class Bicubic:
    """Pillow's bicubic resizing of an image (h, w, C) of 8 bits."""

    def __init__(self, pixels: np.ndarray) -> None:
        self.full = pixels.shape[:2]
        self.channels = [
            Image.fromarray(np.ascontiguousarray(channel)) for channel in np.moveaxis(pixels, 2, 0)
        ]

    def area(self, size: tuple[int, int], area: Area) -> np.ndarray:
        """See `Method`."""
        (h, w), (height, width) = self.full, size
        box = (
            area.left * w / width,
            area.top * h / height,
            area.right * w / width,
            area.bottom * h / height,
        )
        way = Image.Resampling.BICUBIC
        parts = []
        for channel in self.channels:
            parts.append(np.asarray(channel.resize(area.shape[::-1], way, box)))
        return np.stack(parts, 2)


FILTERS: dict[str, Callable[[np.ndarray], Method]] = {'nearest': Nearest, 'bicubic': Bicubic}
TAKEN = (*FILTERS, ORIGINAL)  # names that no network can have


class Networked:
    """A network's image, encoded once."""

    def __init__(self, net: nn.Module, pixels: np.ndarray, memory: float) -> None:
        self.encoded, self.lock = EncodedImage(net, pixels, memory), threading.Lock()

    def encode(self) -> None:
        """Encode the image, unless that is done."""
        with self.lock:
            self.encoded.encode()

    def area(self, size: tuple[int, int], area: Area) -> np.ndarray:
        """See `Method`; the size is at least the image's."""
        self.encode()
        return as_8_bits(self.encoded.area(size, area))


def as_8_bits(pixels: np.ndarray) -> np.ndarray:
    """Pixels of any depth as a screen shows them."""
    if pixels.dtype == np.uint8:
        return pixels
    return np.rint(pixels * (255 / full_scale(pixels.dtype))).astype(np.uint8)


class Shown:
    """An image of the page.

    Args:
        path: The file.
        networks: Networks by name; each is loaded when it is first looked at.
        gt: What the image should be, with more pixels; None: not known.
        memory: MiB that the codes of a network may take.

    Raises:
        UserError: A file does not decode, or the ground truth has another shape.
    """

    def __init__(
        self,
        path: Path,
        networks: dict[str, Callable[[], nn.Module]],
        gt: Path | None = None,
        memory: float = 1536,
    ) -> None:
        self.name, self.networks, self.memory = path.name, networks, memory
        self.pixels = _display_pixels(path)
        self.full = (self.pixels.shape[0], self.pixels.shape[1])
        self.original = None
        if gt is not None:
            self.original = as_8_bits(_display_pixels(gt))
            _require_shape(self.full, self.original, gt)
        self.methods: dict[str, Method] = {}
        self.lock = threading.Lock()

    @property
    def names(self) -> list[str]:
        """The ways to enlarge it."""
        names = [*self.networks, *FILTERS]
        if self.original is not None:
            names.append(ORIGINAL)
        return names

    def method(self, name: str) -> Method:
        """One of `names`."""
        with self.lock:
            if name not in self.methods:
                if name in self.networks:
                    net = self.networks[name]()
                    self.methods[name] = Networked(net, self.pixels, self.memory)
                elif name == ORIGINAL and self.original is not None:
                    self.methods[name] = Bicubic(self.original)
                else:
                    self.methods[name] = FILTERS[name](as_8_bits(self.pixels))
            return self.methods[name]

    def area(self, name: str, size: tuple[int, int], area: Area) -> np.ndarray:
        """Pixels of 8 bits of an area at a size; below the image's own size a reduction."""
        if name in self.networks and (size[0] < self.full[0] or size[1] < self.full[1]):
            whole = self._reduced(size)
            return whole[area.top : area.bottom, area.left : area.right]
        return self.method(name).area(size, area)

    def _reduced(self, size: tuple[int, int]) -> np.ndarray:
        smallest = (min(size[0], self.full[0]), min(size[1], self.full[1]))
        return as_8_bits(reduce_bicubic(self.pixels, smallest))

    def tile(self, name: str, level: int, row: int, col: int) -> bytes | None:
        """A PNG of a tile; None where there is none."""
        size = size_at(self.full, level)
        top, left = row * TILE, col * TILE
        if not (0 <= top < size[0] and 0 <= left < size[1]):
            return None
        area = Area(top, min(top + TILE, size[0]), left, min(left + TILE, size[1]))
        return encode_png(self.area(name, size, area), fast=True)

    def thumbnail(self) -> bytes:
        """A small PNG of it."""
        scale = min(1.0, THUMBNAIL / max(self.full))
        size = (max(1, round(self.full[0] * scale)), max(1, round(self.full[1] * scale)))
        return encode_png(as_8_bits(reduce_bicubic(self.pixels, size)), fast=True)

    def psnr(self, name: str, part: tuple[float, float, float, float]) -> float | None:
        """PSNR of 8-bit RGB against the ground truth in a part of the image.

        Args:
            name: One of `names`.
            part: Top, bottom, left and right, as shares of the height and the width.

        Returns:
            In dB; None where there is no ground truth, the part is too large, or all is equal.
        """
        if self.original is None:
            return None
        size = (self.original.shape[0], self.original.shape[1])
        rows = [min(size[0], max(0, round(share * size[0]))) for share in part[:2]]
        cols = [min(size[1], max(0, round(share * size[1]))) for share in part[2:]]
        area = Area(rows[0], rows[1], cols[0], cols[1])
        pixels = area.shape[0] * area.shape[1]
        if min(area.shape) < 1 or pixels > MOST_COMPARED:
            return None
        found = _colours(self.area(name, size, area))
        expected = _colours(self.original[rows[0] : rows[1], cols[0] : cols[1]])
        error = np.mean((found.astype(float) - expected) ** 2)
        if error == 0:
            return None
        return float(10 * np.log10(255**2 / error))


def _colours(pixels: np.ndarray) -> np.ndarray:
    """RGB of any 8-bit pixels, without alpha."""
    if pixels.shape[2] < 3:
        return np.repeat(pixels[..., :1], 3, 2)
    return pixels[..., :3]


def _display_pixels(path: Path) -> np.ndarray:
    """A file's pixels as displays take them: linear light is coded, and colours are sRGB's."""
    pixels, metadata = read_picture(path, strict=False)
    if metadata.linear:
        return LightCurve(pixels, min(3, pixels.shape[2])).to_display(pixels)
    require_unit_range(pixels, str(path))
    if metadata.icc and pixels.shape[2] >= 3:
        return to_srgb(as_8_bits(pixels), metadata.icc)
    return pixels


def _require_shape(full: tuple[int, int], original: np.ndarray, gt: Path) -> None:
    """Raise UserError where a ground truth is no enlargement of an image (h, w)."""
    height, width = original.shape[:2]
    ratio = (height / full[0]) / (width / full[1])
    if height < full[0] or width < full[1] or not 0.97 < ratio < 1.03:
        raise UserError(
            f'--gt: {gt} is {width}x{height}, and the image {full[1]}x{full[0]} (width x height); '
            'needed the same picture with more pixels.'
        )


class TileKey(NamedTuple):
    """Which tile: number of the image, name of the method, level, row and column."""

    image: int
    method: str
    level: int
    row: int
    col: int


class Gallery:
    """The images of the page, and their tiles that were made last.

    Args:
        images: In the order in which they are shown.
    """

    def __init__(self, images: list[Shown]) -> None:
        self.images = images
        self.tiles: OrderedDict[TileKey, bytes] = OrderedDict()
        self.bytes = 0
        self.lock = threading.Lock()

    def prepare(self) -> None:
        """Encode the image that is shown first, before anybody asks."""
        first = self.images[0]
        for name in first.networks:
            method = first.method(name)
            if isinstance(method, Networked):
                method.encode()

    def known(self, key: TileKey) -> bool:
        """Whether there are such an image, such a method and such a level."""
        if not 0 <= key.image < len(self.images):
            return False
        levels = range(-8 * STEPS, HIGHEST + 1)
        return key.method in self.images[key.image].names and key.level in levels

    def cached(self, key: TileKey) -> bytes | None:
        """A tile that was made before."""
        with self.lock:
            if key in self.tiles:
                self.tiles.move_to_end(key)
            return self.tiles.get(key)

    def tile(self, key: TileKey) -> bytes | None:
        """A tile; None where there is none."""
        found = self.cached(key)
        if found is not None:
            return found
        made = self.images[key.image].tile(*key[1:])
        if made is not None:
            with self.lock:
                self.tiles[key] = made
                self.bytes += len(made)
                while self.bytes > CACHE_BYTES:
                    _, old = self.tiles.popitem(last=False)
                    self.bytes -= len(old)
        return made
