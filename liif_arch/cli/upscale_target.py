"""What `basicsr upscale` was asked for: sizes and crops as people type them, width first."""

import argparse
import re
from pathlib import Path
from typing import NamedTuple

from liif_arch.errors import UserError

BETWEEN = r'\s*[xX×]\s*'
NUMBER = r'(\d+\.?\d*|\.\d+)'


class Shape(NamedTuple):
    """How large a picture becomes; exactly one is given.

    Attributes:
        scale: (sy, sx).
        size: Output size (H, W).
    """

    scale: tuple[float, float] | None = None
    size: tuple[int, int] | None = None


class Target(NamedTuple):
    """What was asked for; exactly one of the first five.

    Attributes:
        text: What was typed, without blanks.
        scale: (sy, sx).
        size: (H, W) in pixels, one of which may be None (it follows from the other).
        longest, shortest: Length of that side in pixels.
        fit: (H, W) that the result lies within, as large as it can.
        stretch: Whether a size may change the shape of the picture.
        crop: The part of the picture to render.
    """

    text: str
    scale: tuple[float, float] | None = None
    size: tuple[int | None, int | None] | None = None
    longest: int | None = None
    shortest: int | None = None
    fit: tuple[int, int] | None = None
    stretch: bool = False
    crop: 'Crop | None' = None

    @property
    def label(self) -> str:
        """What file names get, in the order typed: _x3.7, _x2x3, _1920x1080, _longest2048."""
        kinds = {'x': self.scale, 'longest': self.longest, 'shortest': self.shortest}
        kind = next((name for name, value in kinds.items() if value is not None), '')
        label = f'_{kind}{self.text}'
        if self.crop is not None:
            label += '_crop'
        return label

    def of_image(self, full: tuple[float, float], name: str | Path) -> Shape:
        """The scale, or the output size, of an image or crop of size (h, w).

        Args:
            full: Its height and width, in pixels.
            name: What an error calls the image.

        Raises:
            UserError: The size would stretch the picture, and nobody asked for that.
        """
        h, w = full
        if self.scale is not None:
            return Shape(scale=self.scale)
        if self.longest is not None:
            by_width, by_height = _keeping(full, self.longest, self.longest)
            return Shape(size=by_width if w >= h else by_height)
        if self.shortest is not None:
            by_width, by_height = _keeping(full, self.shortest, self.shortest)
            return Shape(size=by_height if w >= h else by_width)
        if self.fit is not None:
            height, width = self.fit
            by_width, by_height = _keeping(full, height, width)
            return Shape(size=by_width if by_width[0] <= height else by_height)
        assert self.size is not None
        height, width = self.size
        if width is None or height is None:
            by_width, by_height = _keeping(full, height or 1, width or 1)
            return Shape(size=by_height if width is None else by_width)
        if not self.stretch and not keeps_shape(full, (height, width)):
            (rows, _), (_, cols) = _keeping(full, height, width)
            raise UserError(
                f'{name}: is {w:g}x{h:g}, which --size {self.text} (width x height) would '
                f'stretch; its shape is kept by {width}x{rows} (--size {width}x) and '
                f'{cols}x{height} (--size x{height}). --stretch stretches it, --fit {self.text} '
                'keeps it inside.'
            )
        return Shape(size=(height, width))

    def crop_of(self, full: tuple[int, int]) -> tuple[float, float, float, float] | None:
        """(y, x, height, width) of the part to render of an image (h, w); None: all of it."""
        if self.crop is None:
            return None
        return self.crop.of_image(full)


def _keeping(
    full: tuple[float, float], height: int, width: int
) -> tuple[tuple[int, int], tuple[int, int]]:
    """The sizes (H, W) that keep a picture's shape at the given width, and at the height."""
    h, w = full
    by_width = (max(1, round(h * width / w)), width)
    by_height = (height, max(1, round(w * height / h)))
    return by_width, by_height


def keeps_shape(full: tuple[float, float], size: tuple[int, int]) -> bool:
    """Whether one scale leads from (h, w) to (H, W), if both were rounded to whole pixels."""
    (h, w), (height, width) = full, size
    low = max((height - 1) / (h + 0.5), (width - 1) / (w + 0.5))
    high = min((height + 1) / max(0.5, h - 0.5), (width + 1) / max(0.5, w - 0.5))
    return low < high


class Crop(NamedTuple):
    """A part of a picture, (y, x, height, width): numbers of pixels, or shares of the side."""

    lengths: tuple[float, float, float, float]
    shares: tuple[bool, bool, bool, bool]

    def of_image(self, full: tuple[int, int]) -> tuple[float, float, float, float]:
        """In pixels of an image (h, w)."""
        sides = (*full, *full)
        found = []
        for length, share, side in zip(self.lengths, self.shares, sides, strict=True):
            found.append(length * side / 100 if share else length)
        y, x, height, width = found
        return y, x, height, width


