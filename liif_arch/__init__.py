"""LIIF for BasicSR: arbitrary-scale super-resolution networks, models and metrics.

Importing this package is cheap (no torch): names resolve at first use, so that `basicsr --help`
answers at once.
"""

from importlib import import_module

from liif_arch import basicsr_source as _basicsr_source
from liif_arch.archs import MODULES as _NETWORKS
from liif_arch.threads import wait_passively as _wait_passively
from liif_arch.torchvision_alias import install as _install_torchvision_alias

__version__ = '0.1.0'

_HOME = {
    **{name: f'liif_arch.archs.{module}' for name, module in _NETWORKS.items()},
    'load_network': 'liif_arch.weights.networks',
    'read_image': 'liif_arch.files.images',
    'read_picture': 'liif_arch.files.images',
    'write_image': 'liif_arch.files.images',
    'upscale': 'liif_arch.upscaling.upscale',
    'upscale_to_file': 'liif_arch.upscaling.upscale',
}
__all__ = list(_HOME)

_wait_passively()
# BasicSR 1.4.2 imports a module that torchvision has dropped; the alias must exist before anybody
# imports basicsr.
_install_torchvision_alias()
_basicsr_source.install()


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(
            f'module {__name__!r} has no attribute {name!r}; it has {", ".join(_HOME)}'
        )
    return getattr(import_module(_HOME[name]), name)
