"""Which files are films or animations."""

from pathlib import Path

from liif_arch.errors import UserError
from liif_arch.files.formats import AVIF, GIF, PNG, WEBP, content_format
from liif_arch.files.pillow_reading import open_image

VIDEOS = ('.mp4', '.m4v', '.mov', '.mkv', '.webm')  # read and written
READ_VIDEOS = (*VIDEOS, '.avi', '.mpg', '.mpeg', '.ts', '.m2ts', '.wmv', '.flv', '.3gp')
ANIMATIONS = (PNG, GIF, WEBP, AVIF)  # formats that may hold several frames
WRITTEN_ANIMATIONS = ('.png', '.webp', '.gif')


def is_video(path: Path) -> bool:
    """Whether a file is a film by its name, and its content is not that of an image."""
    return path.suffix.lower() in READ_VIDEOS and content_format(path) is None


def is_animation(path: Path) -> bool:
    """Whether a file is a GIF, PNG, WebP or AVIF of several frames; its content counts."""
    if content_format(path) not in ANIMATIONS:
        return False
    try:
        with open_image(path) as image:
            return getattr(image, 'n_frames', 1) > 1
    except Exception:  # reading it says what is wrong
        return False


def film_extension(path: Path) -> str:
    """The extension of a film's or animation's result that nobody named."""
    if not is_video(path):
        return '.png'
    if path.suffix.lower() in VIDEOS:
        return path.suffix.lower()
    return '.mp4'


def written_films(source: Path) -> tuple[str, ...]:
    """The extensions under which a film or animation can be written."""
    if is_video(source):
        return VIDEOS
    if content_format(source) in (GIF, PNG):  # FFmpeg reads these
        return WRITTEN_ANIMATIONS + VIDEOS
    return WRITTEN_ANIMATIONS


def require_film_name(source: Path, result: Path) -> None:
    """Raise UserError where a film or animation cannot be written under a name."""
    able = written_films(source)
    if result.suffix.lower() not in able:
        what = 'a film' if is_video(source) else 'an animation'
        raise UserError(
            f'{result}: {source} is {what}, which is not written as "{result.suffix}"; use one of '
            f'{", ".join(able)}.'
        )
