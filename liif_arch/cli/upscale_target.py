"""What `basicsr upscale` was asked for: `--scale` and `--size` as people type them, width first."""

import re
from pathlib import Path
from typing import NamedTuple

from liif_arch.errors import UserError

BETWEEN = r'\s*[xX×]\s*'


class Target(NamedTuple):
    """A scale or a size; exactly one is given.

    Attributes:
        text: What was typed, without blanks.
        scale: (sy, sx), or None.
        size: (H, W) in pixels, one of which may be None (it follows from the other), or None.
        stretch: Whether a size may change the shape of the picture.
    """

    text: str
    scale: tuple[float, float] | None = None
    size: tuple[int | None, int | None] | None = None
    stretch: bool = False

    @property
    def label(self) -> str:
        """What file names get, in the order typed: _x3.7, _x2x3, _1920x1080."""
        return f'_x{self.text}' if self.size is None else f'_{self.text}'

    def of_image(self, full: tuple[int, int], name: str | Path) -> tuple[int, int]:
        """Output size (H, W) of an image of size (h, w).

        Args:
            full: Size (h, w) of the image.
            name: What an error calls the image.

        Raises:
            UserError: The size would stretch the picture, and nobody asked for that.
        """
        if self.size is None:
            from liif_arch.coordinates import scaled_size

            return scaled_size(full, self.scale)
        by_width, by_height = self._keeping(full)
        if by_width is None:
            return by_height
        if by_height is None:
            return by_width
        if not self.stretch and not keeps_shape(full, self.size):
            (rows, width), (height, cols) = by_width, by_height
            raise UserError(
                f'{name}: is {full[1]}x{full[0]}, which --size {self.text} (width x height) would '
                f'stretch; its shape is kept by {width}x{rows} (--size {width}x) and '
                f'{cols}x{height} (--size x{height}). --stretch stretches it.'
            )
        return self.size

    def _keeping(self, full: tuple[int, int]) -> tuple[tuple[int, int] | None, ...]:
        """The sizes (H, W) that keep an image's shape at the given width, and at the height."""
        (h, w), (height, width) = full, self.size
        by_width = by_height = None
        if width is not None:
            by_width = (max(1, round(h * width / w)), width)
        if height is not None:
            by_height = (height, max(1, round(w * height / h)))
        return by_width, by_height


def keeps_shape(full: tuple[int, int], size: tuple[int, int]) -> bool:
    """Whether one scale leads from (h, w) to (H, W), if both were rounded to whole pixels."""
    (h, w), (height, width) = full, size
    low = max((height - 1) / (h + 0.5), (width - 1) / (w + 0.5))
    high = min((height + 1) / (h - 0.5), (width + 1) / (w - 0.5))
    return low < high


def parse_target(scale: str | None, size: str | None, stretch: bool) -> Target:
    """What the flags --scale, --size and --stretch ask for, one of the first two given.

    Raises:
        UserError: They are not what the flags need.
    """
    if size is None:
        return Target(_without_blanks(scale), scale=_scale(scale))
    return Target(_without_blanks(size), size=_size(size), stretch=stretch)


def _without_blanks(text: str) -> str:
    return re.sub(r'\s', '', text).lower().replace('×', 'x')


def _scale(text: str) -> tuple[float, float]:
    """`3.7`, or `2x3` (twice as wide, three times as high), as (sy, sx)."""
    number = r'(\d+\.?\d*|\.\d+)'
    match = re.fullmatch(f'{number}(?:{BETWEEN}{number})?', text.strip())
    width = height = 0.0
    if match:
        width = height = float(match[1])
        if match[2] is not None:
            height = float(match[2])
    if min(width, height) <= 0:
        raise UserError(
            f'--scale: found {text}; needed a number above 0 such as 3.7, or two such as 2x3 '
            '(width x height).'
        )
    return height, width


def _size(text: str) -> tuple[int | None, int | None]:
    """`1920x1080`, `1920x` or `x1080` as (H, W)."""
    match = re.fullmatch(rf'(\d*){BETWEEN}(\d*)', text.strip())
    width = height = None
    if match and match[1]:
        width = int(match[1])
    if match and match[2]:
        height = int(match[2])
    if (width is None and height is None) or 0 in (width, height):
        raise UserError(
            f'--size: found {text}; needed width x height in pixels such as 1920x1080, or one of '
            'them such as 1920x or x1080 (the other follows).'
        )
    return height, width
