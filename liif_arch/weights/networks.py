"""Networks from files: weights into a network, and a network rebuilt from its file alone.

A file written by `LIIFModel` holds `params` (and `params_ema`) as BasicSR writes them, and
`network_g`, the option that built the network, so that the file alone says what it is. Files of the
reference implementation are read too.
"""

import warnings
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from liif_arch.archs import is_own, own_network
from liif_arch.archs.encoder import named_network
from liif_arch.config.check import Problems, check_network
from liif_arch.errors import UserError
from liif_arch.training.checkpoints import StateDict, load_file, misfits, some
from liif_arch.weights import DEFAULT
from liif_arch.weights.reference import from_reference, is_reference

if TYPE_CHECKING:
    from liif_arch.archs.latent_network import LatentNetwork

# What torch says of BasicSR's `torch.meshgrid(...)` without `indexing`, whose default is meant.
MESHGRID = r'torch\.meshgrid: in an upcoming release'
LEAST_FIT = 0.1  # of a network's numbers: what fits less is another network's file


def state_dict_of(content: dict, path: str | Path, param_key: str | None = 'params') -> StateDict:
    """The parameters in a loaded checkpoint.

    By BasicSR's rule: `param_key`, else `params`, else the file itself. Of a checkpoint of MMEngine
    `state_dict`, and of a model of MMagic its generator (of `params_ema` the averaged one).

    Raises:
        UserError: The file holds no parameters under that key.
    """
    if 'optimizers' in content:
        raise UserError(
            f'{path}: is a training state; the networks are beside it, in models/net_g_*.pth.'
        )
    if is_reference(content):
        return from_reference(content, path)['params']
    key = next((k for k in (param_key, 'params') if k in content), None)
    if key is not None:
        found = content if param_key is None else content[key]
    elif isinstance(content.get('state_dict'), dict):
        found = _generator_of(content['state_dict'], param_key == 'params_ema')
    elif param_key is None:
        found = content
    else:
        raise UserError(
            f'{path}: found {some(content)}; needed parameters under "params" '
            '(path.param_key_g says under which key).'
        )
    if not isinstance(found, dict) or not all(isinstance(v, Tensor) for v in found.values()):
        raise UserError(
            f'{path}: found {some(found)}; needed named tensors, or these under '
            '"params" or "params_ema".'
        )
    return {k.removeprefix('module.'): v for k, v in found.items()}


def has_average(path: str | Path) -> bool:
    """Whether a checkpoint holds a moving average of its parameters beside them."""
    content = load_file(path)
    return 'params' in content and 'params_ema' in content


def _generator_of(state_dict: dict, averaged: bool) -> dict:
    """The network in a state dict of MMEngine, which may hold a discriminator and losses too."""
    state_dict = {name.removeprefix('module.'): value for name, value in state_dict.items()}
    for prefix in ['generator_ema.', 'generator.'] if averaged else ['generator.']:
        found = {
            name.removeprefix(prefix): value
            for name, value in state_dict.items()
            if name.startswith(prefix) and name != f'{prefix}steps'
        }  # that counts averages
        if found:
            return found
    return state_dict


def load_into(
    net: nn.Module, path: str | Path, strict: bool = True, param_key: str | None = 'params'
) -> str | None:
    """Load the weights in a file into a network.

    Args:
        net: The network.
        path: A file, or the name of weights that ship.
        strict: Whether all must fit; else what does not keeps its initial values.
        param_key: Under which key of the file they are, see `state_dict_of`.

    Returns:
        What was left out, in a line; None where everything fits.

    Raises:
        UserError: They do not fit (of one that is not strict: hardly any does); says which names.
    """
    state_dict = state_dict_of(load_file(path), path, param_key)
    problems = misfits(net, state_dict)
    if strict and problems:
        raise UserError(
            f'{path}: these weights do not fit {type(net).__name__} as network_g '
            f'describes it ({len(problems)} of its parameters): {some(problems)}.'
        )
    own = net.state_dict()
    fitting = {k: v for k, v in state_dict.items() if k in own and v.shape == own[k].shape}
    _require_share(net, fitting, path, problems)
    net.load_state_dict(fitting, strict=False)
    if not problems:
        return None
    return (
        f'{path}: {len(fitting)} of the {len(own)} tensors of {type(net).__name__} are read; '
        f'{len(problems)} do not fit and are left out: {some(problems)}.'
    )


def _require_share(
    net: nn.Module, fitting: StateDict, path: str | Path, problems: list[str]
) -> None:
    """Raise UserError where what fits is under `LEAST_FIT` of the network's numbers."""
    sizes = {name: parameter.numel() for name, parameter in net.named_parameters()}
    fit, total = sum(n for name, n in sizes.items() if name in fitting), sum(sizes.values())
    if fit < LEAST_FIT * total:
        raise UserError(
            f'{path}: only {fit:,} of the {total:,} numbers of {type(net).__name__} are '
            'in this file, and the rest would stay as it is drawn, though strict_load '
            f'is false: {some(problems)}. Name weights of this network, or correct '
            'network_g.'
        )


