"""Networks from files: weights into a network, and a network rebuilt from its file alone.

A file written by `LIIFModel` holds `params` (and `params_ema`) as BasicSR writes them, and
`network_g`, the option that built the network, so that the file alone says what it is. Files of the
reference implementation are read too.
"""

import warnings
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

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
    if param_key in content:
        found = content[param_key]
    elif 'params' in content and param_key is not None:
        found = content['params']
    elif 'params' in content:
        found = content
    elif isinstance(content.get('state_dict'), dict):
        found = _generator_of(content['state_dict'], param_key == 'params_ema')
    elif param_key is None:
        found = content
    else:
        raise UserError(
            f'{path}: found {some(content)}; needed parameters under "params" '
            '(path.param_key_g says under which key).'
        )
    if not _are_tensors(found):
        raise UserError(
            f'{path}: found {some(found)}; needed named tensors, or these under '
            '"params" or "params_ema".'
        )
    return {name.removeprefix('module.'): value for name, value in found.items()}


def _are_tensors(found: object) -> bool:
    """Whether something is a dictionary of nothing but tensors."""
    return isinstance(found, dict) and all(isinstance(value, Tensor) for value in found.values())


def _generator_of(state_dict: dict, averaged: bool) -> dict:
    """The network in a state dict of MMEngine, which may hold a discriminator and losses too."""
    state_dict = {name.removeprefix('module.'): value for name, value in state_dict.items()}
    found = {}
    if averaged:
        found = _within(state_dict, 'generator_ema.')
        found.pop('steps', None)  # it counts averages
    return found or _within(state_dict, 'generator.') or state_dict


def _within(state_dict: dict, prefix: str) -> dict:
    """The values whose names begin with a prefix, by the rest of these names."""
    found = {}
    for name, value in state_dict.items():
        if name.startswith(prefix):
            found[name.removeprefix(prefix)] = value
    return found


class Loaded(NamedTuple):
    """What came of reading a file's weights into a network.

    Attributes:
        left_out: What of it was left out, in a line; None where everything fits.
        has_average: Whether the file holds a moving average of its parameters beside them.
    """

    left_out: str | None
    has_average: bool


def load_into(
    net: nn.Module,
    path: str | Path,
    strict: bool = True,
    param_key: str | None = 'params',
    option: str = 'network_g',
) -> Loaded:
    """Load the weights in a file into a network.

    Args:
        net: The network.
        path: A file, or the name of weights that ship.
        strict: Whether all must fit; else what does not keeps its initial values.
        param_key: Under which key of the file they are, see `state_dict_of`.
        option: What messages call the option that describes the network.

    Raises:
        UserError: They do not fit (of one that is not strict: hardly any does); says which names.
    """
    content = load_file(path)
    has_average = 'params' in content and 'params_ema' in content
    state_dict = state_dict_of(content, path, param_key)
    problems = misfits(net, state_dict)
    if strict and problems:
        raise UserError(
            f'{path}: these weights do not fit {type(net).__name__} as {option} '
            f'describes it ({len(problems)} of its parameters): {some(problems)}.'
        )
    own, fitting = net.state_dict(), {}
    for name, value in state_dict.items():
        if name in own and value.shape == own[name].shape:
            fitting[name] = value
    _require_share(net, fitting, path, problems, option)
    net.load_state_dict(fitting, strict=False)
    if not problems:
        return Loaded(None, has_average)
    left_out = (
        f'{path}: {len(fitting)} of the {len(own)} tensors of {type(net).__name__} are read; '
        f'{len(problems)} do not fit and are left out: {some(problems)}.'
    )
    return Loaded(left_out, has_average)


