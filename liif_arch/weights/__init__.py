"""Trained weights that come with the package. README.md in this folder is their model card."""

from pathlib import Path

FOLDER = Path(__file__).parent
DEFAULT = 'fast'
PHOTO = 'photo'  # the same network, for images that were compressed


def shipped() -> list[str]:
    """Their names, which stand for them wherever weights are named."""
    return sorted(path.stem for path in FOLDER.glob('*.pth'))


def weights_path(weights: str | Path) -> Path:
    """The file that a path, or the name of weights that ship, stands for; a file of that name comes
    first.
    """
    path = Path(weights)
    return FOLDER / f'{weights}.pth' if str(weights) in shipped() and not path.is_file() else path
