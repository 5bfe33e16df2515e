"""Animated GIF, PNG, WebP and AVIF files, read and written by Pillow."""

from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageSequence

from liif_arch.errors import UserError
from liif_arch.files.atomic import output_file
from liif_arch.files.damage import damage_named
from liif_arch.files.pillow_reading import open_image, pillow_pixels, require_pixels
from liif_arch.films.frames import Done, Enlarge

SHORTEST = 10  # milliseconds of a frame, below which many programs show it longer
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
    with damage_named(str(source)), open_image(source) as image:
        require_pixels(image.width * image.height, str(source))
        count, loop = image.n_frames, image.info.get('loop', 1)
        profile = image.info.get('icc_profile')
        durations: list[int] = []
        larger = []
        for number, frame in enumerate(_frames(image, str(source), durations)):
            if progress is not None:
                progress(number, count)
            larger.append(Image.fromarray(enlarge(frame)))
    if progress is not None:
        progress(count, count)
    options = _written(result, quality)
    if profile and options['format'] != 'GIF':
        options['icc_profile'] = profile
    buffer = BytesIO()
    larger[0].save(
        buffer,
        save_all=True,
        append_images=larger[1:],
        duration=durations,
        loop=loop,
        **options,
    )
    with output_file(result) as file:
        file.write(buffer.getvalue())
    size = (larger[0].height, larger[0].width)
    return Done((image.height, image.width), size, count)


def _frames(image: Image.Image, name: str, durations: list[int]) -> Iterator[np.ndarray]:
    """Every frame as RGB, or as RGBA where any may be transparent; its time joins the durations."""
    for frame in ImageSequence.Iterator(image):
        pixels = pillow_pixels(frame, name)  # reading it says how long it stands
        durations.append(max(SHORTEST, round(frame.info.get('duration', 0) or 100)))
        if pixels.shape[2] < 3:
            pixels = np.concatenate([np.repeat(pixels[..., :1], 3, 2), pixels[..., 1:]], 2)
        if pixels.shape[2] == 3:
            opaque = np.full((*pixels.shape[:2], 1), 255, np.uint8)
            pixels = np.concatenate([pixels, opaque], 2)
        yield pixels


def _written(result: Path, quality: int | None) -> dict:
    """Pillow's options of a result."""
    kind = {'.png': 'PNG', '.webp': 'WEBP', '.gif': 'GIF'}[result.suffix.lower()]
    if quality is None:
        return {'format': kind, **_OPTIONS[kind]}
    if kind != 'WEBP':
        raise UserError(f'{result}: quality is of .webp; leave it out, or choose that.')
    return {'format': kind, 'quality': quality, 'exact': True}
