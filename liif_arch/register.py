"""Entry point `basicsr.plugins`: importing this module registers the networks and models with BasicSR."""
from liif_arch import archs, models

__all__ = ['archs', 'models']
