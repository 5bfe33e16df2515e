"""Checkpoints of Thera's reference implementation (prs-eth/thera, in JAX), to ours.

They are pickles: {'model': {'params': ...}, 'backbone': ..., 'size': ...}, with NumPy or JAX arrays
in plain and in Flax's frozen dictionaries. Convolution kernels are (kh, kw, in, out) there.
"""

import io
import pickle
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from liif_arch.errors import UserError

MEAN = [0.4488, 0.4371, 0.4040]
SIZES = {
    'air': {'hidden_dim': 32, 'tail': None},
    'plus': {'hidden_dim': 512, 'tail': 'convnext'},
    'pro': {'hidden_dim': 512, 'tail': 'swinir'},
}
ENCODERS = {
    'edsr-baseline': {'type': 'EDSREncoder', 'num_feat': 64, 'num_block': 16},
    'rdn': {'type': 'RDNEncoder', 'num_feat': 64, 'num_block': 16, 'num_layer': 8, 'growth': 64},
}
# Parts of the reference's names, and what takes their place, one after the other.
NAMES = [
    (r'^params\.', ''),
    (r'^out_conv\.', 'head.'),
    (r'^k$', 'kappa'),
]
ENCODER_NAMES = {
    'edsr-baseline': [(r'layers_(\d+)', r'\1')],
    'rdn': [
        (r'RDB_(\d+)\.RDB_Conv_(\d+)\.Conv_0\.', r'RDBs.\1.convs.\2.conv.0.'),
        (r'RDB_(\d+)\.Conv_0\.', r'RDBs.\1.LFF.'),
        (r'Conv_0\.', 'SFENet1.'),
        (r'Conv_1\.', 'SFENet2.'),
        (r'Conv_2\.', 'GFF.0.'),
        (r'Conv_3\.', 'GFF.1.'),
    ],
}
TAIL_NAMES = {
    'air': [],
    'plus': [
        (r'layers_(\d+)', r'\1'),
        (r'residual\.0\.', 'depthwise.'),
        (r'residual\.1\.', 'norm.'),
        (r'residual\.2\.', 'widen.'),
        (r'residual\.4\.', 'narrow.'),
        (r'LayerNorm_0\.', 'norm.'),
        (r'Conv_0\.', 'linear.'),
    ],
    'pro': [
        (r'PatchEmbed_0\.LayerNorm_0\.', 'net.patch_embed.norm.'),
        (r'RSTB_(\d+)\.BasicLayer_0\.SwinTransformerBlock_(\d+)\.', r'block \1 \2 '),
        (r'RSTB_(\d+)\.Conv_0\.', r'net.layers.\1.conv.'),
        (r'(block.*)LayerNorm_0\.', r'\1norm1.'),
        (r'(block.*)LayerNorm_1\.', r'\1norm2.'),
        (r'Mlp_0\.Dense_0\.', 'mlp.fc1.'),
        (r'Mlp_0\.Dense_1\.', 'mlp.fc2.'),
        (r'WindowAttention_0\.', 'attn.'),
        (r'block (\d+) (\d+) ', r'net.layers.\1.residual_group.blocks.\2.'),
        (r'^LayerNorm_0\.', 'net.norm.'),
        (r'^Conv_0\.', 'net.conv_first.'),
        (r'^Conv_1\.', 'net.conv_after_body.'),
        (r'^Conv_2\.', 'net.conv_before_upsample.0.'),
    ],
}
ADMITTED = {  # what a pickle of arrays and plain containers may call
    ('numpy', 'ndarray'): np.ndarray,
    ('numpy', 'dtype'): np.dtype,
    ('numpy.core.multiarray', '_reconstruct'): np.zeros(0).__reduce__()[0],
    ('numpy._core.multiarray', '_reconstruct'): np.zeros(0).__reduce__()[0],
    ('numpy.core.multiarray', 'scalar'): np.float32(0).__reduce__()[0],
    ('numpy._core.multiarray', 'scalar'): np.float32(0).__reduce__()[0],
    ('collections', 'OrderedDict'): dict,
}


class FrozenDict(dict):
    """Stands for Flax's class of that name, whose pickled state is its dictionary."""

    def __setstate__(self, state: dict) -> None:
        self.update(state.get('_dict', {}))


