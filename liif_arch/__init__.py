"""LIIF for BasicSR: arbitrary-scale super-resolution networks, models and metrics.

Importing this package is cheap (no torch): names resolve at first use, so that `basicsr --help`
answers at once.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from liif_arch import basicsr_source as _basicsr_source
from liif_arch import deferred_imports as _deferred_imports
from liif_arch.archs import MODULES as _NETWORKS
from liif_arch.threads import wait_passively as _wait_passively
from liif_arch.torchvision_alias import install as _install_torchvision_alias

if TYPE_CHECKING:  # the table below, for type checkers and editors, which cannot follow it
    # `X as X` says that a name is meant to be imported from here.
    from liif_arch.archs.coordinate_network import CoordinateNetwork as CoordinateNetwork
    from liif_arch.archs.edsr_encoder_arch import EDSREncoder as EDSREncoder
    from liif_arch.archs.liif_arch import LIIF as LIIF
    from liif_arch.archs.lte_arch import LTE as LTE
    from liif_arch.archs.metasr_arch import MetaSR as MetaSR
    from liif_arch.archs.rdn_encoder_arch import RDNEncoder as RDNEncoder
    from liif_arch.archs.subpixel_arch import SubPixelSR as SubPixelSR
    from liif_arch.archs.thera_arch import Thera as Thera
    from liif_arch.errors import UserError as UserError
    from liif_arch.files.images import read_image as read_image
    from liif_arch.files.images import read_picture as read_picture
    from liif_arch.files.images import write_image as write_image
    from liif_arch.upscaling.upscale import upscale as upscale
    from liif_arch.upscaling.upscale import upscale_to_file as upscale_to_file
    from liif_arch.weights.blend import load_blend as load_blend
    from liif_arch.weights.networks import load_network as load_network

__version__ = '0.1.0'

_MODULE_OF = {  # where each public name is defined
    **{name: f'liif_arch.archs.{module}' for name, module in _NETWORKS.items()},
    'CoordinateNetwork': 'liif_arch.archs.coordinate_network',
    'UserError': 'liif_arch.errors',
    'load_blend': 'liif_arch.weights.blend',
    'load_network': 'liif_arch.weights.networks',
    'read_image': 'liif_arch.files.images',
    'read_picture': 'liif_arch.files.images',
    'upscale': 'liif_arch.upscaling.upscale',
    'upscale_to_file': 'liif_arch.upscaling.upscale',
    'write_image': 'liif_arch.files.images',
}
__all__ = list(_MODULE_OF)

_wait_passively()
# BasicSR 1.4.2 imports a module that torchvision has dropped; the alias must exist before anybody
# imports basicsr.
_install_torchvision_alias()
_deferred_imports.install()
_basicsr_source.install()


def __getattr__(name: str) -> object:
    """Import a public name when it is first used."""
    if name not in _MODULE_OF:
        raise AttributeError(
            f'module {__name__!r} has no attribute {name!r}; it has {", ".join(__all__)}'
        )
    return getattr(import_module(_MODULE_OF[name]), name)


def __dir__() -> list[str]:
    """The public names, whether they have been imported or not."""
    return list(__all__)
