"""Weights as .safetensors files: tensors alone, and what they are of in the file's metadata."""

import json
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from liif_arch.errors import UserError

SUFFIX = '.safetensors'


def is_safetensors(path: str | Path) -> bool:
    """Whether a file is one by its name."""
    return Path(path).suffix.lower() == SUFFIX


def _library(path: str | Path) -> None:
    """Raise UserError where the package is missing that reads and writes these files."""
    try:
        import safetensors.torch  # noqa: F401
    except ImportError:
        raise UserError(
            f"{path}: these files need the package safetensors; pip install 'basicsr-liif[hub]'."
        ) from None


def load_safetensors(path: str | Path) -> dict:
    """A file's content as a checkpoint has it: `params`, and `network_g` where the file says it.

    Raises:
        UserError: The package is missing, or what the file says of its network is damaged.
        OSError, safetensors.SafetensorError: The file is missing, or none of these.
    """
    _library(path)
    from safetensors import safe_open

    open(path, 'rb').close()  # whose errors are the system's
    with safe_open(str(path), framework='pt', device='cpu') as file:
        content: dict = {'params': {name: file.get_tensor(name) for name in file.keys()}}
        said = (file.metadata() or {}).get('network_g')
    if said is not None:
        try:
            content['network_g'] = json.loads(said)
        except ValueError:
            raise UserError(
                f'{path}: its metadata "network_g" is not JSON; name the option file (-opt).'
            ) from None
    return content


def safetensors_bytes(content: Mapping, path: str | Path) -> bytes:
    """A checkpoint as such a file: its averaged weights, else the others, and its network.

    Args:
        content: With `params_ema` or `params`, and maybe `network_g`.
        path: What errors call the file.

    Raises:
        UserError: It holds no weights, or the package is missing.
    """
    _library(path)
    from safetensors.torch import save

    parameters = content.get('params_ema') or content.get('params')
    if not isinstance(parameters, Mapping):
        raise UserError(f'{path}: found no weights for it (params); other files are .pth.')
    tensors: dict[str, Tensor] = {}
    for name, value in parameters.items():
        tensors[name] = value.detach().cpu().contiguous().clone()
    metadata = {'format': 'pt'}
    if content.get('network_g') is not None:
        metadata['network_g'] = json.dumps(content['network_g'])
    return save(tensors, metadata)
