"""A film's frames as pixels and back: matrix, range, depth and subsampling as they came."""

from typing import Any, NamedTuple

import numpy as np

# ITU-T H.273's matrix numbers, and which of FFmpeg's conversions each is.
_MATRICES = {1: 'ITU709', 4: 'FCC', 5: 'ITU601', 6: 'ITU601', 7: 'SMPTE240M', 9: 'BT2020'}
_MATRICES[10] = 'BT2020'
_NUMBERS = {'ITU709': 1, 'FCC': 4, 'ITU601': 6, 'SMPTE240M': 7, 'BT2020': 9}
_FULL, _LIMITED = 2, 1
# FFmpeg's SWS_BICUBIC, _FULL_CHR_H_INT, _FULL_CHR_H_INP and _ACCURATE_RND: with its fast paths,
# films would become darker by one level.
_EXACT = 0x4 | 0x2000 | 0x4000 | 0x40000
# Side data of HDR10, HDR10+ and Dolby Vision, by FFmpeg's names.
_HDR = {
    'MASTERING_DISPLAY_METADATA',
    'CONTENT_LIGHT_LEVEL',
    'DYNAMIC_HDR_PLUS',
    'DOVI_METADATA',
}
_HD = 720  # rows, from which a film that does not say its matrix is taken for BT.709


class FrameColour(NamedTuple):
    """How a film's colours are stored.

    Attributes:
        matrix: Of YUV, by FFmpeg's name.
        full_range: Whether black is 0; else it is 16 of 255.
        depth: Bits of a value that is written, 8 or 10.
        written: Pixel format of the result.
        primaries, transfer: Numbers of ITU-T H.273, carried as they are.
        turns: Quarter turns, against the clock, that make a frame upright.
        even_rows, even_cols: What subsampling needs.
        notes: What changes, in words.
    """

    matrix: str
    full_range: bool
    depth: int
    written: str
    primaries: int
    transfer: int
    turns: int
    even_rows: bool
    even_cols: bool
    notes: tuple[str, ...]

    def possible_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """The nearest size (H, W) that the pixel format can hold."""
        height, width = size
        if self.even_rows:
            height = max(2, 2 * round(height / 2))
        if self.even_cols:
            width = max(2, 2 * round(width / 2))
        return height, width

    def mark(self, context: Any) -> None:
        """Say in an encoder's context what its frames are."""
        context.colorspace = _NUMBERS[self.matrix]
        context.color_range = _FULL if self.full_range else _LIMITED
        context.color_primaries = self.primaries
        context.color_trc = self.transfer


def frame_colour(frame: Any) -> FrameColour:
    """What the first frame says of a film."""
    kind = frame.format
    bits = max(component.bits for component in kind.components)
    side = 64
    width, height = side, side
    if not kind.is_rgb and len(kind.components) > 1:
        width, height = kind.chroma_width(side), kind.chroma_height(side)
    written = {(32, 32): 'yuv420p', (32, 64): 'yuv422p'}.get((width, height), 'yuv444p')
    if len(kind.components) < 3:
        written = 'yuv420p'  # gray
    matrix = _MATRICES.get(int(frame.colorspace))
    if matrix is None:
        matrix = 'ITU709' if min(frame.height, frame.width) >= _HD else 'ITU601'
    notes = []
    if _has_transparency(frame):
        notes.append('not kept: transparency')
    if bits > 10:
        notes.append(f'{bits} bits became 10')
    if frame.interlaced_frame:
        notes.append('its frames are interlaced, which shows as combs; deinterlace it before')
    # PyAV 19 gives the keys of this mapping, earlier releases its values.
    if {getattr(side, 'type', side).name for side in frame.side_data} & _HDR:
        notes.append("not kept: HDR's mastering display and light levels")
    depth = 10 if bits > 8 else 8
    if depth == 10:
        written += '10le'
    return FrameColour(
        matrix,
        int(frame.color_range) == _FULL or kind.name.startswith('yuvj'),
        depth,
        written,
        int(frame.color_primaries),
        int(frame.color_trc),
        round(frame.rotation / 90) % 4,
        written.startswith('yuv420p'),
        written.startswith(('yuv420p', 'yuv422p')),
        tuple(notes),
    )


# What a film of a screen's pictures has.
SCREEN = FrameColour('ITU709', False, 8, 'yuv420p', 1, 1, 0, True, True, ())


def _has_transparency(frame: Any) -> bool:
    """Whether any pixel of a frame is not opaque."""
    kind = frame.format
    if not (kind.has_palette or len(kind.components) == 4) or kind.name.endswith('0'):
        return False  # bgr0 and the like have nothing in their fourth channel
    return bool((frame.reformat(format='rgba').to_ndarray()[..., 3] < 255).any())


def as_pixels(frame: Any, colour: FrameColour) -> np.ndarray:
    """A frame's pixels (h, w, 3), upright, of 8 bits or of 16."""
    kind = 'rgb24' if colour.depth == 8 else 'rgb48le'
    options: dict[str, Any] = {'format': kind, 'interpolation': _EXACT}
    if not frame.format.is_rgb:
        source = 'JPEG' if colour.full_range else 'MPEG'
        options |= {'src_colorspace': colour.matrix, 'src_color_range': source}
        options |= {'dst_color_range': 'JPEG'}
    pixels = frame.reformat(**options).to_ndarray()
    return np.ascontiguousarray(np.rot90(pixels, colour.turns))


def as_frame(pixels: np.ndarray, colour: FrameColour) -> Any:
    """A frame of the result's pixel format."""
    import av

    kind = 'rgb24' if colour.depth == 8 else 'rgb48le'
    return av.VideoFrame.from_ndarray(pixels, format=kind).reformat(
        format=colour.written,
        interpolation=_EXACT,
        src_color_range='JPEG',
        dst_colorspace=colour.matrix,
        dst_color_range='JPEG' if colour.full_range else 'MPEG',
    )
