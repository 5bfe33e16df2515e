"""The group `recipe` of `scripts/reproduce.py`: one change at a time from the paper's recipe.

Each row is the paper's network, samples and loss with one thing changed; `--equal-time` trains all
for the same time. Rates are those of the paper's network. The small network trains at ten times
them, along a cosine unless the row has a schedule of its own, because its trainings are far shorter
than the paper's.
"""

from typing import Any


def _samples(**options: Any) -> dict[str, Any]:
    """Options of the training's samples."""
    return {'datasets': {'train': options}}


def _train(**options: Any) -> dict[str, Any]:
    """Options of the training."""
    return {'train': options}


def _optimizer(
    kind: str, lr: float, scheduler: dict | None = None, **more: float
) -> dict[str, Any]:
    """Another optimiser, at a learning rate that suits it; perhaps with a schedule of its own."""
    schedule = {} if scheduler is None else {'scheduler': scheduler}
    return _train(optim_g={'type': kind, 'lr': lr, **more}, **schedule)


def _patch_loss(name: str, kind: str, weight: float) -> dict[str, Any]:
    """A loss of images beside the paper's of colours; compare it with the row `squares`."""
    return {**SQUARES, **_train(**{f'{name}_opt': {'type': kind, 'loss_weight': weight}})}


SQUARES = _samples(patch=True)
AVERAGE = {'ema_decay': 0.999, 'ema_warmup': True}
CONSTANT = {'type': 'MultiStepLR', 'milestones': [], 'gamma': 1.0}

# By what the table calls a row: what is laid over the option file.
CHANGES: dict[str, dict[str, Any]] = {
    'this start': {'network_g': {'bilinear_start': True}},
    'average (EMA)': _train(**AVERAGE),
    'a quarter of the pixels': _samples(num_samples=0.25),  # a share of the first row's
    'batches of 8': _samples(batch_size_per_gpu=8),
    'one cycle, peak at twice the rate': _train(
        scheduler={'type': 'OneCycleLR'}, optim_g={'lr': 2e-4}
    ),
    'gradient norm': _train(max_grad_norm=0.1),
    'AdamW, schedule-free': _optimizer('ScheduleFreeAdamW', 2e-4, CONSTANT),
    'Adan': _optimizer('Adan', 2e-4),
    'SOAP': _optimizer('SOAP', 1e-4),
    'Muon': _optimizer('Muon', 5e-4, adamw_lr=1e-4),
    'Charbonnier': _train(pixel_opt={'type': 'CharbonnierLoss'}),
    'MSE': _train(pixel_opt={'type': 'MSELoss'}),
    'squares': SQUARES,
    'FFT loss': _patch_loss('fft', 'FFTLoss', 0.05),
    'gradient loss': _patch_loss('gradient', 'GradientLoss', 0.5),
    'MS-SSIM': _patch_loss('ssim', 'MSSSIMLoss', 0.05),
    'scales in 1/s': _samples(scale_distribution='reciprocal'),
    'scales in log s': _samples(scale_distribution='log'),
    'scales per axis': _samples(scale_per_axis=True),
    'harder crops': _samples(crop_candidates=4),
    'mixup': _samples(mixup=0.3),
    'cutmix': _samples(cutmix=0.3),
    'channels shuffled': _samples(channel_shuffle=0.3),
    'colours blended': _samples(color_blend=0.3),
    'reduced ground truth': _samples(reduce_gt=[0.5, 1, 2]),
}
