"""Trained weights that come with the package. README.md in this folder is their model card."""

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
        weights: A file; a folder with a model.safetensors; the name of weights that ship, unless a
            file has that name; or `hf:owner/name`, which is downloaded unless it is there already.

    Raises:
        UserError: The hub has no such weights, or cannot be reached.
    """
    path, name = Path(weights), str(weights)
    if name.startswith(HUB):
        from liif_arch.hub.files import hub_file

        return hub_file(name)
    if name in shipped() and not path.is_file():
        return FOLDER / f'{name}.pth'
    if (path / FOLDER_FILE).is_file():
        return path / FOLDER_FILE
    return path


def names() -> str:
    """How weights can be named, for the help of commands."""
    return f'{", ".join(shipped())} (these ship), a file, or hf:OWNER/NAME'


def names_and_defaults() -> str:
    """The same for commands that choose weights by the image."""
    return f'{names()}; default: {PHOTO} for lossy formats such as JPEG, {DEFAULT} for others'
