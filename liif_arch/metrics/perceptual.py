"""Metrics of how an image looks, LPIPS, DISTS and NIQE, by pyiqa, which fetches their weights: an
optional extra.
"""

import importlib.util
import math
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor, nn

from liif_arch.errors import UserError
from liif_arch.metrics.fidelity import FIDELITY, Metric
from liif_arch.training import randomness

# Pixels that an image has at least on each side; NIQE compares blocks of 96, and one is too few.
LEAST = {'lpips': 32, 'dists': 32, 'niqe': 192}
INSTALL = "pip install 'basicsr-liif[metrics]'"


def require_pyiqa(metrics: list[str], key: str = 'val.metrics') -> None:
    """Raise UserError where a metric needs pyiqa and it is not installed."""
    needing = [metric for metric in metrics if metric in LEAST]
    if needing and importlib.util.find_spec('pyiqa') is None:
        raise UserError(f'{key}: found {needing[0]}, which needs pyiqa: {INSTALL}.')


def perceptual(metric: str, sr: Tensor, gt: Tensor, scale: tuple[float, float]) -> float:
    """A metric of whole images (C, H, W) in [0, 1], lower is better; NaN where they are too small
    for it.

    Raises:
        UserError: pyiqa is missing, or cannot fetch the metric's weights.
    """
    if min(sr.shape[-2:]) < LEAST[metric]:
        return math.nan
    model = _model(metric)
    images = [sr.expand(3, -1, -1)[None]]
    if getattr(model, 'metric_mode', 'FR') == 'FR':  # pyiqa's word for "compares with an original"
        images.append(gt.expand(3, -1, -1)[None])
    with torch.no_grad():
        return float(model(*images))


def network_of(metric: str) -> nn.Module:
    """The network of a metric that compares images, by which gradients pass, on the CPU.

    It takes images, (B, 3, H, W) in [0, 1], and originals, and returns a number for each.

    Raises:
        UserError: pyiqa is missing, or cannot fetch the metric's weights.
    """
    if importlib.util.find_spec('pyiqa') is None:
        raise UserError(f'{metric}: needs pyiqa: {INSTALL}; or set it to ~.')
    try:
        with randomness.preserved():  # pyiqa seeds the global generators
            return _created(metric, 'cpu').net
    except (OSError, RuntimeError) as error:
        raise UserError(
            f'{metric}: pyiqa cannot load its weights ({_reason(error)}); connect this machine to '
            'the internet once, or set it to ~.'
        ) from None


@lru_cache
def _model(metric: str) -> nn.Module:
    require_pyiqa([metric])
    device = 'cpu'
    if torch.cuda.is_available():
        device = 'cuda'
    try:
        return _created(metric, device)
    except (OSError, RuntimeError) as error:
        raise UserError(
            f'val.metrics: {metric}: pyiqa cannot load it ({_reason(error)}).'
        ) from None


def _created(metric: str, device: str) -> Any:
    """pyiqa's metric on a device, with the weights that it fetches."""
    import pyiqa

    return pyiqa.create_metric(metric, device=device)


def _reason(error: Exception) -> str:
    """The first line of what an exception says."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


METRICS: dict[str, Metric] = dict(FIDELITY)
for _metric in LEAST:
    METRICS[_metric] = partial(perceptual, _metric)
