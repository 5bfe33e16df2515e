"""Networks; importing this package registers all of them with BasicSR's ARCH_REGISTRY."""
from liif_arch.archs import edsr_encoder_arch, liif_arch, lte_arch, metasr_arch, rdn_encoder_arch, subpixel_arch

__all__ = ['edsr_encoder_arch', 'liif_arch', 'lte_arch', 'metasr_arch', 'rdn_encoder_arch', 'subpixel_arch']
