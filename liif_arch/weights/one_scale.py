"""Weights in a state dict that says what it is, for programs that look at tensors alone.

Beside the network's tensors it holds its option `network_g`, as the bytes of its JSON, and a scale.
`liif_arch.fixed_scale` makes spandrel load such files; this package reads the network in them.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from liif_arch.errors import UserError

SCALE, NETWORK, PREFIX = 'liif.scale', 'liif.network_g', 'net.'


def is_packed(state_dict: object) -> bool:
    """Whether a state dict is one of these."""
    return isinstance(state_dict, Mapping) and SCALE in state_dict and NETWORK in state_dict


def packed(parameters: Mapping[str, Tensor], network_g: Mapping, scale: int) -> dict[str, Tensor]:
    """The state dict of a network and a scale.

    Args:
        parameters: The network's own state dict.
        network_g: The option that builds it.
        scale: A whole number.
    """
    found = {}
    for name, value in parameters.items():
        found[PREFIX + name] = value.detach().cpu().contiguous().clone()
    text = json.dumps(network_g).encode()
    found[NETWORK] = torch.tensor(list(text), dtype=torch.uint8)
    found[SCALE] = torch.tensor(scale)
    return found


def unpacked(state_dict: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict, int]:
    """The network's state dict, its option, and the scale, in a state dict of any type.

    Raises:
        UserError: They are damaged.
    """
    try:
        text = bytes(map(int, state_dict[NETWORK].tolist()))
        network_g, scale = json.loads(text), float(state_dict[SCALE])
    except (TypeError, ValueError, RuntimeError):
        raise UserError(f'{NETWORK}, {SCALE}: found no network and scale in them.') from None
    if not scale.is_integer():
        raise UserError(f'found {scale:g}; needed a whole number.', key=SCALE)
    parameters = {}
    for name, value in state_dict.items():
        if name.startswith(PREFIX):
            parameters[name.removeprefix(PREFIX)] = value
    return parameters, network_g, int(scale)


def unpacked_checkpoint(state_dict: Mapping[str, Tensor], path: str | Path) -> dict:
    """One of these as a checkpoint of this package, whose network has any scale.

    Args:
        path: What errors call the file.

    Raises:
        UserError: It is damaged.
    """
    try:
        parameters, network_g, _ = unpacked(state_dict)
    except UserError as error:
        raise UserError(f'{path}: {error}') from None
    return {'params': parameters, 'network_g': network_g}
