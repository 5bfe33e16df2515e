"""Any network of one scale as an encoder: its features before the upsampler, as it computes them itself."""
import inspect
import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from liif_arch.archs import own_network
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
    if not isinstance(encoder, dict) or not isinstance(encoder.get('type'), str):
        raise UserError(f'encoder: found {encoder!r}; needed "type: NAME" and its options.')
    options = dict(encoder)
    tap = options.pop('tap', None)
    net = _build({**given_channels(options['type'], num_in_ch), **options})
    if hasattr(net, 'num_out_feat'):
        if tap is not None:
            raise UserError(f'encoder.tap: found {tap!r}, but {options["type"]} is an encoder itself; remove '
                            'it.')
        return net
    return TappedEncoder(net, num_in_ch, tap)


def _build(options: dict) -> nn.Module:
    """A network of this package, or one of BasicSR's registry, imported for those alone."""
    own = own_network(options['type'])
    if own is not None:
        return own(**{key: value for key, value in options.items() if key != 'type'})
    from basicsr.archs import build_network
    return build_network(options)


def _registered(name: object) -> type[nn.Module] | None:
    own = own_network(name)
    if own is not None or not isinstance(name, str):
        return own
    from basicsr.utils.registry import ARCH_REGISTRY
    return dict(iter(ARCH_REGISTRY)).get(name)


def given_channels(name: object, num_in_ch: int) -> dict[str, int]:
    """The keywords by which a registered network is told its channels."""
    network = _registered(name)
    known = inspect.signature(network).parameters if network is not None else {}
    found = (next((key for key in keys if key in known), None) for keys in (IN_CHANNELS, OUT_CHANNELS))
    return {key: num_in_ch for key in found if key is not None}


class Tap(NamedTuple):
    """Where features are taken: the input of module `name`, of which they are every `step`th row and column.

    Attributes:
        feat: What it was given in the first run, (1, C, step h, step w).
    """
    name: str
    step: int
    feat: Tensor


class Reached(Exception):
    """The tap, reached by the network's own forward pass, which ends there."""

    def __init__(self, feat: Tensor) -> None:
        super().__init__('features')
        self.feat = feat


class _Stop(nn.Module):
    """Stands where the upsampler was. Hooks, by which tracers follow calls, never see it begin; see `remove_from`."""

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
        tap: Name of the submodule whose input they are.
        removed: Names of the outermost submodules that are not used for them.

    Raises:
        UserError: There are no features of the input's size.
    """
    unit_range = True

    def __init__(self, net: nn.Module, num_in_ch: int = 3, tap: str | None = None) -> None:
        super().__init__()
        self.net, training = net, net.training
        net.eval()
        with torch.no_grad():
            self.multiple, probe, calls, found = first_run(net, num_in_ch, tap)
            self.tap, self.step, self.num_out_feat = found.name, found.step, found.feat.shape[1]
            self.removed = remove_from(net, calls, found.name)
            self._require_same(probe, found.feat)
        net.train(training)
        from basicsr.utils import get_root_logger
        get_root_logger().info(f'Encoder {type(net).__name__}: features in front of {self.tap}, {self.num_out_feat} '
                               f'channels; not used: {", ".join(self.removed)}.')

    def _require_same(self, probe: Tensor, feat: Tensor) -> None:
        """Raise where the network, without what was removed, does not give the features that it gave before."""
        try:
            same = torch.allclose(self(probe), feat[..., ::self.step, ::self.step], rtol=1e-3, atol=1e-5)
        except Exception:  # it reads what was removed
            same = False
        if not same:
            raise UserError(f'encoder: {type(self.net).__name__} does not give the same features twice, or needs what '
                            f'lies behind {self.tap} for them; name another submodule (encoder.tap).')

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


def first_run(net: nn.Module, num_in_ch: int, tap: str | None) -> tuple[int, Tensor, list['Call'], Tap]:
    """Run a network on a small image, and find its features.

    Returns:
        The multiple that sizes must be of: of its windows, or twice or more of that if it has features of the image's
        size on nothing else; the image, (1, num_in_ch, h, w), h and w odd multiples of it; what ran; the tap.

    Raises:
        UserError: It runs on no image, or has no such features.
    """
    parameter = next(net.parameters(), torch.zeros(()))
    windows, failure = window_multiple(net), None
    for multiple in (windows * factor for factor in (1, 2, 4, 8)):
        odd = -(-LEAST // multiple) | 1
        image = torch.rand(1, num_in_ch, multiple * odd, multiple * (odd + 2),
                           generator=torch.Generator().manual_seed(0)).to(parameter)
        try:
            calls = record_calls(net, image)
            found = find_tap(net, calls, image) if tap is None else named_tap(net, calls, image, tap)
            return multiple, image, calls, found
        except UserError as error:
            failure = failure if isinstance(failure, UserError) else error  # of the smallest image that it ran on
        except Exception as error:
            failure = failure or error
    if isinstance(failure, UserError):
        raise failure
    text = str(failure).splitlines()[0] if str(failure) else type(failure).__name__
    raise UserError(f'encoder: {type(net).__name__} does not run on small images of {num_in_ch} channels ({text}).')


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
            return _tap(net, calls, _in_front_of_shuffle(calls, i), 1)
        if given > 1 and isinstance(call.module, nn.Conv2d):  # a function has enlarged it
            return _tap(net, calls, i, given)
    last = [i for i, c in enumerate(calls) if isinstance(c.module, nn.Conv2d) and _enlarged(c.given, image)
            and c.given.shape[1] != image.shape[1]][-1:]
    if last and _enlarged(calls[last[0]].given, image) == 1:
        return _tap(net, calls, last[0], 1)
    raise UserError(f"encoder: {type(net).__name__} has no features of the input's size in front of an "
                    'upsampler; name the submodule whose input they are (encoder.tap), or use a network that '
                    "keeps the input's size until it enlarges it.")


def _in_front_of_shuffle(calls: list[Call], i: int) -> int:
    """A pixel shuffle's features are those in front of the convolution that made its channels."""
    if isinstance(calls[i].module, nn.PixelShuffle):
        for j in reversed(range(i)):
            made = calls[j].made
            if isinstance(calls[j].module, nn.Conv2d) and made is not None and \
                    made.shape == calls[i].given.shape and torch.equal(made, calls[i].given):
                return j
    return i


