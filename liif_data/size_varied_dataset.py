"""Training with ground truth of many sizes (LIIF section 4.2, CelebAHQ)."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from basicsr.utils.registry import DATASET_REGISTRY
from torch import Tensor
from torch.utils.data import Dataset

from liif_arch.config.fragments import FLAG, TEXT, WHOLE, maybe
from liif_arch.errors import UserError, is_whole
from liif_arch.files.images import COLORS, resize_bicubic, unit_range
from liif_arch.metrics.contact_sheet import Pair
from liif_data.crops import augment, draw_seed, generator, query_samples
from liif_data.dataset_options import (
    optional_int,
    optional_store,
    positive_int,
    require_color,
    require_options,
    to_tensor,
)
from liif_data.store import ImageStore, open_store


@DATASET_REGISTRY.register()
class SizeVariedDataset(Dataset):
    """Whole images at one input size, each with ground truth of a size of its own.

    Sample i of N has ground truth of round(Lmin + (Lmax - Lmin) i / (N - 1)) pixels a side, the
    same in every epoch: a training set whose images were photographed at different sizes.
    `gt_resize` brings all to one size, which is what a network of one scale needs and loses detail
    by.

    Options (of `datasets.train`):
        dataroot_gt: Folder or .lmdb of square images of at least Lmax pixels.
        dataroot_lq: Inputs of lq_size pixels, of the same names; optional, else made from the
            ground truth.
        lq_size: Side of the input.
        gt_size_range: [Lmin, Lmax].
        gt_resize: Resize every (already reduced) ground truth to this side; optional.
        num_samples: Ground-truth pixels per sample.
        use_hflip: Horizontal flip.
        color: rgb (default), gray or unchanged.
        seed: Default: the run's manual_seed.

    Raises:
        UserError: An option that cannot work, or images of other sizes.
    """

    own_options: ClassVar = {  # beside `config.tables.LOADER`
        'dataroot_gt': TEXT,
        'dataroot_lq': maybe(TEXT),
        'lq_size': WHOLE,
        'gt_size_range': {'type': 'array', 'items': WHOLE},
        'gt_resize': maybe(WHOLE),
        'num_samples': WHOLE,
        'use_hflip': FLAG,
        'color': {'enum': list(COLORS)},
    }
    addressed = True  # its randomness, by (seed, epoch, repeat, index)

    def __init__(self, opt: Mapping) -> None:
        self.opt = opt
        require_options(self.own_options, opt)
        self.lq_size = positive_int(opt, 'lq_size')
        self.num_samples = positive_int(opt, 'num_samples')
        self.gt_resize = optional_int(opt, 'gt_resize')
        self.color = require_color(opt)
        self.seed = opt.get('seed', 0)
        self.sizes = _size_range(opt)
        fewest = (self.gt_resize or self.sizes[0]) ** 2
        if self.num_samples > fewest:
            raise UserError(
                f'found {self.num_samples}, but a ground truth may have only {fewest} '
                'pixels; lower num_samples.',
                key='num_samples',
            )
        self.gt_store = open_store(opt.get('dataroot_gt'), 'dataroot_gt')
        self.lq_store = optional_store(opt, 'dataroot_lq')
        self._require_sizes()

    def _require_sizes(self) -> None:
        for key in self.gt_store.keys:
            h, w = self.gt_store.size(key)
            if h != w or h < self.sizes[1]:
                raise UserError(
                    f'{self.gt_store.path(key)}: this image is {w}x{h} (width x height); needed '
                    'square '
                    f'ones of at least {self.sizes[1]} pixels (gt_size_range).'
                )
            if self.lq_store is not None:
                if key not in self.lq_store.keys:
                    raise UserError(
                        f'{self.lq_store.root} has no "{key}"; it needs the names of dataroot_gt.',
                        key='dataroot_lq',
                    )
                if self.lq_store.size(key) != (self.lq_size, self.lq_size):
                    raise UserError(
                        f'{self.lq_store.path(key)}: needed {self.lq_size}x{self.lq_size} '
                        '(lq_size).'
                    )

    def gt_side(self, index: int) -> int:
        """Side of sample index's ground truth."""
        low, high = self.sizes
        return round(low + (high - low) * int(index) / max(1, len(self) - 1))

    def stores(self) -> list[ImageStore]:
        """Where its images lie."""
        if self.lq_store is None:
            return [self.gt_store]
        return [self.gt_store, self.lq_store]

    def verify(self) -> None:
        """Decode the images once; raises UserError where one does not decode."""
        for store in self.stores():
            store.verify(self.color)

    def __len__(self) -> int:
        return len(self.gt_store)

    def __getitem__(self, index: int) -> dict[str, Tensor | str]:
        """One sample; see `RandomScalePairedDataset.__getitem__`."""
        lq, gt, seed = self._images(index)
        key = self.gt_store.keys[index]
        lq_path = self.gt_store.path(key)
        if self.lq_store is not None:
            lq_path = self.lq_store.path(key)
        coord, cell, colours = query_samples(gt, self.num_samples, seed)
        return {
            'lq': to_tensor(lq),
            'gt': torch.from_numpy(unit_range(colours)),
            'coord': torch.from_numpy(coord),
            'cell': torch.from_numpy(cell.copy()),
            'lq_path': lq_path,
            'gt_path': self.gt_store.path(key),
        }

    def pair(self, index: int) -> Pair:
        """The low-resolution image and the ground truth of a sample, to be looked at."""
        lq, gt, _ = self._images(index)
        return Pair(lq, gt)

    def _images(self, index: int) -> tuple[np.ndarray, np.ndarray, int]:
        """Low-resolution image and ground truth of a sample, and the seed of its subset of
        pixels.
        """
        rng = generator(self.seed, index)
        key = self.gt_store.keys[index]
        image = self.gt_store.read(key, self.color)
        if self.lq_store is None:
            lq = resize_bicubic(image, (self.lq_size,) * 2)
        else:
            lq = self.lq_store.read(key, self.color)
        gt = resize_bicubic(image, (self.gt_side(index),) * 2)
        if self.gt_resize is not None:
            gt = resize_bicubic(gt, (self.gt_resize,) * 2)
        lq, gt = augment(rng, [lq, gt], self.opt.get('use_hflip', True), use_rot=False)
        return lq, gt, draw_seed(rng)


def _size_range(opt: Mapping) -> tuple[int, int]:
    """The option `gt_size_range`, [smallest, largest]; raises UserError otherwise."""
    value: Any = opt.get('gt_size_range')
    is_range = isinstance(value, (list, tuple)) and len(value) == 2
    if not is_range or not all(map(is_whole, value)) or not 0 < value[0] <= value[1]:
        raise UserError(
            f'found {value!r}; needed [smallest, largest] in pixels, as [64, 128].',
            key='gt_size_range',
        )
    return value[0], value[1]
