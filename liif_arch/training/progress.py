"""What a training shows while it runs: a line with its progress, below what BasicSR logs."""

import logging
import time
from collections.abc import Mapping
from contextlib import ExitStack

from basicsr.utils import logger as basicsr_logger
from torch import Tensor
from tqdm.contrib.logging import logging_redirect_tqdm

from liif_arch.progress import TerminalBar, in_terminal, progress_bar

BAR = '{desc} {percentage:3.0f}% |{bar}| {n_fmt}/{total_fmt} {rate_fmt} eta {remaining}{postfix}'
LOSS_INTERVAL = 1  # seconds between looks at the loss; a GPU has to finish its queue for each


class MessageLogger(basicsr_logger.MessageLogger):
    """BasicSR's, with a remaining time that ends at zero, after a resume too.

    BasicSR's takes one iteration too many off what remains, so that it ends at -1, and counts
    what is done from the iteration before the first one.
    """

    def __init__(self, opt: Mapping, start_iter: int = 0, tb_logger: object = None) -> None:
        """`start_iter`: Iterations that were done before, as `train_pipeline` passes them."""
        super().__init__(opt, start_iter + 1, tb_logger)
        self.max_iters = int(self.max_iters) + 1

    def reset_start_time(self) -> None:
        """Nothing: the first iteration is counted, so its time is too."""


class TrainingProgress:
    """The progress line of one training, of its first process alone.

    In a terminal it stays below what BasicSR logs; elsewhere it is a plain line now and then.
    Rate and remaining time are averages since the training began or went on, validations
    included.

    Args:
        opt: Options of the run.
        done: Iterations that were done before.
    """

    def __init__(self, opt: Mapping, done: int) -> None:
        self.name, self.total, self.done = opt['name'], int(opt['train']['total_iter']), done
        self.shown = opt['rank'] == 0
        self.bar = None
        self._loss, self._loss_time = '', 0.0
        self._while_shown = ExitStack()

    def start(self) -> None:
        """Show the line, before the first iteration."""
        if not self.shown or self.bar is not None:
            return
        options = {'bar_format': BAR} if in_terminal() else {}
        self.bar = progress_bar(
            desc=self.name[:24], total=self.total, initial=self.done, smoothing=0, **options
        )
        logger = logging.getLogger('basicsr')
        if isinstance(self.bar, TerminalBar) and _has_console(logger):
            self._while_shown.enter_context(logging_redirect_tqdm([logger]))

    def step(self, iteration: int, losses: Mapping) -> None:
        """Show that an iteration is done.

        Args:
            iteration: Its number.
            losses: BasicSR's `log_dict`: tensors or numbers by name.
        """
        if self.bar is None:
            return
        now, first = time.monotonic(), self.bar.n == self.done
        if first or now - self._loss_time >= LOSS_INTERVAL:
            self._loss, self._loss_time = describe(losses), now
            self.bar.set_postfix_str(self._loss, refresh=False)
        self.bar.update(iteration - self.bar.n)
        if first:
            self.bar.refresh()

    def validating(self, name: str | None) -> None:
        """Show that a data set is being validated; None: training goes on."""
        if self.bar is not None:
            text = self._loss if name is None else f'validating {name}'
            self.bar.set_postfix_str(text, refresh=isinstance(self.bar, TerminalBar))

    def close(self) -> None:
        """Take the line away, and let the log be written as before."""
        self._while_shown.close()
        if self.bar is not None:
            self.bar.close()
            self.bar, self.shown = None, False


def log_apart(text: str, console: str) -> None:
    """Log a text to log files, and another one to where people watch."""
    logger = basicsr_logger.get_root_logger()
    if not logger.isEnabledFor(logging.INFO):
        return
    for handler in _handlers_of(logger):
        message = console
        if isinstance(handler, logging.FileHandler):
            message = text
        handler.handle(logger.makeRecord(logger.name, logging.INFO, __file__, 0, message, (), None))


def _handlers_of(logger: logging.Logger) -> list[logging.Handler]:
    """All that a record of a logger reaches: its own handlers, and those that it passes on to."""
    handlers = list(logger.handlers)
    while logger.propagate and logger.parent is not None:
        logger = logger.parent
        handlers += logger.handlers
    return handlers


def describe(losses: Mapping) -> str:
    """The losses among what BasicSR logs (`l_...`), at most three, as text."""
    names = [name for name in losses if name.startswith('l_')][:3]
    return ', '.join(f'{name} {_number(losses[name]):.4f}' for name in names)


def _number(value: Tensor | float) -> float:
    return float(value.detach().mean()) if isinstance(value, Tensor) else float(value)


def _has_console(logger: logging.Logger) -> bool:
    """Whether a log is also written to a terminal or wherever standard error goes."""
    return any(
        isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler)
        for handler in logger.handlers
    )
