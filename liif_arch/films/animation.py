"""Animated GIF, PNG, WebP and AVIF files, read and written by Pillow."""

from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from liif_arch.errors import UserError
from liif_arch.files.atomic import output_file
from liif_arch.files.damage import damage_named
from liif_arch.files.pillow_reading import open_image, pillow_pixels, require_pixels
from liif_arch.films.frames import Done, Enlarge

UNSAID = 100  # milliseconds of a frame that does not say it
_OPTIONS = {
    'PNG': {},
    'WEBP': {'lossless': True, 'exact': True},
    'GIF': {'disposal': 2},
}


def enlarge_animation(
    source: Path,
    result: Path,
    enlarge: Enlarge,
    quality: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Done:
    """Enlarge every frame of an animation; its timing, its number of rounds and its colour profile
    are kept.

    The result's frames are in memory until the last one is there, as their encoders need them.

    Args:
        source: A file of several frames.
        result: .png (all colours, without loss), .webp (likewise, unless quality is given) or .gif
            (256 colours a frame).
        enlarge: Frame by frame.
        quality: Of a lossy .webp, 1 to 100.
        progress: Called with (frames done, all).

    Raises:
        UserError: The file is damaged, or the result cannot be written.
    """
    options = _written(result, quality)
    with damage_named(str(source)):
        image = open_image(source)
        count = image.n_frames - _has_still(image)
    with image:
        frames, size = _frames(image, str(source)), (image.height, image.width)
        options |= _rounds(image, options['format'])
        profile = image.info.get('icc_profile')
        larger: list[Image.Image] = []
        durations = []
        while (frame := next(frames, None)) is not None:
            if progress is not None:
                progress(len(larger), count)
            durations.append(frame.milliseconds)
            larger.append(Image.fromarray(enlarge(frame.pixels)))
    if progress is not None:
        progress(count, count)
    if profile and options['format'] != 'GIF':
        options['icc_profile'] = profile
    buffer = BytesIO()
    larger[0].save(
        buffer,
        save_all=True,
        append_images=larger[1:],
        duration=_whole_milliseconds(durations),
        **options,
    )
    with output_file(result) as file:
        file.write(buffer.getvalue())
    return Done(size, (larger[0].height, larger[0].width), len(larger), len(larger))


def animation_bytes(frames: list[Image.Image], path: Path, milliseconds: float) -> bytes:
    """An animation that is shown again and again, as a file of the kind that a path names.

    Args:
        frames: In their order.
        path: .gif, .webp or .png.
        milliseconds: Of each frame.
    """
    buffer = BytesIO()
    times = _whole_milliseconds([milliseconds] * len(frames))
    options = {'save_all': True, 'append_images': frames[1:], 'duration': times, 'loop': 0}
    frames[0].save(buffer, **options, **_written(path, None))
    return buffer.getvalue()


class _Frame(NamedTuple):
    """A frame's pixels, RGBA, and how long it stands."""

    pixels: np.ndarray
    milliseconds: float


def _has_still(image: Image.Image) -> bool:
    """Whether a PNG's first picture is for programs that show no animations, and none of its
    frames.
    """
    return bool(image.info.get('default_image', False))


def _frames(image: Image.Image, name: str) -> Iterator[_Frame]:
    """Every frame.

    Raises:
        UserError: The file is damaged.
    """
    for number in range(image.n_frames):
        with damage_named(name):
            require_pixels(image.width * image.height, name)
            image.seek(number)
            pixels = pillow_pixels(image, name)  # reading it says how long it stands
        if number == 0 and _has_still(image):
            continue
        if pixels.shape[2] < 3:
            pixels = np.concatenate([np.repeat(pixels[..., :1], 3, 2), pixels[..., 1:]], 2)
        if pixels.shape[2] == 3:
            opaque = np.full((*pixels.shape[:2], 1), 255, np.uint8)
            pixels = np.concatenate([pixels, opaque], 2)
        yield _Frame(pixels, float(image.info.get('duration', 0)) or UNSAID)


def _whole_milliseconds(durations: list[float]) -> list[int]:
    """Durations as whole numbers, whose sums are those of the exact ones, rounded."""
    ends = np.rint(np.cumsum([0.0, *durations])).astype(int)
    return np.diff(ends).tolist()


def _rounds(image: Image.Image, kind: str) -> dict:
    """How often it is shown, as Pillow is told; GIF counts the repetitions, others the rounds."""
    loop = image.info.get('loop')
    rounds = loop
    if image.format == 'GIF':
        rounds = 1 if loop is None else loop and loop + 1
    elif loop is None:
        rounds = 0 if image.format in ('WEBP', 'AVIF') else 1
    if kind != 'GIF':
        return {'loop': rounds}
    return {} if rounds == 1 else {'loop': rounds and rounds - 1}


def _written(result: Path, quality: int | None) -> dict:
    """Pillow's options of a result."""
    kind = {'.png': 'PNG', '.webp': 'WEBP', '.gif': 'GIF'}[result.suffix.lower()]
    if quality is None:
        return {'format': kind, **_OPTIONS[kind]}
    if kind != 'WEBP':
        raise UserError(f'{result}: quality is of .webp; leave it out, or choose that.')
    return {'format': kind, 'quality': quality, 'exact': True}
