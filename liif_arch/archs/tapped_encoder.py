"""Any network of one scale as an encoder: its features before the upsampler, unchanged."""

import inspect
import math
from collections.abc import Callable
from functools import cached_property, partial
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from liif_arch.archs import own_network
from liif_arch.archs.encoder import Encoder, complete
from liif_arch.archs.locality import measured_radius
from liif_arch.archs.taps import Reached, first_run, remove_from
from liif_arch.errors import UserError
from liif_arch.precision import exact_float32
from liif_arch.upscaling.memory import WORKSPACE, peak_bytes

IN_CHANNELS = ('num_in_ch', 'in_chans', 'in_channels', 'in_ch', 'in_nc')  # what networks call it
OUT_CHANNELS = ('num_out_ch', 'out_chans', 'out_channels', 'out_ch', 'out_nc')
Result = TypeVar('Result')
SMALL, LARGE = 32, 64  # sides of the images by which memory is measured, in pixels


def _log(text: str) -> None:
    """Say something in BasicSR's log, which is imported for networks of others alone."""
    from basicsr.utils import get_root_logger

    get_root_logger().info(text)


def as_encoder(encoder: nn.Module | dict, num_in_ch: int) -> Encoder:
    """An encoder from what `network_g.encoder` says: `type`, the network's own options, and `tap`.

    Raises:
        UserError: It has no features of the input's size, or not under `tap`.
    """
    if isinstance(encoder, nn.Module):
        if hasattr(encoder, 'num_out_feat'):
            return complete(encoder)
        return TappedEncoder(encoder, num_in_ch)
    if not isinstance(encoder, dict) or not isinstance(encoder.get('type'), str):
        raise UserError(f'encoder: found {encoder!r}; needed "type: NAME" and its options.')
    options = dict(encoder)
    tap = options.pop('tap', None)
    net = _build({**given_channels(options['type'], num_in_ch), **options})
    if hasattr(net, 'num_out_feat'):
        if tap is not None:
            raise UserError(
                f'encoder.tap: found {tap!r}, but {options["type"]} is an encoder itself; remove '
                'it.'
            )
        return complete(net)
    return TappedEncoder(net, num_in_ch, tap)


def _build(options: dict) -> nn.Module:
    """A network of this package, or one of BasicSR's registry, imported for those alone."""
    own = own_network(options['type'])
    if own is not None:
        return own(**{key: value for key, value in options.items() if key != 'type'})
    from basicsr.archs import build_network

    return build_network(options)


def _registered(name: object) -> type[nn.Module] | None:
    """The class that `type: NAME` means, of this package or in BasicSR's registry; else None."""
    own = own_network(name)
    if own is not None or not isinstance(name, str):
        return own
    from basicsr.utils.registry import ARCH_REGISTRY

    return dict(iter(ARCH_REGISTRY)).get(name)


def given_channels(name: object, num_in_ch: int) -> dict[str, int]:
    """The keywords by which a registered network is told its channels, in and out.

    Args:
        name: What `type` says.
        num_in_ch: Channels of the image.

    Returns:
        The first of IN_CHANNELS and of OUT_CHANNELS that its constructor takes; {} of no network.
    """
    network = _registered(name)
    given: dict[str, int] = {}
    if network is None:
        return given
    known = inspect.signature(network).parameters
    for keys in (IN_CHANNELS, OUT_CHANNELS):
        taken = [key for key in keys if key in known]
        given.update(dict.fromkeys(taken[:1], num_in_ch))
    return given


