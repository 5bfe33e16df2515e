"""What the datasets of this package share: how they read an option, and samples as tensors."""

import math
from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor

from liif_arch.config.tables import LOADER
from liif_arch.errors import UserError, require_known, require_whole, suggest
from liif_arch.files.images import COLORS, unit_range
from liif_arch.training.datasets import nearest
from liif_data.crops import SCALE_DISTRIBUTIONS
from liif_data.degradations import Degradation
from liif_data.store import ImageStore, open_store

DEGRADE = ('loader', 'device')
DEGRADATION = {'type': ['string', 'object', 'array', 'null']}


def to_tensor(image: np.ndarray) -> Tensor:
    """(H, W, C) 8- or 16-bit to (C, H, W) float32 in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(unit_range(image).transpose(2, 0, 1)))


def positive_int(opt: Mapping, key: str) -> int:
    """The option `key`, a whole number of at least 1; raises UserError otherwise."""
    option: dict[str, Any] = {key: opt.get(key)}
    require_whole(**option)
    return opt[key]


def optional_int(opt: Mapping, key: str) -> int | None:
    """The option `key` as `positive_int` returns it; None where it is not given or null."""
    if opt.get(key) is None:
        return None
    return positive_int(opt, key)


def optional_store(opt: Mapping, key: str) -> ImageStore | None:
    """The images at the option `key`; None where it is not given.

    Raises:
        UserError: There are no images.
    """
    if not opt.get(key):
        return None
    return open_store(opt[key], key)


def require_options(own_options: Mapping[str, dict], opt: Mapping) -> None:
    """Raise UserError for an option that neither the dataset's table nor `config.tables.LOADER`
    has.
    """
    known = [*own_options, *LOADER, 'phase']
    require_known(opt, known, opt.get('name', 'dataset'))


def missing_pair(store: ImageStore, lq_key: str, gt_path: str) -> UserError:
    """The error of a ground truth whose low-resolution image is not there."""
    return UserError(
        f'{store.root} has no "{lq_key}" for {gt_path}; {nearest(lq_key, store.keys)}. '
        'Add it, or set filename_tmpl.',
        key='dataroot_lq',
    )


def require_size(store: ImageStore, side: int, needed_by: str, options: str) -> None:
    """Raise UserError where an image is smaller than the largest crop.

    Args:
        store: The images that are cropped.
        side: Side of the largest crop, in pixels.
        needed_by: What needs it, such as `lq_size 48 at scale 4`.
        options: What the message says to lower.
    """
    small = [key for key in store.keys if min(store.size(key)) < side]
    if not small:
        return
    height, width = store.size(small[0])
    others = ''
    if len(small) > 1:
        others = f', and {len(small) - 1} more are'
    raise UserError(
        f'{store.path(small[0])}: this image is {width}x{height} (width x height){others} '
        f'smaller than the {side}-pixel crop that {needed_by} needs; remove small images, or '
        f'lower {options}.',
        map(store.path, small),
    )


def require_color(opt: Mapping) -> str:
    """The option `color`; raises UserError where it is not one of `COLORS`."""
    color = opt.get('color', 'rgb')
    if color not in COLORS:
        raise UserError(f'found {color!r}; needed one of {", ".join(COLORS)}.', key='color')
    return color


def refuse_pairs(opt: Mapping, key: str, why: str) -> None:
    """Raise UserError where an option is beside given low-resolution images, which it spoils.

    Args:
        opt: The dataset's options.
        key: The option.
        why: What the message says of the images: `it would replace`.
    """
    if opt.get(key) and opt.get('dataroot_lq'):
        raise UserError(f'found both it and dataroot_lq, whose images {why}; remove one.', key=key)


def optional_degradation(option: Any, color: str) -> Degradation | None:
    """The option `degradation` of images in the option `color`; None where it is null.

    Raises:
        UserError: It has no meaning, or images of such colours cannot be degraded.
    """
    if option is None:
        return None
    if color == 'unchanged':
        raise UserError(
            'found unchanged; a degradation needs images of one kind, rgb or gray.', key='color'
        )
    return Degradation(option)


def scale_range(value: Any) -> tuple[float, float]:
    """The option `scale_range`, [lowest, highest]; raises UserError otherwise."""
    is_pair = isinstance(value, (list, tuple)) and len(value) == 2
    if not is_pair or not isinstance(value[0], Real) or not isinstance(value[1], Real):
        raise UserError(
            f'found {value!r}; needed [lowest, highest], for instance [1, 4].', key='scale_range'
        )
    low, high = value
    if not 0 < low <= high < math.inf:
        raise UserError(
            f'found [{low:g}, {high:g}]; needed 0 < lowest <= highest.', key='scale_range'
        )
    return float(low), float(high)


def scale_distribution(opt: Mapping) -> str:
    """The option `scale_distribution`, what is uniform in the range of scales.

    Raises:
        UserError: There is none of that name, or scales are not drawn, but the images' own.
    """
    found = opt.get('scale_distribution', 'uniform')
    if found not in SCALE_DISTRIBUTIONS:
        raise UserError(
            f'found {found!r}; {suggest(found, SCALE_DISTRIBUTIONS)}', key='scale_distribution'
        )
    for key in ('scale_range', 'scale_distribution', 'scale_per_axis'):
        refuse_pairs(opt, key, 'have a scale of their own')
    return found


def reduction_of_ground_truth(opt: Mapping) -> tuple[float, float, float] | None:
    """The option `reduce_gt`, [probability, lowest, highest]; None where it is null.

    Raises:
        UserError: It is something else, or ground truth has inputs that it would not fit.
    """
    found = opt.get('reduce_gt')
    if found is None:
        return None
    refuse_pairs(opt, 'reduce_gt', 'it would not fit')
    if not isinstance(found, (list, tuple)) or len(found) != 3:
        raise UserError(
            f'found {found!r}; needed [probability, lowest, highest], for instance [0.5, 1, 2].',
            key='reduce_gt',
        )
    probability, low, high = found
    if not (0 <= probability <= 1 and 1 <= low <= high < math.inf):
        raise UserError(
            f'found {list(found)}; needed a probability in [0, 1], and 1 <= lowest <= highest.',
            key='reduce_gt',
        )
    return probability, low, high


def takes_patches(opt: Mapping) -> bool:
    """The option `patch`; raises UserError where its pixels are no square."""
    patch, count = bool(opt.get('patch', False)), opt.get('num_samples')
    if patch and (count is None or math.isqrt(count) ** 2 != count):
        raise UserError(
            f'found {count}; patch: true needs a square number, the pixels of a square.',
            key='num_samples',
        )
    return patch


def is_made_on_device(opt: Mapping) -> bool:
    """Whether the option `degrade` leaves samples to the device.

    Raises:
        UserError: It is none of `DEGRADE`, or the device cannot make these samples.
    """
    degrade = opt.get('degrade', 'loader')
    if degrade not in DEGRADE:
        raise UserError(f'found {degrade!r}; needed {" or ".join(DEGRADE)}.', key='degrade')
    if degrade == 'device' and (opt.get('dataroot_lq') or opt.get('num_samples') is None):
        raise UserError(
            'found device, which makes low-resolution images and draws pixels from '
            'ground truth alone; set scale_range and num_samples and remove '
            'dataroot_lq, or set loader.',
            key='degrade',
        )
    return degrade == 'device'
