"""The model that BasicSR's training loop sees: it passes every call on, and some do more.

So a run resumes bit for bit, stops between iterations when it is told to, saves what a stop would
lose, and refuses to go on from a loss that is no number.
"""

import signal
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from basicsr.utils.dist_util import get_dist_info
from torch import Tensor, nn

from liif_arch.errors import UserError
from liif_arch.training import checkpoints, processes, randomness, resuming
from liif_arch.training.losses import LossWatch
from liif_arch.training.progress import TrainingProgress

if TYPE_CHECKING:
    from liif_arch.training.run import Run

# What BasicSR's models carry from one iteration to the next beside networks and optimisers:
# RealESRGAN, StyleGAN2; a student's projection onto its teacher's features.
MODEL_STATE = ('queue_lr', 'queue_gt', 'queue_ptr', 'mean_path_length', 'projection')


class Stopped(BaseException):
    """A run that a signal has stopped; nothing on the way out takes it for an error of its own."""


def restored(state: dict, resume: Callable[[], None], rank: int, ranks: int, path: str) -> None:
    """Put optimisers and schedulers (`resume`), and this process's generators, back to a training
    state.

    Raises:
        UserError: They do not fit: the state is of other options, or damaged.
    """
    try:
        resume()
        if len(state.get('random', [])) == ranks:
            randomness.restore(state['random'][rank])
    except UserError:
        raise
    except (
        AssertionError,
        AttributeError,
        IndexError,
        KeyError,
        OverflowError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        first = (str(error) or '?').splitlines()[0]
        raise UserError(
            f'path.resume_state: {path} is damaged, or of other options than these '
            f'({type(error).__name__}: {first}); use those it was saved with, or start anew.'
        ) from None


class Supervisor:
    """The model of a run: every call goes on to it, and some do more.

    Args:
        model: BasicSR's model.
        opt: Options of the run.
        run: Its loaders.
    """

    def __init__(self, model: object, opt: dict, run: 'Run') -> None:
        self.model, self.opt, self.run = model, opt, run
        self.total = int(opt['train']['total_iter'])
        self.iteration = 0
        self.saved: int | None = None  # iteration of the newest state on the disk
        if run.state is not None:
            self.iteration = self.saved = run.state['iter']
        # Iteration of the last validation of each of the run's sets.
        self.validated: dict[int, int] = {}
        self.losses = LossWatch(opt)
        self.progress = TrainingProgress(opt, self.iteration)
        self.signal: int | None = None
        self.validating = False
        self.handlers: dict[int, object] | None = None  # of signals, as they were before
        model.extra_state = self.extra_state

    def __getattr__(self, name: str) -> object:
        return getattr(self.model, name)

    # ------------------------------------------------------------------------------------- resuming

    def extra_state(self) -> dict:
        """What a training state holds beside BasicSR's content; called by all processes."""
        _, consumed = self.run.sampler.position(self.iteration, self.run.batch)
        best = getattr(self.model, 'best_metric_results', {})
        return {
            'options': self.run.options,
            'consumed': consumed,
            'validated': self._is_validated(),
            'random': processes.gather(randomness.capture()),
            'model': self._own_state(),
            'best_metric_results': checkpoints.builtin(best),
        }

    def _is_validated(self) -> bool:
        """Whether all of the run's sets were validated after this iteration."""
        for number in range(len(self.run.val_loaders)):
            if self.validated.get(number) != self.iteration:
                return False
        return True

    def _own_state(self) -> dict:
        """What the model carries on beside networks and optimisers, on the CPU."""
        found = {}
        for name in MODEL_STATE:
            value = getattr(self.model, name, None)
            if isinstance(value, Tensor):
                found[name] = value.cpu()
            elif isinstance(value, nn.Module):
                state = self.model.get_bare_model(value).state_dict()
                found[name] = {key: each.cpu() for key, each in state.items()}
            elif value is not None:
                found[name] = value
        return found

    def resume_training(self, state: dict) -> None:
        """BasicSR's, and the best figures so far, and the generators of random numbers."""
        self._require_same_teaching(state)
        restored(
            state,
            lambda: resuming.resume(self.model, state, self.run.options),
            *get_dist_info(),
            self.opt['path']['resume_state'],
        )
        self._restore_best(state.get('best_metric_results', {}))
        for name, value in state.get('model', {}).items():
            own = getattr(self.model, name, None)
            if isinstance(own, nn.Module):
                self._restore_projection(self.model.get_bare_model(own), value)
                continue
            if isinstance(value, Tensor):
                value = value.to(self.model.device)
            setattr(self.model, name, value)
        if state.get('validated'):
            self.validated = dict.fromkeys(range(len(self.run.val_loaders)), self.iteration)

    def _require_same_teaching(self, state: dict) -> None:
        """Raise UserError where a projection onto a teacher's features is new, or no more there."""
        saved = 'projection' in state.get('model', {})
        if saved != hasattr(self.model, 'projection'):
            was, now = ('with', 'without') if saved else ('without', 'with')
            raise UserError(
                f'{self.opt["path"]["resume_state"]}: it was trained {was} a projection onto a '
                f"teacher's features, and goes on {now} one; use the features and the teacher "
                '(path.pretrain_network_t) that it began with, or begin anew.',
                key='train.distill_opt.features',
            )

    def _restore_projection(self, own: nn.Module, saved: dict) -> None:
        """A student's projection onto its teacher's features, where both are as wide as before."""
        try:
            own.load_state_dict(saved)
        except RuntimeError:
            raise UserError(
                f'{self.opt["path"]["resume_state"]}: it was trained with a teacher whose features '
                f'have {len(saved["weight"])} channels, and this one has '
                f'{len(own.weight)}; name that teacher, or begin anew.',
                key='path.pretrain_network_t',
            ) from None

    def _restore_best(self, saved: dict) -> None:
        """The best figures of each data set, unless a metric is new: then they begin anew."""
        metrics = (self.opt.get('val') or {}).get('metrics')
        wanted = set(metrics) if isinstance(metrics, dict) else set()
        best = {}
        for name, figures in saved.items():
            if wanted <= set(figures):
                best[name] = figures
        if best:
            self.model.best_metric_results = best

    # ----------------------------------------------------------------------------------- iterations

    def update_learning_rate(self, current_iter: int, warmup_iter: int = -1) -> None:
        """The beginning of an iteration: here a run can stop and lose nothing."""
        if self.handlers is None:
            self._listen()
            self.progress.start()
            if self._is_due(self.iteration):  # it was stopped before this validation was done
                self._validate_again()
        if processes.any_of(self.signal is not None or processes.launcher_is_gone()):
            self._stop()
        self.model.update_learning_rate(current_iter, warmup_iter)

    def feed_data(self, data: dict) -> None:
        """BasicSR's; remembers the names of the batch."""
        self.losses.names = list(data.get('gt_path') or data.get('lq_path') or [])
        self.model.feed_data(data)

    def optimize_parameters(self, current_iter: int) -> None:
        """BasicSR's step, and a look at its losses."""
        self.model.optimize_parameters(current_iter)
        self.iteration = current_iter
        losses = getattr(self.model, 'log_dict', {})
        self.losses.add(current_iter, losses, self.saved)
        self.progress.step(current_iter, losses)

    def get_current_log(self) -> dict:
        """BasicSR's, after a look at the losses since the last one."""
        self.losses.check(self.saved)
        return self.model.get_current_log()

    # ---------------------------------------------------------------------------------------------
    # saving, validation

    def save(self, epoch: int, current_iter: int) -> None:
        """Networks, and the training state last; then older ones beyond `logger.keep_checkpoints`
        go.
        """
        self.losses.check(self.saved)
        if current_iter == -1 and self.saved != self.iteration:  # BasicSR keeps no state of the end
            self.save(self._epoch(), self.iteration)
        with randomness.preserved():
            self.model.save(epoch, current_iter)
        if current_iter != -1:
            self.saved = current_iter
            if self.opt['rank'] == 0:
                checkpoints.prune(
                    self.opt['path'], self.opt['logger'].get('keep_checkpoints'), current_iter
                )

    def validation(self, loader, current_iter: int, tb_logger, save_img: bool) -> None:
        """BasicSR's, shared out among the processes; a state of the same iteration then says that
        it is done.
        """
        current_iter = min(current_iter, self.total)  # at the end BasicSR counts one too far
        number = self.run.val_loaders.index(loader)
        if self.validated.get(number) == current_iter:
            return
        self.losses.check(self.saved)
        self.validating = True
        self.progress.validating(loader.dataset.opt['name'])
        try:
            with randomness.preserved():  # it may be done again after a stop; and some imports draw
                self.model.validation(loader, current_iter, tb_logger, save_img)
                processes.gather(None)  # until all are here
        except Stopped:
            self._stop()
        finally:
            self.validating = False
            self.progress.validating(None)
        self.validated[number] = current_iter
        if self.saved == current_iter and loader is self.run.val_loaders[-1]:
            self.model.save_training_state(self._epoch(), current_iter)

    def _epoch(self) -> int:
        """The epoch in which the last iteration was."""
        return self.run.sampler.position(self.iteration, self.run.batch)[0]

    def _is_due(self, iteration: int) -> bool:
        val = self.opt.get('val')
        return val is not None and iteration > 0 and iteration % val['val_freq'] == 0

    def _validate_again(self) -> None:
        for loader in self.run.val_loaders:
            self.validation(loader, self.iteration, self.run.tb_logger, self.opt['val']['save_img'])

    # -------------------------------------------------------------------------------------- signals

    def _listen(self) -> None:
        self.handlers = {}
        if threading.current_thread() is threading.main_thread():  # others may set no handlers
            for number in (signal.SIGINT, signal.SIGTERM):
                self.handlers[number] = signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame) -> None:
        """Stop after this iteration; at once in a validation of a single process, and at a second
        Ctrl+C.
        """
        if self.signal is not None:
            if number == signal.SIGINT:
                raise KeyboardInterrupt
            return
        self.signal = number
        if self.validating and self.opt['world_size'] == 1:
            raise Stopped  # `validation` saves, once the generators are as they were
        if self.opt['rank'] == 0:
            print(
                f'\n{signal.Signals(number).name}: saving after this iteration (Ctrl+C: stop at '
                'once).',
                flush=True,
            )

    def _stop(self) -> None:
        """Save, and leave by an exception; processes leave together, since the first to go ends the
        others.
        """
        self.signal = self.signal or signal.SIGTERM
        if self.saved != self.iteration and self.iteration > 0:
            self.save(self._epoch(), self.iteration)
        processes.gather(None)
        if self.run.tb_logger:
            self.run.tb_logger.close()
        text = (
            f'{signal.Signals(self.signal).name}: stopped after iteration {self.iteration}, which '
            'is saved. The same command with --auto_resume goes on from there.'
        )
        if self.opt['rank'] == 0:
            raise Stopped(text)
        raise Stopped

    def close(self) -> None:
        """Give the terminal's last line and the signals back."""
        self.progress.close()
        for number, handler in (self.handlers or {}).items():
            signal.signal(number, handler)
        self.handlers = {}
