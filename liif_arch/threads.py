"""How many threads PyTorch computes with on a processor."""

import torch

from liif_arch.errors import require_whole


def use_threads(count: int | None) -> None:
    """Compute with so many threads from now on.

    Args:
        count: Threads; None leaves the number as it is (PyTorch's own choice, or OMP_NUM_THREADS).

    Raises:
        UserError: It is no whole number of at least 1; names the flag --threads.
    """
    if count is None:
        return
    require_whole(**{'--threads': count})
    torch.set_num_threads(int(count))