def add_target(parser: argparse.ArgumentParser) -> None:
    """The flags that say how large pictures become."""
    group = parser.add_argument_group('size (one of the first five)')
    target = group.add_mutually_exclusive_group(required=True)
    target.add_argument(
        '--scale',
        metavar='S',
        help='3.7, or 2x3 (twice as wide, three times as high); below 1 the image is reduced',
    )
    target.add_argument(
        '--size',
        metavar='WxH',
        help='1920x1080 (width x height, in pixels), or 1920x or x1080: the other side follows',
    )
    target.add_argument('--fit', metavar='WxH', help='as large as it can be within 1920x1080')
    target.add_argument('--longest', metavar='N', help='the longer side has N pixels')
    target.add_argument('--shortest', metavar='N', help='the shorter side has N pixels')
    group.add_argument(
        '--stretch',
        action='store_true',
        help='allow a --size that changes the shape of the picture',
    )
    group.add_argument(
        '--crop',
        metavar='Y,X,H,W',
        help='render a part: its top, left, height and width in pixels of the input, which need '
        'not be whole, or in percent (25%%,25%%,50%%,50%%); sizes are then those of the part',
    )


def parse_target(args: argparse.Namespace) -> Target:
    """What the flags of `add_target` ask for.

    Raises:
        UserError: They are not what the flags need.
    """
    if args.stretch and args.size is None:
        raise UserError(
            '--stretch: found it without --size, which alone can stretch; leave it out.'
        )
    crop = None
    if args.crop is not None:
        crop = parse_crop(args.crop)
    if args.scale is not None:
        return Target(_without_blanks(args.scale), scale=_scale(args.scale), crop=crop)
    if args.size is not None:
        size = _size(args.size, '--size')
        return Target(_without_blanks(args.size), size=size, stretch=args.stretch, crop=crop)
    if args.fit is not None:
        if not re.fullmatch(rf'0*[1-9]\d*{BETWEEN}0*[1-9]\d*', args.fit.strip()):
            raise UserError(f'--fit: found {args.fit}; needed width x height such as 1920x1080.')
        height, width = _size(args.fit, '--fit')
        assert height is not None and width is not None
        return Target(f'fit{_without_blanks(args.fit)}', fit=(height, width), crop=crop)
    if args.longest is not None:
        longest = _side(args.longest, '--longest')
        return Target(str(longest), longest=longest, crop=crop)
    shortest = _side(args.shortest, '--shortest')
    return Target(str(shortest), shortest=shortest, crop=crop)


def _without_blanks(text: str) -> str:
    return re.sub(r'\s', '', text).lower().replace('×', 'x')


def _scale(text: str) -> tuple[float, float]:
    """`3.7`, or `2x3` (twice as wide, three times as high), as (sy, sx)."""
    match = re.fullmatch(f'{NUMBER}(?:{BETWEEN}{NUMBER})?', text.strip())
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


def _size(text: str, flag: str) -> tuple[int | None, int | None]:
    """`1920x1080`, `1920x` or `x1080` as (H, W)."""
    match = re.fullmatch(rf'(\d*){BETWEEN}(\d*)', text.strip())
    width = height = None
    if match and match[1]:
        width = int(match[1])
    if match and match[2]:
        height = int(match[2])
    if (width is None and height is None) or 0 in (width, height):
        raise UserError(
            f'{flag}: found {text}; needed width x height in pixels such as 1920x1080, or one of '
            'them such as 1920x or x1080 (the other follows).'
        )
    return height, width


def _side(text: str, flag: str) -> int:
    """A number of pixels, above 0."""
    if not text.strip().isdecimal() or int(text) == 0:
        raise UserError(f'{flag}: found {text}; needed a number of pixels such as 2048.')
    return int(text)


def parse_crop(text: str) -> Crop:
    """`120,80,64,64` or `25%,25%,50%,50%`."""
    parts = [re.fullmatch(rf'{NUMBER}(%?)', part.strip()) for part in text.split(',')]
    if len(parts) != 4 or None in parts:
        raise UserError(
            f'--crop: found {text}; needed top, left, height and width such as 120,80,64,64, in '
            'pixels of the input, or in percent such as 25%,25%,50%,50%.'
        )
    found = [part for part in parts if part is not None]
    top, left, height, width = (float(part[1]) for part in found)
    shares = (bool(found[0][2]), bool(found[1][2]), bool(found[2][2]), bool(found[3][2]))
    return Crop((top, left, height, width), shares)
