"""Entry point `basicsr.plugins`: importing this module registers the datasets with BasicSR."""

from liif_data import random_scale_dataset, scale_set_dataset, size_varied_dataset

__all__ = ['random_scale_dataset', 'scale_set_dataset', 'size_varied_dataset']
