"""How much memory there is, how much a network takes, and what is said where that is more."""

import os
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from liif_arch.archs.encoder import named_network
from liif_arch.errors import UserError

CGROUP_LIMITS = ('/sys/fs/cgroup/memory.max', '/sys/fs/cgroup/memory/memory.limit_in_bytes')
OUT_OF_MEMORY = (
    "can't allocate memory",
    'not enough memory',
    'out of memory',
    'alloc_failed',
    'could not allocate',
)  # in the texts of PyTorch's errors, in lower case

# Libraries that compute convolutions hold copies in an order of their own beside the tensors that
# are alive. Peaks of resident memory on a CPU, as a ratio to those tensors: RRDBNet 1.5,
# EDSREncoder 1.25, RCAN and SwinIR 1.0.
WORKSPACE = 1.5


class _LiveTensors(TorchDispatchMode):
    """Bytes of the tensors that operations within have made and still hold, and their peak."""

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self.known: set[int] = set()

    def __torch_dispatch__(
        self, function: Callable, types: object, args: tuple = (), kwargs: dict | None = None
    ) -> object:
        made = function(*args, **(kwargs or {}))
        outputs = made
        if not isinstance(made, (tuple, list)):
            outputs = [made]
        for output in outputs:
            if isinstance(output, Tensor):
                self._add(output.untyped_storage())
        return made

    def _add(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key not in self.known:  # else a view, or changed in place
            self.known.add(key)
            self.live += size
            self.peak = max(self.peak, self.live)
            weakref.finalize(storage, self._remove, key, size)

    def _remove(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.live -= size


def peak_bytes(run: Callable[[], object]) -> int:
    """The most bytes of tensors that a computation makes and holds at once, on any device."""
    with _LiveTensors() as tensors:
        run()
    return tensors.peak


def machine_memory() -> float:
    """Bytes that this process can have at most: the machine's, or its container's if that is less.

    Infinite where the system does not say.
    """
    found = [float('inf')]
    if hasattr(os, 'sysconf'):
        found.append(os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES'))
    for path in CGROUP_LIMITS:
        try:
            text = Path(path).read_text().strip()
        except OSError:
            continue
        if text.isdecimal():
            found.append(int(text))
    return min(found)


def device_memory(device: torch.device) -> float:
    """Bytes that a computation on a device can have; infinite where the device does not say."""
    if device.type == 'cpu':
        return machine_memory()
    if device.type == 'cuda':
        free, _ = torch.cuda.mem_get_info(device)
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return free + unused
    return float('inf')


def require_encoder_memory(net: nn.Module, size: tuple[int, int]) -> None:
    """Raise UserError where a device has too little memory to encode an image (h, w) as a whole.

    A process that asks a processor's system for more is often killed, without an error that could
    be told.
    """
    if net.encoder.peak_floats is None:
        return
    device = next(net.parameters()).device
    needed, found = _least_bytes(net, size), device_memory(device)
    if needed > found:
        raise UserError(
            f'memory: found {found / 1e6:,.0f} MB on {_place(device)}; needed '
            f'{needed / 1e6:,.0f} MB or more. {_whole_image(net, size)}'
        )


def _least_bytes(net: nn.Module, size: tuple[int, int]) -> float:
    """Bytes of tensors that are alive at once while an image (h, w) is encoded, at least."""
    bytes_each = torch.empty((), dtype=net.render_dtype()).element_size()
    return bytes_each * net.encoder.peak_floats(*size) / WORKSPACE


def _whole_image(net: nn.Module, size: tuple[int, int]) -> str:
    encoder = named_network(net.encoder)
    return (
        f'{type(encoder).__name__} has to see all of an image of {size[1]}x{size[0]} '
        '(width x height) at once; cut the image into parts, or use an encoder that works in '
        'windows (EDSREncoder, RDNEncoder).'
    )


@contextmanager
def explain_out_of_memory(net: nn.Module, size: tuple[int, int], memory: float) -> Iterator[None]:
    """Turn a device's or system's refusal of memory into a UserError that names the way out.

    Args:
        net: The network that is run within.
        size: Size (h, w) of the image.
        memory: The budget that it was given, in MiB.
    """
    device = next(net.parameters()).device
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # torch.OutOfMemoryError is a RuntimeError
        text, place = str(error).lower(), _place(device)
        if isinstance(error, MemoryError):  # of NumPy, or Python itself
            place = _place(torch.device('cpu'))
        elif not any(part in text for part in OUT_OF_MEMORY):
            raise
    else:
        return
    if device.type == 'cuda':  # what the failed attempt held serves the next image
        torch.cuda.empty_cache()
    raise UserError(f'memory: {place} has none left{_way_out(net, size, memory)}')


def _way_out(net: nn.Module, size: tuple[int, int], memory: float) -> str:
    """The rest of a line that says that there is no memory left."""
    if net.encoder.receptive_radius is not None:
        return (
            f' at a budget of {memory:g} MiB; lower it (--memory {max(1, memory // 2):g}), or free '
            'memory that other programs hold.'
        )
    if net.encoder.peak_floats is None:
        return f'. {_whole_image(net, size)}'
    return f'; needed {_least_bytes(net, size) / 1e6:,.0f} MB or more. {_whole_image(net, size)}'


def _place(device: torch.device) -> str:
    """What a message calls a device's memory."""
    if device.type == 'cpu':
        return 'this machine'
    return str(device)
