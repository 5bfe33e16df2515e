"""Entry point `basicsr.plugins`: importing this module registers the networks and models with BasicSR.

The networks are registered with MMEngine too: `custom_imports = dict(imports=['liif_arch.register'])` in a config, then
`MODELS.build(dict(type='LIIF', encoder=dict(type='EDSREncoder')))`.
"""
from mmengine.registry import MODELS

from liif_arch import LIIF, LTE, EDSREncoder, MetaSR, RDNEncoder, SubPixelSR, archs, models

__all__ = ['archs', 'models']

for network in (LIIF, LTE, MetaSR, SubPixelSR, EDSREncoder, RDNEncoder):
    MODELS.register_module(module=network, force=True)
