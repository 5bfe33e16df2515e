"""Where random numbers come from: the global generators, kept in a training state or left as they
were.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def capture() -> dict:
    """The states of Python's, NumPy's and PyTorch's global generators, of types that load with
    `weights_only`.
    """
    version, words, gauss = random.getstate()
    _, keys, position, has_gauss, cached = np.random.get_state()
    state = {
        'python': (version, torch.tensor(words), gauss),
        'numpy': (
            torch.from_numpy(keys.astype(np.int64)),
            int(position),
            int(has_gauss),
            float(cached),
        ),
        'torch': torch.get_rng_state(),
    }
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        state['cuda'] = torch.cuda.get_rng_state()
    return state


def restore(state: dict) -> None:
    """Put back what `capture` returned."""
    version, words, gauss = state['python']
    random.setstate((version, tuple(words.tolist()), gauss))
    keys, *rest = state['numpy']
    np.random.set_state(('MT19937', keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state['torch'])
    if 'cuda' in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state['cuda'])


@contextmanager
def preserved() -> Iterator[None]:
    """Run a block without moving any global generator."""
    state = capture()
    try:
        yield
    finally:
        restore(state)


@contextmanager
def seeded(*address: int) -> Iterator[None]:
    """Run a block whose global generators are seeded from an address, and leave them as they
    were.
    """
    seeds = np.random.SeedSequence([n % 2**32 for n in address]).generate_state(3)
    with preserved():
        random.seed(int(seeds[0]))
        np.random.seed(int(seeds[1]))
        torch.random.default_generator.manual_seed(
            int(seeds[2])
        )  # not the GPU's: this may run in a forked worker
        yield
