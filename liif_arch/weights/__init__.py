"""Trained weights that come with the package. README.md in this folder is their model card."""

from collections.abc import Collection, Sequence
from pathlib import Path

FOLDER = Path(__file__).parent
DEFAULT = 'fast'
PHOTO = 'photo'  # the same network, for images that were compressed
HUB = 'hf:'  # what names of weights on the Hugging Face hub begin with
FOLDER_FILE = 'model.safetensors'  # what weights are called in a repository there


def shipped() -> list[str]:
    """Their names, which stand for them wherever weights are named."""
    return sorted(path.stem for path in FOLDER.glob('*.pth'))


def weights_path(weights: str | Path) -> Path:
    """The file that weights are named by.

    Args:
        weights: A file; a folder with a model.safetensors; else the name of weights that ship; or
            `hf:owner/name`, which is downloaded unless it is there already.

    Raises:
        UserError: The hub has no such weights, or cannot be reached.
    """
    path, name = Path(weights), str(weights)
    if name.startswith(HUB):
        from liif_arch.hub.files import hub_file

        return hub_file(name)
    if (path / FOLDER_FILE).is_file():
        return path / FOLDER_FILE
    if name in shipped() and not path.is_file():
        return FOLDER / f'{name}.pth'
    return path


def labels(weights: Sequence[str | Path], taken: Collection[str] = ()) -> list[str]:
    """Short names of several weights, no two alike: the file's, or a repository's or folder's.

    Args:
        weights: As they were given.
        taken: Names of other things beside them.
    """
    short = list(taken)
    for each in weights:
        path = Path(each)
        short.append(path.parent.name if path.name == FOLDER_FILE else path.stem)
    found: list[str] = []
    for each, label in zip(weights, short[len(taken) :], strict=True):
        found.append(str(each) if short.count(label) > 1 else label)
    return found


def names() -> str:
    """How weights can be named, for the help of commands."""
    return f'{", ".join(shipped())} (these ship), a file, or hf:OWNER/NAME'


def names_and_defaults() -> str:
    """The same for commands that choose weights by the image."""
    return f'{names()}; default: {PHOTO} for lossy formats such as JPEG, {DEFAULT} for others'
