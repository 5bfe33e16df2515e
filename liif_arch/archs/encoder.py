"""What an encoder tells the networks that are built on it, and the defaults of the rest."""

from collections.abc import Callable, Sequence
from typing import cast

from torch import nn


class Encoder(nn.Module):
    """A network that turns images into features of the same height and width.

    `forward` takes images (B, num_in_ch, h, w) and returns features (B, num_out_feat, h, w).
    Subclasses set the attributes that differ from the defaults below. A module that is no subclass
    serves as well if it has `num_out_feat`: `complete` gives it the defaults of the others.

    Attributes:
        num_out_feat: Channels of the features.
        receptive_radius: Input pixels that a feature depends on, on each side of its own pixel.
            None: all pixels of the image, or an unknown number; images are then encoded whole.
        unit_range: True if it takes images in [0, 1]; False if it takes them in [-1, 1].
        multiple: Crops have the features of the whole image only if they begin at a multiple of so
            many pixels.
        removed: Names of the outermost submodules that were removed, because features do not
            depend on them.
        peak_floats: A function of an image's height and width, which returns how many floats are
            alive at once while such an image is encoded without gradients. None: not known.
        start_as_copy: A method that changes the initial weights so that the first `num_in_ch`
            features are the input image. None: it has no such start.
    """

    num_out_feat: int
    receptive_radius: int | None = None
    unit_range: bool = False
    multiple: int = 1
    removed: Sequence[str] = ()
    peak_floats: Callable[[int, int], float] | None = None
    start_as_copy: Callable[[], None] | None = None


OPTIONAL = ('receptive_radius', 'unit_range', 'multiple', 'removed', 'peak_floats', 'start_as_copy')


def complete(encoder: nn.Module) -> Encoder:
    """Give a module with `num_out_feat` the defaults of what else an `Encoder` tells.

    What the module, its class, or a module that it wraps (`torch.compile`) says stays as it is, and
    is not evaluated: a property may take seconds.

    Args:
        encoder: Is changed, unless it is an `Encoder`.

    Returns:
        The same module.
    """
    if isinstance(encoder, Encoder):
        return encoder
    for name in set(OPTIONAL).difference(dir(encoder)):
        setattr(encoder, name, getattr(Encoder, name))
    return cast(Encoder, encoder)  # it tells what an Encoder does


def named_network(encoder: nn.Module) -> nn.Module:
    """The network that messages and tables name: the one that an encoder wraps, or itself."""
    return getattr(encoder, 'net', encoder)
