"""Films read through PyAV: which track, from when on, and frames whose times rise."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from liif_arch.errors import UserError

LATE = 1.0  # seconds of a jump, or of a start, that is no small unevenness
ATTEMPTS = 100  # places of a file that may be damaged


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


def url(path: Path) -> str:
    """A path as FFmpeg takes it: absolute, or it would take what stands before a colon, as in
    10:30.mp4, for a protocol.
    """
    return str(path.absolute())


def first_frame(av: Any, film: Any, source: Path) -> Any:
    """The first frame of a film's picture."""
    if not film.streams.video:
        raise UserError(f'{source}: found no picture track in this film.')
    first = next(iter(decoded(av, film, [])), None)
    if first is None:
        raise UserError(f'{source}: found no frame in its picture track.')
    return first


def picture_track(film: Any) -> Any:
    """The picture track: the one that a player shows."""
    return film.streams.best('video')


def late_start(film: Any) -> float:
    """Seconds at which a film begins, where that is late, as in recordings of broadcasts."""
    start = (film.start_time or 0) / 1e6
    if abs(start) < LATE:
        return 0.0
    return start


def decoded(av: Any, film: Any, notes: list[str]) -> Iterator[Any]:
    """The frames of a film's picture; packets that are damaged are left out, and noted."""
    track = picture_track(film)
    damaged = 0
    for packet in demuxed(av, film, [track]):
        try:
            yield from packet.decode()
        except av.InvalidDataError:
            damaged += 1
    if damaged:
        notes.append(f'{damaged} damaged packets of the picture were left out')


def demuxed(av: Any, film: Any, streams: list[Any]) -> Iterator[Any]:
    """Packets of some tracks; where a file is damaged, those behind that place too."""
    attempts = 0
    while attempts < ATTEMPTS:
        try:
            yield from film.demux(streams)
            return
        except av.InvalidDataError:
            attempts += 1


def timed(
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
