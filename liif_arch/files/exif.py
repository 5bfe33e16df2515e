"""EXIF: what of it is carried from one image file to another, and which way up a picture is."""

import re
import struct
import warnings
from typing import Any, NamedTuple

from PIL import ExifTags, Image

# Of a damaged tag, to the error output; the tag is left out, or the picture is refused in words.
warnings.filterwarnings('ignore', category=UserWarning, module=r'PIL\.TiffImagePlugin')
EXIF_MARK = b'Exif\0\0'
LONGEST_JPEG_EXIF = 65533 - len(EXIF_MARK)

ORIENTATION = ExifTags.Base.Orientation
EXIF_IFD, GPS_IFD = ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo
RESOLUTION = (282, 283, 296)  # XResolution, YResolution, ResolutionUnit
WIDTH, HEIGHT = 40962, 40963  # PixelXDimension, PixelYDimension
# Descriptions of the picture; the other tags of this directory describe how its pixels are stored.
_DESCRIPTIONS = (
    ExifTags.Base.DocumentName,
    ExifTags.Base.ImageDescription,
    ExifTags.Base.Make,
    ExifTags.Base.Model,
    ExifTags.Base.PageName,
    ExifTags.Base.Software,
    ExifTags.Base.DateTime,
    ExifTags.Base.Artist,
    ExifTags.Base.HostComputer,
    ExifTags.Base.Rating,
    ExifTags.Base.RatingPercent,
    ExifTags.Base.Copyright,
    ExifTags.Base.XPTitle,
    ExifTags.Base.XPComment,
    ExifTags.Base.XPAuthor,
    ExifTags.Base.XPKeywords,
    ExifTags.Base.XPSubject,
)
# Descriptions that programs put into TIFF files to tell how these are stored.
_STORAGE = re.compile(r'\{.*"shape"|ImageJ=|SCIFIO=|<\?xml|<OME', re.DOTALL)
# SubjectArea, FocalPlaneXResolution and its like, SubjectLocation: places in pixels, and pixels per
# millimetre of the sensor, are wrong for another size.
_STALE = (37396, 41486, 41487, 41488, 41492)
_INTEROP = ExifTags.IFD.Interop
_INTEROP_INDEX = 1  # 'R03' with an uncalibrated colour space says Adobe RGB
_PER_INCH = 2
UNITS_PER_INCH = {_PER_INCH: 1.0, 3: 2.54}  # by ResolutionUnit: inch, centimetre
DAMAGED_EXIF = (  # what Pillow raises for it
    OSError,
    ValueError,
    KeyError,
    TypeError,
    SyntaxError,
    AttributeError,
    IndexError,
    OverflowError,
    ZeroDivisionError,
    struct.error,
)


def load_exif(block: bytes | None) -> Image.Exif:
    """EXIF, or the first directory of a TIFF file; empty where its head is damaged."""
    exif = Image.Exif()
    try:
        exif.load(block or b'')
    except DAMAGED_EXIF:
        return Image.Exif()
    return exif


def orientation_of(exif: Image.Exif) -> int:
    """How the pixels must be turned, 1 (not) to 8, as EXIF numbers it."""
    try:
        value = exif.get(ORIENTATION, 1)
    except DAMAGED_EXIF:
        return 1
    return orientation_number(value)


def orientation_number(value: object) -> int:
    """What a tag says of the orientation, 1 to 8; 1 where it is none of these numbers."""
    if isinstance(value, int) and 1 <= value <= 8:
        return value
    return 1


def exif_resolution(exif: Image.Exif) -> tuple[float, float] | None:
    """Pixels per inch (x, y) that EXIF says; None where it does not."""
    try:
        x, y, unit = (exif.get(tag) for tag in RESOLUTION)
        units = UNITS_PER_INCH[unit or _PER_INCH]
        return float(x) * units, float(y) * units
    except DAMAGED_EXIF:
        return None


class ExifParts(NamedTuple):
    """What EXIF tells of a picture, apart from orientation and thumbnails.

    Attributes:
        descriptions: Value by tag: texts about the picture, its author and its camera.
        directories: Entries of `EXIF_IFD` (exposure) and `GPS_IFD` (place), where they are there.
    """

    descriptions: dict[int, Any]
    directories: dict[int, dict[int, Any]]

    def block(self, dpi: tuple[float, float] | None = None) -> bytes | None:
        """EXIF as "II*..." or "MM*..."; None where it says nothing.

        Args:
            dpi: Pixels per inch (x, y) that it shall say too.
        """
        tags = self.descriptions | self.directories
        if dpi:
            tags |= dict(zip(RESOLUTION, (*dpi, _PER_INCH), strict=True))
        if not tags:
            return None
        exif = Image.Exif()
        for tag, value in tags.items():
            exif[tag] = value
        return exif.tobytes()[len(EXIF_MARK) :]


def exif_parts(exif: Image.Exif) -> ExifParts:
    """What EXIF, or a TIFF file's first directory, tells of its picture.

    Raises:
        ValueError, OSError and others of `DAMAGED_EXIF`: It is damaged.
    """
    parts = ExifParts({}, {})
    for tag in _DESCRIPTIONS:
        if tag in exif:
            parts.descriptions[int(tag)] = _kept_bytes(exif[tag])
    if _STORAGE.match(str(exif.get(ExifTags.Base.ImageDescription))):
        del parts.descriptions[int(ExifTags.Base.ImageDescription)]
    for tag in (EXIF_IFD, GPS_IFD):
        entries = _directory(exif, tag)
        if entries:
            parts.directories[int(tag)] = entries
    return parts


def _directory(exif: Image.Exif, tag: int) -> dict[int, Any]:
    """The entries of a directory in EXIF that are right for another size."""
    entries = exif.get_ifd(tag)
    kept = {}
    for key, value in entries.items():
        if key not in (*_STALE, _INTEROP):
            kept[key] = _kept_bytes(value)
    if _INTEROP in entries:
        index = exif.get_ifd(_INTEROP).get(_INTEROP_INDEX)
        if isinstance(index, str):
            kept[int(_INTEROP)] = {_INTEROP_INDEX: index}
    return kept


def _kept_bytes(value: Any) -> Any:
    """A tag's value for writing: Pillow reads text as Latin-1, and would write it as ASCII."""
    if isinstance(value, str) and not value.isascii():
        return value.encode('latin-1', 'replace')
    return value
