"""The section `busy` of `scripts/benchmark.py`.

It measures how much is left of the speed while other programs use cores.
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from benchmark_report import show
from benchmark_timing import seconds

from liif_arch.precision import autocast, has_bfloat16

OTHERS = (0, 1, 2)  # programs beside this one, each of which keeps a core busy
SETTLING = 0.3  # seconds until they do
QUICKSTART = {
    'type': 'LIIF',
    'encoder': {'type': 'EDSREncoder', 'num_feat': 32, 'num_block': 8},
    'hidden_list': [128, 128, 128],
}


@contextmanager
def busy_cores(count: int) -> Iterator[None]:
    """Programs that do nothing but keep `count` cores busy."""
    programs = [subprocess.Popen([sys.executable, '-c', 'while True: pass']) for _ in range(count)]
    try:
        if programs:
            time.sleep(SETTLING)
        yield
    finally:
        for program in programs:
            program.kill()
            program.wait()


def busy(args, device: torch.device) -> list[dict]:
    """Time rendering and a training step, alone and beside programs that keep cores busy.

    The programs keep one core busy, then two; the measurements alternate.
    """
    rows = []
    for what, work in _works(args, device).items():
        work()
        taken: dict[int, list[float]] = {count: [] for count in OTHERS}
        for _ in range(max(3, args.repeats)):
            for count in OTHERS:
                with busy_cores(count):
                    taken[count].append(_seconds(work, device))
        alone = statistics.median(taken[0])
        for count in OTHERS:
            found = statistics.median(taken[count])
            rows.append(
                {
                    'work': what,
                    'busy cores beside': count,
                    'ms': found * 1e3,
                    'of idle': alone / found,
                }
            )
            show(rows[-1])
    return rows


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    """Seconds a call, of as many calls as half a second holds."""
    taken, calls = 0.0, 0
    while taken < 0.5:
        taken += seconds(work, device)
        calls += 1
    return taken / calls


def _works(args, device: torch.device) -> dict[str, Callable[[], object]]:
    """Return what is timed.

    It is networks that ship on a small image (with `--network small` the small one alone), and a
    training step of quickstart's size.
    """
    from basicsr.archs import build_network

    import liif_arch.register  # noqa: F401  the networks' names
    from liif_arch import load_network

    works: dict[str, Callable[[], object]] = {}
    lq = torch.rand(1, 3, 60, 60, device=device)
    for name in ('liif', 'small') if args.network == 'paper' else ('small',):
        net = load_network(name, device)
        net.precision = 'float32'

        def render(net: torch.nn.Module = net) -> None:
            with torch.no_grad():
                net(lq, size=(240, 240))

        works[f'{name}, 60x60 at x4, float32'] = render
    works['training step, quickstart'] = _training_step(
        build_network(dict(QUICKSTART)).to(device), device
    )
    return works


def _training_step(net: torch.nn.Module, device: torch.device) -> Callable[[], None]:
    """Forward, backward and Adam on 16 inputs of 24x24 with 576 queries each."""
    optimizer = torch.optim.Adam(net.parameters(), 1e-4)
    lq, coord = (
        torch.rand(16, 3, 24, 24, device=device),
        torch.rand(16, 576, 2, device=device) * 2 - 1,
    )
    cell, gt = torch.full_like(coord, 2 / 48), torch.rand(16, 576, 3, device=device)
    dtype = torch.bfloat16 if has_bfloat16(device) else torch.float32

    def step() -> None:
        optimizer.zero_grad()
        with autocast(device, dtype):
            out = net(lq, coord, cell)
        (out.float() - gt).abs().mean().backward()
        optimizer.step()

    return step
