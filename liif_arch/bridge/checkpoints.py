"""Weights: safe loading, what is in a file, whether it fits, and networks rebuilt from a file alone.

A file written by `LIIFModel` holds `params` (and `params_ema`) as BasicSR writes them, and `network_g`, the option
that built the network, so that the file alone says what it is. Files of the reference implementation are read too.
"""
import pickle
from pathlib import Path
from zipfile import BadZipFile

import torch
from torch import Tensor, nn

from liif_arch.atomic import atomic_write
from liif_arch.bridge.reference_checkpoints import from_reference, is_reference
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
        first_line = str(error).strip().splitlines()[0][:160] if str(error).strip() else type(error).__name__
        raise UserError(f'{path}: not a checkpoint of tensors alone, or cut short ({first_line}).') from None
    if not isinstance(content, dict):
        raise UserError(f'{path}: found a {type(content).__name__}; needed a checkpoint with named parameters.')
    return content


def save_file(content: dict, path: str | Path) -> None:
    """`torch.save`, never leaving a partial file."""
    with atomic_write(path) as file:
        torch.save(content, file)


def state_dict_of(content: dict, path: str | Path, param_key: str | None = 'params') -> StateDict:
    """The parameters in a loaded checkpoint, by BasicSR's rule: `param_key`, else `params`, else the file itself.

    Raises:
        UserError: The file holds no parameters under that key.
    """
    if is_reference(content):
        return from_reference(content, path)['params']
    if param_key is not None:
        if param_key not in content:
            param_key = 'params'
        if param_key not in content:
            raise UserError(f'{path}: found {_some(content)}; needed parameters under "params" '
                            '(path.param_key_g says under which key).')
        content = content[param_key]
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        raise UserError(f'{path}: what it holds under {param_key!r} are not named tensors.')
    return {k.removeprefix('module.'): v for k, v in content.items()}


def misfits(net: nn.Module, state_dict: StateDict) -> list[str]:
    """What keeps a state dict from fitting a network: missing and unexpected names, and other shapes."""
    own = net.state_dict()
    lines = [f'missing {name} {tuple(own[name].shape)}' for name in own if name not in state_dict]
    lines += [f'unexpected {name} {tuple(state_dict[name].shape)}' for name in state_dict if name not in own]
    lines += [f'{name} is {tuple(state_dict[name].shape)}, needed {tuple(own[name].shape)}'
              for name in own if name in state_dict and state_dict[name].shape != own[name].shape]
    return lines


def load_into(net: nn.Module, path: str | Path, strict: bool = True, param_key: str | None = 'params') -> None:
    """Load the weights in a file into a network.

    Raises:
        UserError: They do not fit; says which names (with strict).
    """
    state_dict = state_dict_of(load_file(path), path, param_key)
    problems = misfits(net, state_dict)
    if strict and problems:
        raise UserError(f'{path}: these weights do not fit {type(net).__name__} as network_g describes it '
                        f'({len(problems)} of its parameters): {_some(problems)}.')
    own = net.state_dict()
    fitting = {k: v for k, v in state_dict.items() if k in own and v.shape == own[k].shape}
    net.load_state_dict(fitting, strict=False)


def load_network(weights: str | Path, device: str | torch.device = 'cpu', network: dict | None = None) -> nn.Module:
    """Rebuild a trained network from its file.

    Args:
        weights: A file written by `LIIFModel` (which describes its network), or one of the reference implementation.
        device: Where to put the network.
        network: The option `network_g`, for a file that does not hold it.

    Returns:
        The network with the file's EMA weights if it has them, in evaluation mode.

    Raises:
        UserError: The file cannot be read, does not describe its network, or does not fit it.
    """
    from basicsr.archs import build_network

    import liif_arch.archs  # noqa: F401  registers the networks
    content = load_file(weights)
    if is_reference(content):
        content = from_reference(content, weights)
    network = network or content.get('network_g')
    if not isinstance(network, dict) or 'type' not in network:
        raise UserError(f'{weights}: found {_some(content)}, but not which network they belong to (network_g); '
                        'name the option file it was trained with (-opt).')
    try:
        net = build_network(network)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f'{weights}: cannot build its network_g ({error}).') from None
    state_dict = state_dict_of(content, weights, 'params_ema')
    problems = misfits(net, state_dict)
    if problems:
        raise UserError(f'{weights}: these weights do not fit their network: {_some(problems)}.')
    net.load_state_dict(state_dict)
    return net.to(device).eval()


def _some(names: list[str] | dict, most: int = 6) -> str:
    """The first few of a list of names."""
    names = [str(n) for n in names]
    return ', '.join(names[:most]) + (f' and {len(names) - most} more' if len(names) > most else '') or 'nothing'
