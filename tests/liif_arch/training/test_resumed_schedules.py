"""A schedule of changed options is brought to where its own steps would have led."""

import pytest
import torch
from basicsr.models.lr_scheduler import CosineAnnealingRestartLR, MultiStepRestartLR

from liif_arch.training import resuming
from liif_arch.training.schedules import OneCycleLR


@pytest.mark.parametrize('warmup', [-1, 1, 4, 7.5, 40])
@pytest.mark.parametrize(
    'kind,settings',
    [
        (MultiStepRestartLR, {'milestones': [3, 3, 9, 20], 'gamma': 0.3}),
        (
            MultiStepRestartLR,
            {'milestones': [4, 12], 'restarts': [0, 8], 'restart_weights': [1, 0.5]},
        ),
        (
            CosineAnnealingRestartLR,
            {'periods': [10, 25], 'restart_weights': [1, 0.7], 'eta_min': 1e-6},
        ),
    ],
)
def test_move__is_where_basicsrs_steps_lead(kind, settings, warmup):
    assert_moves_as_stepped(kind, settings, warmup)


def test_move__of_one_cycle():
    """It is refused beside another warm-up than its own."""
    assert_moves_as_stepped(OneCycleLR, {'total_steps': 20, 'div_factor': 5}, -1)


def assert_moves_as_stepped(kind: type, settings: dict, warmup: float) -> None:
    """Against `BaseModel.update_learning_rate`, an iteration at a time, to the last bit."""
    from basicsr.models.base_model import BaseModel

    def new() -> BaseModel:
        model = BaseModel.__new__(BaseModel)
        weights = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
        model.optimizers = [
            torch.optim.SGD([{'params': weights[0]}, {'params': weights[1], 'lr': 0.3}], 0.1)
        ]
        model.schedulers = [kind(model.optimizers[0], **settings)]
        return model

    stepped = new()
    for iteration in range(1, 31):
        stepped.update_learning_rate(iteration, warmup)
        moved = new()
        resuming._move(moved.schedulers[0], iteration - 1, iteration, {'warmup_iter': warmup})
        rates = [[g['lr'] for g in m.optimizers[0].param_groups] for m in (stepped, moved)]
        assert rates[0] == rates[1], iteration
        assert moved.schedulers[0].last_epoch == stepped.schedulers[0].last_epoch
