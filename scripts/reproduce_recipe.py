"""The group `recipe` of `scripts/reproduce.py`: one change at a time from the paper's recipe.

Each row is the paper's network, samples and loss with one thing changed, trained for the same time.
The schedule is no part of the comparison: a rate of 1e-3 along a cosine, where the paper's 1e-4 in
steps is for a thousand times as many iterations.
"""

from typing import Any, NamedTuple


class Change(NamedTuple):
    """One row.

    Attributes:
        label: What the table calls it.
        options: What is laid over the option file, a nested mapping.
    """

    label: str
    options: dict[str, Any]


def _samples(**options: Any) -> dict[str, Any]:
    """Options of the training's samples."""
    return {'datasets': {'train': options}}


def _train(**options: Any) -> dict[str, Any]:
    """Options of the training."""
    return {'train': options}


def _optimizer(kind: str, lr: float, scheduler: dict | None = None) -> dict[str, Any]:
    """Another optimiser, at a learning rate that suits it; perhaps with a schedule of its own."""
    more = {} if scheduler is None else {'scheduler': scheduler}
    return _train(optim_g={'type': kind, 'lr': lr}, **more)


def _patch_loss(name: str, kind: str, weight: float) -> dict[str, Any]:
    """A loss of images beside the paper's of colours; compare it with the row `squares`."""
    return {**SQUARES, **_train(**{f'{name}_opt': {'type': kind, 'loss_weight': weight}})}


SQUARES = _samples(patch=True)
AVERAGE = {'ema_decay': 0.999, 'ema_warmup': True}
CONSTANT = {'type': 'MultiStepLR', 'milestones': [], 'gamma': 1.0}

CHANGES = [
    Change('this start', {'network_g': {'bilinear_start': True}}),
    Change('average (EMA)', _train(**AVERAGE)),
    Change('a quarter of the pixels', _samples(num_samples=0.25)),  # a share of the first row's
    Change('batches of 8', _samples(batch_size_per_gpu=8)),
    Change('one cycle to 2e-3', _train(scheduler={'type': 'OneCycleLR'}, optim_g={'lr': 2e-3})),
    Change('gradient norm', _train(max_grad_norm=0.1)),
    Change('AdamW, schedule-free', _optimizer('ScheduleFreeAdamW', 2e-3, CONSTANT)),
    Change('Adan', _optimizer('Adan', 2e-3)),
    Change('SOAP', _optimizer('SOAP', 1e-3)),
    Change('Muon', _optimizer('Muon', 5e-3)),
    Change('Charbonnier', _train(pixel_opt={'type': 'CharbonnierLoss'})),
    Change('MSE', _train(pixel_opt={'type': 'MSELoss'})),
    Change('squares', SQUARES),
    Change('FFT loss', _patch_loss('fft', 'FFTLoss', 0.05)),
    Change('gradient loss', _patch_loss('gradient', 'GradientLoss', 0.5)),
    Change('MS-SSIM', _patch_loss('ssim', 'MSSSIMLoss', 0.05)),
    Change('scales in 1/s', _samples(scale_distribution='reciprocal')),
    Change('scales in log s', _samples(scale_distribution='log')),
    Change('scales per axis', _samples(scale_per_axis=True)),
    Change('harder crops', _samples(crop_candidates=4)),
    Change('mixup', _samples(mixup=0.3)),
    Change('cutmix', _samples(cutmix=0.3)),
    Change('channels shuffled', _samples(channel_shuffle=0.3)),
    Change('colours blended', _samples(color_blend=0.3)),
    Change('reduced ground truth', _samples(reduce_gt=[0.5, 1, 2])),
]
