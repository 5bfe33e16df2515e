"""The view as pictures: a detail by several methods side by side, and a zoom into it."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from liif_arch.errors import UserError
from liif_arch.upscaling.windows import Area
from liif_arch.view.pictures import ORIGINAL, Shown

GAP, BAR = 6, 26  # pixels between pictures, and of the line above each
INSET = 0.3  # of a detail's width: the whole picture, with a frame around the detail
MOST_INSET = 0.5  # of its height
PAPER, INK = (255, 255, 255), (20, 20, 20)
MOST_SIDE = 1024  # pixels of a detail's side in a picture


def columns(shown: Shown) -> list[str]:
    """The methods of a panel, in order: bicubic, the networks, the original if there is one."""
    names = ['bicubic', *shown.networks]
    if shown.original is not None:
        names.append(ORIGINAL)
    return names


def panel(shown: Shown, scale: float, crop: tuple[float, float, float, float]) -> Image.Image:
    """A detail of an image by every method, each under its name, and its PSNR where it is known.

    Args:
        shown: The image.
        scale: Of the detail.
        crop: (y, x, height, width) of the detail in pixels of the image.

    Raises:
        UserError: The detail does not lie in the image, or would be too large.
    """
    size, area = _area(shown.full, scale, crop)
    part = (area.top / size[0], area.bottom / size[0], area.left / size[1], area.right / size[1])
    titles = {name: _title(shown, name, scale, part) for name in columns(shown)}
    font = ImageFont.load_default(14)
    height, width = area.shape
    wide = max(width, *(math.ceil(font.getlength(title)) + 8 for title in titles.values()))
    picture = Image.new('RGB', (len(titles) * (wide + GAP) - GAP, height + BAR), PAPER)
    draw = ImageDraw.Draw(picture)
    for number, (name, title) in enumerate(titles.items()):
        left = number * (wide + GAP)
        picture.paste(_image(shown.area(name, size, area)), (left, BAR))
        draw.text((left + 4, 5), title, INK, font)
    _paste_inset(picture, shown, part, (height, width))
    return picture


def _title(shown: Shown, name: str, scale: float, part: tuple[float, float, float, float]) -> str:
    """What stands above a detail; PSNR is told at the scale of the ground truth, which is said."""
    if shown.original is None:
        return f'{name}  x{scale:g}'
    known = shown.original.shape[0] / shown.full[0]
    if name == ORIGINAL:
        return f'{name}  x{known:.3g}'
    psnr = shown.psnr(name, part)
    if psnr is None:
        return f'{name}  x{scale:g}'
    where = '' if round(scale, 2) == round(known, 2) else f' at x{known:.3g}'
    return f'{name}  x{scale:g}  {psnr:.2f} dB{where}'


def busiest(shown: Shown, side: int) -> tuple[int, int, int, int]:
    """The square (y, x, height, width) of a side that has most edges, or all of the image."""
    full = shown.full
    luma = np.asarray(
        _image(shown.area('nearest', full, Area(0, full[0], 0, full[1]))).convert('L')
    )
    height, width = min(full[0], side), min(full[1], side)
    edges = np.hypot(*np.gradient(luma.astype(np.float64))) if min(full) > 1 else luma
    sums = np.zeros((full[0] + 1, full[1] + 1))
    sums[1:, 1:] = edges.cumsum(0).cumsum(1)
    squares = sums[height:, width:] - sums[:-height, width:]
    squares = squares - (sums[height:, :-width] - sums[:-height, :-width])
    y, x = np.unravel_index(squares.argmax(), squares.shape)
    return int(y), int(x), height, width


def _image(pixels: np.ndarray) -> Image.Image:
    """Pixels of 8 bits as an image, over white where they are transparent."""
    if pixels.shape[2] in (2, 4):
        alpha = pixels[..., -1:].astype(np.float32) / 255
        pixels = np.rint(pixels[..., :-1] * alpha + 255 * (1 - alpha)).astype(np.uint8)
    return Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels).convert('RGB')


def _paste_inset(
    picture: Image.Image,
    shown: Shown,
    part: tuple[float, float, float, float],
    detail: tuple[int, int],
) -> None:
    """The whole image in the lower corner of the first detail (h, w), with a frame around what
    the detail shows.
    """
    ratio = min(INSET * detail[1] / shown.full[1], MOST_INSET * detail[0] / shown.full[0])
    size = (max(1, round(shown.full[1] * ratio)), max(1, round(shown.full[0] * ratio)))
    whole = _image(shown.area('bicubic', shown.full, Area(0, shown.full[0], 0, shown.full[1])))
    whole = whole.resize(size, Image.Resampling.BICUBIC)
    frame = [part[2] * size[0], part[0] * size[1], part[3] * size[0] - 1, part[1] * size[1] - 1]
    ends = (frame[0], frame[1], max(frame[0], frame[2]), max(frame[1], frame[3]))
    ImageDraw.Draw(whole).rectangle(ends, outline=(255, 40, 40), width=2)
    framed = Image.new('RGB', (size[0] + 4, size[1] + 4), PAPER)
    framed.paste(whole, (2, 2))
    picture.paste(framed, (6, picture.height - framed.height - 6))


def _area(
    full: tuple[int, int], scale: float, crop: tuple[float, float, float, float]
) -> tuple[tuple[int, int], Area]:
    """The whole result's size, and the detail in it."""
    from liif_arch.upscaling.upscale import crop_area

    size, area = crop_area(full, crop, scale, None)
    if max(area.shape) > MOST_SIDE:
        raise UserError(
            f'the detail would have {area.shape[1]}x{area.shape[0]} pixels (width x height); '
            f'{MOST_SIDE} a side are allowed. Lower the scale, or make the crop smaller.',
            key='--crop',
        )
    return size, area


