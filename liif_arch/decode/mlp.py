"""The decoder f: linear layers, as training and as inference run them."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from liif_arch.errors import UserError, is_whole, suggest
from liif_arch.precision import ambient_dtype, onednn_has

SINE_OMEGA = 30  # SIREN's frequency


class Sine(nn.Module):
    """sin(30 x), as SIREN has it (Sitzmann et al., NeurIPS 2020)."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return torch.sin(SINE_OMEGA * x)


ACTIVATIONS = {'relu': nn.ReLU, 'sine': Sine}


class MLP(nn.Module):
    """Linear layers with activations between them (`layers.0`, `layers.2`, ... as in reference
    checkpoints).

    Args:
        in_dim, out_dim: Channels.
        hidden_list: Widths of the hidden layers.
        activation: relu, or sine: SIREN's, with its initialisation; always in float32.
    """

    def __init__(
        self, in_dim: int, out_dim: int, hidden_list: Sequence[int], activation: str = 'relu'
    ) -> None:
        super().__init__()
        if not hidden_list or any(not is_whole(n) or n < 1 for n in hidden_list):
            raise UserError(
                f'hidden_list: found {hidden_list!r}; needed one or more positive widths.'
            )
        if activation not in ACTIVATIONS:
            raise UserError(f'activation: found {activation!r}; {suggest(activation, ACTIVATIONS)}')
        self.activation = activation
        layers: list[nn.Module] = []
        for hidden in hidden_list:
            layers += [nn.Linear(in_dim, hidden), ACTIVATIONS[activation]()]
            in_dim = hidden
        self.layers = nn.Sequential(*layers, nn.Linear(in_dim, out_dim))
        if activation == 'sine':
            self._start_sine()

    def _start_sine(self) -> None:
        """SIREN's initial weights, which keep the variance of every layer."""
        first, *others = self.layers[::2]
        nn.init.uniform_(first.weight, -1 / first.in_features, 1 / first.in_features)
        for layer in others:
            bound = (6 / layer.in_features) ** 0.5 / SINE_OMEGA
            nn.init.uniform_(layer.weight, -bound, bound)

    def linears(self) -> list[nn.Linear]:
        """The linear layers, first to last."""
        return [layer for layer in self.layers if isinstance(layer, nn.Linear)]

    @torch.no_grad()
    def start_as_copy(self, columns: Sequence[int]) -> None:
        """Change the initial weights so that output i is input columns[i], where that is above -1.

        One hidden unit of each layer carries each output; the last layer starts with no part in the
        others.
        """
        last = self.layers[-1]
        last.weight.zero_()
        for layer in self.layers[::2]:
            for i, column in enumerate(columns):
                layer.weight[i] = 0
                layer.weight[i, column], layer.bias[i] = 1, 0
            columns = range(len(columns))  # of the layers that follow the first
        self.layers[0].bias[: len(columns)] += 1  # what is above -1 passes a ReLU
        last.bias -= 1

    def dtype(self, device: torch.device) -> torch.dtype:
        """Type of the hidden layers' matrix products.

        It is that of a surrounding autocast where the parameters are float32, but not before a
        sine.
        """
        own = self.layers[-1].weight.dtype
        if own == torch.float32 and self.activation == 'relu':
            return ambient_dtype(device)
        return own

    def weights(self, start: int, dtype: torch.dtype) -> 'Weights':
        """Parameters for inference.

        Args:
            start: The first linear layer of them; 0 for all.
            dtype: Of the hidden layers' matrix products; before a sine at least float32.
        """
        if self.activation == 'sine':
            dtype = torch.promote_types(dtype, torch.float32)
        *layers, last = self.layers[2 * start :: 2]
        hidden = [(layer.weight.to(dtype), layer.bias.to(dtype)) for layer in layers]
        wide = torch.promote_types(last.weight.dtype, torch.float32)
        return Weights(self.activation, hidden, (last.weight.to(wide), last.bias.to(wide)))

    def forward(self, x: Tensor) -> Tensor:
        """(..., in_dim) -> (..., out_dim)."""
        return self.layers(x)


class Weights(NamedTuple):
    """Layers of an `MLP`, as inference needs them.

    Attributes:
        activation: See `MLP`.
        hidden: Weight (out, in) and bias of every layer but the last, in the chosen precision.
        last: Weight (out, D) and bias of the last one, at least float32.
    """

    activation: str
    hidden: list[tuple[Tensor, Tensor]]
    last: tuple[Tensor, Tensor]

    def activate_(self, x: Tensor) -> Tensor:
        """The activation, in place."""
        if self.activation == 'relu':
            return x.relu_()
        return x.mul_(SINE_OMEGA).sin_()

    def run_hidden(self, x: Tensor) -> Tensor:
        """Every layer but the last, with the activation behind each: (N, D) -> (N, D')."""
        for weight, bias in self.hidden:
            x = x.to(weight.dtype)
            if self.activation == 'relu':
                x = linear_relu(x, weight, bias)
            else:
                x = self.activate_(F.linear(x, weight, bias))
        return x


def linear_relu(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """relu(x @ weight.T + bias), (N, in) -> (N, out).

    oneDNN could do both in one pass, but of some releases its ReLU of what is not a number is 0,
    which would hide a fault. A pass of its own costs 1 to 5 % of the time.
    """
    if _has_onednn(x):
        return _onednn(x, weight, bias).relu_()
    return F.linear(x, weight, bias).relu_()


def product(x: Tensor, weight: Tensor) -> Tensor:
    """x @ weight, (N, in) and (in, out) -> (N, out).

    On an AMD processor oneDNN takes 0.87 of the time of MKL.
    """
    if _has_onednn(x):
        return _onednn(x, weight.t(), None)
    return x @ weight


def _has_onednn(x: Tensor) -> bool:
    """Whether oneDNN multiplies a matrix of this type where it is."""
    return (
        x.device.type == 'cpu'
        and hasattr(torch.ops.mkldnn, '_linear_pointwise')
        and onednn_has(x.dtype)
    )


def _onednn(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """oneDNN's x @ weight.T + bias."""
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, 'none', [], '')
