"""Metrics of how an image looks, LPIPS, DISTS and NIQE, by pyiqa, which fetches their weights: an
optional extra.
"""

import importlib.util
import math
from functools import lru_cache, partial

import torch
from torch import Tensor

from liif_arch.errors import UserError
from liif_arch.metrics.fidelity import FIDELITY

LEAST = {
    'lpips': 32,
    'dists': 32,
    'niqe': 192,
}  # pixels a side; NIQE compares blocks of 96, and one is too few
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
    images = [sr, gt] if getattr(model, 'metric_mode', 'FR') == 'FR' else [sr]
    with torch.no_grad():
        return float(model(*(image.expand(3, -1, -1)[None] for image in images)))


@lru_cache
def _model(metric: str):
    require_pyiqa([metric])
    import pyiqa

    try:
        return pyiqa.create_metric(metric, device='cuda' if torch.cuda.is_available() else 'cpu')
    except (OSError, RuntimeError) as error:
        text = str(error).strip().splitlines()
        raise UserError(
            f'val.metrics: {metric}: pyiqa cannot load it '
            f'({text[0] if text else type(error).__name__}).'
        ) from None


METRICS = {**FIDELITY, **{metric: partial(perceptual, metric) for metric in LEAST}}