def zoom(
    shown: Shown,
    scales: tuple[float, float],
    centre: tuple[float, float],
    size: tuple[int, int],
    frames: int,
) -> Iterator[np.ndarray]:
    """A zoom into an image: bicubic on the left, the first network on the right.

    Args:
        shown: The image, with a network.
        scales: Of the first frame and of the last.
        centre: (y, x) in pixels of the image, in the middle of the last frame.
        size: (H, W) of a frame, of one method.
        frames: How many.

    Yields:
        Frames (H, 2 W + `GAP`, 3) of 8 bits, whose scales grow by a factor.
    """
    network = next(iter(shown.networks))
    for number in range(frames):
        share = number / max(1, frames - 1)
        scale = scales[0] * (scales[1] / scales[0]) ** share
        whole = (round(shown.full[0] * scale), round(shown.full[1] * scale))
        top = _first(centre[0] * scale, size[0], whole[0])
        left = _first(centre[1] * scale, size[1], whole[1])
        area = Area(top, top + size[0], left, left + size[1])
        gap = np.full((size[0], GAP, 3), 255, np.uint8)
        both = [np.asarray(_image(shown.area(name, whole, area))) for name in ('bicubic', network)]
        yield np.concatenate([both[0], gap, both[1]], 1)


def _first(middle: float, length: int, whole: int) -> int:
    """Where a window begins whose middle is there, as far as the whole allows."""
    return min(max(0, round(middle - length / 2)), whole - length)


def frame_size(full: tuple[int, int], scale: float, most: tuple[int, int]) -> tuple[int, int]:
    """The largest even size (H, W) of frames that the image fills from a scale on."""
    height = min(most[0], round(full[0] * scale)) // 2 * 2
    width = min(most[1], round(full[1] * scale)) // 2 * 2
    if min(height, width) < 2:
        raise UserError(f'--zoom: the image is too small at x{scale:g}; begin at a larger scale.')
    return height, width


def write_frames(frames: Iterator[np.ndarray], path: Path, rate: int) -> None:
    """Write frames (H, W, 3) as an animation (.gif, .webp, .png) or a film (.mp4)."""
    from liif_arch.files.atomic import output_file
    from liif_arch.films.animation import animation_bytes
    from liif_arch.films.video import film_bytes

    data = film_bytes(frames, rate) if path.suffix.lower() == '.mp4' else None
    if data is None:
        data = animation_bytes([Image.fromarray(frame) for frame in frames], path, 1000 / rate)
    with output_file(path) as file:
        file.write(data)
