"""Checkpoints of LIIF's reference implementation, from and to ours.

Parameter names are the same; what differs is the wrapping (`{'model': {'name', 'args', 'sd'}}` there, `params` and
`network_g` here) and EDSR's frozen mean shifts, which the reference stores and never uses.
"""
import re
from pathlib import Path

import torch
from torch import Tensor

from liif_arch.bridge.checkpoints import misfits
from liif_arch.errors import UserError

_MEAN_SHIFTS = ('encoder.sub_mean.weight', 'encoder.sub_mean.bias', 'encoder.add_mean.weight', 'encoder.add_mean.bias')
_DIV2K_MEAN = (0.4488, 0.4371, 0.4040)


def is_reference(content: dict) -> bool:
    """Whether a loaded file has the reference implementation's form."""
    model = content.get('model')
    return isinstance(model, dict) and {'name', 'args', 'sd'} <= model.keys()


def from_reference(content: dict, path: str | Path = 'checkpoint') -> dict:
    """`{'params', 'network_g'}` of a reference checkpoint.

    Raises:
        UserError: Not LIIF on EDSR-baseline or RDN, or its parameters are not those of the network it names.
    """
    model = content['model']
    if model['name'] != 'liif':
        raise UserError(f'{path}: found a "{model["name"]}" network; needed "liif".')
    params = {k: v for k, v in model['sd'].items() if k not in _MEAN_SHIFTS}
    network = {'type': 'LIIF', 'encoder': _encoder_option(model['args'], params, path),
               'hidden_list': list(model['args']['imnet_spec']['args']['hidden_list'])}
    for flag in ('local_ensemble', 'feat_unfold', 'cell_decode'):
        network[flag] = bool(model['args'].get(flag, True))
    require_fit(network, params, path)
    return {'params': params, 'network_g': network}


def to_reference(content: dict, path: str | Path = 'checkpoint') -> dict:
    """The reference form of one of our checkpoints (its EMA weights if it has them).

    Raises:
        UserError: The network is not one that the reference implementation has.
    """
    network = content.get('network_g')
    if not isinstance(network, dict) or network.get('type') != 'LIIF' or 'params' not in content:
        raise UserError(f'{path}: found {", ".join(map(str, content)) or "nothing"}; needed "params" and a "network_g" '
                        'of type LIIF, as this package saves them.')
    params = dict(content.get('params_ema', content['params']))
    require_fit(network, params, path)
    encoder = dict(network.get('encoder') or {'type': 'EDSREncoder'})
    args = {'encoder_spec': _encoder_spec(encoder, params, path),
            'imnet_spec': {'name': 'mlp', 'args': {'out_dim': 3, 'hidden_list': list(network['hidden_list'])}}}
    for flag in ('local_ensemble', 'feat_unfold', 'cell_decode'):
        args[flag] = network.get(flag, True)
    if encoder['type'] == 'EDSREncoder':
        params = {**_mean_shifts(), **params}
    return {'model': {'name': 'liif', 'args': args, 'sd': params}, 'epoch': None}


def require_fit(network: dict, params: dict[str, Tensor], path: str | Path) -> None:
    """Raise UserError with every missing, unexpected and differently shaped name."""
    from basicsr.archs import build_network

    import liif_arch.archs  # noqa: F401  registers the networks
    problems = misfits(build_network(network), params)
    if problems:
        raise UserError(f'{path}: its parameters are not those of the network it describes:\n  ' +
                        '\n  '.join(problems))


def _encoder_option(args: dict, params: dict[str, Tensor], path: str | Path) -> dict:
    name = args['encoder_spec']['name']
    if name.startswith('edsr'):
        blocks = {int(m[1]) for m in (re.match(r'encoder\.body\.(\d+)\.body\.', k) for k in params) if m}
        feat = len(params.get('encoder.head.0.bias', ()))
        scale = args['encoder_spec'].get('args', {}).get('res_scale', 1)
        return {'type': 'EDSREncoder', 'num_feat': feat, 'num_block': len(blocks), 'res_scale': scale}
    if name == 'rdn':
        blocks = {int(m[1]) for m in (re.match(r'encoder\.RDBs\.(\d+)\.', k) for k in params) if m}
        layers = {int(m[1]) for m in (re.match(r'encoder\.RDBs\.0\.convs\.(\d+)\.', k) for k in params) if m}
        return {'type': 'RDNEncoder', 'num_feat': len(params.get('encoder.SFENet1.bias', ())),
                'num_block': len(blocks), 'num_layer': len(layers),
                'growth': len(params.get('encoder.RDBs.0.convs.0.conv.0.bias', ()))}
    raise UserError(f'{path}: found encoder "{name}"; needed edsr-baseline, edsr or rdn.')


def _encoder_spec(encoder: dict, params: dict[str, Tensor], path: str | Path) -> dict:
    if encoder['type'] == 'EDSREncoder':
        args = {'n_resblocks': encoder.get('num_block', 16), 'n_feats': encoder.get('num_feat', 64),
                'res_scale': encoder.get('res_scale', 1), 'no_upsampling': True}
        return {'name': 'edsr-baseline', 'args': args}
    shape = (encoder.get('num_block', 16), encoder.get('num_layer', 8), encoder.get('growth', 64))
    if encoder['type'] == 'RDNEncoder' and shape == (16, 8, 64):
        return {'name': 'rdn', 'args': {'G0': encoder.get('num_feat', 64), 'RDNconfig': 'B', 'no_upsampling': True}}
    raise UserError(f'{path}: the reference implementation has no encoder {encoder}; '
                    'it has EDSREncoder, and RDNEncoder with 16 blocks of 8 and growth 64.')


def _mean_shifts() -> dict[str, Tensor]:
    """The reference EDSR's frozen mean shifts: identity convolutions with the DIV2K mean as bias."""
    eye = torch.eye(3).view(3, 3, 1, 1)
    mean = torch.tensor(_DIV2K_MEAN)
    return dict(zip(_MEAN_SHIFTS, (eye, -mean, eye.clone(), mean), strict=True))
