"""Work on many files in several processes, which a stop of the one that watches them stops too."""

from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from liif_arch.errors import UserError
from liif_arch.training.workers import end_with_parent

Item = TypeVar('Item')
Result = TypeVar('Result')
_FEW = 8  # items that are done sooner than processes start


def in_processes(
    function: Callable[[Item], Result], items: Collection[Item], workers: int
) -> Iterator[Result]:
    """`map(function, items)`, in order, in `workers` processes.

    Raises:
        UserError: A process was killed.
    """
    if workers <= 1 or len(items) < _FEW:
        yield from map(function, items)
        return
    with ProcessPoolExecutor(workers, initializer=end_with_parent) as pool:
        try:
            yield from pool.map(function, items, chunksize=4)
        except BrokenProcessPool:
            raise UserError(
                'a worker process was killed; if memory ran out, fewer workers need less.'
            ) from None
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
