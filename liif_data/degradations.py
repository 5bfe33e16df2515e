"""What happens to a photograph on its way to the person who enlarges it: blur, noise, JPEG.

A degradation is a list of steps, which the option `degradation` of a dataset names; a second-order
degradation, as Real-ESRGAN's, is a list in which they occur twice. What the steps do:
`degradation_steps`. A sample depends on its address alone.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from liif_arch.errors import UserError, suggest
from liif_arch.files.images import require_8_bits, resize_bicubic
from liif_data.degradation_steps import (
    FILTERS,
    Draw,
    Step,
    blur,
    jpeg,
    noise,
    poisson,
    reduce,
    resize,
    sinc,
)

PRESETS: dict[str, list] = {
    # Photographs as phones, cameras and web pages have them: saved once or twice, hardly noisy. One
    # in seven stays clean, so that clean images are not unlearnt.
    'photo': [
        {
            'p': 0.85,
            'all_of': [
                {'p': 0.3, 'blur': [0.2, 0.7]},
                {'p': 0.25, 'jpeg': [60, 95]},
                {'reduce': list(FILTERS)},
                {'p': 0.3, 'one_of': [{'noise': [1, 6]}, {'poisson': [0.05, 0.5]}]},
                {'p': 0.95, 'jpeg': [30, 95]},
            ],
        }
    ],
    # The second-order degradation of Real-ESRGAN, its probabilities and ranges; sizes are counted
    # from the input's.
    'wild': [
        {'one_of': [{'weight': 0.9, 'blur': [0.1, 1.5]}, {'weight': 0.1, 'sinc': [1.05, 3.14]}]},
        {'p': 0.9, 'resize': [0.6, 4]},
        {'one_of': [{'noise': [1, 30]}, {'poisson': [0.05, 3]}]},
        {'jpeg': [30, 95]},
        {
            'p': 0.8,
            'one_of': [{'weight': 0.9, 'blur': [0.1, 0.75]}, {'weight': 0.1, 'sinc': [1.05, 3.14]}],
        },
        {'p': 0.7, 'resize': [1.2, 4]},
        {'one_of': [{'noise': [1, 25]}, {'poisson': [0.05, 2.5]}]},
        {
            'any_order': [
                {'all_of': [{'reduce': list(FILTERS)}, {'p': 0.8, 'sinc': [1.05, 3.14]}]},
                {'jpeg': [30, 95]},
            ]
        },
    ],
}


SIMPLE: dict[str, tuple[Callable, float, float]] = {  # and between which numbers each one is
    'blur': (blur, 0.01, 20),
    'sinc': (sinc, 0.1, math.pi),
    'noise': (noise, 0, 255),
    'poisson': (poisson, 0.001, 100),
    'jpeg': (jpeg, 1, 100),
    'resize': (resize, 0.05, 20),
}
GROUPS = ('all_of', 'one_of', 'any_order')


class Degradation:
    """The option `degradation`, as it is run.

    Args:
        option: The name of a preset (`PRESETS`), a step, or a list of steps. A step is a mapping of
            one key to a number, or to a range [lowest, highest] of which one is drawn:

            * blur: standard deviation of the kernel in pixels of the low-resolution image.
            * sinc: cut-off of a sinc filter in radians per pixel, which rings; at most pi.
            * noise: standard deviation of Gaussian noise, in steps of 0..255.
            * poisson: strength of Poisson noise, 1 as of 256 photons.
            * jpeg: quality, 1 to 100.
            * resize: to so many times the low-resolution image's size.
            * reduce: to that size, by one of the filters in a list (`FILTERS`).
            * all_of, one_of, any_order: a list of steps, in this order, one alone (each with a
              `weight`, 1 if it has none), or in an order that is drawn.

            With `p` a step is done with that probability. A mapping of several of the first six is
            a list of them. Steps begin with the ground truth where one of them is resize or reduce,
            else with its bicubic reduction; what has another size in the end is reduced so.

    Attributes:
        of_gt: A step within is resize or reduce.

    Raises:
        UserError: An option that has no meaning; names where in it.
    """

    def __init__(self, option: object) -> None:
        steps = option
        if isinstance(option, str):
            if option not in PRESETS:
                raise UserError(f'found {option!r}; {suggest(option, PRESETS)}', key='degradation')
            steps = PRESETS[option]
        elif isinstance(option, Mapping) and len(option) > 1 and option.keys() <= SIMPLE.keys():
            steps = [{name: value} for name, value in option.items()]
        elif isinstance(option, Mapping):
            steps = [option]
        self._run = _all_of(_steps(steps, 'degradation'))
        self.of_gt = _names_size(steps)

    def __call__(
        self, gt: np.ndarray, size: tuple[int, int], rng: np.random.Generator, whole: bool = False
    ) -> np.ndarray:
        """The low-resolution image of a ground truth.

        Args:
            gt: (H, W, C), C 1 or 3 (RGB), uint8.
            size: Height and width (h, w) of the result.
            rng: Source of randomness.
            whole: See `Draw`.

        Returns:
            (h, w, C), uint8.

        Raises:
            UserError: gt is of 16 bits.
        """
        require_8_bits(gt)
        image = gt
        if not self.of_gt:
            image = resized(gt, size)
        image = self._run(image, Draw(rng, size, whole))
        return resized(image, size)


def resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Pillow's bicubic reduction, where the size is another."""
    if image.shape[:2] == tuple(size):
        return image
    return resize_bicubic(image, size)


