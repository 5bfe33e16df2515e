"""Pixels of images that Pillow decodes, 8 bits of them: palettes, single bits, inks, alpha."""

import os
import warnings
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageCms, ImageOps

from liif_arch.errors import UserError
from liif_arch.files.pixels import with_channel_axis

warnings.filterwarnings('ignore', category=Image.DecompressionBombWarning)  # see most_pixels

# Pillow's modes, and what their pixels become; with one value that is transparent, they get alpha.
_PLAIN = {
    '1': 'L',
    'L': 'L',
    'LA': 'LA',
    'La': 'LA',
    'P': 'RGB',
    'PA': 'RGBA',
    'RGB': 'RGB',
    'RGBX': 'RGB',
    'RGBA': 'RGBA',
    'RGBa': 'RGBA',
}
_WITH_ALPHA = {'L': 'LA', 'RGB': 'RGBA'}


def most_pixels() -> int:
    """Pixels that an image may have: the environment's LIIF_MAX_IMAGE_PIXELS, else 16384 squared.

    Raises:
        UserError: The variable is no whole number.
    """
    text = os.environ.get('LIIF_MAX_IMAGE_PIXELS', str(2**28))
    if not text.isdecimal():
        raise UserError(
            f'LIIF_MAX_IMAGE_PIXELS: found {text!r} in the environment; needed a number of pixels.'
        )
    return int(text)


def require_pixels(pixels: int, name: str) -> None:
    """Raise UserError for more pixels than `most_pixels`; a header can ask for any number."""
    if pixels > most_pixels():
        raise UserError(
            f'{name}: its header says {pixels:,} pixels; {most_pixels():,} are allowed. '
            'If it is right, set the environment variable LIIF_MAX_IMAGE_PIXELS.'
        )


def open_image(source: str | Path | BinaryIO) -> Image.Image:
    """A file as Pillow opens it, which reads its header alone; Pillow's limit is `most_pixels`.

    Raises:
        UserError: `most_pixels` is no number.
        Image.DecompressionBombError, OSError and more: Pillow does not know such a file.
    """
    if Image.MAX_IMAGE_PIXELS is not None:
        Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, most_pixels())
    return Image.open(source)


def use_heif(name: str) -> None:
    """Let Pillow open HEIC files.

    Raises:
        UserError: The package is missing that does so.
    """
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        raise UserError(
            f"{name}: HEIC files need the package pillow-heif; pip install 'basicsr-liif[files]'."
        ) from None
    register_heif_opener(thumbnails=False)


def pillow_pixels(image: Image.Image, name: str) -> np.ndarray:
    """8-bit pixels of an image that Pillow opened, not turned.

    Args:
        image: The file.
        name: What an error message calls it.

    Returns:
        (H, W, C): gray, gray and alpha, RGB or RGBA, alpha not multiplied into the colours.

    Raises:
        UserError: Colours that are none of these.
    """
    if image.mode == 'CMYK':
        return np.asarray(_cmyk_to_srgb(image, name))
    target = _PLAIN.get(image.mode)
    if target is None:
        raise UserError(
            f'{name}: found {image.mode} pixels in {image.format}; save it as gray, RGB or RGBA '
            'of 8 or 16 bits.'
        )
    if 'transparency' in image.info:
        target = _WITH_ALPHA.get(target, target)
    return with_channel_axis(np.array(image.convert(target)))


def upright_pixels(image: Image.Image) -> np.ndarray:
    """Pixels (H, W, C) of any image of Pillow's, turned as its EXIF says.

    16 bits of gray and floats are kept.

    Raises:
        UserError: Colours that are none of gray, gray and alpha, RGB and RGBA.
    """
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith('I;16') or image.mode == 'F':
        return with_channel_axis(np.array(image))
    return pillow_pixels(image, 'image')


def to_srgb(pixels: np.ndarray, icc: bytes) -> np.ndarray:
    """8-bit pixels (H, W, 3 or 4) in sRGB.

    Args:
        pixels: In the colours of a profile.
        icc: The profile. One that is damaged, and sRGB's own, leave the pixels as they are.
    """
    try:
        profile = ImageCms.ImageCmsProfile(BytesIO(icc))
        if 'sRGB' in ImageCms.getProfileDescription(profile):
            return pixels
        colours = Image.fromarray(np.ascontiguousarray(pixels[..., :3]))
        colours = ImageCms.profileToProfile(colours, profile, ImageCms.createProfile('sRGB'))
    except (OSError, ImageCms.PyCMSError):
        return pixels
    return np.concatenate([np.asarray(colours), pixels[..., 3:]], axis=2)


def _cmyk_to_srgb(image: Image.Image, name: str) -> Image.Image:
    """Inks to colours, by the profile that says how these inks look."""
    icc = image.info.get('icc_profile') or b''
    if icc[16:20] != b'CMYK':
        raise UserError(
            f'{name}: found CMYK without a CMYK colour profile, so that its colours are not known; '
            'convert it to RGB.'
        )
    inks = ImageCms.ImageCmsProfile(BytesIO(icc))
    return ImageCms.profileToProfile(image, inks, ImageCms.createProfile('sRGB'), outputMode='RGB')
