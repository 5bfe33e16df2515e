"""The losses of a run, watched: it does not go on from one that is no number."""

import math
from pathlib import Path

from torch import Tensor

from liif_arch.errors import UserError


class LossWatch:
    """Stops a run whose loss is no longer a number, with the names of the batch.

    On a CPU after every iteration; on a GPU, where a look would wait for it, when the run logs,
    saves or validates.
    """

    def __init__(self, opt: dict) -> None:
        self.folder = Path(opt['path']['training_states'])
        self.names: list[str] = []  # of the batch that is trained on
        self._since: list[tuple[int, list[str], list]] = []

    def add(self, iteration: int, losses: dict, saved: int | None) -> None:
        """Remember the losses of an iteration, tensors or numbers."""
        values, waits = [], False
        for value in losses.values():
            if isinstance(value, Tensor):
                value = value.detach()
                waits = waits or value.device.type != 'cpu'
            values.append(value)
        self._since.append((iteration, self.names, values))
        if not waits:
            self.check(saved)

    def check(self, saved: int | None) -> None:
        """Look at what came since the last look.

        Raises:
            UserError: A loss is infinite or no number.
        """
        since, self._since = self._since, []
        for iteration, names, values in since:
            for value in values:
                if isinstance(value, Tensor):
                    value = value.mean()
                if not math.isfinite(value):
                    raise self._error(iteration, names, float(value), saved)

    def _error(
        self, iteration: int, names: list[str], value: float, saved: int | None
    ) -> UserError:
        """What to say of a loss that is no number."""
        state = 'no state is saved'
        if saved:
            state = f'the last good state is {self.folder / f"{saved}.state"}'
        batch = ', '.join(dict.fromkeys(names)) or '(unnamed)'
        return UserError(
            f'the loss is {value} at iteration {iteration}, with the batch {batch}; {state}. Look '
            'at these images; a lower learning rate (train.optim_g.lr), warmup_iter or '
            'precision: float32 help.'
        )
