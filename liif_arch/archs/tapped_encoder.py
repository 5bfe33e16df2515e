"""Any network of one scale as an encoder: its features before the upsampler, as it computes them itself."""
import inspect
import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from basicsr.archs import build_network
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn

from liif_arch.errors import UserError, suggest

IN_CHANNELS = ('num_in_ch', 'in_chans', 'in_channels', 'in_ch', 'in_nc')  # what networks call it
OUT_CHANNELS = ('num_out_ch', 'out_chans', 'out_channels', 'out_ch', 'out_nc')
LEAST = 16  # pixels of the image by which the features are found


def as_encoder(encoder: nn.Module | dict, num_in_ch: int) -> nn.Module:
    """An encoder from what `network_g.encoder` says: `type`, the network's own options, and `tap`.

    Raises:
        UserError: It has no features of the input's size, or not under `tap`.
    """
    if isinstance(encoder, nn.Module):
        return encoder if hasattr(encoder, 'num_out_feat') else TappedEncoder(encoder, num_in_ch)
    options = dict(encoder)
    tap = options.pop('tap', None)
    net = build_network({**given_channels(options.get('type'), num_in_ch), **options})
    if hasattr(net, 'num_out_feat'):
        if tap is not None:
            raise UserError(f'encoder.tap: found {tap!r}, but {options["type"]} is an encoder itself; remove '
                            'it.')
        return net
    return TappedEncoder(net, num_in_ch, tap)


def given_channels(name: object, num_in_ch: int) -> dict[str, int]:
    """The keywords by which a registered network is told its channels."""
    network = dict(iter(ARCH_REGISTRY)).get(name) if isinstance(name, str) else None
    known = inspect.signature(network).parameters if network is not None else {}
    found = (next((key for key in keys if key in known), None) for keys in (IN_CHANNELS, OUT_CHANNELS))
    return {key: num_in_ch for key in found if key is not None}


class Tap(NamedTuple):
    """Where features are taken: the input of module `name`, of which they are every `step`th row and column."""
    name: str
    step: int


class Reached(Exception):
    """The tap, reached by the network's own forward pass, which ends there."""

    def __init__(self, feat: Tensor) -> None:
        super().__init__('features')
        self.feat = feat


class _Stop(nn.Module):
    """Stands where the upsampler was; hooks, with which exporters follow calls, never see it begin."""

    def __call__(self, feat: Tensor, *_: object) -> None:
        raise Reached(feat)


class TappedEncoder(nn.Module):
    """Features of a network for one scale: what goes into its upsampler.

    The network's own forward pass runs as far as that, with what it does to its input (mean shift, range), on images in
    [0, 1]; what lies behind is removed. Images are padded by reflection to a multiple of the network's attention
    windows, and features cut to the image again.

    Args:
        net: The network, (B, num_in_ch, h, w) -> (B, out, s h, s w). It is changed.
        num_in_ch: Channels of its input.
        tap: Name of the submodule whose input the features are, as `net.named_modules()` has it. None: found, as the
            first from which the image is larger than the input, or the last convolution of a network that does not
            enlarge.

    Attributes:
        num_out_feat: Channels of the features.
        unit_range: It takes images in [0, 1].
        removed: Names of the submodules that were removed.

    Raises:
        UserError: There are no features of the input's size.
    """
    unit_range = True

    def __init__(self, net: nn.Module, num_in_ch: int = 3, tap: str | None = None) -> None:
        super().__init__()
        self.net, training = net, net.training
        net.eval()
        with torch.no_grad():
            self.multiple, probe, calls = first_run(net, num_in_ch)
            found = find_tap(net, calls, probe) if tap is None else named_tap(net, calls, probe, tap)
            self.step, feat = found.step, next(c.given for c in calls if c.name == found.name)
            self.removed = remove_from(net, calls, found.name)
            self.num_out_feat = feat.shape[1]
            torch.testing.assert_close(self(probe), feat[..., ::self.step, ::self.step])
        net.train(training)

    def forward(self, x: Tensor) -> Tensor:
        """Images in [0, 1], (B, num_in_ch, h, w) -> (B, C, h, w)."""
        h, w = x.shape[-2:]
        bottom, right = -h % self.multiple, -w % self.multiple
        if bottom or right:
            x = F.pad(x, (0, right, 0, bottom), 'reflect' if bottom < h and right < w else 'replicate')
        try:
            self.net.forward(x)
        except Reached as reached:
            return reached.feat[..., ::self.step, ::self.step][..., :h, :w]
        raise RuntimeError(f'{type(self.net).__name__} did not reach its features')


def window_multiple(net: nn.Module) -> int:
    """The size of image that fits a network's attention windows: the least common multiple of all `window_size`s."""
    sizes = [getattr(module, 'window_size', 1) for module in net.modules()]
    flat = [n for size in sizes for n in (size if isinstance(size, (tuple, list)) else [size])]
    return math.lcm(*(n for n in flat if isinstance(n, int) and n > 0)) if flat else 1


