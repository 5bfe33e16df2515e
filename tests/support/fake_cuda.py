"""A GPU without a GPU: tensors that know device, type and shape, and refuse what would wait.

Autograd's engine asks the driver for streams, so that nothing runs backward here: gradients that
are written out are called by hand (`Decoded`), and the engine runs on the device `meta`.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from liif_arch import SubPixelSR
from liif_arch.archs.coordinate_network import CoordinateNetwork
from liif_arch.decode.fast import Decode
from liif_arch.precision import autocast

CUDA = torch.device('cuda', 0)


class Waits(AssertionError):
    """An operation that stops the host until the device has done all that it was given."""


class NoWaiting(TorchDispatchMode):
    """Raises `Waits` for every operation that does; a number that lies on the CPU may be read.

    Args:
        reads: How many single numbers may be read from the device.
    """

    def __init__(self, reads: int = 0) -> None:
        super().__init__()
        self.reads = reads

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        if name == '_local_scalar_dense':
            return self._number(args[0])
        check = {
            '_to_copy': self._converted,
            'copy_': self._copied,
            'index': self._indexed,
            'index_put_': self._indexed,
            '_index_put_impl_': self._indexed,
        }.get(name)
        if check is not None:
            check(*args, **kwargs)
        return func(
            *args, **kwargs
        )  # equal, nonzero, masked_select and the like have no answer for fake tensors

    def _number(self, tensor: Tensor) -> float:
        if tensor.device != torch.device('cpu'):
            self.reads -= 1
            if self.reads < 0:
                raise Waits('a number is read from the device')
        return 1.0

    def _converted(
        self,
        tensor: Tensor,
        device: torch.device | None = None,
        non_blocking: bool = False,
        **_: object,
    ) -> None:
        if device is not None and device.type != tensor.device.type and not non_blocking:
            raise Waits(
                f'{tuple(tensor.shape)} goes from {tensor.device} to {device}, and the host waits'
            )

    def _copied(self, target: Tensor, source: Tensor, non_blocking: bool = False) -> None:
        self._converted(source, target.device, non_blocking)

    def _indexed(self, tensor: Tensor, index: list[Tensor | None], *_: object) -> None:
        for part in index:
            if part is not None and part.device.type != tensor.device.type:
                raise Waits(f'an index on {part.device} for a tensor on {tensor.device}')
            if part is not None and part.dtype == torch.bool:
                raise Waits('a mask as index, whose count the host has to know')


class Launch:
    """Stands in for a Triton kernel: every tensor that it is given must be on the GPU."""

    def __init__(self) -> None:
        self.count = 0

    def __getitem__(self, grid: object):
        return self

    def __call__(self, *arguments: object, **constants: object) -> None:
        self.count += 1
        tensors = [a for a in arguments if isinstance(a, Tensor)]
        assert len(tensors) == 13 and {t.device for t in tensors} == {CUDA}


class Decoded:
    """Stands in for autograd's context, to run `decode.fast.Decode` forward and then backward."""

    def __init__(self, arguments: tuple[object, ...]) -> None:
        self.needs_input_grad = tuple(
            isinstance(a, Tensor) and a.is_floating_point() for a in arguments
        )

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep what the backward pass needs."""
        self.saved_tensors = tensors

    @classmethod
    def apply(cls, *arguments: object) -> Tensor:
        """What `Decode.apply` returns, once its gradients lie where their tensors do."""
        context = cls(arguments)
        with torch.no_grad():
            colours = Decode.forward(context, *arguments)
            gradients = Decode.backward(context, torch.ones_like(colours))
        for given, gradient in zip(arguments, gradients, strict=True):
            assert gradient is None or (
                gradient.device == given.device == CUDA and gradient.shape == given.shape
            )
        assert sum(g is not None for g in gradients) > 5
        return colours


@contextmanager
def fake_cuda(reads: int = 0, capability: tuple[int, int] = (9, 0)) -> Iterator[Launch]:
    """Within, there is a `torch.device('cuda')` without values; waiting for it is an error.

    Args:
        reads: How many single numbers may be read from the device.
        capability: What the device says of itself.

    Yields:
        What stands in for the Triton kernel.
    """
    from liif_arch.decode import fused, lookup, lte, render

    launch = Launch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda.amp.common, 'amp_definitely_not_available', lambda: False)
        patch.setattr(torch.cuda, 'is_bf16_supported', lambda *_: True)
        patch.setattr(torch.cuda, 'get_device_capability', lambda *_: capability)
        patch.setattr(
            torch.cuda, 'device', lambda *_: nullcontext()
        )  # the kernel's launch enters it
        patch.setattr(fused, '_kernel', launch)
        patch.setattr(render, '_unfused', [])
        for module in (render, lte):  # keeps no fake tensor
            patch.setattr(module, 'corner_rows', lookup.corner_rows.__wrapped__)
        with FakeTensorMode(allow_non_fake_inputs=True), NoWaiting(reads):
            yield launch
        assert not render._unfused, render._unfused


def moved(net: nn.Module) -> nn.Module:
    """A network whose parameters and buffers are on the GPU; it is changed. Within `fake_cuda`."""
    for module in net.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                module._parameters[name] = nn.Parameter(_moved(parameter), parameter.requires_grad)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = _moved(buffer)
    return net


def _moved(tensor: Tensor) -> Tensor:
    return tensor.detach().to(CUDA, non_blocking=True)


def trained_on_gpu(
    net: nn.Module, lq: Tensor, coord: Tensor, cell: Tensor, dtype: torch.dtype
) -> None:
    """Queries under autograd, all at once and in chunks, and whole images to train on."""
    with autocast(CUDA, dtype):
        made = [net.query(net.encode(lq), coord, cell, *more) for more in chunks_of(net)]
        if not isinstance(net, SubPixelSR):
            made.append(net(lq, size=(43, 50)))
    shapes = [(2, 50, 3)] if isinstance(net, SubPixelSR) else [(2, 50, 3)] * 2 + [(2, 3, 43, 50)]
    assert all(x.device == CUDA and x.requires_grad and x.dtype == torch.float32 for x in made)
    assert [tuple(x.shape) for x in made] == shapes


def chunks_of(net: nn.Module) -> list[tuple[int, ...]]:
    """What else `query` is given: nothing, and a chunk of 17 where the network knows chunks."""
    return [(), (17,)] if isinstance(net, CoordinateNetwork) else [()]


@torch.no_grad()
def rendered_on_gpu(net: nn.Module, lq: Tensor, coord: Tensor, cell: Tensor) -> None:
    """Queries and images without gradients, whole and in parts."""
    feat = net.encode(lq)
    size = (40, 54) if isinstance(net, SubPixelSR) else (41, 60)
    made = [
        *(net.query(feat, coord, cell, *more) for more in chunks_of(net)),
        net.render(feat, size),
        net.render_window(
            feat[:, :, 2:], size, (2, 0), (20, 27), (20, 33), (5, 50), progress=lambda pixels: None
        ),
    ]
    assert {x.device for x in made} == {CUDA}
    assert [tuple(x.shape) for x in made[-2:]] == [(2, 3, *size), (2, 3, 13, 45)]
