"""Films, frame by frame through PyAV: sound, subtitles and timing are carried over.

The picture is made in parts of a few seconds, each of which is a file beside the result until all
are there. So memory does not depend on the length, and a film that was stopped goes on behind its
last part.
"""

import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from glob import escape
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from liif_arch.errors import UserError
from liif_arch.films.colour import SCREEN, FrameColour, as_frame, as_pixels, frame_colour
from liif_arch.films.frames import Done, Enlarge
from liif_arch.films.video_reading import (
    decoded,
    first_frame,
    late_start,
    picture_track,
    require_pyav,
    timed,
    url,
)
from liif_arch.films.video_tracks import (
    DONE_MARK,
    LEAST,
    Place,
    carried_tracks,
    finished_parts,
    join,
    other_tracks,
)
from liif_arch.progress import write_line

PART_SECONDS = 4
DEFAULT_QUALITY = 67  # of 100; crf 17, at which no loss is seen
_ENCODERS = {8: 'libx264', 10: 'libx265'}
_WEBM = 'libvpx-vp9'


class Plan(NamedTuple):
    """What a film needs to be told once.

    Attributes:
        result: The file.
        parts: Folder of the parts.
        encoder: Name of the picture's encoder.
        options: What it is told.
        colour: Of the source's frames.
    """

    result: Path
    parts: Path
    encoder: str
    options: dict[str, str]
    colour: FrameColour

    @property
    def place(self) -> Place:
        """Where it becomes."""
        return Place(self.result, self.parts)


