"""Convolutions by oneDNN, with a sum in the same pass over memory: images without gradients.

oneDNN could take a ReLU along too, but of some releases its ReLU of what is not a number is 0,
which would hide a fault. A pass of its own costs 2 % of the time.
"""

import torch
from torch import Tensor, nn

from liif_arch.precision import ambient_dtype, onednn_has


def can_fuse(x: Tensor, modules: nn.Module) -> bool:
    """Whether oneDNN takes the convolutions of an image, with the sums that follow them.

    Not where gradients are kept, where the network is traced for another program, or where
    something listens to its modules (hooks), which are not called one by one then.
    """
    return (
        x.device.type == 'cpu'
        and x.dtype == torch.float32
        and not torch.is_grad_enabled()
        and hasattr(torch.ops.mkldnn, '_convolution_pointwise')
        and onednn_has(ambient_dtype(x.device))
        and not (torch.compiler.is_compiling() or torch.jit.is_tracing())
        and not any(module._forward_hooks for module in modules.modules())
    )


def convolved(conv: nn.Module, x: Tensor) -> Tensor:
    """conv(x), in x's type, float32 or bfloat16.

    Args:
        conv: A convolution of 3x3 that keeps the size.
        x: (B, in, h, w), channels last.
    """
    return torch.ops.mkldnn._convolution_pointwise(x, *_arguments(conv, x), 'none', [], '')


def add_convolved_(total: Tensor, conv: nn.Module, x: Tensor) -> Tensor:
    """total + conv(x), written into total; see `convolved`. Both are of one type."""
    return torch.ops.mkldnn._convolution_pointwise_.binary(
        total, x, *_arguments(conv, x), 'add', 1.0, None, [], None
    )


def _arguments(conv: nn.Module, x: Tensor) -> tuple:
    """A convolution's weight and bias, in x's type, and its geometry."""
    assert isinstance(conv, nn.Conv2d) and conv.bias is not None
    weight = conv.weight.to(x.dtype, memory_format=torch.channels_last)
    bias = conv.bias.to(x.dtype)
    return weight, bias, conv.padding, conv.stride, conv.dilation, conv.groups
