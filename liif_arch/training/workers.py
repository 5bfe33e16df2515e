"""Child processes and threads that make samples: which signals they answer, and how they end with
the run.

A data worker must survive the SIGTERM or Ctrl+C that a terminal or a cluster sends to every process
of a run, since the run needs samples until the iteration is done that it then saves. It must not
survive its parent, however that ends, nor the SIGTERM by which `multiprocessing` ends it. So a
worker answers SIGTERM where its parent sent it, and watches whether the parent is still there.
"""

import multiprocessing
import os
import queue
import signal
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch.utils.data import DataLoader

STOPS = (signal.SIGINT, signal.SIGTERM)
WATCHED_EVERY = 1.0  # seconds between two looks of a child process at its parent
GRACE = 3.0  # seconds that workers have for the sample they are at, once the run has ended


# --------------------------------------------------------------------------------------------------
# In a child process


def end_with_parent() -> None:
    """Let this child process ignore the stop signals of others, and end when its parent says so or
    is gone.

    Called first in a data worker or a process of a pool. A thread waits for SIGTERM and looks who
    sent it; where the system cannot tell (macOS, Windows), SIGTERM ends the process, whoever sent
    it.
    """
    if multiprocessing.parent_process() is None:
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, 'sigtimedwait'):
        signal.pthread_sigmask(
            signal.SIG_BLOCK, STOPS
        )  # of the threads that start from here on, too
    threading.Thread(target=_watch_parent, name='watch parent', daemon=True).start()


def _watch_parent() -> None:
    """Wait for the parent's SIGTERM or its end, and leave at once: nothing in a worker needs
    tidying.
    """
    parent = multiprocessing.parent_process()
    while parent.is_alive():
        if not hasattr(signal, 'sigtimedwait'):
            time.sleep(WATCHED_EVERY)
            continue
        received = signal.sigtimedwait(STOPS, WATCHED_EVERY)
        if (
            received is not None
            and received.si_signo == signal.SIGTERM
            and received.si_pid == parent.pid
        ):
            os._exit(0)
    os._exit(1)


class WorkerInit:
    """`worker_init_fn` of a data loader: `end_with_parent`, and then the function that was there
    before.
    """

    def __init__(self, then) -> None:
        self.then = then

    def __call__(self, worker: int) -> None:
        end_with_parent()
        if self.then is not None:
            self.then(worker)


# --------------------------------------------------------------------------------------------------
# In the parent


class Workers:
    """The data workers and prefetching threads of a run, for as long as it lasts."""

    def __init__(self) -> None:
        self._iterators: weakref.WeakSet = weakref.WeakSet()

    def watch(self, loader: 'DataLoader') -> None:
        """Remember the workers that a loader starts from now on."""
        loader.worker_init_fn = WorkerInit(loader.worker_init_fn)
        create = loader._get_iterator

        def get_iterator() -> object:
            with _born_deaf():
                iterator = create()
            self._iterators.add(iterator)
            return iterator

        loader._get_iterator = get_iterator

    def killed(self) -> list[str]:
        """Data workers that something outside the run has ended, each with what ended it."""
        codes = [(w.pid, w.exitcode) for w in self._processes() if w.exitcode not in (None, 0)]
        return [
            f'{pid} ({signal.Signals(-code).name if code < 0 else f"status {code}"})'
            for pid, code in codes
        ]

    def _processes(self) -> list[multiprocessing.Process]:
        return [
            worker for iterator in self._iterators for worker in getattr(iterator, '_workers', [])
        ]

    def end(self) -> None:
        """End every worker and thread: politely, by PyTorch's own means, and after `GRACE` seconds
        for good.

        PyTorch's means wait for each worker in turn, and for ever where one was killed that held a
        lock.
        """
        iterators = [i for i in self._iterators if hasattr(i, '_shutdown_workers')]
        workers = self._processes()
        polite = [threading.Thread(target=i._shutdown_workers, daemon=True) for i in iterators]
        with _deaths_expected():
            try:
                for thread in polite:
                    thread.start()
                _join([*polite, *stop_prefetching()], GRACE)
            finally:
                for worker in workers:
                    if worker.is_alive():
                        worker.kill()
                for worker in workers:
                    worker.join(GRACE)
        _join(stop_prefetching(), GRACE)  # a sample that it waited for comes no more


def _join(threads: list[threading.Thread], seconds: float) -> None:
    """Wait for threads to end, so many seconds for all of them together."""
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))


@contextmanager
def _born_deaf() -> Iterator[None]:
    """Start child processes with the stop signals blocked, until `end_with_parent` takes care of
    them.

    Signals that reach this process meanwhile are answered when the block ends.
    """
    if not hasattr(signal, 'pthread_sigmask'):
        yield
        return
    if multiprocessing.get_start_method() != 'fork':
        # would unblock the signals itself, where it is started later
        resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _deaths_expected() -> Iterator[None]:
    """Keep PyTorch's handler of SIGCHLD, which raises an error for a worker that was killed, from
    being called.
    """
    on_main = threading.current_thread() is threading.main_thread() and hasattr(signal, 'SIGCHLD')
    before = signal.signal(signal.SIGCHLD, signal.SIG_DFL) if on_main else None
    try:
        yield
    finally:
        if on_main:
            signal.signal(signal.SIGCHLD, before)


# --------------------------------------------------------------------------------------------------
# BasicSR's prefetching thread; `basicsr_patches` puts these functions in the place of its own

_prefetching: weakref.WeakSet = weakref.WeakSet()  # threads, in which `stopping` is an event


def prefetch(self) -> None:
    """`PrefetchGenerator.run`, which hands an error on and ends when it is told to.

    BasicSR's thread ends without a word at an error, and the run waits for ever; else it outlives
    the run, in the middle of a sample, while the interpreter is taken down.
    """
    self.stopping = threading.Event()
    _prefetching.add(self)
    try:
        for item in self.generator:
            _put(self, item)
            if self.stopping.is_set():
                return
        _put(self, None)
    except BaseException as error:
        _put(self, error)


def _put(thread: threading.Thread, item: object) -> None:
    """Put an item into a prefetching thread's queue, unless the thread is to stop while the queue
    is full.
    """
    while not thread.stopping.is_set():
        try:
            thread.queue.put(item, timeout=0.1)
            return
        except queue.Full:
            continue


def next_prefetched(self) -> object:
    """`PrefetchGenerator.__next__`, which raises what the thread met."""
    item = self.queue.get()
    if isinstance(item, BaseException):
        raise item
    if item is None:
        raise StopIteration
    return item


def prefetch_later(self, loader: 'DataLoader') -> None:
    """`CPUPrefetcher.__init__`, which leaves the first batches to `reset`; BasicSR starts twice, in
    two threads.
    """
    self.ori_loader = loader


def stop_prefetching() -> list[threading.Thread]:
    """Tell every prefetching thread to stop; returns them."""
    threads = list(_prefetching)
    for thread in threads:
        thread.stopping.set()
    return threads


def is_prefetching() -> bool:
    """Whether a prefetching thread still runs, though the run that it belonged to may be over."""
    return any(thread.is_alive() for thread in list(_prefetching))