def _all_of(steps: list[Step]) -> Step:
    def run(image: np.ndarray, draw: Draw) -> np.ndarray:
        for step in steps:
            image = step(image, draw)
        return image

    return run


def _any_order(steps: list[Step]) -> Step:
    def run(image: np.ndarray, draw: Draw) -> np.ndarray:
        order = draw.rng.permutation(len(steps))
        return _all_of([steps[i] for i in order])(image, draw)

    return run


def _one_of(steps: list[Step], weights: list[float]) -> Step:
    share = np.cumsum(weights) / np.sum(weights)

    def run(image: np.ndarray, draw: Draw) -> np.ndarray:
        chosen = int(np.searchsorted(share, draw.rng.random(), side='right'))
        return steps[min(chosen, len(steps) - 1)](image, draw)

    return run


def _sometimes(step: Step, probability: float) -> Step:
    def run(image: np.ndarray, draw: Draw) -> np.ndarray:
        if draw.rng.random() < probability:
            return step(image, draw)
        return image

    return run


def _names_size(option: Any) -> bool:
    """Whether a step within is resize or reduce."""
    if isinstance(option, Mapping):
        return any(
            name in ('resize', 'reduce') or _names_size(value) for name, value in option.items()
        )
    return isinstance(option, (list, tuple)) and any(map(_names_size, option))


def _steps(option: Any, where: str) -> list[Step]:
    if not isinstance(option, (list, tuple)) or not option:
        raise UserError(
            f'found {option!r}; needed {" or ".join(PRESETS)}, a step such as {{jpeg: 75}}, or a '
            'list of steps.',
            key=where,
        )
    return [_step(step, f'{where}[{i}]') for i, step in enumerate(option)]


def _step(option: Any, where: str) -> Step:
    names = [*SIMPLE, 'reduce', *GROUPS]
    found = []
    if isinstance(option, Mapping):
        found = [name for name in option if name not in ('p', 'weight')]
    if len(found) != 1:
        raise UserError(
            f'found {option!r}; needed one of {", ".join(names)} in each step, beside p, how often '
            'it is done. Several steps are a list.',
            key=where,
        )
    (name,) = found
    value, at = option[name], f'{where}.{name}'
    if name in GROUPS:
        step = _group(name, value, at)
    elif name == 'reduce':
        step = partial(reduce, filters=_filters(value, at))
    elif name in SIMPLE:
        step = _drawn(name, value, at)
    else:
        raise UserError(f'found {name!r}; {suggest(name, names)}', key=where)
    if 'p' not in option:
        return step
    return _sometimes(step, _number(option['p'], 0, 1, f'{where}.p'))


def _group(name: str, value: Any, where: str) -> Step:
    steps = _steps(value, where)
    if name == 'all_of':
        return _all_of(steps)
    if name == 'any_order':
        return _any_order(steps)
    weights = []
    for i, step in enumerate(value):
        weights.append(_number(step.get('weight', 1), 1e-6, 1e6, f'{where}[{i}].weight'))
    return _one_of(steps, weights)


def _drawn(name: str, value: Any, where: str) -> Step:
    """A step whose number is drawn from a range."""
    function, least, most = SIMPLE[name]
    pair = value if isinstance(value, (list, tuple)) else [value, value]
    if len(pair) != 2:
        raise UserError(f'found {value!r}; needed a number, or [lowest, highest].', key=where)
    low, high = (_number(number, least, most, where) for number in pair)
    if low > high:
        raise UserError(f'found {list(pair)}; needed lowest <= highest.', key=where)

    def run(image: np.ndarray, draw: Draw) -> np.ndarray:
        return function(image, draw, draw.rng.uniform(low, high))

    return run


def _filters(value: Any, where: str) -> list[str]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, (list, tuple)) or not names:
        raise UserError(f'found {value!r}; needed some of {", ".join(FILTERS)}.', key=where)
    for name in names:
        if name not in FILTERS:
            raise UserError(f'found {name!r}; {suggest(str(name), FILTERS)}', key=where)
    return list(names)


def _number(value: Any, least: float, most: float, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
        raise UserError(f'found {value!r}; needed a number from {least:g} to {most:g}.', key=where)
    return float(value)
