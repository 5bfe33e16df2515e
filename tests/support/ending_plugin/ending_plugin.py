"""A plugin that makes a training end in a chosen way, for the tests of how runs end.

The folder of this file goes into PYTHONPATH, where `basicsr` finds it as any other installed
plugin. What it does is
said by environment variables:

    ENDING          How the run ends: a name of `ENDINGS`.
    ENDING_METHOD   Start method of the data workers: fork, spawn or forkserver.
    ENDING_RANK     Which process of several it happens in (default 0).

When the end begins, the file `ending` appears in the current folder.
"""

import errno
import multiprocessing
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import torch

ITERATION = 3  # of the run, in which the end begins


def signal_self(number: int) -> Callable[[], None]:
    """A function that sends a signal to this process."""
    return lambda: os.kill(os.getpid(), number)


def signal_all(number: int) -> None:
    """Send a signal to this process and its data workers, as a terminal or a cluster does."""
    numbers = [os.getpid(), *(worker.pid for worker in multiprocessing.active_children())]
    subprocess.run(['kill', f'-{number:d}', *map(str, numbers)], check=True)


def kill_worker() -> None:
    """End a data worker as the kernel does when memory runs out."""
    os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)


def break_images() -> None:
    """Cut every training image short, as a copy that is still under way looks."""
    for path in Path('gt').glob('*.png'):
        path.write_bytes(path.read_bytes()[:100])


def throw(error: BaseException) -> Callable[[], None]:
    """A function that raises an exception."""

    def act() -> None:
        raise error

    return act


def fill_disk() -> None:
    """Let every checkpoint fail as on a full disk."""
    from liif_arch.training import checkpoints

    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, 'No space left on device')

    checkpoints.atomic_write = full


def signal_when(owner: type, method: str, number: int) -> Callable[[], None]:
    """A function that makes this process get a signal at the next call of a method."""

    def act() -> None:
        original = getattr(owner, method)

        def interrupted(*arguments: object, **keywords: object) -> object:
            setattr(owner, method, original)
            os.kill(os.getpid(), number)
            return original(*arguments, **keywords)

        setattr(owner, method, interrupted)

    return act


def poison_loss() -> None:
    """Make the loss no number from the next step on."""
    from liif_arch.models.liif_model import LIIFModel

    step = LIIFModel.optimize_parameters

    def poisoned(self: LIIFModel, current_iter: int) -> None:
        step(self, current_iter)
        self.log_dict['l_pix'] = torch.tensor(float('nan'))

    LIIFModel.optimize_parameters = poisoned


def endings() -> dict[str, Callable[[], None]]:
    """What happens at iteration `ITERATION`, by the name of the end."""
    from liif_arch.models.liif_model import LIIFModel

    return {
        'image breaks': break_images,
        'step raises': throw(RuntimeError('a step of this training fails')),
        'out of memory': throw(
            torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 8.00 GiB.')
        ),
        'loss is no number': poison_loss,
        'disk is full': fill_disk,
        'worker is killed': kill_worker,
        'process is killed': signal_self(signal.SIGKILL),
        'parent is killed': lambda: os.kill(os.getppid(), signal.SIGKILL),
        'SIGTERM': signal_self(signal.SIGTERM),
        'SIGINT': signal_self(signal.SIGINT),
        'SIGTERM to all': lambda: signal_all(signal.SIGTERM),
        'SIGINT to all': lambda: signal_all(signal.SIGINT),
        'SIGTERM while saving': signal_when(LIIFModel, 'save_training_state', signal.SIGTERM),
        'SIGINT while validating': signal_when(LIIFModel, '_validate_item', signal.SIGINT),
        'two SIGINT': lambda: [signal_self(signal.SIGINT)() for _ in range(2)],
        'exit in the middle': throw(SystemExit(3)),
    }


def touch_at_the_end(supervisor: type) -> None:
    """Let a run that ends well begin its end when it saves for the last time."""
    save = supervisor.save

    def last(self: object, epoch: int, current_iter: int) -> None:
        if current_iter == -1:
            Path('ending').touch()
        save(self, epoch, current_iter)

    supervisor.save = last


def arrange() -> None:
    """Wait for the iteration, then begin the end; a start-up end begins at once."""
    from liif_arch.training import preflight
    from liif_arch.training.supervisor import Supervisor

    name, rank = os.environ['ENDING'], os.environ.get('ENDING_RANK', '0')
    multiprocessing.set_start_method(os.environ.get('ENDING_METHOD', 'fork'), force=True)
    preflight._check_model = lambda *arguments: None  # the trial step is not this run's
    if os.environ.get('RANK', '0') != rank:
        return
    if name == 'SIGTERM while starting':
        Path('ending').touch()
        os.kill(os.getpid(), signal.SIGTERM)
        return
    if name == 'success':
        touch_at_the_end(Supervisor)
        return
    act, step = endings()[name], Supervisor.optimize_parameters

    def optimize_parameters(self: Supervisor, current_iter: int) -> None:
        if current_iter == ITERATION:
            Path('ending').touch()
            act()
        step(self, current_iter)

    Supervisor.optimize_parameters = optimize_parameters


if 'ENDING' in os.environ:
    arrange()
