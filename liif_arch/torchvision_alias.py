"""`import basicsr` on a current torchvision; see docs/basicsr.md, "Importing it".

BasicSR 1.4.2 imports `rgb_to_grayscale` from `torchvision.transforms.functional_tensor`, which
torchvision has removed.
"""

import sys
import types

_NAME = 'torchvision.transforms.functional_tensor'


class _FunctionalTensor(types.ModuleType):
    """Stands in for the removed module; imports torchvision only when a name is taken from it."""

    def __getattr__(self, name: str) -> object:
        if name.startswith('__'):
            raise AttributeError(name)
        from torchvision.transforms import functional

        return getattr(functional, name)


def install() -> None:
    """Make the removed module importable again (torchvision itself is not imported here)."""
    sys.modules.setdefault(_NAME, _FunctionalTensor(_NAME))
