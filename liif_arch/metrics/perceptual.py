"""Metrics of how an image looks, LPIPS, DISTS and NIQE, by pyiqa, which fetches their weights: an
optional extra.
"""

import importlib.util
import math
from functools import lru_cache, partial

import torch
from torch import Tensor, nn

from liif_arch.errors import UserError
from liif_arch.metrics.fidelity import FIDELITY, Metric

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


@lru_cache
def _model(metric: str) -> nn.Module:
    require_pyiqa([metric])
    import pyiqa

    device = 'cpu'
    if torch.cuda.is_available():
        device = 'cuda'
    try:
        return pyiqa.create_metric(metric, device=device)
    except (OSError, RuntimeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(f'val.metrics: {metric}: pyiqa cannot load it ({reason}).') from None


METRICS: dict[str, Metric] = dict(FIDELITY)
for _metric in LEAST:
    METRICS[_metric] = partial(perceptual, _metric)
