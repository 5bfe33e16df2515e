"""Networks as the flags --weights, --device and --precision name them."""

from pathlib import Path

import torch

from liif_arch.archs.latent_network import LatentNetwork
from liif_arch.errors import UserError
from liif_arch.precision import resolve
from liif_arch.weights.blend import load_blend
from liif_arch.weights.networks import load_network


def load_on(
    which: str | Path | float, device: str, precision: str, network: dict | None = None
) -> LatentNetwork:
    """A network that renders images.

    Args:
        which: Weights; or, between `fast` and `photo`, a strength.
        device: `auto`, or PyTorch's name.
        precision: float32, bfloat16 or auto.
        network: The option `network_g`, for weights that do not say it.

    Raises:
        UserError: No such weights, device or precision, or a network of one scale.
    """
    if device == 'auto':
        device = 'cuda' if torch.cuda.is_available() else 'cpu'
    try:
        resolve(precision, device, '--precision')
        if isinstance(which, float):
            net = load_blend(which, device)
        else:
            net = load_network(which, device, network)
    except RuntimeError as error:
        raise UserError(f'--device: {device}: {str(error).splitlines()[0]}') from None
    if not isinstance(net, LatentNetwork):
        raise UserError(
            f'--weights: {which} is a {type(net).__name__}, which has one scale of its own; needed '
            'LIIF, LTE, MetaSR or a heat field.'
        )
    net.precision = precision
    return net
