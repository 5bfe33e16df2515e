"""Validation and test images at a set of scales."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from basicsr.utils import get_root_logger
from basicsr.utils.registry import DATASET_REGISTRY
from torch import Tensor
from torch.utils.data import Dataset

from liif_arch.config.fragments import TEXT, WHOLE, maybe
from liif_arch.coordinates import as_scale, reduced_size, scale_label, scaled_size
from liif_arch.errors import UserError, missing_path
from liif_arch.files.images import COLORS, resize_bicubic
from liif_arch.metrics.contact_sheet import Pair
from liif_arch.training.datasets import fill_template
from liif_data.crops import generator
from liif_data.dataset_options import (
    DEGRADATION,
    missing_pair,
    optional_degradation,
    positive_int,
    require_color,
    require_options,
    to_tensor,
)
from liif_data.store import ImageStore, open_store

Scale = tuple[float, float]


@DATASET_REGISTRY.register()
class ScaleSetDataset(Dataset):
    """Every image of a set at every scale of a list; item i is image i % n at scale i // n.

    The low-resolution input is read from `dataroot_lq` where that folder exists for the scale (the
    published inputs, x2 to x4), else made: ground truth cropped at the top left to a multiple of
    the scale, Pillow bicubic on 8 bits.

    Options (of `datasets.val_*`, `datasets.test_*`):
        dataroot_gt: Folder, .lmdb, or builtin:photos/heldout.
        scales: List of numbers, or of pairs [sy, sx]; fractions are welcome.
        dataroot_lq: Folders of low-resolution images, with {scale} where it stands in the path, for
            instance datasets/Set5/LR_bicubic/X{scale}; optional. With one scale it may be a plain
            folder or .lmdb.
        filename_tmpl: Names in those folders. Default '{}x{scale}', as the benchmarks are
            published.
        first_k: Use the first k images only; optional.
        degradation: What happens to the inputs, for instance {jpeg: 75}; see
            `liif_data.degradations`. It is the same in every validation. Default nothing.
        color: rgb (default), gray or unchanged.

    Raises:
        UserError: An option that cannot work.
    """

    own_options: ClassVar = {  # beside `config.tables.LOADER`
        'dataroot_gt': TEXT,
        'scales': {'type': 'array', 'items': {'type': ['number', 'array']}},
        'dataroot_lq': maybe(TEXT),
        'filename_tmpl': TEXT,
        'first_k': maybe(WHOLE),
        'degradation': DEGRADATION,
        'color': {'enum': list(COLORS)},
    }

    def __init__(self, opt: Mapping) -> None:
        self.opt = opt
        require_options(self.own_options, opt)
        self.color = require_color(opt)
        self.scales = _scales(opt.get('scales'))
        self.gt_store = open_store(opt.get('dataroot_gt'), 'dataroot_gt')
        if opt.get('first_k') is not None:
            self.gt_store.keys = self.gt_store.keys[: positive_int(opt, 'first_k')]
        self.filename_tmpl = opt.get('filename_tmpl', '{}x{scale}')
        self.lq_stores = self._open_lq_stores(opt.get('dataroot_lq'))
        self.degradation = optional_degradation(opt.get('degradation'), self.color)
        if self.degradation is not None and self.degradation.of_gt and self.lq_stores:
            raise UserError(
                'found a step that makes an input of the ground truth (resize or reduce), and '
                'dataroot_lq, where the inputs are; remove one.',
                key='degradation',
            )
        self._require_pixels()

    def _require_pixels(self) -> None:
        """Raise UserError where a ground truth leaves no pixel at a scale."""
        for scale in self.scales:
            for key in self.gt_store.keys:
                size = self.gt_store.size(key)
                try:
                    reduced_size(size, scale)
                except UserError as error:
                    raise UserError(f'{self.gt_store.path(key)}: {error}', key='scales') from None

    def _open_lq_stores(self, root: str | None) -> dict[Scale, ImageStore]:
        """The low-resolution images of the scales that have a folder."""
        if not root:
            return {}
        if '{scale}' not in root and len(self.scales) > 1:
            raise UserError(
                f'found {root}; needed {{scale}} where the scale stands in the path.',
                key='dataroot_lq',
            )
        # The last folder before {scale}.
        before = Path(root.split('{scale}')[0] + '_').expanduser().parent
        if not before.is_dir():
            raise UserError(f'found {root}; {before} {missing_path(before)}.', key='dataroot_lq')
        stores = {}
        for scale in self.scales:
            folder = Path(root.replace('{scale}', scale_label(scale)[1:])).expanduser()
            if folder.is_dir() or '{scale}' not in root:
                stores[scale] = open_store(str(folder), 'dataroot_lq')
                self._require_all(stores[scale], scale)
        cropped = 0
        for scale, store in stores.items():
            for key in self.gt_store.keys:
                cropped += self._require_match(store, self._lq_key(key, scale), key, scale)
        if not stores:
            raise UserError(
                f'found {root}; it exists for none of the scales '
                f'{self._labels(self.scales)}. Mend the path, or remove it to have inputs '
                'made from the ground truth.',
                key='dataroot_lq',
            )
        made = [scale for scale in self.scales if scale not in stores]
        text = f'{self.opt["name"]}: inputs read from {root} at {self._labels(stores)}'
        if made:
            text += f'; made by Pillow bicubic at {self._labels(made)}'
        if cropped:
            text += (
                f'; {cropped} of them have fewer pixels than their ground truths, whose last rows '
                'and columns are left out'
            )
        get_root_logger().info(f'{text}.')
        return stores

    def _require_all(self, store: ImageStore, scale: Scale) -> None:
        """Raise UserError where a ground truth has no low-resolution image."""
        there = set(store.keys)
        for key in self.gt_store.keys:
            lq_key = self._lq_key(key, scale)
            if lq_key not in there:
                raise missing_pair(store, lq_key, self.gt_store.path(key))

    def _require_match(self, store: ImageStore, lq_key: str, key: str, scale: Scale) -> bool:
        """Raise UserError where an input cannot be of its ground truth, or of the part that begins
        at its top-left corner and lacks less than an input's pixel.

        Returns:
            Whether it is of such a part.
        """
        lq, gt = store.size(lq_key), self.gt_store.size(key)
        larger = scaled_size(lq, scale)
        for n, length, full, s in zip(lq, larger, gt, scale, strict=True):
            if abs(n - full / s) >= 1 or length > full:
                raise UserError(
                    f'{store.path(lq_key)} is {lq[1]}x{lq[0]} (width x height), at '
                    f'{scale_label(scale)} {larger[1]}x{larger[0]}, and '
                    f'{self.gt_store.path(key)} is {gt[1]}x{gt[0]}; needed as many pixels, or up '
                    'to one of the input fewer. Make inputs of ground truths that are cropped to a '
                    'multiple of the scale.',
                    key='dataroot_lq',
                )
        return larger != tuple(gt)

    @staticmethod
    def _labels(scales: Iterable[Scale]) -> str:
        return ', '.join(scale_label(s) for s in scales)

    def _lq_key(self, key: str, scale: Scale) -> str:
        template = self.filename_tmpl.replace('{scale}', scale_label(scale)[1:])
        return fill_template(template, key)

    def stores(self) -> list[ImageStore]:
        """Where its images lie."""
        return [self.gt_store, *self.lq_stores.values()]

    def verify(self) -> None:
        """Decode the images once; raises UserError where one does not decode."""
        for store in self.stores():
            store.verify(self.color)

    def __len__(self) -> int:
        return len(self.gt_store) * len(self.scales)

    def __getitem__(self, index: int) -> dict[str, Tensor | str]:
        """One image at one scale.

        Returns:
            lq (C, h, w) and gt (C, H, W) in [0, 1]; scale (2,), (sy, sx), float64; lq_path,
            gt_path.
        """
        scale, key = self._scale_and_key(index)
        lq, gt, lq_path = self._images(index)
        return {
            'lq': to_tensor(lq),
            'gt': to_tensor(gt),
            'scale': torch.tensor(scale, dtype=torch.float64),
            'lq_path': lq_path,
            'gt_path': self.gt_store.path(key),
        }

    def pair(self, index: int) -> Pair:
        """Input and ground truth of an item, to be looked at."""
        lq, gt, _ = self._images(index)
        return Pair(lq, gt)

    def _scale_and_key(self, index: int) -> tuple[Scale, str]:
        """Scale and image of an item."""
        key = self.gt_store.keys[index % len(self.gt_store)]
        return self.scales[index // len(self.gt_store)], key

    def _images(self, index: int) -> tuple[np.ndarray, np.ndarray, str]:
        """Input, ground truth, and the path of the file that the input is of."""
        scale, key = self._scale_and_key(index)
        gt = self.gt_store.read(key, self.color)
        if scale in self.lq_stores:
            store, lq_key = self.lq_stores[scale], self._lq_key(key, scale)
            lq, lq_path = store.read(lq_key, self.color), store.path(lq_key)
            height, width = scaled_size(lq.shape[:2], scale)
            gt = gt[:height, :width]
            if self.degradation is not None:
                lq = self.degradation(lq, lq.shape[:2], generator(0, index), whole=True)
        else:
            lq_size = reduced_size(gt.shape[:2], scale)
            height, width = scaled_size(lq_size, scale)
            gt, lq_path = gt[:height, :width], self.gt_store.path(key)
            if self.degradation is not None:
                lq = self.degradation(gt, lq_size, generator(0, index), whole=True)
            else:
                lq = resize_bicubic(gt, lq_size)
        return lq, gt, lq_path


def _scales(value: object) -> list[Scale]:
    if not isinstance(value, (list, tuple)) or not value:
        raise UserError(
            f'found {value!r}; needed a list, for instance [2, 3, 4, 2.5, [2, 3]].', key='scales'
        )
    scales = [as_scale(s, 'scales') for s in value]
    if len(set(scales)) != len(scales):
        raise UserError(f'found {value!r}; a scale stands there twice.', key='scales')
    return scales
