"""What happens to a photograph on its way to the person who enlarges it: blur, noise, JPEG.

A degradation is a list of steps, which the option `degradation` of a dataset names. BasicSR makes
the kernels and the noise (`basicsr.data.degradations`, the functions of Real-ESRGAN, Wang et al.,
ICCVW 2021); a second-order degradation is a list in which they occur twice. All randomness comes
from the generator that is passed in, so that a sample depends on its address alone.
"""

import math
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import cv2
import numpy as np
from PIL import Image

from liif_arch.errors import UserError, suggest
from liif_arch.files.images import require_8_bits, resize_bicubic

KERNELS = {  # and how often BasicSR draws each, as in Real-ESRGAN's option files
    'iso': 0.45,
    'aniso': 0.25,
    'generalized_iso': 0.12,
    'generalized_aniso': 0.03,
    'plateau_iso': 0.12,
    'plateau_aniso': 0.03,
}
SHAPES = {'betag_range': [0.5, 4], 'betap_range': [1, 2]}  # of generalised and plateau kernels
LARGEST_KERNEL = 21  # pixels
GRAY_NOISE = 0.4  # how often noise is the same in all channels
FILTERS = {
    'box': Image.Resampling.BOX,
    'bilinear': Image.Resampling.BILINEAR,
    'bicubic': Image.Resampling.BICUBIC,
    'lanczos': Image.Resampling.LANCZOS,
}
CHROMA = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
JPEG_BLOCK = 16  # pixels of a block of colours; crops begin anywhere in it

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


class Draw(NamedTuple):
    """What a step needs beside the image.

    Attributes:
        rng: Source of randomness.
        size: Height and width of the low-resolution image in the end.
        whole: The image is a whole file, not a crop of one, so that JPEG's blocks begin at its
            corner.
    """

    rng: np.random.Generator
    size: tuple[int, int]
    whole: bool


Step = Callable[[np.ndarray, Draw], np.ndarray]


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

            With `p` a step is done with that probability. A mapping of several of the first five is
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


@contextmanager
def seeded(rng: np.random.Generator) -> Iterator[None]:
    """Let functions that draw from NumPy's and Python's global generators draw by `rng`."""
    before = np.random.get_state(), random.getstate()
    seed = int(rng.integers(2**32))
    np.random.seed(seed)
    random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(before[0])
        random.setstate(before[1])


# --------------------------------------------------------------------------------------------------
# Steps


def blur(image: np.ndarray, draw: Draw, sigma: float) -> np.ndarray:
    """Convolved with one of `KERNELS`."""
    from basicsr.data.degradations import random_mixed_kernels

    sigma = sigma * image.shape[0] / draw.size[0]  # in pixels of this image
    reach = min(LARGEST_KERNEL // 2, max(1, math.ceil(3 * sigma)))
    with seeded(draw.rng):
        kernel = random_mixed_kernels(
            list(KERNELS),
            list(KERNELS.values()),
            2 * reach + 1,
            [sigma / 2, sigma],
            [sigma / 2, sigma],
            **SHAPES,
        )
    return _filtered(image, kernel)


def sinc(image: np.ndarray, draw: Draw, cutoff: float) -> np.ndarray:
    """Convolved with a low-pass filter that rings, as sharpened and enlarged images do."""
    from basicsr.data.degradations import circular_lowpass_kernel

    size = 2 * int(draw.rng.integers(3, LARGEST_KERNEL // 2 + 1)) + 1
    return _filtered(image, circular_lowpass_kernel(cutoff, size))


def noise(image: np.ndarray, draw: Draw, sigma: float) -> np.ndarray:
    """With Gaussian noise, the same in all channels or not."""
    from basicsr.data.degradations import random_add_gaussian_noise

    return _noisy(image, draw, partial(random_add_gaussian_noise, sigma_range=[sigma, sigma]))


def poisson(image: np.ndarray, draw: Draw, scale: float) -> np.ndarray:
    """With Poisson noise, the same in all channels or not."""
    from basicsr.data.degradations import random_add_poisson_noise

    return _noisy(image, draw, partial(random_add_poisson_noise, scale_range=[scale, scale]))


def jpeg(image: np.ndarray, draw: Draw, quality: float) -> np.ndarray:
    """Saved as JPEG and read again."""
    top, left, chroma = draw.rng.integers([JPEG_BLOCK, JPEG_BLOCK, len(CHROMA)])
    if draw.whole:
        top, left, chroma = 0, 0, 0
    padded = cv2.copyMakeBorder(image, top, 0, left, 0, cv2.BORDER_REFLECT_101)
    gray = image.shape[2] == 1
    if not gray:
        padded = cv2.cvtColor(padded, cv2.COLOR_RGB2BGR)
    options = [cv2.IMWRITE_JPEG_QUALITY, round(quality)]
    options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, CHROMA[chroma]]
    _, data = cv2.imencode('.jpg', padded, options)
    decoded = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE if gray else cv2.IMREAD_COLOR)
    assert decoded is not None  # it was encoded a moment ago
    decoded = decoded[top:, left:]
    if gray:
        return decoded[..., None]
    return cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)


def resize(image: np.ndarray, draw: Draw, factor: float) -> np.ndarray:
    """To another size, by one of OpenCV's filters, of which two are not antialiased."""
    modes = [cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC]
    mode = modes[int(draw.rng.integers(len(modes)))]
    height, width = (max(1, round(side * factor)) for side in draw.size)
    return cv2.resize(image, (width, height), interpolation=mode).reshape(
        height, width, image.shape[2]
    )


def reduce(image: np.ndarray, draw: Draw, filters: list[str]) -> np.ndarray:
    """To the low-resolution size, by one of Pillow's filters, all of them antialiased."""
    name = filters[int(draw.rng.integers(len(filters)))]
    if image.shape[:2] == tuple(draw.size):
        return image
    pixels = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
    pixels = pixels.resize(draw.size[::-1], FILTERS[name])
    return np.asarray(pixels).reshape(*draw.size, image.shape[2])


def _filtered(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    filtered = cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REFLECT_101)
    return filtered.reshape(image.shape)


def _noisy(image: np.ndarray, draw: Draw, add: Callable) -> np.ndarray:
    with seeded(draw.rng):
        values = add(image.astype(np.float32) / 255, gray_prob=GRAY_NOISE * (image.shape[2] == 3))
    return (values * 255).round().astype(np.uint8)


SIMPLE: dict[str, tuple[Callable, float, float]] = {  # and between which numbers each one is
    'blur': (blur, 0.01, 20),
    'sinc': (sinc, 0.1, math.pi),
    'noise': (noise, 0, 255),
    'poisson': (poisson, 0.001, 100),
    'jpeg': (jpeg, 1, 100),
    'resize': (resize, 0.05, 20),
}


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


# --------------------------------------------------------------------------------------------------
# Reading the option

GROUPS = ('all_of', 'one_of', 'any_order')


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
        raise UserError(f'found {option!r}; needed one of {", ".join(names)}.', key=where)
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
