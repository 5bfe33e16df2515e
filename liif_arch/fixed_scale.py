"""A network at one whole scale, for programs that know no other, and load it through spandrel."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from liif_arch.archs.latent_network import LatentNetwork
from liif_arch.errors import UserError, require_whole
from liif_arch.training.checkpoints import misfits, some
from liif_arch.weights import DEFAULT
from liif_arch.weights.networks import build, load_network
from liif_arch.weights.one_scale import is_packed, packed, unpacked

try:
    from spandrel import MAIN_REGISTRY, Architecture, ArchSupport, ImageModelDescriptor
except ImportError:
    raise UserError(
        "a fixed scale for other programs needs spandrel; pip install 'basicsr-liif[tools]'."
    ) from None

NAME = 'LIIF'


class FixedScale(nn.Module):
    """A network that enlarges by one factor: (B, C, h, w) in [0, 1] -> (B, C, scale h, scale w).

    Args:
        net: The network.
        scale: A whole number of at least 1.
    """

    def __init__(self, net: LatentNetwork, scale: int) -> None:
        require_whole(scale=scale)
        super().__init__()
        self.net, self.scale = net, int(scale)

    def forward(self, image: Tensor) -> Tensor:
        """The image, enlarged, in its own type."""
        height, width = image.shape[-2:]
        size = (self.scale * height, self.scale * width)
        return self.net(image, size=size).to(image.dtype)


class LIIFArchitecture(Architecture[FixedScale]):
    """How spandrel finds and loads the state dicts that `state_dict_of` makes."""

    def __init__(self) -> None:
        super().__init__(id=NAME, detect=is_packed)

    def load(self, state_dict: Mapping[str, Tensor]) -> ImageModelDescriptor[FixedScale]:
        """Rebuild a network with its scale.

        Raises:
            UserError: It describes no network of this package.
        """
        weights, network_g, scale = unpacked(state_dict)
        model = FixedScale(_rendering(build(network_g, NAME)), scale)
        problems = misfits(model.net, weights)
        if problems:
            raise UserError(f'these weights do not fit their network: {some(problems)}.')
        model.net.load_state_dict(weights)
        return describe(model)


def install() -> None:
    """Let spandrel's `ModelLoader` know such files, in this process."""
    if NAME not in {support.architecture.id for support in MAIN_REGISTRY}:
        MAIN_REGISTRY.add(ArchSupport.from_architecture(LIIFArchitecture()))


def load_fixed_scale(
    weights: str | Path = DEFAULT, scale: int = 4
) -> ImageModelDescriptor[FixedScale]:
    """A trained network at one scale, as spandrel describes models to other programs.

    Args:
        weights: As `load_network` takes them.
        scale: A whole number of at least 1.

    Returns:
        Its `scale` and channels; called with (1, C, h, w) in [0, 1], it returns
        (1, C, scale h, scale w).

    Raises:
        UserError: No such weights, or a scale that is no whole number.
    """
    return describe(FixedScale(_rendering(load_network(weights)), scale))


def state_dict_of(model: FixedScale) -> dict[str, Tensor]:
    """A state dict that says what it is, for `LIIFArchitecture`; `torch.save` or safetensors'
    `save_file` make a file of it.

    Raises:
        UserError: No option describes the network.
    """
    if model.net.network_g is None:
        raise UserError('the network was built with a module as its encoder; build it by options.')
    return packed(model.net.state_dict(), model.net.network_g, model.scale)


def describe(model: FixedScale) -> ImageModelDescriptor[FixedScale]:
    """spandrel's description of a network at one scale."""
    return ImageModelDescriptor(
        model.eval(),
        model.state_dict(),
        LIIFArchitecture(),
        purpose='SR',
        tags=[type(model.net).__name__],
        supports_half=True,
        supports_bfloat16=True,
        scale=model.scale,
        input_channels=model.net.num_in_ch,
        output_channels=model.net.num_out_ch,
    )


def _rendering(net: nn.Module) -> LatentNetwork:
    """A network that renders at any scale, or an error."""
    if not isinstance(net, LatentNetwork):
        raise UserError(
            f'found a {type(net).__name__}, which has one scale of its own; needed LIIF, LTE, '
            'MetaSR or a heat field.'
        )
    return net
