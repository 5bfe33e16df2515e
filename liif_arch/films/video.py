"""Films, frame by frame through PyAV: sound, subtitles and timing are carried over.

The picture is made in parts of a few seconds, each of which is a file beside the result until all
are there. So memory does not depend on the length, and a film that was stopped goes on behind its
last part.
"""

import hashlib
import heapq
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
from liif_arch.progress import write_line

PART_SECONDS = 4
LATE = 1.0  # seconds of a jump, or of a start, that is no small unevenness
LEAST = 0.95  # of the frames that a film says to have
ATTEMPTS = 100  # places of a file that may be damaged
PICTURE, SOUND = 0, 1  # which of two packets of one time comes first
DONE_MARK = 'done'  # of parts whose result is there
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
        with av.open(str(source)) as film:
            first = _first_frame(av, film, source)
            colour = frame_colour(first)
            before = (first.height, first.width)
            if colour.turns % 2:
                before = before[::-1]
            size = colour.possible_size(size_of(before))
            stamp = source.stat()
            key = repr((size, settings, quality, stamp.st_size, stamp.st_mtime_ns, before))
            plan = _planned(av, result, colour, quality, key)
            notes = [*colour.notes, *_other_tracks(film)]
    except av.FFmpegError as error:
        raise UserError(f'{source}: {error.strerror or error}.') from None
    try:
        with _kept_if_any(plan):
            with av.open(str(source)) as film:
                carried = _carried(av, film, plan, notes)
            with av.open(str(source)) as film:
                count = _encode_parts(av, film, plan, enlarge(size), progress, notes)
            with av.open(str(source)) as film:
                _join(av, film, plan, carried, notes)
    except (av.FFmpegError, OSError) as error:
        raise UserError(f'{result}: cannot be written ({error.strerror or error}).') from None
    return Done(before, size, count, tuple(notes))


def _first_frame(av: Any, film: Any, source: Path) -> Any:
    """The first frame of a film's picture."""
    if not film.streams.video:
        raise UserError(f'{source}: found no picture track in this film.')
    first = next(iter(_decoded(av, film, [])), None)
    if first is None:
        raise UserError(f'{source}: found no frame in its picture track.')
    return first


def _picture(film: Any) -> Any:
    """The picture track: the one that a player shows."""
    return film.streams.best('video')


def _start(film: Any) -> float:
    """Seconds at which a film begins, where that is late, as in recordings of broadcasts."""
    start = (film.start_time or 0) / 1e6
    if abs(start) < LATE:
        return 0.0
    return start


@contextmanager
def _kept_if_any(plan: Plan) -> Iterator[None]:
    """What is done within may stop; the parts that are there stay, and are told of.

    In the end all parts of this result go, those of other settings too.
    """
    try:
        plan.parts.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        parts = _finished(plan)
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


def _carried(av: Any, film: Any, plan: Plan, notes: list[str]) -> list[int]:
    """Numbers of the tracks beside the picture that the result can hold; others join the notes.

    Raises:
        UserError: It cannot hold the sound.
    """
    carried = []
    for stream in film.streams:
        if stream.type not in ('audio', 'subtitle'):
            continue
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
            notes.append(f'not kept: {what}')
        finally:
            probe.unlink(missing_ok=True)
    return carried


def _other_tracks(film: Any) -> list[str]:
    """What is said of tracks that are never carried: further pictures, attachments, data."""
    picture = _picture(film).index
    others = []
    for stream in film.streams:
        if stream.type not in ('audio', 'subtitle') and stream.index != picture:
            others.append(f'not kept: {stream.type} track {stream.index}')
    return others


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
    notes: list[str],
) -> int:
    """Make the parts that are missing.

    Frames before them are decoded again, since no way to jump into a film finds the same frame in
    every format; that is quick beside a network.

    Returns:
        How many frames the film has.
    """
    track = _picture(film)
    track.thread_type = 'AUTO'
    finished = _finished(plan)
    done, number = sum(part.frames for part in finished), len(finished)
    about = track.frames
    if not about and film.duration:
        about = int(film.duration / 1e6 * float(track.average_rate or 25))
    timed = _timed(_decoded(av, film, notes), track, _start(film), notes)
    last = finished[-1].last if finished else None
    frames = (entry for entry in timed if last is None or entry[0] > last)
    length = int(PART_SECONDS / track.time_base)
    for first in frames:
        partial = plan.parts / f'{number:06}.{os.getpid()}.partial'
        end, in_part = first[0] + length, 0
        with av.open(str(partial), 'w', format='nut') as file:
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
    if done < LEAST * about - 2:
        notes.append(f'it is cut off, or says too much: {done} of {about} frames are there')
    return done


def _decoded(av: Any, film: Any, notes: list[str]) -> Iterator[Any]:
    """The frames of a film's picture; packets that are damaged are left out, and noted."""
    track = _picture(film)
    damaged = 0
    for packet in _demuxed(av, film, [track]):
        try:
            yield from packet.decode()
        except av.InvalidDataError:
            damaged += 1
    if damaged:
        notes.append(f'{damaged} damaged packets of the picture were left out')


