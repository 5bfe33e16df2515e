"""The section `memory` of `scripts/benchmark.py`.

It measures the peak of upscaling, each size in a process of its own.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import liif_arch  # noqa: F401  before PyTorch, which reads once how its threads are to wait

# isort: split
import numpy as np
import torch
from benchmark_report import show
from benchmark_timing import (
    build,
    seconds,
)

from liif_arch.errors import UserError


def memory(args: argparse.Namespace, device: torch.device) -> list[dict]:
    """Peak memory of `upscale_to_file` at the budget `--memory`, each size in a process of its own.

    On a CPU resident memory, of which importing PyTorch takes the first row; on a GPU what PyTorch
    holds there.
    """
    cases = [(1, 1, 1), (args.side, args.side * 3 // 2, 4), (args.side // 4, args.side // 4, 30)]
    cases += [(339, 510, 30), (3456, 4608, 2)] if args.large else []
    rows = []
    for height, width, scale in cases:
        command = [
            sys.executable,
            str(Path(__file__).with_name('benchmark.py').absolute()),
            '--sections',
            'memory',
            '--device',
            str(device),
            '--network',
            args.network,
            '--decoder',
            args.decoder,
            '--memory',
            str(args.memory),
            '--child',
            str(height),
            str(width),
            str(scale),
        ]
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode:
            raise UserError(f'memory: {result.stderr.strip().splitlines()[-1]}')
        peak, elapsed = (float(figure) for figure in result.stdout.split()[-2:])
        rows.append(
            {
                'input': f'{width}x{height}',
                'scale': f'x{scale}',  # width x height
                'output': f'{width * scale}x{height * scale}',
                'peak MiB': peak,
                'seconds': elapsed,
            }
        )
        show(rows[-1])
    return rows


def memory_child(args: argparse.Namespace, device: torch.device) -> tuple[float, float]:
    """Upscale one image of noise, as `memory` asks.

    Returns:
        The peak in MiB, and the seconds it took.
    """
    import resource

    from liif_arch.upscaling.upscale import upscale_to_file

    height, width, scale = args.child
    net = build(args).to(device)
    net.precision = 'auto'
    image = np.random.default_rng(0).integers(256, size=(height, width, 3), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        elapsed = seconds(
            lambda: upscale_to_file(
                net, image, Path(folder, 'out.tif'), scale=scale, memory=args.memory
            ),
            device,
        )
    status = Path('/proc/self/status')
    if device.type == 'cuda':
        peak = torch.cuda.max_memory_allocated(device) / 2**20
    elif status.exists():  # Linux hands ru_maxrss down from the parent
        peak = int(re.search(r'VmHWM:\s+(\d+)', status.read_text())[1]) / 2**10
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
            2**20 if sys.platform == 'darwin' else 2**10
        )
    return peak, elapsed
