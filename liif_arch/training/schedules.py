"""Learning rates over a run, beside BasicSR's."""

import math

import basicsr.models.lr_scheduler as basicsr_schedulers
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from liif_arch.errors import UserError


class OneCycleLR(LRScheduler):
    """Up to the learning rate and down again, along half cosines (Smith and Topin, 2018).

    Its rates are those of torch.optim.lr_scheduler.OneCycleLR with `cycle_momentum=False`, whose
    `max_lr` is the optimiser's `lr`; it may go on past its end, at its last rate, and is a function
    of the iteration alone.

    Args:
        optimizer: Its `lr` is the highest rate.
        total_steps: Iterations of the cycle; an option file's default is its total_iter.
        pct_start: Share of them that go up.
        div_factor: The highest rate over the first.
        final_div_factor: The first rate over the last.
        last_epoch: Iterations that were done.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        total_steps: int | None = None,
        pct_start: float = 0.3,
        div_factor: float = 25,
        final_div_factor: float = 1e4,
        last_epoch: int = -1,
    ) -> None:
        if total_steps is None:
            raise UserError('missing; needed the iterations of the cycle.', key='total_steps')
        if not 0 < pct_start < 1:
            raise UserError(f'found {pct_start}; needed a share between 0 and 1.', key='pct_start')
        for name, factor in (('div_factor', div_factor), ('final_div_factor', final_div_factor)):
            if not factor >= 1:
                raise UserError(f'found {factor}; needed 1 or more.', key=name)
        self.total_steps, self.pct_start = int(total_steps), pct_start
        self.div_factor, self.final_div_factor = div_factor, final_div_factor
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """The rate of each group."""
        return [base * self._share() for base in self.base_lrs]

    def _share(self) -> float:
        """The rate over the highest one."""
        first = 1 / self.div_factor
        top = self.pct_start * self.total_steps - 1
        last = self.total_steps - 1
        step = min(self.last_epoch, last)
        if step <= top:
            return _half_cosine(first, 1, step / top if top > 0 else 1)
        return _half_cosine(1, first / self.final_div_factor, (step - top) / (last - top))


def _half_cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))


SCHEDULERS = {
    'MultiStepLR': basicsr_schedulers.MultiStepRestartLR,
    'MultiStepRestartLR': basicsr_schedulers.MultiStepRestartLR,
    'CosineAnnealingRestartLR': basicsr_schedulers.CosineAnnealingRestartLR,
    'OneCycleLR': OneCycleLR,
}


def setup_schedulers(self) -> None:
    """`BaseModel.setup_schedulers` with all of `SCHEDULERS`."""
    options = self.opt['train']['scheduler']
    kind = options.pop('type')
    if kind == 'OneCycleLR':
        options.setdefault('total_steps', self.opt['train']['total_iter'])
    try:
        for optimizer in self.optimizers:
            self.schedulers.append(SCHEDULERS[kind](optimizer, **options))
    except UserError as error:
        raise error.within('train.scheduler') from None