def first_run(net: nn.Module, num_in_ch: int) -> tuple[int, Tensor, list['Call']]:
    """Run a network on a small image.

    Returns:
        The multiple that sizes must be of: of its windows, or twice or more of that if it runs on nothing else; the
        image, (1, num_in_ch, h, w), h and w odd multiples of it; what ran.

    Raises:
        UserError: It runs on no image.
    """
    windows, failure = window_multiple(net), None
    for multiple in (windows * factor for factor in (1, 2, 4, 8)):
        odd = -(-LEAST // multiple) | 1
        image = torch.rand(1, num_in_ch, multiple * odd, multiple * (odd + 2),
                           generator=torch.Generator().manual_seed(0))
        try:
            return multiple, image, record_calls(net, image)
        except Exception as error:
            failure = error
    text = str(failure).splitlines()[0] if str(failure) else type(failure).__name__
    raise UserError(f'encoder: {type(net).__name__} does not run on a {image.shape[3]}x{image.shape[2]} image '
                    f'({text}).')


class Call(NamedTuple):
    """One call of a submodule, in the order in which they began."""
    name: str
    module: nn.Module
    given: Tensor
    made: Tensor | None


def record_calls(net: nn.Module, image: Tensor) -> list[Call]:
    """Run a network, and note what each submodule was given and made of it."""
    calls: list[Call] = []
    open_calls: list[int] = []

    def before(name: str):
        def note(module: nn.Module, inputs: tuple) -> None:
            open_calls.append(len(calls))
            calls.append(Call(name, module, inputs[0].clone() if inputs and isinstance(inputs[0], Tensor) else None,
                              None))
        return note

    def after(module: nn.Module, inputs: tuple, output: object) -> None:
        index = open_calls.pop()
        calls[index] = calls[index]._replace(made=output if isinstance(output, Tensor) else None)

    handles = [h for name, module in net.named_modules() if name for h in (
        module.register_forward_pre_hook(before(name)), module.register_forward_hook(after))]
    try:
        net(image)
    finally:
        for handle in handles:
            handle.remove()
    return calls


def _enlarged(x: Tensor | None, image: Tensor) -> int:
    """How many times larger than the image a tensor (1, C, H, W) is on both axes; 0 where it is no such thing."""
    if x is None or x.ndim != 4 or len(x) != 1:
        return 0
    (h, w), (rows, cols) = image.shape[-2:], x.shape[-2:]
    return rows // h if rows % h == 0 == cols % w and rows // h == cols // w else 0


def find_tap(net: nn.Module, calls: list[Call], image: Tensor) -> Tap:
    """The first submodule from which the image is larger than the input.

    Raises:
        UserError: There is none with features of the input's size.
    """
    for i, call in enumerate(calls):
        given, made = _enlarged(call.given, image), _enlarged(call.made, image)
        if given == 1 and made > 1 and call.given.shape[1] != image.shape[1]:  # else it holds the whole network
            return _behind_shuffle(calls, i, image)
        if given > 1 and isinstance(call.module, nn.Conv2d):  # a function has enlarged it
            return _sampled(net, call, given)
    last = [c for c in calls if isinstance(c.module, nn.Conv2d) and c.given.shape[1] != image.shape[1]][-1:]
    if last and _enlarged(last[0].given, image) == 1:
        return Tap(last[0].name, 1)
    raise UserError(f"encoder: {type(net).__name__} has no features of the input's size in front of an "
                    'upsampler; name the submodule whose input they are (encoder.tap), or use a network that '
                    "keeps the input's size until it enlarges it.")


def _behind_shuffle(calls: list[Call], i: int, image: Tensor) -> Tap:
    """A pixel shuffle's features are those in front of the convolution that made its channels."""
    if isinstance(calls[i].module, nn.PixelShuffle):
        for earlier in reversed(calls[:i]):
            if isinstance(earlier.module, nn.Conv2d) and earlier.made is not None and \
                    earlier.made.shape == calls[i].given.shape and torch.equal(earlier.made, calls[i].given):
                return Tap(earlier.name, 1)
    return Tap(calls[i].name, 1)


def _sampled(net: nn.Module, call: Call, step: int) -> Tap:
    """Features that were enlarged by repeating them."""
    feat = call.given[..., ::step, ::step]
    if not torch.equal(feat.repeat_interleave(step, -1).repeat_interleave(step, -2), call.given):
        raise UserError(f'encoder: {type(net).__name__} enlarges its features by other means than repeating '
                        f'them in front of {call.name}; name a submodule in front of that (encoder.tap).')
    return Tap(call.name, step)


def named_tap(net: nn.Module, calls: list[Call], image: Tensor, name: str) -> Tap:
    """A tap that the user names.

    Raises:
        UserError: There is no such submodule, or its input has another size than the image.
    """
    call = next((c for c in calls if c.name == name), None)
    if call is None:
        known = list(dict.fromkeys(c.name for c in calls if '.' not in c.name))
        raise UserError(f'encoder.tap: found {name!r}, which {type(net).__name__} does not run; '
                        f'{suggest(name, known)}')
    size = None if call.given is None else tuple(call.given.shape)
    factor = _enlarged(call.given, image)
    if factor == 0:
        raise UserError(f'encoder.tap: the input of {name} is {size} for an image {tuple(image.shape)}; needed '
                        "features (1, C, h, w) of the image's size.")
    return Tap(name, 1) if factor == 1 else _sampled(net, call, factor)


def remove_from(net: nn.Module, calls: list[Call], tap: str) -> list[str]:
    """Put a stop in a submodule's place, and nothing in that of those that run only behind it.

    Returns:
        The names of what was removed.
    """
    start = next(i for i, c in enumerate(calls) if c.name == tap)
    used = {c.name for c in calls[:start] if c.name != tap}
    kept = used | {prefix for name in [*used, tap] for prefix in _parents(name)}
    ran = {c.name for c in calls}
    removed = [name for name, _ in net.named_modules() if name in ran and name not in kept]
    for name in removed:
        parent, _, child = name.rpartition('.')
        if parent not in removed and not any(p in removed for p in _parents(name)):
            net.get_submodule(parent)._modules[child] = _Stop() if name == tap else nn.Identity()
    return removed


def _parents(name: str) -> list[str]:
    parts = name.split('.')
    return ['.'.join(parts[:i]) for i in range(1, len(parts))]
