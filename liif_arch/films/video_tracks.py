"""A film's tracks beside the picture, and how all become one file again."""

import heapq
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from liif_arch.errors import UserError
from liif_arch.films.video_reading import LATE, demuxed, late_start, picture_track, url

PICTURE, SOUND = 0, 1  # which of two packets of one time comes first
LEAST = 0.95  # of the frames or seconds that a film says to have
DONE_MARK = 'done'  # of parts whose result is there


class Place(NamedTuple):
    """Where a film becomes: the result, and the folder of its parts."""

    result: Path
    parts: Path


def carried_tracks(av: Any, film: Any, plan: Place, notes: list[str]) -> list[int]:
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
            with av.open(url(probe), 'w') as file:
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


def other_tracks(film: Any) -> list[str]:
    """What is said of tracks that are never carried: further pictures, attachments, data."""
    picture = picture_track(film).index
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


def finished_parts(plan: Place) -> list[Part]:
    """The parts that are there, in order; their names say what they hold."""
    found = []
    for number, path in enumerate(sorted(plan.parts.glob('*.nut'))):
        index, last, frames = path.stem.split('_')
        if int(index) != number:
            break
        found.append(Part(path, int(last), int(frames)))
    return found


def join(av: Any, film: Any, plan: Place, carried: list[int], notes: list[str]) -> None:
    """The result of its parts, and of the film's other tracks."""
    parts = finished_parts(plan)
    partial = plan.parts / f'whole.{os.getpid()}{plan.result.suffix}'
    options = {}
    if plan.result.suffix.lower() in ('.mp4', '.m4v', '.mov'):
        options['movflags'] = '+faststart'
    lost = 0
    with av.open(url(partial), 'w', options=options) as file, av.open(url(parts[0].path)) as first:
        picture = file.add_stream_from_template(first.streams.video[0])
        # Parts do not hold it, and their unit of time would be taken for it.
        picture.codec_context.framerate = picture_track(film).average_rate or 0
        picture.metadata.update(picture_track(film).metadata)
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
        end = 0.0
        for seconds, rank, packet in heapq.merge(*tracks, key=lambda entry: entry[:2]):
            end = max(end, seconds)
            try:
                file.mux_one(packet)
            except av.FFmpegError:
                if rank == PICTURE:
                    raise
                lost += 1
    if lost:
        notes.append(f'{lost} damaged packets of sound and subtitles were left out')
    if _says_more(film, end):
        length = film.duration / 1e6
        notes.append(f'it ends after {end:.1f} s, and says that it is {length:.1f} s long')
    (plan.parts / DONE_MARK).touch()
    partial.replace(plan.result)


def _says_more(film: Any, end: float) -> bool:
    """Whether a film that does not say how many frames it has is cut off, by the seconds at which
    its last packet begins.
    """
    if picture_track(film).frames or not film.duration or late_start(film):
        return False
    return end < LEAST * film.duration / 1e6 - LATE


def _copy_chapters(film: Any, file: Any) -> None:
    """Chapters, less the time at which the film begins."""
    chapters = []
    for chapter in film.chapters():
        start = round(late_start(film) / chapter['time_base'])
        times = {'start': chapter['start'] - start, 'end': chapter['end'] - start}
        chapters.append({**chapter, **times})
    if chapters:
        file.set_chapters(chapters)


def _part_packets(av: Any, parts: list[Part], stream: Any) -> Iterator[tuple[float, int, Any]]:
    """Seconds, rank and packet of the picture."""
    for part in parts:
        with av.open(url(part.path)) as file:
            for packet in file.demux(file.streams.video[0]):
                if packet.size and packet.pts is not None:
                    packet.dts = packet.pts  # frames are encoded in their order
                    seconds = float(packet.pts * packet.time_base)
                    packet.stream = stream
                    yield seconds, PICTURE, packet


def _other_packets(av: Any, film: Any, streams: dict[int, Any]) -> Iterator[tuple[float, int, Any]]:
    """Seconds, rank and packet of sound and subtitles, whose times rise as `timed` has it."""
    start = late_start(film)
    clocks = {index: _Clock(start, film.streams[index]) for index in streams}
    seconds = 0.0
    for packet in demuxed(av, film, [film.streams[index] for index in streams]):
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
