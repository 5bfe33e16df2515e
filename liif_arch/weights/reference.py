"""Checkpoints of LIIF's and LTE's reference implementations, from and to ours.

Parameter names are the same; what differs is the wrapping (`{'model': {'name', 'args', 'sd'}}`
there, `params` and `network_g` here), EDSR's frozen mean shifts, which the reference stores and
never uses, and the place of a fixed-scale network's tail (`encoder.tail` there, `tail` here).
"""

import re
from pathlib import Path

import torch
from torch import Tensor

from liif_arch.errors import UserError
from liif_arch.training.checkpoints import misfits, some
from liif_arch.weights.thera import from_thera, is_thera

_MEAN_SHIFTS = ('sub_mean.weight', 'sub_mean.bias', 'add_mean.weight', 'add_mean.bias')
_DIV2K_MEAN = (0.4488, 0.4371, 0.4040)
_FLAGS = ('local_ensemble', 'feat_unfold', 'cell_decode')
_TYPES = {
    'liif': 'LIIF',
    'metasr': 'MetaSR',
    'lte': 'LTE',
    'edsr-baseline': 'SubPixelSR',
    'edsr': 'SubPixelSR',
}


def is_reference(content: dict) -> bool:
    """Whether a loaded file has the reference implementation's form."""
    model = content.get('model')
    return is_thera(content) or (isinstance(model, dict) and {'name', 'args', 'sd'} <= model.keys())


def from_reference(content: dict, path: str | Path = 'checkpoint') -> dict:
    """`{'params', 'network_g'}` of a reference checkpoint: LIIF, LTE, MetaSR or Thera on EDSR or
    RDN, or EDSR with its tail.

    Raises:
        UserError: Another network, or parameters that are not those of the network it names (lists
            them).
    """
    if is_thera(content):
        return from_thera(content, path)
    model = content['model']
    if model['name'] not in _TYPES:
        raise UserError(f'{path}: found a "{model["name"]}" network; needed {", ".join(_TYPES)}.')
    kind, args, params = _TYPES[model['name']], model['args'], {}
    for name, value in model['sd'].items():
        if name.removeprefix('encoder.') not in _MEAN_SHIFTS:
            params[name] = value
    if kind == 'SubPixelSR':
        params = _below_encoder(params)
    try:
        spec = {'name': 'edsr', 'args': args}
        if kind != 'SubPixelSR':
            spec = args['encoder_spec']
        network = {'type': kind, 'encoder': _encoder_option(spec, params, path)}
    except (KeyError, TypeError):
        raise UserError(
            f'{path}: does not say which encoder it has (model.args.encoder_spec).'
        ) from None
    if kind == 'SubPixelSR':
        network['scale'] = _tail_scale(params)
    else:
        network['hidden_list'] = _hidden_list(params) or [256]
    if kind == 'LIIF':
        for flag in _FLAGS:
            network[flag] = bool(args.get(flag, True))
    if kind == 'LTE' and 'coef.weight' in params:
        network['hidden_dim'] = len(params['coef.weight'])
    require_fit(network, params, path)
    return {'params': params, 'network_g': network}


def _below_encoder(params: dict[str, Tensor]) -> dict[str, Tensor]:
    """A fixed-scale EDSR's parameters, with all but its tail below `encoder.`."""
    found = {}
    for name, value in params.items():
        name = name.removeprefix('encoder.')
        if not name.startswith('tail.'):
            name = f'encoder.{name}'
        found[name] = value
    return found


def _tail_scale(params: dict[str, Tensor]) -> int:
    """The scale of a tail of sub-pixel convolutions, each of which has ratio^2 C outputs."""
    if 'tail.1.weight' not in params:
        return 2
    channels, scale, is_known = params['tail.1.weight'].shape[1], 1, False
    for name, value in params.items():
        if re.fullmatch(r'tail\.0\.\d+\.bias', name):
            scale, is_known = scale * round((len(value) / channels) ** 0.5), True
    return scale if is_known else 2


