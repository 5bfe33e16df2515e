"""A training that loses nothing: what stands between BasicSR's `train_pipeline` and the model it
trains.

`Run` takes the place of the functions by which the pipeline makes its loaders and its model;
`Supervisor` is the model that the pipeline then sees. It resumes bit for bit, stops between
iterations when it is told to, saves what a stop would lose, and refuses to go on from a loss that
is no number.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import basicsr.train
import torch
from basicsr.utils.dist_util import get_dist_info
from torch import Tensor

from liif_arch.errors import MachineError, UserError
from liif_arch.training import checkpoints, processes, randomness, resuming
from liif_arch.training.progress import TrainingProgress
from liif_arch.training.samples import SampleSet
from liif_arch.training.workers import Workers

_create_loaders, _init_tb_loggers = (
    basicsr.train.create_train_val_dataloader,
    basicsr.train.init_tb_loggers,
)
_build_dataset, _build_model = basicsr.train.build_dataset, basicsr.train.build_model


# What BasicSR's models carry from one iteration to the next beside networks and optimisers:
# RealESRGAN, StyleGAN2.
MODEL_STATE = ('queue_lr', 'queue_gt', 'queue_ptr', 'mean_path_length')


class Stopped(BaseException):
    """A run that a signal has stopped; nothing on the way out takes it for an error of its own."""


class Run:
    """One training's loaders, model and resumed state, as `train_pipeline` asks for them one after
    another.
    """

    def __init__(self) -> None:
        self.state: dict | None = None
        self.supervisor: Supervisor | None = None
        self.workers = Workers()

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Let `basicsr.train` look its functions up here; end workers and put signals back
        afterwards.
        """
        names = (
            'load_resume_state',
            'build_dataset',
            'create_train_val_dataloader',
            'init_tb_loggers',
            'build_model',
        )
        before = {name: getattr(basicsr.train, name) for name in names}
        for name in names:
            setattr(basicsr.train, name, getattr(self, name))
        try:
            yield
        except Exception as error:  # PyTorch raises anywhere that a worker is gone
            killed = self.workers.killed()
            if not killed:
                raise
            raise MachineError(
                f'data worker {", ".join(killed)} was ended from outside this run. If memory ran '
                'out, '
                'lower datasets.train.num_worker_per_gpu.'
            ) from error
        finally:
            try:
                self.workers.end()
            finally:
                for name, function in before.items():
                    setattr(basicsr.train, name, function)
                if self.supervisor is not None:
                    self.supervisor.close()

    def load_resume_state(self, opt: dict) -> dict | None:
        """`basicsr.train.load_resume_state`; see `checkpoints.load_resume_state`."""
        if opt['rank'] == 0:
            checkpoints.remove_partial_files(opt['path'])
        self.state = checkpoints.load_resume_state(opt)
        self.options = resuming.check(self.state, opt)
        return self.state

    def build_dataset(self, opt: dict) -> torch.utils.data.Dataset:
        """BasicSR's, as a `SampleSet`."""
        return SampleSet(_build_dataset(opt), opt)

    def create_train_val_dataloader(self, opt: dict, logger) -> tuple:
        """BasicSR's loaders, which draw nothing from the global generators, from the place where
        the run was saved.
        """
        loader, sampler, val_loaders, _, total = _create_loaders(opt, logger)
        for each in (loader, *val_loaders):
            each.generator = torch.Generator().manual_seed(
                opt['manual_seed']
            )  # of the workers' base seed
        self.workers.watch(loader)
        if self.state is not None:
            sampler.start_at(self.state['iter'], self.state['epoch'], self.state.get('consumed', 0))
        self.sampler, self.val_loaders, self.batch = (
            sampler,
            val_loaders,
            loader.batch_size * opt['world_size'],
        )
        last_epoch, _ = sampler.position(
            total, self.batch
        )  # BasicSR starts workers for one epoch more
        return loader, sampler, val_loaders, last_epoch, total

    def init_tb_loggers(self, opt: dict):
        """BasicSR's tensorboard and wandb."""
        self.tb_logger = _init_tb_loggers(opt)
        return self.tb_logger

    def build_model(self, opt: dict) -> 'Supervisor':
        """BasicSR's model, supervised."""
        if opt.get('deterministic', False):
            torch.backends.cudnn.benchmark = False  # the pipeline has switched it on
        self.supervisor = Supervisor(_build_model(opt), opt, self)
        return self.supervisor


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
        raise UserError(
            f'path.resume_state: {path} is damaged, or of other options than these '
            f'({type(error).__name__}: {str(error).splitlines()[0] if str(error) else "?"}); use '
            'those it '
            'was saved with, or start anew.'
        ) from None


