"""Films, frame by frame through PyAV: sound, subtitles and timing are carried over.

The picture is made in parts of a few seconds, each of which is a file beside the result until all
are there. So memory does not depend on the length, and a film that was stopped goes on behind its
last part.
"""

import hashlib
import heapq
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from liif_arch.errors import UserError
from liif_arch.films.colour import FrameColour, as_frame, as_pixels, frame_colour
from liif_arch.films.frames import Done, Enlarge
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


def require_pyav(name: str) -> Any:
    """The package av.

    Raises:
        UserError: It is not installed.
    """
    try:
        import av
    except ImportError:
        raise UserError(
            f"{name}: films need the package av; pip install 'basicsr-liif[video]'."
        ) from None
    av.logging.set_level(av.logging.ERROR)
    return av


def enlarge_film(
    source: Path,
    result: Path,
    size_of: Callable[[tuple[int, int]], tuple[int, int]],
    enlarge: Callable[[tuple[int, int]], Enlarge],
    settings: str = '',
    quality: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Done:
    """Enlarge every frame of a film's first picture track.

    Sound and subtitles are copied as they are. Depth (8 or 10 bits), colour matrix and range,
    subsampling and the times of frames are kept; frames that a telephone turned are upright.

    Args:
        source: The film.
        result: .mp4, .mov, .mkv (H.264, of 10 bits H.265) or .webm (VP9).
        size_of: Output size (H, W) of upright frames (h, w); made even where subsampling needs it.
        enlarge: For an output size, the function that enlarges a frame.
        settings: What else the frames depend on, so that parts of other settings are not used.
        quality: 1 to 100, 100 without loss; None: 67.
        progress: Called with (frames done, about how many there are).

    Raises:
        UserError: The film cannot be read, or the result cannot hold what is in it.
    """
    av = require_pyav(str(source))
    try:
        with av.open(str(source)) as film:
            if not film.streams.video:
                raise UserError(f'{source}: found no picture track in this film.')
            track = film.streams.video[0]
            track.thread_type = 'AUTO'
            first = next(film.decode(track), None)
            if first is None:
                raise UserError(f'{source}: found no frame in its picture track.')
            colour = frame_colour(first)
            before = (first.height, first.width)
            if colour.turns % 2:
                before = before[::-1]
            size = colour.possible_size(size_of(before))
            stamp = source.stat()
            key = repr((size, settings, quality, stamp.st_size, stamp.st_mtime_ns, before))
            plan = _planned(av, result, colour, quality, key)
            with _kept_if_any(plan):
                carried, notes = _carried(av, film, plan)
        with _kept_if_any(plan):
            with av.open(str(source)) as film:
                count = _encode_parts(av, film, plan, enlarge(size), progress)
            with av.open(str(source)) as film:
                _join(av, film, plan, carried)
    except av.FFmpegError as error:
        raise UserError(f'{source}: {error.strerror or error}.') from None
    shutil.rmtree(plan.parts)
    return Done(before, size, count, (*colour.notes, *notes))


@contextmanager
def _kept_if_any(plan: Plan) -> Iterator[None]:
    """What is done within may stop; the parts that are there stay, and are told of."""
    try:
        yield
    except BaseException:
        parts = _finished(plan)
        if parts:
            frames = sum(part.frames for part in parts)
            text = f'{plan.result}: {frames} frames are kept; the same command goes on from there.'
            write_line(f'basicsr upscale: {text}', sys.stderr)
        else:
            shutil.rmtree(plan.parts, ignore_errors=True)
        raise


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
        parts.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f'{result}: cannot write here ({error.strerror}).') from None
    except ValueError:
        raise UserError(f'{result}: this PyAV has no encoder {encoder}.') from None
    return Plan(result, parts, encoder, options, colour)


def _carried(av: Any, film: Any, plan: Plan) -> tuple[list[int], list[str]]:
    """Numbers of the tracks beside the picture that the result can hold, and what is left out.

    Raises:
        UserError: It cannot hold the sound.
    """
    carried, notes = [], []
    others = (s for s in film.streams if s.type in ('audio', 'subtitle'))
    for stream in others:
        probe = plan.parts / f'probe{plan.result.suffix}'
        try:
            with av.open(str(probe), 'w') as file:
                file.add_stream_from_template(stream)
                file.start_encoding()
            carried.append(stream.index)
        except (av.FFmpegError, ValueError) as error:
            what = f'{stream.type} track {stream.index} ({stream.codec_context.name})'
            if stream.type == 'audio':
                raise UserError(
                    f'{plan.result}: cannot hold the {what}; use .mkv (-o NAME.mkv).'
                ) from error
            notes.append(what)
        finally:
            probe.unlink(missing_ok=True)
    return carried, [f'not kept: {note}' for note in notes]


class Part(NamedTuple):
    """A finished part: its file, the time of its last frame, and how many frames it has."""

    path: Path
    last: int
    frames: int