def enlarge_film(
    source: Path,
    result: Path,
    size_of: Callable[[tuple[int, int]], tuple[int, int]],
    enlarge: Callable[[tuple[int, int]], Enlarge],
    settings: str = '',
    quality: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Done:
    """Enlarge every frame of a film's picture track.

    Sound and subtitles are copied as they are, with languages and titles, and so are chapters.
    Depth (8 or 10 bits), colour matrix and range, subsampling and the times of frames are kept;
    frames that a telephone turned are upright. A film whose clock begins late begins at 0.

    Args:
        source: The film.
        result: .mp4, .mov, .mkv (H.264, of 10 bits H.265) or .webm (VP9).
        size_of: Output size (H, W) of upright frames (h, w); made even where subsampling needs it.
        enlarge: For an output size, the function that enlarges a frame.
        settings: What else the frames depend on, so that parts of other settings are not used.
        quality: 1 to 100, 100 without loss; None: 67.
        progress: Called with (frames done, about how many there are).

    Raises:
        UserError: The film cannot be read, or the result cannot be written or hold what is in it.
    """
    av = require_pyav(str(source))
    try:
        with av.open(url(source)) as film:
            first = first_frame(av, film, source)
            colour = frame_colour(first)
            before = (first.height, first.width)
            if colour.turns % 2:
                before = before[::-1]
            size = colour.possible_size(size_of(before))
            stamp = source.stat()
            key = repr((size, settings, quality, stamp.st_size, stamp.st_mtime_ns, before))
            plan = _planned(av, result, colour, quality, key)
            notes = [*colour.notes, *other_tracks(film)]
    except av.FFmpegError as error:
        raise UserError(f'{source}: {error.strerror or error}.') from None
    try:
        with _kept_if_any(plan):
            with av.open(url(source)) as film:
                carried = carried_tracks(av, film, plan.place, notes)
            with av.open(url(source)) as film:
                before_now = sum(part.frames for part in finished_parts(plan.place))
                count = _encode_parts(av, film, plan, enlarge(size), progress, notes)
            with av.open(url(source)) as film:
                join(av, film, plan.place, carried, notes)
    except (av.FFmpegError, OSError) as error:
        raise UserError(f'{result}: cannot be written ({error.strerror or error}).') from None
    return Done(before, size, count, count - before_now, tuple(notes))


@contextmanager
def _kept_if_any(plan: Plan) -> Iterator[None]:
    """What is done within may stop; the parts that are there stay, and are told of.

    In the end all parts of this result go, those of other settings too.
    """
    try:
        plan.parts.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        parts = finished_parts(plan.place)
        if parts and not _is_whole(plan):
            frames = sum(part.frames for part in parts)
            text = f'{plan.result}: {frames} frames are kept; the same command goes on from there.'
            write_line(f'basicsr upscale: {text}', sys.stderr)
        else:
            shutil.rmtree(plan.parts, ignore_errors=True)
        raise
    for parts in plan.result.parent.glob(f'.{escape(plan.result.name)}.*.parts'):
        shutil.rmtree(parts, ignore_errors=True)


def _is_whole(plan: Plan) -> bool:
    """Whether the result of these parts is there."""
    return (plan.parts / DONE_MARK).exists()


def _planned(av: Any, result: Path, colour: FrameColour, quality: int | None, key: str) -> Plan:
    quality = DEFAULT_QUALITY if quality is None else quality
    encoder = _ENCODERS[colour.depth]
    crf = round((100 - quality) * 0.51)
    options = {'crf': str(crf), 'preset': 'medium', 'bf': '0'}
    if encoder == 'libx265':
        options = {'crf': str(crf), 'preset': 'medium', 'x265-params': 'bframes=0:log-level=none'}
        if quality == 100:
            options['x265-params'] += ':lossless=1'
    if result.suffix.lower() == '.webm':
        encoder = _WEBM
        options = {'crf': str(round((100 - quality) * 0.63)), 'b': '0', 'cpu-used': '4'}
        options |= {'row-mt': '1', 'lag-in-frames': '0', 'lossless': str(int(quality == 100))}
    named = hashlib.sha256(f'{key}{encoder}{options}'.encode()).hexdigest()[:12]
    parts = result.parent / f'.{result.name}.{named}.parts'
    try:
        av.codec.Codec(encoder, 'w')
    except ValueError:
        raise UserError(f'{result}: this PyAV has no encoder {encoder}.') from None
    return Plan(result, parts, encoder, options, colour)


def _encode_parts(
    av: Any,
    film: Any,
    plan: Plan,
    enlarge: Enlarge,
    progress: Callable[[int, int], None] | None,
    notes: list[str],
) -> int:
    """Make the parts that are missing.

    Frames before them are decoded again, since no way to jump into a film finds the same frame in
    every format; that is quick beside a network.

    Returns:
        How many frames the film has.
    """
    track = picture_track(film)
    track.thread_type = 'AUTO'
    finished = finished_parts(plan.place)
    done, number = sum(part.frames for part in finished), len(finished)
    about = track.frames
    if not about and film.duration:
        about = int(film.duration / 1e6 * float(track.average_rate or 25))
    in_order = timed(decoded(av, film, notes), track, late_start(film), notes)
    last = finished[-1].last if finished else None
    frames = (entry for entry in in_order if last is None or entry[0] > last)
    length = int(PART_SECONDS / track.time_base)
    for first in frames:
        partial = plan.parts / f'{number:06}.{os.getpid()}.partial'
        end, in_part = first[0] + length, 0
        with av.open(url(partial), 'w', format='nut') as file:
            stream = None
            for pts, frame in _until(chain([first], frames), end):
                if progress is not None:
                    progress(done, max(about, done + 1))
                pixels = enlarge(as_pixels(frame, plan.colour))
                if stream is None:
                    stream = _stream(file, plan, track, pixels.shape)
                made = as_frame(pixels, plan.colour)
                made.pts, made.time_base = pts, track.time_base
                file.mux(stream.encode(made))
                last, done, in_part = pts, done + 1, in_part + 1
            assert stream is not None
            file.mux(stream.encode(None))
        partial.rename(plan.parts / f'{number:06}_{last}_{in_part}.nut')
        number += 1
    if progress is not None:
        progress(done, done)
    if done < LEAST * track.frames - 2:
        notes.append(f'it has {done} frames, and says that it has {track.frames}: it is cut off')
    return done


def _until(frames: Iterator[tuple[int, Any]], end: int) -> Iterator[tuple[int, Any]]:
    """Frames before a time, and the one that is there first at or behind it."""
    for pts, frame in frames:
        yield pts, frame
        if pts >= end:
            return


def _stream(file: Any, plan: Plan, track: Any, shape: tuple[int, ...]) -> Any:
    """The picture track of a part."""
    rate = track.average_rate or Fraction(25)
    stream = file.add_stream(plan.encoder, rate=rate, options=plan.options)
    stream.height, stream.width = shape[:2]
    stream.pix_fmt = plan.colour.written
    context = stream.codec_context
    context.time_base = track.time_base
    aspect = track.sample_aspect_ratio
    if aspect:
        context.sample_aspect_ratio = 1 / aspect if plan.colour.turns % 2 else aspect
    plan.colour.mark(context)
    return stream


def film_bytes(frames: Iterator[np.ndarray], rate: int) -> bytes:
    """An .mp4 file (H.264, BT.709) of frames (H, W, 3) of 8 bits and even sizes.

    Raises:
        UserError: PyAV is not installed.
    """
    av = require_pyav('.mp4')
    buffer = BytesIO()
    with av.open(buffer, 'w', format='mp4') as file:
        stream = file.add_stream('libx264', rate=rate, options={'crf': '17'})
        stream.pix_fmt = 'yuv420p'
        for number, frame in enumerate(frames):
            if number == 0:
                stream.height, stream.width = frame.shape[:2]
                SCREEN.mark(stream.codec_context)
            file.mux(stream.encode(as_frame(frame, SCREEN)))
        file.mux(stream.encode(None))
    return buffer.getvalue()
