"""Threads on a CPU: how they wait for one another, how many there are, and work that is cut into
pieces for them.

PyTorch cuts every operation into one part a thread and waits for the last of them. Where other
programs use the machine too, a thread may have to wait for a core while the others wait for it, in
each of thousands of operations. Two things keep that cheap: threads that wait do not keep a core
busy (`wait_passively`), and where the work is many independent pieces, each thread takes whole ones
as it gets to them (`for_each`), so that a late thread does fewer.
"""

import os
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import torch

Item = TypeVar('Item')
SPIN_VARIABLES = ('GOMP_SPINCOUNT', 'OMP_WAIT_POLICY', 'KMP_BLOCKTIME')
SPIN_COUNT = 1000  # turns that GNU's OpenMP waits before a thread sleeps; 300,000 of its own accord


def wait_passively() -> None:
    """Let OpenMP's threads sleep soon when they wait; call it before PyTorch is imported, which
    reads it once.

    A user's own setting (any of `SPIN_VARIABLES` in the environment) stays.
    """
    if 'torch' not in sys.modules and not any(name in os.environ for name in SPIN_VARIABLES):
        os.environ['GOMP_SPINCOUNT'] = str(SPIN_COUNT)


def use_threads(count: int | None) -> None:
    """Compute with so many threads from now on.

    Args:
        count: Threads; None leaves the number as it is (PyTorch's own choice, or OMP_NUM_THREADS).

    Raises:
        UserError: It is no whole number of at least 1; names the flag --threads.
    """
    if count is None:
        return
    import torch

    from liif_arch.errors import require_whole

    flag: dict[str, Any] = {'--threads': count}
    require_whole(**flag)
    torch.set_num_threads(int(count))


def for_each(
    work: Callable[[Item], None],
    items: Iterable[Item],
    device: 'torch.device',
    done: Callable[[Item], None] | None = None,
) -> None:
    """Call `work` with each item, without gradients; on a CPU on as many threads as PyTorch uses, a
    core for each.

    Args:
        work: Independent of the order and of the thread it runs in.
        items: What to call it with.
        device: Where it computes.
        done: Called in this thread with each item that is finished.

    Raises:
        Exception: Whatever `work` or `done` raises; items that no thread has begun are left out
            then.
    """
    import torch

    items = list(items)
    threads = torch.get_num_threads()
    inference = torch.is_inference_mode_enabled()

    def without_gradients(item: Item) -> None:
        with torch.inference_mode(inference), torch.no_grad():  # settings of each thread
            work(item)

    if device.type != 'cpu' or min(threads, len(items)) <= 1:
        for item in items:
            without_gradients(item)
            if done is not None:
                done(item)
        return
    try:
        with ThreadPoolExecutor(
            min(threads, len(items)), initializer=torch.set_num_threads, initargs=(1,)
        ) as pool:
            try:
                begun = {pool.submit(without_gradients, item): item for item in items}
                for future in as_completed(begun):
                    future.result()
                    if done is not None:
                        done(begun[future])
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
    finally:
        torch.set_num_threads(threads)  # the initializer has set what later threads begin with
