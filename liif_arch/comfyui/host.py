"""What ComfyUI offers its nodes; outside ComfyUI the same without it."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType

import torch

FOLDER = 'upscale_models'  # of ComfyUI's `models`, where people keep upscalers
SUFFIXES = ('.pth', '.safetensors')


def _part(name: str) -> ModuleType | None:
    """A module of ComfyUI; None outside it."""
    try:
        return import_module(name)
    except ImportError:
        return None


def files() -> list[str]:
    """Names of the files in ComfyUI's folder of upscalers."""
    paths = _part('folder_paths')
    if paths is None:
        return []
    return [name for name in paths.get_filename_list(FOLDER) if name.endswith(SUFFIXES)]


def file_of(name: str) -> Path | None:
    """The file that a name in `files` stands for; None where it stands for none."""
    paths = _part('folder_paths')
    path = None if paths is None else paths.get_full_path(FOLDER, name)
    return None if path is None else Path(path)


def device() -> torch.device:
    """Where ComfyUI computes."""
    management = _part('comfy.model_management')
    if management is not None:
        return torch.device(management.get_torch_device())
    return torch.device('cuda' if torch.cuda.is_available() else 'cpu')


def make_room(needed: float) -> None:
    """Let ComfyUI take other models off the device, so that so many bytes are free."""
    management = _part('comfy.model_management')
    if management is not None:
        management.free_memory(needed, device())


def progress(images: int) -> Callable[[int, int, int], None]:
    """ComfyUI's bar over a batch, which also ends the work where a user has stopped it.

    Args:
        images: In the batch.

    Returns:
        A function that takes the number of the image, and of its output pixels those done and all.
    """
    utils, management = _part('comfy.utils'), _part('comfy.model_management')
    bar = None if utils is None else utils.ProgressBar(1000 * images)

    def report(number: int, done: int, total: int) -> None:
        if management is not None:
            management.throw_exception_if_processing_interrupted()
        if bar is not None:
            bar.update_absolute(1000 * number + 1000 * done // total, 1000 * images)

    return report