def _require_share(
    net: nn.Module, fitting: StateDict, path: str | Path, problems: list[str], option: str
) -> None:
    """Raise UserError where what fits is under `LEAST_FIT` of the network's numbers."""
    fit = total = 0
    for name, parameter in net.named_parameters():
        total += parameter.numel()
        if name in fitting:
            fit += parameter.numel()
    if fit < LEAST_FIT * total:
        raise UserError(
            f'{path}: only {fit:,} of the {total:,} numbers of {type(net).__name__} are '
            'in this file, and the rest would stay as it is drawn, though strict_load '
            f'is false: {some(problems)}. Name weights of this network, or correct '
            f'{option}.'
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
    key = None
    for known in ('params', 'params_ema'):
        if known in content:
            key = known
    encoder = named_network(net.encoder)
    given = _encoder_of(state_dict_of(content, path, key), net)
    own = _needed(encoder, given)
    _require_encoder(encoder, own, given, path)
    unused = _unused(encoder, given)
    _require_depth(net, own, unused, path)
    encoder.load_state_dict({name: given[name] for name in own}, strict=False)
    note = ''
    if unused:
        note = f'; not used: {some(unused)}'
    return f'{path}: {len(own)} tensors for the encoder {type(encoder).__name__}{note}.'


def _encoder_of(given: StateDict, net: 'LatentNetwork') -> StateDict:
    """The encoder's parameters among those of a file, which may hold a whole network."""
    encoder = named_network(net.encoder)
    if encoder.state_dict().keys() <= given.keys():
        return given
    prefix = 'encoder.'
    if encoder is not net.encoder:
        prefix = 'encoder.net.'
    return _within(given, prefix) or given


def _needed(encoder: nn.Module, given: StateDict) -> StateDict:
    """What an encoder needs of a file: its parameters, and buffers that are there and fit.

    Buffers, such as an attention's masks, follow from the options.
    """
    own = encoder.state_dict()
    for name, buffer in encoder.named_buffers():
        if name in own and (name not in given or given[name].shape != buffer.shape):
            del own[name]
    return own


def _require_encoder(
    encoder: nn.Module, own: StateDict, given: StateDict, path: str | Path
) -> None:
    """Raise UserError where a file does not hold all that an encoder needs."""
    problems = []
    for name, value in own.items():
        if name not in given:
            problems.append(f'{name} is missing')
        elif given[name].shape != value.shape:
            problems.append(f'{name} is {tuple(given[name].shape)}, needed {tuple(value.shape)}')
    if problems:
        raise UserError(
            f'{path}: does not hold the encoder {type(encoder).__name__} as network_g.encoder '
            f'describes it ({len(problems)} of its {len(own)} tensors): {some(problems)}.'
        )


def _unused(encoder: nn.Module, given: StateDict) -> list[str]:
    """Names in a file that are none of an encoder's."""
    known = {*encoder.state_dict(), *dict(encoder.named_buffers())}
    return [name for name in given if name not in known]


def _require_depth(
    net: 'LatentNetwork', own: StateDict, unused: list[str], path: str | Path
) -> None:
    """Raise UserError where a file holds more blocks than the encoder has."""
    encoder = named_network(net.encoder)
    there = dict(encoder.named_modules())
    roots = set()
    for name in own:
        if name.count('.') > 1:
            roots.add(name.split('.')[0])
    inner = []
    for name in unused:
        is_removed = name.startswith(tuple(f'{root}.' for root in net.encoder.removed))
        if name.split('.')[0] in roots and name.rpartition('.')[0] not in there and not is_removed:
            inner.append(name)
    if inner:
        raise UserError(
            f'{path}: holds {some(inner)}, which the encoder {type(encoder).__name__} as '
            'network_g.encoder describes it does not have; give it as many blocks as the weights.'
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
        first = (str(error) or '?').splitlines()[0]
        raise UserError(f'{source}: cannot build its network_g ({first}).') from None


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
    weights: str | Path = DEFAULT,
    device: str | torch.device = 'cpu',
    network: dict | None = None,
    remedy: str = 'name the option file it was trained with (-opt)',
) -> nn.Module:
    """Rebuild a trained network from its file.

    Args:
        weights: Of those that ship the name (fast, photo, edsr, ...), a file written by `LIIFModel`
            (which describes its network), or one of the reference implementation.
        device: Where to put the network.
        network: The option `network_g`, for a file that does not hold it.
        remedy: What the message of a file without it says to do.

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
            f'{remedy}.'
        )
    net = build(network, weights)
    state_dict = state_dict_of(content, weights, 'params_ema')
    problems = misfits(net, state_dict)
    if problems:
        raise UserError(f'{weights}: these weights do not fit their network: {some(problems)}.')
    net.load_state_dict(state_dict)
    return net.to(device).eval()
