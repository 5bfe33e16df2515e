"""The single steps of a degradation: what each does to an image.

BasicSR makes the kernels and the noise (`basicsr.data.degradations`, the functions of Real-ESRGAN,
Wang et al., ICCVW 2021). All randomness comes from the generator that is passed in. How steps are
named and put together: `degradations`.
"""

import math
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

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
