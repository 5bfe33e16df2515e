"""Networks of this package, by the names that options use.

Importing this table is cheap (no torch), and importing the networks needs PyTorch alone.
`liif_arch` offers them by their names; `liif_arch.register` makes them known to BasicSR and
MMEngine.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

MODULES = {
    'LIIF': 'liif_arch',
    'LTE': 'lte_arch',
    'MetaSR': 'metasr_arch',
    'Thera': 'thera_arch',
    'SubPixelSR': 'subpixel_arch',
    'EDSREncoder': 'edsr_encoder_arch',
    'RDNEncoder': 'rdn_encoder_arch',
}


def own_network(name: object) -> 'type[nn.Module] | None':
    """The class of this package that `type: NAME` means; None where it means none."""
    if not isinstance(name, str) or name not in MODULES:
        return None
    return getattr(import_module(f'{__name__}.{MODULES[name]}'), name)


def is_own(network: object) -> bool:
    """Whether an option `network_g` is of this package, its encoder too: no plugin is needed."""
    if not isinstance(network, dict) or own_network(network.get('type')) is None:
        return False
    encoder = network.get('encoder')
    if not isinstance(encoder, dict):
        return encoder is None
    return own_network(encoder.get('type')) is not None