def _tap(net: nn.Module, calls: list[Call], i: int, step: int) -> Tap:
    """A tap at a call, whose input may be features that were enlarged by repeating them."""
    name, given = calls[i].name, calls[i].given
    if any(c.name == name for c in calls[:i]):
        raise UserError(f'encoder: {type(net).__name__} runs {name}, whose input its features are, earlier too; name '
                        'another submodule (encoder.tap).')
    feat = given[..., ::step, ::step]
    if not torch.equal(feat.repeat_interleave(step, -1).repeat_interleave(step, -2), given):
        raise UserError(f'encoder: {type(net).__name__} enlarges its features by other means than repeating '
                        f'them in front of {name}; name a submodule in front of that (encoder.tap).')
    return Tap(name, step, given)


def named_tap(net: nn.Module, calls: list[Call], image: Tensor, name: str) -> Tap:
    """A tap that the user names, the first time that it runs.

    Raises:
        UserError: There is no such submodule, or its input has another size than the image.
    """
    i = next((i for i, c in enumerate(calls) if c.name == name), None)
    if i is None:
        known = list(dict.fromkeys(c.name for c in calls if '.' not in c.name))
        raise UserError(f'encoder.tap: found {name!r}, which {type(net).__name__} does not run; '
                        f'{suggest(name, known)}')
    given = calls[i].given
    factor = _enlarged(given, image)
    if factor == 0:
        size = None if given is None else tuple(given.shape)
        raise UserError(f'encoder.tap: the input of {name} is {size} for an image {tuple(image.shape)}; needed '
                        "features (1, C, h, w) of the image's size.")
    return _tap(net, calls, i, factor)


def remove_from(net: nn.Module, calls: list[Call], tap: str) -> list[str]:
    """Put a stop in a submodule's place, and nothing in that of those that run only behind it.

    Modules around the stop lose their `__call__`, which keeps a record for hooks and tracers that an exception from
    within would leave open.

    Returns:
        The names of the outermost that were removed.
    """
    start = next(i for i, c in enumerate(calls) if c.name == tap)
    used = {c.name for c in calls[:start]}
    kept = used | {prefix for name in [*used, tap] for prefix in _parents(name)}
    ran = {c.name for c in calls}
    names = [name for name, _ in net.named_modules() if name in ran and name not in kept]
    removed = [name for name in names if not any(parent in names for parent in _parents(name))]
    for name in removed:
        parent, _, child = name.rpartition('.')
        net.get_submodule(parent)._modules[child] = _Stop() if name == tap else nn.Identity()
    for name in _parents(tap):
        module = net.get_submodule(name)
        kind = type(module)
        module.__class__ = type(kind.__name__, (kind, ), {'__call__': kind.forward})
    return removed


def _parents(name: str) -> list[str]:
    parts = name.split('.')
    return ['.'.join(parts[:i]) for i in range(1, len(parts))]