class Supervisor:
    """The model of a run: every call goes on to it, and some do more.

    Args:
        model: BasicSR's model.
        opt: Options of the run.
        run: Its loaders.
    """

    def __init__(self, model, opt: dict, run: Run) -> None:
        self.model, self.opt, self.run = model, opt, run
        self.total = int(opt['train']['total_iter'])
        self.iteration = 0 if run.state is None else run.state['iter']
        self.saved = (
            None if run.state is None else self.iteration
        )  # iteration of the newest state on the disk
        self.validated: dict[
            int, int
        ] = {}  # iteration of the last validation of each of the run's sets
        self.losses = LossWatch(opt)
        self.progress = TrainingProgress(opt, self.iteration)
        self.signal: int | None = None
        self.validating = False
        self.handlers: dict[int, object] | None = None  # of signals, as they were before
        model.extra_state = self.extra_state

    def __getattr__(self, name: str):
        return getattr(self.model, name)

    # ------------------------------------------------------------------------------------- resuming

    def extra_state(self) -> dict:
        """What a training state holds beside BasicSR's content; called by all processes."""
        _, consumed = self.run.sampler.position(self.iteration, self.run.batch)
        validated = all(
            self.validated.get(i) == self.iteration for i in range(len(self.run.val_loaders))
        )
        own = {
            name: value
            for name in MODEL_STATE
            if (value := getattr(self.model, name, None)) is not None
        }
        return {
            'options': self.run.options,
            'consumed': consumed,
            'validated': validated,
            'random': processes.gather(randomness.capture()),
            'model': {k: v.cpu() if isinstance(v, Tensor) else v for k, v in own.items()},
            'best_metric_results': checkpoints.plain(
                getattr(self.model, 'best_metric_results', {})
            ),
        }

    def resume_training(self, state: dict) -> None:
        """BasicSR's, and the best figures so far, and the generators of random numbers."""
        restored(
            state,
            lambda: resuming.resume(self.model, state, self.run.options),
            *get_dist_info(),
            self.opt['path']['resume_state'],
        )
        metrics = (self.opt.get('val') or {}).get('metrics')
        names = (
            set(metrics) if isinstance(metrics, dict) else set()
        )  # a metric that is new begins anew
        best = {k: v for k, v in state.get('best_metric_results', {}).items() if names <= set(v)}
        if best:
            self.model.best_metric_results = best
        for name, value in state.get('model', {}).items():
            setattr(
                self.model,
                name,
                value.to(self.model.device) if isinstance(value, Tensor) else value,
            )
        if state.get('validated'):
            self.validated = dict.fromkeys(range(len(self.run.val_loaders)), self.iteration)

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
            self.save(self.run.sampler.position(self.iteration, self.run.batch)[0], self.iteration)
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
            self.model.save_training_state(
                self.run.sampler.position(self.iteration, self.run.batch)[0], current_iter
            )

    def _is_due(self, iteration: int) -> bool:
        val = self.opt.get('val')
        return val is not None and iteration > 0 and iteration % val['val_freq'] == 0

    def _validate_again(self) -> None:
        for loader in self.run.val_loaders:
            self.validation(loader, self.iteration, self.run.tb_logger, self.opt['val']['save_img'])

    # -------------------------------------------------------------------------------------- signals

    def _listen(self) -> None:
        on_main = threading.current_thread() is threading.main_thread()
        self.handlers = {
            number: signal.signal(number, self._on_signal)
            for number in (signal.SIGINT, signal.SIGTERM)
            if on_main
        }

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
            self.save(self.run.sampler.position(self.iteration, self.run.batch)[0], self.iteration)
        processes.gather(None)
        if self.run.tb_logger:
            self.run.tb_logger.close()
        text = (
            f'{signal.Signals(self.signal).name}: stopped after iteration {self.iteration}, which '
            'is saved. '
            'The same command with --auto_resume goes on from there.'
        )
        raise Stopped(text) if self.opt['rank'] == 0 else Stopped

    def close(self) -> None:
        """Give the terminal's last line and the signals back."""
        self.progress.close()
        for number, handler in (self.handlers or {}).items():
            signal.signal(number, handler)
        self.handlers = {}


class LossWatch:
    """Stops a run whose loss is no longer a number, with the names of the batch.

    On a CPU after every iteration; on a GPU, where a look would wait for it, when the run logs,
    saves or validates.
    """

    def __init__(self, opt: dict) -> None:
        self.folder, self.names = Path(opt['path']['training_states']), []
        self._since: list[tuple[int, list[str], list]] = []

    def add(self, iteration: int, losses: dict, saved: int | None) -> None:
        """Remember the losses of an iteration, tensors or numbers."""
        values = [v.detach() if isinstance(v, Tensor) else v for v in losses.values()]
        self._since.append((iteration, self.names, values))
        if not any(isinstance(v, Tensor) and v.device.type != 'cpu' for v in values):
            self.check(saved)

    def check(self, saved: int | None) -> None:
        """Look at what came since the last look.

        Raises:
            UserError: A loss is infinite or no number.
        """
        since, self._since = self._since, []
        for iteration, names, values in since:
            for value in values:
                value = float(value.mean()) if isinstance(value, Tensor) else float(value)
                if value - value != 0:  # infinite, or not a number
                    state = (
                        f'the last good state is {self.folder / f"{saved}.state"}'
                        if saved
                        else 'no state is saved'
                    )
                    raise UserError(
                        f'the loss is {value} at iteration {iteration}, with the batch '
                        f'{", ".join(dict.fromkeys(names)) or "(unnamed)"}; {state}. Look at these '
                        'images; '
                        'a lower learning rate (train.optim_g.lr), warmup_iter or precision: '
                        'float32 help.'
                    )
