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
from liif_arch.files.decoding import upright
from liif_arch.files.encoding import with_png_metadata
from liif_arch.files.exif import orientation_of
from liif_arch.files.metadata import Metadata, exif_block, picture_exif, read_metadata
from liif_arch.files.pillow_reading import open_image, pillow_pixels, require_pixels
from liif_arch.films.frames import Done, Enlarge

HALF = 128  # of alpha, from which a pixel is taken for opaque
_PNG_DEPTH = 24  # byte of a PNG file that says the bits of a value
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
    """Enlarge every frame of an animation; its timing and its number of rounds are kept, and so is
    what the result can hold of what is said beside the pixels. Frames are turned as EXIF says.

    The result's frames are in memory until the last one is there, as their encoders need them.

    Args:
        source: A file of several frames.
        result: .png (all colours, without loss), .webp (likewise, unless quality is given) or .gif
            (256 colours a frame, times in hundredths of a second).
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
        orientation, metadata = _said(image, source.read_bytes())
        options |= _rounds(image, options['format'])
        size, larger, durations = (0, 0), [], []
        for frame in _frames(image, str(source)):
            if progress is not None:
                progress(len(larger), count)
            durations.append(frame.milliseconds)
            pixels = upright(frame.pixels, orientation)
            size = (pixels.shape[0], pixels.shape[1])
            larger.append(enlarge(pixels))
    if progress is not None:
        progress(count, count)
    data = _encoded(larger, durations, metadata, options)
    with output_file(result) as file:
        file.write(data)
    notes = list(metadata.notes)
    lost = ', '.join(metadata.left_out(result.suffix))
    if lost:
        notes.append(f'not kept: {lost}')
    return Done(size, larger[0].shape[:2], len(larger), len(larger), tuple(notes))


def _said(image: Image.Image, data: bytes) -> tuple[int, Metadata]:
    """What EXIF says of the orientation, and what the file says beside its pixels."""
    orientation = orientation_of(picture_exif(image, BytesIO(data)))
    metadata = read_metadata(image, data, channels=4)
    if image.format == 'PNG' and data[_PNG_DEPTH] == 16:
        metadata = metadata._replace(notes=('16 bits became 8',))  # Pillow reads no more of it
    return orientation, metadata


def _encoded(
    frames: list[np.ndarray], durations: list[float], metadata: Metadata, options: dict
) -> bytes:
    """The bytes of a file.

    Args:
        frames: (H, W, 4) of 8 bits.
        durations: Of the frames, in milliseconds.
        metadata: Kept as far as the format holds it.
        options: Pillow's, its `format` among them.
    """
    kind, size = options['format'], (frames[0].shape[0], frames[0].shape[1])
    if kind == 'GIF':  # whose pixels are opaque or are not there
        for frame in frames:
            frame[..., 3] = np.where(frame[..., 3] >= HALF, 255, 0)
    if kind == 'WEBP':
        said = {'icc_profile': metadata.icc, 'exif': exif_block(metadata, size)}
        options = options | {name: value for name, value in said.items() if value}
    first, *others = [Image.fromarray(frame) for frame in frames]
    buffer = BytesIO()
    first.save(
        buffer,
        save_all=True,
        append_images=others,
        duration=_times(durations, kind),
        **options,
    )
    if kind == 'PNG':
        return with_png_metadata(buffer.getvalue(), metadata, size)
    return buffer.getvalue()


def animation_bytes(frames: list[Image.Image], path: Path, milliseconds: float) -> bytes:
    """An animation that is shown again and again, as a file of the kind that a path names.

    Args:
        frames: In their order.
        path: .gif, .webp or .png.
        milliseconds: Of each frame.
    """
    buffer = BytesIO()
    written = _written(path, None)
    times = _times([milliseconds] * len(frames), written['format'])
    options = {'save_all': True, 'append_images': frames[1:], 'duration': times, 'loop': 0}
    frames[0].save(buffer, **options, **written)
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


def _times(durations: list[float], kind: str) -> list[int]:
    """Durations as a format has them, in whole milliseconds, whose sums are those of the exact
    ones, rounded.
    """
    unit = 10 if kind == 'GIF' else 1
    ends = np.rint(np.cumsum([0.0, *durations]) / unit).astype(int) * unit
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
