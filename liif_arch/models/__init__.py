"""Models; importing this package registers them with BasicSR's MODEL_REGISTRY."""

from liif_arch.models import liif_gan_model, liif_model

__all__ = ['liif_gan_model', 'liif_model']
