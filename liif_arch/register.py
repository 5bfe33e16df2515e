"""Entry point `basicsr.plugins`: importing this module registers networks and models with BasicSR.

The networks are registered with MMEngine too:
`custom_imports = dict(imports=['liif_arch.register'])` in a config, then
`MODELS.build(dict(type='LIIF', encoder=dict(type='EDSREncoder')))`.
"""

from basicsr.utils.registry import ARCH_REGISTRY
from mmengine.registry import MODELS

from liif_arch import archs, losses, models

__all__ = ['archs', 'losses', 'models']

for name in archs.MODULES:
    network = archs.own_network(name)
    if name not in ARCH_REGISTRY:  # else this module has been imported under another name, or again
        ARCH_REGISTRY.register(network)
    MODELS.register_module(module=network, force=True)