def to_reference(content: dict, path: str | Path = 'checkpoint') -> dict:
    """The reference form of one of our checkpoints (its EMA weights if it has them).

    Raises:
        UserError: The network is not one that the reference implementation has.
    """
    network = content.get('network_g')
    if (
        not isinstance(network, dict)
        or network.get('type') not in _TYPES.values()
        or 'params' not in content
    ):
        known = ', '.join(dict.fromkeys(_TYPES.values()))
        if isinstance(network, dict) and 'params' in content:
            raise UserError(
                f'{path}: is a {network.get("type")}; the reference implementation has {known} '
                'alone. A file that ends with .safetensors, or one of a --scale, is made of any.'
            )
        raise UserError(
            f'{path}: found {some(content)}; needed "params" and a "network_g" of type '
            f'{known}, as this package saves them.'
        )
    params = dict(content.get('params_ema', content['params']))
    require_fit(network, params, path)
    if network.get('num_in_ch', 3) != 3 or network.get('num_out_ch', 3) != 3:
        raise UserError(
            f'{path}: has other than three channels; the reference implementation has RGB alone.'
        )
    kind, encoder = network['type'], {'type': 'EDSREncoder', **(network.get('encoder') or {})}
    spec = _encoder_spec(encoder, path)
    if encoder['type'] == 'EDSREncoder':
        params = {**_mean_shifts(), **params}
    if kind == 'SubPixelSR':
        if encoder['type'] != 'EDSREncoder':
            raise UserError(f'{path}: the reference implementation has a fixed-scale EDSR alone.')
        for name in [*params]:
            if name.startswith('tail.'):
                params[f'encoder.{name}'] = params.pop(name)
        args = {**spec['args'], 'scale': network['scale'], 'no_upsampling': False}
    else:
        args = {'encoder_spec': spec}
        args['imnet_spec'] = {'name': 'mlp', 'args': {'hidden_list': _hidden_list(params)}}
    if kind in ('LIIF', 'LTE'):
        args['imnet_spec']['args'] = {'out_dim': 3, **args['imnet_spec']['args']}
    if kind == 'LIIF':
        for flag in _FLAGS:
            args[flag] = network.get(flag, True)
    if kind == 'LTE':
        args['hidden_dim'] = network.get('hidden_dim', 256)
    names = {own: theirs for theirs, own in reversed(_TYPES.items())}
    return {'model': {'name': names[kind], 'args': args, 'sd': params}, 'epoch': None}


def require_fit(network: dict, params: dict[str, Tensor], path: str | Path) -> None:
    """Raise UserError with every missing, unexpected and differently shaped name."""
    from liif_arch.weights.networks import build_own

    problems = misfits(build_own(network), params)
    if problems:
        raise UserError(
            f'{path}: its parameters are not those of the network it describes:\n  '
            + '\n  '.join(problems)
        )


def _hidden_list(params: dict[str, Tensor]) -> list[int]:
    """Widths of imnet's hidden layers, from its biases."""
    biases = {}
    for name, value in params.items():
        match = re.fullmatch(r'imnet\.layers\.(\d+)\.bias', name)
        if match:
            biases[int(match[1])] = len(value)
    return [biases[layer] for layer in sorted(biases)][:-1]


def _encoder_option(spec: dict, params: dict[str, Tensor], path: str | Path) -> dict:
    """The option `encoder` of a reference's encoder, whose sizes follow from its parameters."""
    if spec['name'].startswith('edsr'):
        return {
            'type': 'EDSREncoder',
            'num_feat': _width(params, 'head.0'),
            'num_block': _count(params, r'encoder\.body\.(\d+)\.body\.'),
            'res_scale': (spec.get('args') or {}).get('res_scale', 1),
        }
    if spec['name'] == 'rdn':
        return {
            'type': 'RDNEncoder',
            'num_feat': _width(params, 'SFENet1'),
            'num_block': _count(params, r'encoder\.RDBs\.(\d+)\.'),
            'num_layer': _count(params, r'encoder\.RDBs\.0\.convs\.(\d+)\.'),
            'growth': _width(params, 'RDBs.0.convs.0.conv.0'),
        }
    raise UserError(f'{path}: found encoder "{spec["name"]}"; needed edsr-baseline, edsr or rdn.')


def _count(params: dict[str, Tensor], pattern: str) -> int:
    """How many different numbers a pattern finds in the names, at least 1."""
    found = set()
    for name in params:
        match = re.match(pattern, name)
        if match:
            found.add(match[1])
    return max(1, len(found))


def _width(params: dict[str, Tensor], layer: str) -> int:
    """Outputs of a layer of the encoder; 64 where there is no such layer."""
    for kind in ('bias', 'weight'):
        if f'encoder.{layer}.{kind}' in params:
            return len(params[f'encoder.{layer}.{kind}'])
    return 64


def _encoder_spec(encoder: dict, path: str | Path) -> dict:
    if encoder['type'] == 'EDSREncoder':
        args = {
            'n_resblocks': encoder.get('num_block', 16),
            'n_feats': encoder.get('num_feat', 64),
            'res_scale': encoder.get('res_scale', 1),
            'no_upsampling': True,
        }
        return {'name': 'edsr-baseline', 'args': args}
    shape = (encoder.get('num_block', 16), encoder.get('num_layer', 8), encoder.get('growth', 64))
    if encoder['type'] == 'RDNEncoder' and shape == (16, 8, 64):
        return {
            'name': 'rdn',
            'args': {'G0': encoder.get('num_feat', 64), 'RDNconfig': 'B', 'no_upsampling': True},
        }
    raise UserError(
        f'{path}: the reference implementation has no encoder {encoder}; '
        'it has EDSREncoder, and RDNEncoder with 16 blocks of 8 and growth 64.'
    )


def _mean_shifts() -> dict[str, Tensor]:
    """The reference EDSR's frozen mean shifts: identity convolutions with the DIV2K mean as
    bias.
    """
    eye, mean = torch.eye(3).view(3, 3, 1, 1), torch.tensor(_DIV2K_MEAN)
    return dict(
        zip((f'encoder.{n}' for n in _MEAN_SHIFTS), (eye, -mean, eye.clone(), mean), strict=True)
    )