def _demuxed(av: Any, film: Any, streams: list[Any]) -> Iterator[Any]:
    """Packets of some tracks; where a file is damaged, those behind that place too."""
    attempts = 0
    while attempts < ATTEMPTS:
        try:
            yield from film.demux(streams)
            return
        except av.InvalidDataError:
            attempts += 1


def _timed(
    frames: Iterator[Any], track: Any, start: float, notes: list[str]
) -> Iterator[tuple[int, Any]]:
    """Frames and their times, in the track's unit, which rise.

    A frame without a time, or with one that does not rise (some formats give frames the times of
    others), comes one frame behind the last. Where a recording's clock jumps back, it goes on.
    """
    unit = float(track.time_base)
    step = max(1, round(1 / (float(track.average_rate or 25) * unit)))
    offset, last, jumps = -round(start / unit), None, 0
    for frame in frames:
        pts = frame.pts
        if pts is not None:
            pts += offset
        if last is not None and (pts is None or pts <= last):
            if pts is not None and (last - pts) * unit > LATE:
                offset += last + step - pts
                jumps += 1
            pts = last + step
        last = 0 if pts is None else pts
        yield last, frame
    if jumps:
        notes.append(f'its clock jumps back {jumps} time(s), and goes on in the result')


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


def _join(av: Any, film: Any, plan: Plan, carried: list[int], notes: list[str]) -> None:
    """The result of its parts, and of the film's other tracks."""
    parts = _finished(plan)
    partial = plan.parts / f'whole.{os.getpid()}{plan.result.suffix}'
    options = {}
    if plan.result.suffix.lower() in ('.mp4', '.m4v', '.mov'):
        options['movflags'] = '+faststart'
    lost = 0
    with av.open(str(partial), 'w', options=options) as file, av.open(str(parts[0].path)) as first:
        picture = file.add_stream_from_template(first.streams.video[0])
        others = {}
        for index in carried:
            others[index] = file.add_stream_from_template(film.streams[index])
            others[index].metadata.update(film.streams[index].metadata)
            others[index].disposition = film.streams[index].disposition
        file.metadata.update(film.metadata)
        _copy_chapters(film, file)
        tracks = [_part_packets(av, parts, picture)]
        if carried:
            tracks.append(_other_packets(av, film, others))
        for _, rank, packet in heapq.merge(*tracks, key=lambda entry: entry[:2]):
            try:
                file.mux_one(packet)
            except av.FFmpegError:
                if rank == PICTURE:
                    raise
                lost += 1
    if lost:
        notes.append(f'{lost} damaged packets of sound and subtitles were left out')
    (plan.parts / DONE_MARK).touch()
    partial.replace(plan.result)


def _copy_chapters(film: Any, file: Any) -> None:
    """Chapters, less the time at which the film begins."""
    chapters = []
    for chapter in film.chapters():
        start = round(_start(film) / chapter['time_base'])
        times = {'start': chapter['start'] - start, 'end': chapter['end'] - start}
        chapters.append({**chapter, **times})
    if chapters:
        file.set_chapters(chapters)


def _part_packets(av: Any, parts: list[Part], stream: Any) -> Iterator[tuple[float, int, Any]]:
    """Seconds, rank and packet of the picture."""
    for part in parts:
        with av.open(str(part.path)) as file:
            for packet in file.demux(file.streams.video[0]):
                if packet.size and packet.pts is not None:
                    packet.dts = packet.pts  # frames are encoded in their order
                    seconds = float(packet.pts * packet.time_base)
                    packet.stream = stream
                    yield seconds, PICTURE, packet


def _other_packets(av: Any, film: Any, streams: dict[int, Any]) -> Iterator[tuple[float, int, Any]]:
    """Seconds, rank and packet of sound and subtitles, whose times rise as `_timed` has it."""
    start = _start(film)
    clocks = {index: _Clock(start, film.streams[index]) for index in streams}
    seconds = 0.0
    for packet in _demuxed(av, film, [film.streams[index] for index in streams]):
        if packet.size:
            index = packet.stream.index
            clocks[index].set(packet)
            if packet.dts is not None:
                seconds = max(seconds, float(packet.dts * packet.time_base))
            packet.stream = streams[index]
            yield seconds, SOUND, packet


class _Clock:
    """The times of a track's packets, which rise.

    Args:
        start: Seconds that are taken from every time.
        stream: The track.
    """

    def __init__(self, start: float, stream: Any) -> None:
        self.unit = float(stream.time_base)
        self.offset, self.last = -round(start / self.unit), None

    def set(self, packet: Any) -> None:
        """Give a packet its time in the result."""
        if packet.dts is None:
            if packet.pts is not None:
                packet.pts += self.offset
            return
        dts = packet.dts + self.offset
        if self.last is not None and dts <= self.last:
            following = self.last + max(1, packet.duration or 1)
            if (self.last - dts) * self.unit > LATE:
                self.offset += following - dts
            dts = following
        if packet.pts is not None:
            packet.pts += dts - packet.dts
        packet.dts = self.last = dts


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