def _finished(plan: Plan) -> list[Part]:
    """The parts that are there, in order; their names say what they hold."""
    found = []
    for number, path in enumerate(sorted(plan.parts.glob('*.nut'))):
        index, last, frames = path.stem.split('_')
        if int(index) != number:
            break
        found.append(Part(path, int(last), int(frames)))
    return found


def _encode_parts(
    av: Any,
    film: Any,
    plan: Plan,
    enlarge: Enlarge,
    progress: Callable[[int, int], None] | None,
) -> int:
    """Make the parts that are missing.

    Returns:
        How many frames the film has.
    """
    track = film.streams.video[0]
    track.thread_type = 'AUTO'
    finished = _finished(plan)
    done, number = sum(part.frames for part in finished), len(finished)
    about = track.frames
    if not about and film.duration:
        about = int(film.duration / 1e6 * float(track.average_rate or 25))
    last = None
    if finished:
        last = finished[-1].last
        film.seek(last, stream=track, backward=True)
    frames = _from(film.decode(track), last)
    length = int(PART_SECONDS / track.time_base)
    for first in frames:
        partial = plan.parts / f'{number:06}.partial'
        end, in_part = first.pts + length, 0
        with av.open(str(partial), 'w', format='nut') as file:
            stream = None
            for frame in _until(chain([first], frames), end):
                if progress is not None:
                    progress(done, max(about, done + 1))
                pixels = enlarge(as_pixels(frame, plan.colour))
                if stream is None:
                    stream = _stream(file, plan, track, pixels.shape)
                made = as_frame(pixels, plan.colour)
                made.pts, made.time_base = frame.pts, track.time_base
                file.mux(stream.encode(made))
                last, done, in_part = frame.pts, done + 1, in_part + 1
            assert stream is not None
            file.mux(stream.encode(None))
        partial.rename(plan.parts / f'{number:06}_{last}_{in_part}.nut')
        number += 1
    if progress is not None:
        progress(done, done)
    return done


def _from(frames: Iterator[Any], last: int | None) -> Iterator[Any]:
    """The frames behind a time; the times of frames rise."""
    for frame in frames:
        if frame.pts is None:
            raise UserError('found a frame without a time in this film; convert it to .mkv before.')
        if last is None or frame.pts > last:
            last = frame.pts
            yield frame


def _until(frames: Iterator[Any], end: int) -> Iterator[Any]:
    """Frames before a time, and the one that is there first at or behind it."""
    for frame in frames:
        yield frame
        if frame.pts >= end:
            return


def _stream(file: Any, plan: Plan, track: Any, shape: tuple[int, ...]) -> Any:
    """The picture track of a part."""
    rate = track.average_rate or Fraction(25)
    stream = file.add_stream(plan.encoder, rate=rate, options=plan.options)
    stream.height, stream.width = shape[:2]
    stream.pix_fmt = plan.colour.written
    context = stream.codec_context
    context.time_base = track.time_base
    if track.sample_aspect_ratio:
        context.sample_aspect_ratio = track.sample_aspect_ratio
    plan.colour.mark(context)
    return stream


def _join(av: Any, film: Any, plan: Plan, carried: list[int]) -> None:
    """The result of its parts, and of the film's other tracks."""
    parts = _finished(plan)
    partial = plan.parts / f'whole{plan.result.suffix}'
    options = {}
    if plan.result.suffix.lower() in ('.mp4', '.m4v', '.mov'):
        options['movflags'] = '+faststart'
    with av.open(str(partial), 'w', options=options) as file, av.open(str(parts[0].path)) as first:
        picture = file.add_stream_from_template(first.streams.video[0])
        others = {i: file.add_stream_from_template(film.streams[i]) for i in carried}
        file.metadata.update(film.metadata)
        tracks = [_part_packets(av, parts, picture)]
        if carried:
            tracks.append(_other_packets(film, others))
        for _, _, packet in heapq.merge(*tracks, key=lambda entry: entry[:2]):
            file.mux_one(packet)
    partial.replace(plan.result)


def _part_packets(av: Any, parts: list[Part], stream: Any) -> Iterator[tuple[float, int, Any]]:
    """Seconds, rank and packet of the picture."""
    for part in parts:
        with av.open(str(part.path)) as file:
            for packet in file.demux(file.streams.video[0]):
                if packet.size and packet.pts is not None:
                    packet.dts = packet.pts  # frames are encoded in their order
                    seconds = float(packet.pts * packet.time_base)
                    packet.stream = stream
                    yield seconds, 0, packet


def _other_packets(film: Any, streams: dict[int, Any]) -> Iterator[tuple[float, int, Any]]:
    """Seconds, rank and packet of sound and subtitles."""
    last = 0.0
    for packet in film.demux([film.streams[i] for i in streams]):
        if packet.size:
            if packet.dts is not None:
                last = max(last, float(packet.dts * packet.time_base))
            packet.stream = streams[packet.stream.index]
            yield last, 1, packet
