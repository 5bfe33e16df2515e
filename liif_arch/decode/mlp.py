"""The decoder f: linear layers, as training and as inference run them."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from liif_arch.errors import UserError, is_whole, suggest
from liif_arch.precision import ambient_dtype

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
            for i, layer in enumerate(self.layers[::2]):
                bound = (
                    1 / layer.in_features if i == 0 else (6 / layer.in_features) ** 0.5 / SINE_OMEGA
                )
                nn.init.uniform_(layer.weight, -bound, bound)

    def linears(self) -> list[nn.Linear]:
        """The linear layers, first to last."""
        return [layer for layer in self.layers if isinstance(layer, nn.Linear)]

    @torch.no_grad()
    def start_as_copy(self, columns: Sequence[int]) -> None:
        """Change the initial weights so that output i is input columns[i], for inputs of at least
        -1.

        One hidden unit of each layer carries each output; the last layer starts with no part in the
        others.
        """
        *hidden, last = self.layers[::2]
        last.weight.zero_()
        for layer in [*hidden, last]:
            for i, column in enumerate(columns if layer is self.layers[0] else range(len(columns))):
                layer.weight[i] = 0
                layer.weight[i, column], layer.bias[i] = 1, 0
        self.layers[0].bias[: len(columns)] += 1  # what is above -1 passes a ReLU
        last.bias -= 1

    def dtype(self, device: torch.device) -> torch.dtype:
        """Type of the hidden layers' matrix products: autocast's, where the parameters are
        float32.
        """
        own = self.layers[-1].weight.dtype
        return ambient_dtype(device) if own == torch.float32 and self.activation == 'relu' else own

    def weights(self, start: int, dtype: torch.dtype) -> 'Weights':
        """Parameters of the layers from `start` on, for inference; before a sine products are at
        least float32.
        """
        if self.activation == 'sine':
            dtype = torch.promote_types(dtype, torch.float32)
        *hidden, last = self.layers[2 * start :: 2]
        wide = torch.promote_types(last.weight.dtype, torch.float32)
        return Weights(
            self.activation,
            [(layer.weight.to(dtype), layer.bias.to(dtype)) for layer in hidden],
            (last.weight.to(wide), last.bias.to(wide)),
        )

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
        return x.relu_() if self.activation == 'relu' else x.mul_(SINE_OMEGA).sin_()

    def run_hidden(self, x: Tensor) -> Tensor:
        """Every layer but the last, with the activation behind each: (N, D) -> (N, D')."""
        x = x.to(self.hidden[0][0].dtype) if self.hidden else x
        for weight, bias in self.hidden:
            x = (
                linear_relu(x, weight, bias)
                if self.activation == 'relu'
                else self.activate_(F.linear(x, weight, bias))
            )
        return x


def linear_relu(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """relu(x @ weight.T + bias), (N, in) -> (N, out); on CPUs with oneDNN in one pass over the
    result.
    """
    return _onednn(x, weight, bias, 'relu') if _has_onednn(x) else F.linear(x, weight, bias).relu_()


def product(x: Tensor, weight: Tensor) -> Tensor:
    """x @ weight, (N, in) and (in, out) -> (N, out); oneDNN's takes 0.87 of the time of MKL's on an
    AMD processor.
    """
    return _onednn(x, weight.t(), None, 'none') if _has_onednn(x) else x @ weight


def _has_onednn(x: Tensor) -> bool:
    return (
        x.device.type == 'cpu'
        and x.dtype in (torch.float32, torch.bfloat16)
        and hasattr(torch.ops.mkldnn, '_linear_pointwise')
    )


def _onednn(x: Tensor, weight: Tensor, bias: Tensor | None, activation: str) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, activation, [], '')