def _jax_array(function: object, arguments: tuple, state: tuple, *_: object) -> np.ndarray:
    """Stands for JAX's function that makes one of its arrays of a pickled NumPy array."""
    array = function(*arguments)
    array.__setstate__(state)
    return array


class _ArrayUnpickler(pickle.Unpickler):
    """Reads arrays and plain containers; anything else is refused by name, and nothing is run."""

    def find_class(self, module: str, name: str) -> object:
        if (module, name) in ADMITTED:
            return ADMITTED[module, name]
        if module.startswith('flax.core') and name == 'FrozenDict':
            return FrozenDict
        if module.startswith('jax') and name == '_reconstruct_array':
            return _jax_array
        raise pickle.UnpicklingError(f'{module}.{name}')


def read_pickle(path: str | Path) -> dict:
    """The content of a pickle of arrays and plain containers.

    Raises:
        OSError: The file cannot be read.
        UserError: It is none, or holds something else, which is named and was not run.
    """
    data = Path(path).read_bytes()
    try:
        content = _ArrayUnpickler(io.BytesIO(data)).load()
    except Exception as error:  # damaged bytes make an unpickler raise anything
        raise UserError(
            f'{path}: found {str(error) or type(error).__name__}; needed a pickle of arrays and '
            "plain containers, as Thera's authors publish them. Nothing in it was run."
        ) from None
    if not isinstance(content, dict):
        raise UserError(f'{path}: found {type(content).__name__}; needed a dictionary.')
    return content


def is_thera(content: dict) -> bool:
    """Whether a loaded pickle has the reference implementation's form."""
    return {'model', 'backbone', 'size'} <= content.keys()


def from_thera(content: dict, path: str | Path = 'checkpoint') -> dict:
    """`{'params', 'network_g'}` of a reference checkpoint.

    Raises:
        UserError: Another network, or parameters that are not those of the network it names.
    """
    from liif_arch.weights.networks import build_own
    from liif_arch.weights.reference import require_fit

    backbone, size = content['backbone'], content['size']
    if backbone not in ENCODERS or size not in SIZES:
        raise UserError(
            f'{path}: found Thera {size} on {backbone}; needed {", ".join(SIZES)} on '
            f'{" or ".join(ENCODERS)}.'
        )
    network = {'type': 'Thera', 'encoder': dict(ENCODERS[backbone]), 'mean': list(MEAN)}
    network.update(SIZES[size])
    params = {}
    for buffer, value in build_own(network).named_buffers():
        params[buffer] = value  # an attention's masks, which follow from the options
    for reference, array in _flat(content['model']):
        name = _name(reference, backbone, size)
        params[name] = _tensor(name, array)
    require_fit(network, params, path)
    return {'params': params, 'network_g': network}


def _name(reference: str, backbone: str, size: str) -> str:
    """Our name of a parameter, of the reference's."""
    name = _replaced(reference, NAMES)
    room, _, rest = name.partition('.')
    if room == 'encoder':
        inner = '' if SIZES[size]['tail'] is None else 'net.'
        name = f'encoder.{inner}{_replaced(rest, ENCODER_NAMES[backbone])}'
    if room == 'refine':
        name = f'encoder.tail.{_replaced(rest, TAIL_NAMES[size])}'
    return re.sub(r'\.(kernel|scale)$', '.weight', name)


def _replaced(name: str, rules: list[tuple[str, str]]) -> str:
    for pattern, ours in rules:
        name = re.sub(pattern, ours, name)
    return name


def _flat(tree: Mapping, prefix: str = '') -> list[tuple[str, np.ndarray]]:
    """All arrays of a tree of dictionaries, by their keys joined by dots."""
    found = []
    for key, value in tree.items():
        name = f'{prefix}{key}'
        if isinstance(value, Mapping):
            found += _flat(value, f'{name}.')
        else:
            found.append((name, np.asarray(value)))
    return found


def _tensor(name: str, array: np.ndarray) -> Tensor:
    """A parameter in PyTorch's order, outputs first."""
    values = torch.from_numpy(np.array(array, dtype=np.float32))
    if values.ndim == 4:
        values = values.permute(3, 2, 0, 1)
        if name.endswith(('widen.weight', 'narrow.weight', 'linear.weight')):
            values = values.flatten(1)  # a 1x1 convolution is a linear layer here
    elif values.ndim == 2 and name.endswith('.weight'):
        values = values.t()
    return values.contiguous()
