"""Pixels to (lq, coord, cell, gt): image stores, samples and datasets for training and testing at any scale."""
