"""Checkpoint files: safe loading, whole writing, and whether parameters fit a network."""
import pickle
from pathlib import Path
from zipfile import BadZipFile

import torch
from torch import Tensor, nn

from liif_arch.atomic import atomic_write
from liif_arch.errors import UserError

StateDict = dict[str, Tensor]


def load_file(path: str | Path) -> dict:
    """Load a checkpoint onto the CPU without executing anything it holds (`weights_only=True`).

    Raises:
        UserError: No such file, not a checkpoint, or one that needs code to load.
    """
    try:
        content = torch.load(path, map_location='cpu', weights_only=True)
    except OSError as error:
        raise UserError(f'{path}: cannot read these weights ({error.strerror}).') from None
    except (pickle.UnpicklingError, RuntimeError, EOFError, BadZipFile, ValueError, KeyError, AttributeError,
            IndexError, TypeError) as error:
        raise UserError(f'{path}: not a checkpoint of tensors alone, or cut short ({type(error).__name__}).') from None
    if not isinstance(content, dict):
        raise UserError(f'{path}: found a {type(content).__name__}; needed a checkpoint with named parameters.')
    return content


def save_file(content: dict, path: str | Path) -> None:
    """`torch.save`, never leaving a partial file."""
    with atomic_write(path) as file:
        torch.save(content, file)


def misfits(net: nn.Module, state_dict: StateDict) -> list[str]:
    """What keeps a state dict from fitting a network: missing and unexpected names, and other shapes."""
    own = net.state_dict()
    lines = [f'missing {name} {tuple(own[name].shape)}' for name in own if name not in state_dict]
    lines += [f'unexpected {name} {tuple(state_dict[name].shape)}' for name in state_dict if name not in own]
    lines += [f'{name} is {tuple(state_dict[name].shape)}, needed {tuple(own[name].shape)}'
              for name in own if name in state_dict and state_dict[name].shape != own[name].shape]
    return lines


def some(names: list[str] | dict, most: int = 6) -> str:
    """The first few of a list of names."""
    names = [str(n) for n in names]
    return ', '.join(names[:most]) + (f' and {len(names) - most} more' if len(names) > most else '') or 'nothing'