def load_encoder(net: 'LatentNetwork', path: str | Path) -> str:
    """Load the weights of a network of one scale, or of another network's encoder, into a network's
    encoder.

    Args:
        net: A `LatentNetwork`.
        path: A file of BasicSR's (the EMA weights if it has them), of this package or of the
            reference implementation.

    Returns:
        What was used of the file, and what was not.

    Raises:
        UserError: The file does not hold all of the encoder; says what is missing or of another
            shape.
    """
    content = load_file(path)
    key = next((k for k in ('params_ema', 'params') if k in content), None)
    given = state_dict_of(content, path, key)
    encoder = named_network(net.encoder)
    if (
        any(k.startswith('encoder.') for k in given)
        and not encoder.state_dict().keys() <= given.keys()
    ):
        prefix = 'encoder.net.' if encoder is not net.encoder else 'encoder.'
        given = {k.removeprefix(prefix): v for k, v in given.items() if k.startswith(prefix)}
    buffers = {
        k for k, _ in encoder.named_buffers()
    }  # such as masks, which follow from the options
    own = {
        k: v
        for k, v in encoder.state_dict().items()
        if k not in buffers or (k in given and given[k].shape == v.shape)
    }
    problems = [
        f'{k} is missing'
        if k not in given
        else f'{k} is {tuple(given[k].shape)}, needed {tuple(v.shape)}'
        for k, v in own.items()
        if k not in given or given[k].shape != v.shape
    ]
    if problems:
        raise UserError(
            f'{path}: does not hold the encoder {type(encoder).__name__} as network_g.encoder '
            'describes it '
            f'({len(problems)} of its {len(own)} tensors): {some(problems)}.'
        )
    unused = [k for k in given if k not in own and k not in buffers]
    roots, removed = (
        {k.split('.')[0] for k in own if k.count('.') > 1},
        net.encoder.removed,
    )
    there = {name for name, _ in encoder.named_modules()}
    inner = [
        k
        for k in unused
        if k.split('.')[0] in roots
        and k.rpartition('.')[0] not in there
        and not any(k.startswith(f'{r}.') for r in removed)
    ]
    if inner:  # more blocks than this encoder has
        raise UserError(
            f'{path}: holds {some(inner)}, which the encoder {type(encoder).__name__} as '
            'network_g.encoder '
            'describes it does not have; give it as many blocks as the weights.'
        )
    encoder.load_state_dict({k: given[k] for k in own}, strict=False)
    return (
        f'{path}: {len(own)} tensors for the encoder {type(encoder).__name__}'
        f'{f"; not used: {some(unused)}" if unused else ""}.'
    )


def build(network: dict, source: str | Path) -> nn.Module:
    """The network that the option `network_g` of a file describes, with initial weights.

    BasicSR and its plugins are imported only for networks that are not of this package.

    Raises:
        UserError: It describes none.
    """
    own = is_own(network)
    if not own:
        from liif_arch.config.plugins import load_plugins

        load_plugins()
    problems = Problems()
    check_network(network, 'network_g', problems)
    if problems:
        raise UserError(f'{source}: {problems[0].text}')
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings('ignore', MESHGRID)
            return build_own(network) if own else _build_registered(network)
    except UserError as error:
        raise UserError(f'{source}: network_g: {error}') from None
    except (AssertionError, AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(
            f'{source}: cannot build its network_g '
            f'({str(error).splitlines()[0] if str(error) else "?"}).'
        ) from None


def build_own(network: dict) -> nn.Module:
    """A network of this package (see `archs.is_own`), from its option, with initial weights."""
    options = deepcopy(network)
    network_class = own_network(options.pop('type'))
    assert network_class is not None  # `is_own` has found it
    return network_class(**options)


def _build_registered(network: dict) -> nn.Module:
    from basicsr.archs import build_network

    return build_network(network)


def load_network(
    weights: str | Path = DEFAULT, device: str | torch.device = 'cpu', network: dict | None = None
) -> nn.Module:
    """Rebuild a trained network from its file.

    Args:
        weights: Of those that ship the name (edsr, small), a file written by `LIIFModel` (which
            describes its network), or one of the reference implementation.
        device: Where to put the network.
        network: The option `network_g`, for a file that does not hold it.

    Returns:
        The network with the file's EMA weights if it has them, in evaluation mode.

    Raises:
        UserError: The file cannot be read, does not describe its network, or does not fit it.
    """
    content = load_file(weights)
    if is_reference(content):
        content = from_reference(content, weights)
    network = network or content.get('network_g')
    if not isinstance(network, dict) or 'type' not in network:
        raise UserError(
            f'{weights}: found {some(content)}, but not which network they belong to (network_g); '
            'name the option file it was trained with (-opt).'
        )
    net = build(network, weights)
    state_dict = state_dict_of(content, weights, 'params_ema')
    problems = misfits(net, state_dict)
    if problems:
        raise UserError(f'{weights}: these weights do not fit their network: {some(problems)}.')
    net.load_state_dict(state_dict)
    return net.to(device).eval()
