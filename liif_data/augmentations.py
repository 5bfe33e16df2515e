"""What is done to ground-truth crops beside turning them: two are mixed, colours are changed.

The low-resolution crop is made of the result, so that both show the same. All randomness comes from
the generator that is passed in; options that are not set draw nothing of it.
"""

from collections.abc import Callable, Mapping
from typing import ClassVar

import numpy as np

from liif_arch.errors import UserError
from liif_data.dataset_options import refuse_pairs

PROBABILITY = {'type': 'number', 'minimum': 0, 'maximum': 1}
MIXUP_BETA = 1.2  # both parameters of the mixture's distribution, as in Yoo et al. (CVPR 2020)
LEAST_OF_IMAGE = 0.6  # of a blend with one colour, as there


class Augmentations:
    """The options mixup, cutmix, channel_shuffle and color_blend of a dataset: how often each is
    done, independently of the others.

    Args:
        opt: The dataset's options.

    Raises:
        UserError: No probability, or one that cannot be done to these images.
    """

    own_options: ClassVar = dict.fromkeys(
        ('mixup', 'cutmix', 'channel_shuffle', 'color_blend'), PROBABILITY
    )

    def __init__(self, opt: Mapping) -> None:
        self._mixup = _probability(opt, 'mixup')
        self._cutmix = _probability(opt, 'cutmix')
        self._shuffle = _probability(opt, 'channel_shuffle')
        self._blend = _probability(opt, 'color_blend')
        for key in ('mixup', 'cutmix'):
            refuse_pairs(opt, key, 'would not show the mixture')
        color = opt.get('color', 'rgb')
        if color == 'unchanged' and any((self._mixup, self._cutmix, self._shuffle, self._blend)):
            raise UserError(
                'found unchanged; crops that are mixed or whose colours change need images of one '
                'kind, rgb or gray.',
                key='color',
            )
        if self._shuffle and color != 'rgb':
            raise UserError(
                f'found it beside color: {color}, which has one channel; remove it.',
                key='channel_shuffle',
            )

    def mix(
        self, rng: np.random.Generator, crop: np.ndarray, another: Callable[[], np.ndarray]
    ) -> np.ndarray:
        """Mix a crop with another one.

        Args:
            rng: Source of randomness.
            crop: Of ground truth, (h, w, C), of 8 or 16 bits.
            another: Makes another crop of this size.

        Returns:
            The crop itself, or one like it.
        """
        if self._mixup and rng.random() < self._mixup:
            crop = mixup(crop, another(), rng.beta(MIXUP_BETA, MIXUP_BETA))
        if self._cutmix and rng.random() < self._cutmix:
            crop = cutmix(rng, crop, another())
        return crop

    def recolor(self, rng: np.random.Generator, images: list[np.ndarray]) -> list[np.ndarray]:
        """Change the colours of images that show the same, (h, w, C), alike."""
        if self._shuffle and rng.random() < self._shuffle:
            order = rng.permutation(3)
            images = [np.ascontiguousarray(image[..., order]) for image in images]
        if self._blend and rng.random() < self._blend:
            share = rng.uniform(LEAST_OF_IMAGE, 1)
            color = rng.random(images[0].shape[2:])
            images = [blend(image, color, share) for image in images]
        return images


def mixup(image: np.ndarray, other: np.ndarray, share: float) -> np.ndarray:
    """The weighted mean of two images (h, w, C) of whole numbers (Zhang et al., 2018).

    Args:
        image: Of weight `share`, in [0, 1].
        other: Of the rest.
        share: See `image`.
    """
    return _rounded(image * share + other * (1 - share), image.dtype)


def cutmix(rng: np.random.Generator, image: np.ndarray, other: np.ndarray) -> np.ndarray:
    """An image (h, w, C) with a rectangle of another one, of its shape and of a share of the area
    that is drawn uniformly (Yun et al., 2019); the part beyond the border is left out.
    """
    h, w = image.shape[:2]
    length = np.sqrt(rng.random())
    rows = _span(int(rng.integers(h)), h * length, h)
    cols = _span(int(rng.integers(w)), w * length, w)
    mixed = image.copy()
    mixed[rows, cols] = other[rows, cols]
    return mixed


def _span(middle: int, length: float, end: int) -> slice:
    """So many pixels around one, within [0, end]."""
    return slice(max(0, round(middle - length / 2)), min(end, round(middle + length / 2)))


def blend(image: np.ndarray, color: np.ndarray, share: float) -> np.ndarray:
    """The weighted mean of an image (h, w, C) and one colour.

    Args:
        image: Of weight `share`, in [0, 1].
        color: (C,), in [0, 1].
        share: See `image`.
    """
    most = np.iinfo(image.dtype).max
    return _rounded(image * share + color * most * (1 - share), image.dtype)


def _rounded(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    return np.rint(values).astype(dtype)


def _probability(opt: Mapping, key: str) -> float:
    """The option `key`, how often something is done; 0 where it is not given."""
    value = opt.get(key, 0)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise UserError(f'found {value!r}; needed a probability, from 0 to 1.', key=key)
    return float(value)
