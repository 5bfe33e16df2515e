"""A network's work on a batch as two CUDA graphs, each of which starts all of its kernels at once.

A training step starts about a thousand kernels. A fast GPU has done with each before Python has
started the next one, and waits most of the time. A CUDA graph is recorded once, and then started
as a whole.
"""

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from liif_arch.errors import UserError
from liif_arch.training import randomness

WARM_UPS = 3  # before a recording: cuDNN chooses its ways, and libraries set themselves up


class NotRecordable(RuntimeError):
    """What a recording does not hold; the text is CUDA's."""


class Recording(Protocol):
    """What was recorded, such as a `torch.cuda.CUDAGraph`."""

    def replay(self) -> None:
        """Do it again, with the same tensors."""


class GraphedNetwork:
    """A function of a batch and of a network's parameters, recorded with its derivative.

    The first batch decides which sizes are recorded; batches of other sizes are worked on without
    the recording. What comes out is the same, to the rounding of cuDNN's other ways. The memory of
    a step stays taken.

    Args:
        net: The network. Where its parameters or buffers lie elsewhere in memory than they did when
            it was recorded, it is recorded anew.
        work: From the tensors of a batch to one that depends on the network's parameters. Nothing
            in it may wait for the device, and what Python decides in it is decided once, when it is
            recorded: random numbers of the CPU, counters, hooks.
    """

    def __init__(self, net: nn.Module, work: Callable[..., Tensor]) -> None:
        self.net, self.work = net, work
        self.parameters = [each for each in net.parameters() if each.requires_grad]
        self.inputs: list[Tensor] = []  # of the recording, which reads them
        self.places: list[int] = []  # and the network, where it lies in memory
        self.replays = 0
        self._forget()

    def _forget(self) -> None:
        """Let go of the recording and of its memory."""
        self.forward: Recording | None = None
        self.backward: Recording | None = None
        self.made = self.change = torch.empty(0)  # of the inputs; the gradient of that
        self.gradients: tuple[Tensor | None, ...] = ()

    def __call__(self, *batch: Tensor) -> Tensor:
        """What `work` makes of a batch. The next call overwrites it.

        Raises:
            UserError: The network cannot be recorded.
        """
        if self.inputs:
            sizes = [(new.shape, kept.shape) for new, kept in zip(batch, self.inputs, strict=True)]
            if any(new != kept for new, kept in sizes):
                return self.work(*batch)
        if self.places != self._places():
            self._record(batch)
        torch._foreach_copy_(self.inputs, list(batch))
        return _Replayed.apply(self, *self.parameters)

    def _places(self) -> list[int]:
        return [each.data_ptr() for each in (*self.net.parameters(), *self.net.buffers())]

    def _record(self, batch: tuple[Tensor, ...]) -> None:
        """Record both passes. Parameters, buffers and random numbers stay as they are."""
        self._forget()
        inputs = [tensor.detach().clone() for tensor in batch]
        buffers = [(buffer, buffer.clone()) for buffer in self.net.buffers()]

        def forward() -> None:
            self.made = self.work(*inputs)

        def backward() -> None:
            if self.change.shape != self.made.shape:
                self.change = torch.zeros_like(self.made)
            self.gradients = torch.autograd.grad(
                self.made, self.parameters, self.change, allow_unused=True
            )

        try:
            with randomness.preserved():
                self.forward, self.backward = capture(forward, backward)
        except NotRecordable as error:
            raise UserError(
                f'train.cuda_graph: {type(self.net).__name__} cannot be recorded ({error}); set it '
                'to false: a step is the same without, and slower.'
            ) from error
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)
        self.made = self.made.detach()  # later steps are to begin their own history
        self.inputs, self.places = inputs, self._places()


class _Replayed(torch.autograd.Function):
    """Both passes of a `GraphedNetwork` as one operation on its parameters."""

    @staticmethod
    def forward(ctx: Any, recorded: GraphedNetwork, *parameters: Tensor) -> Tensor:
        assert recorded.forward is not None
        recorded.forward.replay()
        recorded.replays += 1
        ctx.recorded, ctx.number = recorded, recorded.replays
        return recorded.made.detach()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, change: Tensor) -> tuple[Tensor | None, ...]:
        recorded = ctx.recorded
        if ctx.number != recorded.replays:
            raise RuntimeError('a GraphedNetwork has been called again before this backward pass')
        recorded.change.copy_(change)
        recorded.backward.replay()
        found = [each for each in recorded.gradients if each is not None]
        copies = iter(torch._foreach_mul(found, 1))  # parts of a batch add up in what is given
        return None, *(None if each is None else next(copies) for each in recorded.gradients)


def is_able(device: torch.device) -> bool:
    """Whether work on a device can be recorded."""
    return device.type == 'cuda'


def capture(*passes: Callable[[], None]) -> list[Recording]:
    """Record passes, each of which uses what the one before it made.

    Other threads may use the device meanwhile, such as the one that pins the next batch's memory.

    Raises:
        NotRecordable: A pass does what a recording does not hold.
    """
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UPS):
            for work in passes:
                work()
    torch.cuda.current_stream().wait_stream(stream)
    recordings: list[Recording] = []
    pool = torch.cuda.graph_pool_handle()
    for work in passes:
        recording = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(
                recording, pool=pool, stream=stream, capture_error_mode='thread_local'
            ):
                work()
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            first = error  # the end of a failed recording fails, too
            if isinstance(error.__context__, RuntimeError):
                first = error.__context__
            raise NotRecordable(str(first).strip().partition('\n')[0]) from error
        recordings.append(recording)
    return recordings
