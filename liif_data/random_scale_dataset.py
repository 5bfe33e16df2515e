"""Training samples at random scales (LIIF section 4.1)."""

import math
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from basicsr.utils.registry import DATASET_REGISTRY
from torch import Tensor
from torch.utils.data import Dataset

from liif_arch.config.fragments import FLAG, NUMBERS, TEXT, WHOLE, maybe
from liif_arch.errors import UserError
from liif_arch.files.images import COLORS, require_8_bits, resize_bicubic, unit_range
from liif_arch.metrics.contact_sheet import Pair
from liif_arch.training.datasets import fill_template
from liif_data.crops import (
    Window,
    augment,
    draw_seed,
    enlarged_side,
    generator,
    pad_square,
    query_samples,
    random_side,
    random_window,
    scaled_window,
)
from liif_data.dataset_options import (
    DEGRADATION,
    augmentation_of_scales,
    missing_pair,
    optional_degradation,
    optional_int,
    optional_store,
    positive_int,
    require_color,
    require_options,
    require_size,
    scale_range,
    to_tensor,
)
from liif_data.repeats import fingerprint, number_of, repeated
from liif_data.store import ImageStore, open_store

DEGRADE = ('loader', 'device')


@DATASET_REGISTRY.register()
class RandomScalePairedDataset(Dataset):
    """Low-resolution crops and ground-truth pixels as (coord, cell, colour), one scale drawn per
    sample.

    Ground truth alone is enough: a crop of round(lq_size * s) pixels, s ~ U(scale_range), is
    reduced to lq_size pixels as Pillow's antialiased bicubic does. With `dataroot_lq` the pairs are
    taken as they are, at their scale. A sample depends on (seed, epoch, index) alone.

    Options (of `datasets.train`):
        dataroot_gt: Folder, .lmdb, or builtin:photos/train.
        dataroot_lq: Given low-resolution images; optional, excludes scale_range.
        filename_tmpl: Name of the low-resolution image for a ground truth's, as in BasicSR. Default
            '{}'.
        lq_size: Side of the low-resolution crop.
        scale_range: [lowest, highest] scale.
        reduce_gt: [probability, lowest, highest], as Thera trains: so often the ground truth is a
            larger crop, reduced by U(lowest, highest), or by what the image has room for. Excludes
            dataroot_lq. Default no such reduction.
        degradation: What happens to the low-resolution crop, or makes it: photo, wild, or steps;
            see `liif_data.degradations`. Excludes dataroot_lq. Default nothing.
        num_samples: Ground-truth pixels per sample; null: all, for whose number all crops must be
            alike.
        patch: These pixels are a square, for losses on images (LIIFGANModel); num_samples is a
            square number then. Default false.
        use_hflip, use_rot: Augmentations: horizontal flip; vertical flip and transpose.
        color: rgb (default), gray or unchanged.
        seed: Default: the run's manual_seed.
        repeat_epochs: The samples of epoch e are those of epoch e mod this number, images *
            dataset_enlarge_ratio * repeat_epochs in all. Needed by a cache of a teacher's colours
            (`train.distill_opt.cache`). Default: every epoch has its own.
        cache: Keep decoded images in memory (per worker process). Default false.
        degrade: Who reduces the crop and draws its pixels: loader (default), or device,
            LIIFModel's, for the whole batch, from 8-bit ground truth alone. The samples are the
            same. (With a degradation the loader makes the low-resolution crop in both cases.)

    Raises:
        UserError: An option that cannot work, or an image smaller than the largest crop.
    """

    own_options: ClassVar = {  # beside `config.tables.LOADER`
        'dataroot_gt': TEXT,
        'dataroot_lq': maybe(TEXT),
        'filename_tmpl': TEXT,
        'lq_size': WHOLE,
        'scale_range': NUMBERS,
        'reduce_gt': maybe(NUMBERS),
        'degradation': DEGRADATION,
        'num_samples': maybe(WHOLE),
        'patch': FLAG,
        'use_hflip': FLAG,
        'use_rot': FLAG,
        'color': {'enum': list(COLORS)},
        'cache': FLAG,
        'degrade': {'enum': list(DEGRADE)},
        'repeat_epochs': maybe(WHOLE),
    }
    addressed = True  # its randomness, by (seed, epoch, repeat, index)

    def __init__(self, opt: Mapping) -> None:
        self.opt = opt
        require_options(self.own_options, opt)
        self.lq_size = positive_int(opt, 'lq_size')
        self.num_samples = optional_int(opt, 'num_samples')
        self.color = require_color(opt)
        self.seed = opt.get('seed', 0)
        self.gt_store = open_store(opt.get('dataroot_gt'), 'dataroot_gt')
        self.lq_store = optional_store(opt, 'dataroot_lq')
        needed = f'lq_size {self.lq_size}'
        if self.lq_store is None:
            self.scale_range = scale_range(opt.get('scale_range'))
            largest = round(self.lq_size * self.scale_range[1])
            at_scale = f' at scale {self.scale_range[1]:g}'
            require_size(self.gt_store, largest, needed + at_scale, 'lq_size or scale_range')
        else:
            self.filename_tmpl = opt.get('filename_tmpl', '{}')
            self.scales: dict[str, int] = {}
            for key in self.gt_store.keys:
                self.scales[key] = self._pair_scale(self.lq_store, key)
            require_size(self.lq_store, self.lq_size, needed, 'lq_size')
        self._require_pixels()
        self.reduce_gt = self._reduce_gt()
        self.degradation = optional_degradation(opt.get('degradation'), self.color)
        if self.degradation is not None and self.lq_store is not None:
            raise UserError(
                'found both it and dataroot_lq, whose images it would replace; remove one.',
                key='degradation',
            )
        self.patch = self._patch()
        self.on_device = self._on_device()
        self.repeat_epochs = optional_int(opt, 'repeat_epochs')
        self.fingerprint = 0 if self.repeat_epochs is None else fingerprint(self.stores())
        self._cache: dict[str, np.ndarray] = {}

    def _lowest_scale(self) -> float:
        """The lowest scale of any sample."""
        if self.lq_store is None:
            return self.scale_range[0]
        return min(self.scales.values())

    def _require_pixels(self) -> None:
        lowest = self._lowest_scale()
        fewest = round(self.lq_size * lowest) ** 2
        if self.num_samples is None:
            if self.lq_store is None and self.scale_range[0] != self.scale_range[1]:
                raise UserError(
                    'found null, with a scale_range that gives crops of different sizes; set '
                    'the number of pixels that each sample draws (the paper: lq_size '
                    'squared).',
                    key='num_samples',
                )
        elif self.num_samples > fewest:
            raise UserError(
                f'found {self.num_samples}, but a crop may have only {fewest} pixels '
                f'(lq_size {self.lq_size} at scale {lowest:g}); lower num_samples.',
                key='num_samples',
            )

    def _reduce_gt(self) -> tuple[float, float, float] | None:
        """Probability, lowest and highest factor of the option `reduce_gt`."""
        found = self.opt.get('reduce_gt')
        if found is None:
            return None
        if self.lq_store is not None:
            raise UserError(
                'found both it and dataroot_lq, whose images it would not fit; remove one.',
                key='reduce_gt',
            )
        return augmentation_of_scales(found)

    def _patch(self) -> bool:
        patch, count = bool(self.opt.get('patch', False)), self.num_samples
        if patch and (count is None or math.isqrt(count) ** 2 != count):
            raise UserError(
                f'found {count}; patch: true needs a square number, the pixels of a square.',
                key='num_samples',
            )
        return patch

    def _on_device(self) -> bool:
        degrade = self.opt.get('degrade', 'loader')
        if degrade not in DEGRADE:
            raise UserError(f'found {degrade!r}; needed {" or ".join(DEGRADE)}.', key='degrade')
        if degrade == 'device' and (self.lq_store is not None or self.num_samples is None):
            raise UserError(
                'found device, which makes low-resolution images and draws pixels from '
                'ground truth alone; set scale_range and num_samples and remove '
                'dataroot_lq, or set loader.',
                key='degrade',
            )
        return degrade == 'device'

    def _pair_scale(self, lq_store: ImageStore, key: str) -> int:
        """By how much a ground truth is larger than its low-resolution image."""
        lq_key = fill_template(self.filename_tmpl, key)
        if lq_key not in lq_store.keys:
            raise missing_pair(lq_store, lq_key, self.gt_store.path(key))
        (h, w), (H, W) = lq_store.size(lq_key), self.gt_store.size(key)
        scale = round(H / h)
        if scale < 1 or not (0 <= H - h * scale < scale and 0 <= W - w * scale < scale):
            raise UserError(
                f'{self.gt_store.path(key)} is {W}x{H} and its low-resolution image {w}x{h} '
                '(width x height); needed a whole-number scale, the same for both.'
            )
        return scale

    def _read(self, store: ImageStore, key: str, window: Window) -> np.ndarray:
        if not self.opt.get('cache', False):
            return store.read_window(key, *window, self.color)
        name = store.path(key)
        if name not in self._cache:
            self._cache[name] = store.read(key, self.color)
        return self._cache[name][window]

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

    def __getitem__(self, index: int) -> dict[str, Tensor | str | int]:
        """One sample.

        Returns:
            lq (C, lq_size, lq_size) and gt (Q, C) in [0, 1]; coord and cell (Q, 2), (y, x);
            lq_path, gt_path. With `degrade: device`: what `liif_arch.crop_batches.make_batch` makes
            these of, and the paths. With `repeat_epochs` also draw (2,), int64: the number of the
            sample among all of them, and the fingerprint of the images.
        """
        crops, seed = self._crops(index)
        key = self.gt_store.keys[index]
        more: dict[str, Tensor | str] = {
            'lq_path': self._lq_path(key),
            'gt_path': self.gt_store.path(key),
        }
        if self.repeat_epochs is not None:
            address = repeated(index, self.repeat_epochs)
            number = number_of(address, len(self), self.opt.get('dataset_enlarge_ratio', 1))
            more.update(draw=torch.tensor([number, self.fingerprint]))
        if self.on_device:
            return {**self._crop_sample(crops, seed), **more}
        return {**self._query_sample(crops, seed), **more}

    def pair(self, index: int) -> Pair:
        """The low-resolution crop and the ground-truth crop of a sample, to be looked at."""
        crops, _ = self._crops(index)
        return Pair(self._lq_of(crops), crops[0])

    def _crops(self, index: int) -> tuple[list[np.ndarray], int]:
        """The ground-truth crop of a sample, its low-resolution crop unless that is the bicubic
        reduction; and the seed of its subset of pixels.
        """
        rng = generator(self.seed, repeated(index, self.repeat_epochs))
        key = self.gt_store.keys[index]
        if self.lq_store is None:
            crops = self._scaled_crop(rng, key)
        else:
            crops = self._paired_crops(rng, self.lq_store, key)
        crops = augment(rng, crops, self.opt.get('use_hflip', True), self.opt.get('use_rot', True))
        seed = draw_seed(rng)
        if self.degradation is not None:
            crops.append(self.degradation(crops[0], (self.lq_size, self.lq_size), rng))
        return crops, seed

    def _lq_of(self, crops: list[np.ndarray]) -> np.ndarray:
        """The low-resolution crop of what `_crops` returns."""
        if len(crops) == 1:
            return resize_bicubic(crops[0], (self.lq_size, self.lq_size))
        return crops[1]

    def _scaled_crop(self, rng: np.random.Generator, key: str) -> list[np.ndarray]:
        """The ground-truth crop alone, (s, s, C)."""
        size = self.gt_store.size(key)
        side = random_side(rng, self.lq_size, self.scale_range)
        larger = side
        if self.reduce_gt is not None:
            larger = enlarged_side(rng, side, min(size), *self.reduce_gt)
        crop = self._read(self.gt_store, key, random_window(rng, size, (larger, larger)))
        if larger != side:
            crop = resize_bicubic(crop, (side, side))
        return [crop]

    def _paired_crops(
        self, rng: np.random.Generator, lq_store: ImageStore, key: str
    ) -> list[np.ndarray]:
        """The same crop of the ground truth and of its low-resolution image, (s, s, C) and
        (lq_size, lq_size, C).
        """
        lq_key = fill_template(self.filename_tmpl, key)
        window = random_window(rng, lq_store.size(lq_key), (self.lq_size, self.lq_size))
        return [
            self._read(self.gt_store, key, scaled_window(window, self.scales[key])),
            self._read(lq_store, lq_key, window),
        ]

    def _lq_path(self, key: str) -> str:
        if self.lq_store is None:
            return self.gt_store.path(key)
        return self.lq_store.path(fill_template(self.filename_tmpl, key))

    def _crop_sample(self, crops: list[np.ndarray], seed: int) -> dict[str, Tensor | int]:
        """crop (M, M, C) uint8, M = round(lq_size * highest scale); its side; the seed of its
        subset of pixels; and lq where it is degraded.
        """
        crop, *degraded = crops
        require_8_bits(crop)
        padded = pad_square(crop, round(self.lq_size * self.scale_range[1]))
        sample: dict[str, Tensor | int] = {
            'crop': torch.from_numpy(padded),
            'side': len(crop),
            'seed': seed,
        }
        if not degraded:
            return sample
        return {**sample, 'lq': to_tensor(degraded[0])}

    def _query_sample(self, crops: list[np.ndarray], seed: int) -> dict[str, Tensor]:
        """lq, gt, coord and cell of a ground-truth crop, and of its low-resolution image where one
        is given.
        """
        coord, cell, colours = query_samples(crops[0], self.num_samples, seed, self.patch)
        return {
            'lq': to_tensor(self._lq_of(crops)),
            'gt': torch.from_numpy(unit_range(colours)),
            'coord': torch.from_numpy(coord),
            'cell': torch.from_numpy(cell.copy()),
        }
