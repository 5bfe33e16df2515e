"""Small films of many kinds, and what is in a film."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from helpers import photo

from liif_arch.films.video import enlarge_film

RATE = 25
SOUND_RATE = 48000


def make_film(
    path: Path,
    frames: int = 30,
    size: tuple[int, int] = (36, 64),
    pixels: str = 'yuv420p',
    codec: str = 'libx264',
    sound: str | None = 'aac',
    times: list[int] | None = None,
    marks: dict | None = None,
    rotation: int = 0,
    options: dict[str, str] | None = None,
    language: str = '',
    longer: float = 0.0,
) -> None:
    """Write a film of a photograph that moves, with a tone.

    Args:
        path: The file.
        frames: How many.
        size: Height and width.
        pixels, codec: FFmpeg's names of the pixel format and the encoder.
        sound: FFmpeg's name of the sound's encoder.
        times: Of the frames, in units of 1 / RATE second; None: one after the other.
        marks: Attributes of the encoder's context.
        rotation: Degrees that a player has to turn it by.
        options: Of the picture's encoder.
        language: Of the picture's track.
        longer: Seconds that the sound goes on after the picture.
    """
    picture = photo(size[0] + frames, size[1] + 2 * frames)
    with av.open(str(path), 'w') as file:
        stream = file.add_stream(codec, rate=RATE)
        stream.height, stream.width, stream.pix_fmt = *size, pixels
        if codec.startswith('libx'):
            quiet = {'x265-params': 'log-level=none'} if codec == 'libx265' else {}
            stream.options = {'crf': '8', **quiet}
        stream.options = {**stream.options, **(options or {})}
        for name, value in (marks or {}).items():
            setattr(stream.codec_context, name, value)
        if language:
            stream.metadata['language'] = language
        if rotation:
            stream.set_display_rotation(rotation)
        tone = None
        if sound is not None:
            tone = file.add_stream(sound, rate=SOUND_RATE)
            tone.layout = 'stereo'
        for number in range(frames):
            shown = picture[number : number + size[0], 2 * number : 2 * number + size[1]]
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(shown), format='rgb24')
            frame.pts = number if times is None else times[number]
            frame.time_base = Fraction(1, RATE)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
        if tone is not None:
            _add_tone(file, tone, frames / RATE + longer)


def _add_tone(file, stream, seconds: float) -> None:
    wave = (np.sin(np.arange(int(seconds * SOUND_RATE)) / 20) * 9000).astype(np.int16)
    step = stream.codec_context.frame_size or 1024
    for start in range(0, len(wave), step):
        samples = np.repeat(wave[start : start + step], 2)[None]
        frame = av.AudioFrame.from_ndarray(samples, format='s16', layout='stereo')
        frame.sample_rate, frame.pts = SOUND_RATE, start
        file.mux(stream.encode(frame))
    file.mux(stream.encode(None))


def sound_of(path: Path) -> list[tuple[float, bytes]]:
    """Seconds and content of a film's packets of sound."""
    with av.open(str(path)) as file:
        packets = [packet for packet in file.demux(audio=0) if packet.size]
        return [(float(packet.pts * packet.time_base), bytes(packet)) for packet in packets]


def frames_of(path: Path) -> list:
    """A film's frames, PyAV's."""
    with av.open(str(path)) as file:
        return list(file.decode(video=0))


def repeated(size):
    """Every pixel as a block; of the size that was asked for, cut or not."""

    def enlarge(frame: np.ndarray) -> np.ndarray:
        rows = np.arange(size[0]) * frame.shape[0] // size[0]
        cols = np.arange(size[1]) * frame.shape[1] // size[1]
        return np.ascontiguousarray(frame[rows][:, cols])

    return enlarge


def double(source, result, **options):
    return enlarge_film(source, result, lambda s: (2 * s[0], 2 * s[1]), repeated, **options)
