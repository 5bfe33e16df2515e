"""Training samples at random scales (LIIF section 4.1)."""

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
from liif_data.augmentations import Augmentations
from liif_data.crops import (
    SCALE_DISTRIBUTIONS,
    Window,
    augment,
    draw_seed,
    enlarged_size,
    generator,
    pad_square,
    query_samples,
    random_size,
    scaled_window,
)
from liif_data.dataset_options import (
    DEGRADATION,
    DEGRADE,
    is_made_on_device,
    missing_pair,
    optional_degradation,
    optional_int,
    optional_store,
    positive_int,
    reduction_of_ground_truth,
    refuse_pairs,
    require_color,
    require_options,
    require_size,
    scale_distribution,
    scale_range,
    takes_patches,
    to_tensor,
)
from liif_data.mixed_store import MixedStore
from liif_data.repeats import fingerprint, number_of, repeated
from liif_data.store import ImageStore, open_store
from liif_data.windows import Place, WindowReader


@DATASET_REGISTRY.register()
class RandomScalePairedDataset(Dataset):
    """Low-resolution crops and ground-truth pixels as (coord, cell, colour), one scale drawn per
    sample.

    Ground truth alone is enough: a crop of round(lq_size * s) pixels, s ~ U(scale_range), is
    reduced to lq_size pixels as Pillow's antialiased bicubic does. With `dataroot_lq` the pairs are
    taken as they are, at their scale. A sample depends on (seed, epoch, index) alone.

    Options (of `datasets.train`):
        dataroot_gt: Folder, .lmdb, or builtin:photos/train. Or several of them with weights, such
            as {datasets/a.lmdb: 3, datasets/b.lmdb: 1}.
        dataroot_lq: Given low-resolution images; optional, excludes scale_range.
        filename_tmpl: Name of the low-resolution image for a ground truth's, as in BasicSR. Default
            '{}'.
        lq_size: Side of the low-resolution crop.
        scale_range: [lowest, highest] scale.
        scale_distribution: What is uniform in this range: the scale (uniform, the default), its
            logarithm (log), or its reciprocal (reciprocal).
        scale_per_axis: Draw a scale for each axis. Default false.
        crop_candidates: So many crops are drawn, of which one becomes the sample; the probability
            is in proportion to the mean gradient, so that harder ones come oftener. Default 1.
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
        mixup, cutmix: How often the ground truth is mixed with that of another sample, as a
            weighted mean or in a rectangle. Default 0.
        channel_shuffle, color_blend: How often its channels change places, or it is blended with
            one colour. Default 0.
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
        'dataroot_gt': {'type': ['string', 'object']},
        'dataroot_lq': maybe(TEXT),
        'filename_tmpl': TEXT,
        'lq_size': WHOLE,
        'scale_range': maybe(NUMBERS),
        'scale_distribution': {'enum': list(SCALE_DISTRIBUTIONS)},
        'scale_per_axis': FLAG,
        'crop_candidates': WHOLE,
        'reduce_gt': maybe(NUMBERS),
        'degradation': DEGRADATION,
        'num_samples': maybe(WHOLE),
        'patch': FLAG,
        'use_hflip': FLAG,
        'use_rot': FLAG,
        **Augmentations.own_options,
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
        self.gt_store = self._open_ground_truth()
        self.lq_store = optional_store(opt, 'dataroot_lq')
        candidates = optional_int(opt, 'crop_candidates') or 1
        self.windows = WindowReader(self.color, opt.get('cache', False), candidates)
        self.augmentations = Augmentations(opt)
        self.scale_distribution = scale_distribution(opt)
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
        self.reduce_gt = reduction_of_ground_truth(opt)
        self.degradation = optional_degradation(opt.get('degradation'), self.color)
        refuse_pairs(opt, 'degradation', 'it would replace')
        self.patch = takes_patches(opt)
        self.on_device = is_made_on_device(opt)
        self.repeat_epochs = optional_int(opt, 'repeat_epochs')
        self.fingerprint = 0 if self.repeat_epochs is None else fingerprint(self.stores())

    def _open_ground_truth(self) -> ImageStore:
        root = self.opt.get('dataroot_gt')
        if not isinstance(root, Mapping):
            return open_store(root, 'dataroot_gt')
        if self.opt.get('dataroot_lq'):
            raise UserError(
                'found several folders beside dataroot_lq, which has the pairs of one; name one.',
                key='dataroot_gt',
            )
        return MixedStore(root, 'dataroot_gt')

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
        crops, key, seed = self._crops(index)
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
        crops, _, _ = self._crops(index)
        return Pair(self._lq_of(crops), crops[0])

    def _crops(self, index: int) -> tuple[list[np.ndarray], str, int]:
        """The ground-truth crop of a sample, and its low-resolution crop unless that is the bicubic
        reduction; the key of its image; and the seed of its subset of pixels.
        """
        rng = generator(self.seed, repeated(index, self.repeat_epochs))
        key = self.gt_store.key_of(index, rng)
        if self.lq_store is None:
            crops = [self._scaled_crop(rng, key)]
        else:
            crops = self._paired_crops(rng, self.lq_store, key)
        crops = augment(rng, crops, self.opt.get('use_hflip', True), self.opt.get('use_rot', True))
        crops = self.augmentations.recolor(rng, crops)
        seed = draw_seed(rng)
        if self.degradation is not None:
            crops.append(self.degradation(crops[0], (self.lq_size, self.lq_size), rng))
        return crops, key, seed

    def _lq_of(self, crops: list[np.ndarray]) -> np.ndarray:
        """The low-resolution crop of what `_crops` returns."""
        if len(crops) == 1:
            return resize_bicubic(crops[0], (self.lq_size, self.lq_size))
        return crops[1]

    def _scaled_crop(self, rng: np.random.Generator, key: str) -> np.ndarray:
        """A ground-truth crop, (h, w, C), of a scale that is drawn, perhaps mixed with another."""
        size = random_size(
            rng,
            self.lq_size,
            self.scale_range,
            self.scale_distribution,
            self.opt.get('scale_per_axis', False),
        )

        def another() -> np.ndarray:
            return self._sized_crop(rng, self.gt_store.draw(rng), size)

        return self.augmentations.mix(rng, self._sized_crop(rng, key, size), another)

    def _sized_crop(self, rng: np.random.Generator, key: str, size: tuple[int, int]) -> np.ndarray:
        """A crop of an image, (h, w, C), which may be a larger one that is reduced."""
        image = self.gt_store.size(key)
        larger = size
        if self.reduce_gt is not None:
            larger = enlarged_size(rng, size, image, *self.reduce_gt)
        [crop] = self.windows.choose(
            rng, image, larger, lambda window: [(self.gt_store, key, window)]
        )
        if larger != size:
            crop = resize_bicubic(crop, size)
        return crop

    def _paired_crops(
        self, rng: np.random.Generator, lq_store: ImageStore, key: str
    ) -> list[np.ndarray]:
        """The same crop of the ground truth and of its low-resolution image, (h, w, C) and
        (lq_size, lq_size, C).
        """
        lq_key = fill_template(self.filename_tmpl, key)

        def places(window: Window) -> list[Place]:
            return [
                (self.gt_store, key, scaled_window(window, self.scales[key])),
                (lq_store, lq_key, window),
            ]

        return self.windows.choose(rng, lq_store.size(lq_key), (self.lq_size, self.lq_size), places)

    def _lq_path(self, key: str) -> str:
        if self.lq_store is None:
            return self.gt_store.path(key)
        return self.lq_store.path(fill_template(self.filename_tmpl, key))

    def _crop_sample(self, crops: list[np.ndarray], seed: int) -> dict[str, Tensor | int]:
        """crop (M, M, C) uint8, M = round(lq_size * highest scale); its height and width; the seed
        of its subset of pixels; and lq where it is degraded.
        """
        crop, *degraded = crops
        require_8_bits(crop)
        padded = pad_square(crop, round(self.lq_size * self.scale_range[1]))
        sample: dict[str, Tensor | int] = {
            'crop': torch.from_numpy(padded),
            'size': torch.tensor(crop.shape[:2]),
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