class TappedEncoder(Encoder):
    """Features of a network for one scale: what goes into its upsampler.

    The network's own forward pass runs as far as that, with what it does to its input (mean shift,
    range), on images in [0, 1]; what lies behind is removed. Images are padded by reflection to a
    multiple of the network's attention windows, and features cut to the image again.

    Args:
        net: The network, (B, num_in_ch, h, w) -> (B, out, s h, s w). It is changed.
        num_in_ch: Channels of its input.
        tap: Name of the submodule whose input the features are, as `net.named_modules()` has it.
            None: found, as the first from which the image is larger than the input, or the last
            convolution of a network that does not enlarge.

    Attributes:
        num_out_feat: Channels of the features.
        unit_range: It takes images in [0, 1].
        multiple: Pixels that the sides of images are padded to a multiple of.
        tap: Name of the submodule whose input they are.
        removed: Names of the outermost submodules that are not used for them.

    Raises:
        UserError: There are no features of the input's size.
    """

    unit_range = True

    def __init__(self, net: nn.Module, num_in_ch: int = 3, tap: str | None = None) -> None:
        super().__init__()
        self.net, self.num_in_ch, training = net, num_in_ch, net.training
        net.eval()
        with torch.no_grad():
            self.multiple, probe, calls, found = first_run(net, num_in_ch, tap)
            self.tap, self.step, self.num_out_feat = found.name, found.step, found.feat.shape[1]
            self.removed = remove_from(net, calls, found.name)
            self._require_same(probe, found.feat)
        net.train(training)
        _log(
            f'Encoder {type(net).__name__}: features in front of {self.tap}, {self.num_out_feat} '
            f'channels; not used: {", ".join(self.removed)}.'
        )

    @cached_property
    def receptive_radius(self) -> int | None:  # type: ignore[override]  # it can be set, too
        """Input pixels that a feature sees on each side of its own; None: all, or not known.

        Measured at first use, which takes a deep network seconds; see `measured_radius`. It follows
        from the layers alone, and so stays when weights are loaded.
        """
        name = type(self.net).__name__
        try:
            radius = self._measure(
                lambda like: measured_radius(self, self.num_in_ch, self.multiple, like)
            )
        except Exception as error:  # whatever another's network makes of long strips
            radius, found = None, f'how far cannot be measured ({error})'
        else:
            found = 'all of an image'
        if radius is None:
            _log(f'Encoder {name}: sees {found}; images are encoded as a whole.')
        else:
            _log(
                f'Encoder {name}: sees {radius} pixels on each side; images are encoded in windows '
                'where memory asks for it.'
            )
        return radius

    def peak_floats(self, height: int, width: int) -> float:
        """Floats alive at once in inference on an image of that size, for memory budgets.

        Measured at first use on two small images; what grows faster than the image does (attention
        between all pixels) goes on to do so.
        """
        pixels, floats, power = self._memory
        return WORKSPACE * floats * (height * width / pixels) ** power

    @cached_property
    def _memory(self) -> tuple[int, float, float]:
        """Pixels of an image, floats alive on it, and the power of pixels by which these grow."""
        low = self._fitting(SMALL)
        high = max(self._fitting(LARGE), low + self.multiple)
        small = self._measure(partial(self._floats, low))
        large = self._measure(partial(self._floats, high))
        power = math.log(large / small) / math.log(high**2 / low**2)
        return high**2, large, max(1.0, power)

    def _fitting(self, side: int) -> int:
        """The least multiple of `multiple` that is no smaller, in pixels."""
        return -(-side // self.multiple) * self.multiple

    def _floats(self, side: int, like: Tensor) -> float:
        """Floats alive at once on a square image of the type and device of `like`."""
        image = torch.rand(1, self.num_in_ch, side, side).to(like)
        return peak_bytes(lambda: self(image)) / like.element_size()

    @torch.no_grad()
    def _measure(self, what: Callable[[Tensor], Result]) -> Result:
        """Run a measurement in evaluation mode, given a tensor of its device and dtype."""
        training, like = self.training, next(self.net.parameters(), torch.zeros(()))
        self.eval()
        try:
            with (
                torch.autocast(like.device.type, enabled=False),
                exact_float32(like.device),
            ):
                return what(like.new_zeros(()))
        finally:
            self.train(training)

    def _require_same(self, probe: Tensor, feat: Tensor) -> None:
        """Raise where the network does not give the same features without what was removed."""
        try:
            same = torch.allclose(
                self(probe), feat[..., :: self.step, :: self.step], rtol=1e-3, atol=1e-5
            )
        except Exception:  # it reads what was removed
            same = False
        if not same:
            raise UserError(
                f'encoder: {type(self.net).__name__} does not give the same features twice, or '
                f'needs what lies behind {self.tap} for them; name another submodule (encoder.tap).'
            )

    def forward(self, x: Tensor) -> Tensor:
        """Images in [0, 1], (B, num_in_ch, h, w) -> (B, C, h, w)."""
        h, w = x.shape[-2:]
        bottom, right = -h % self.multiple, -w % self.multiple
        if bottom or right:
            can_reflect = bottom < h and right < w
            x = F.pad(x, (0, right, 0, bottom), 'reflect' if can_reflect else 'replicate')
        try:
            self.net.forward(x)
        except Reached as reached:
            return reached.feat[..., :: self.step, :: self.step][..., :h, :w]
        raise RuntimeError(f'{type(self.net).__name__} did not reach its features')
