"""Where the features of a network of one scale are: before its upsampler, found by running it."""

import math
from contextlib import ExitStack
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from liif_arch.errors import UserError, suggest

LEAST = 16  # pixels of the image by which the features are found


class Tap(NamedTuple):
    """Where features are taken: every `step`th row and column of the input of module `name`.

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
    """Stands where the upsampler was.

    Hooks, by which tracers follow calls, never see it begin; see `remove_from`.
    """

    def __call__(self, feat: Tensor, *_: object) -> None:
        raise Reached(feat)


def window_multiple(net: nn.Module) -> int:
    """The size of image that fits attention windows: the least multiple of all `window_size`s."""
    multiple = 1
    for module in net.modules():
        size = getattr(module, 'window_size', 1)
        for side in size if isinstance(size, (tuple, list)) else [size]:
            if isinstance(side, int) and side > 0:
                multiple = math.lcm(multiple, side)
    return multiple


def first_run(
    net: nn.Module, num_in_ch: int, tap: str | None
) -> tuple[int, Tensor, list['Call'], Tap]:
    """Run a network on a small image, and find its features.

    Args:
        net: The network, in evaluation mode, without gradients.
        num_in_ch: Channels of the image.
        tap: See `TappedEncoder`.

    Returns:
        The multiple that sizes must be of: of its windows, or twice or more of that if it has
        features of the image's size on nothing else; the image, (1, num_in_ch, h, w), h and w odd
        multiples of it; what ran; the tap.

    Raises:
        UserError: It runs on no image, or has no such features.
    """
    without_features = not_run = None  # what was wrong on the smallest image of each kind
    for factor in (1, 2, 4, 8):
        multiple = window_multiple(net) * factor
        image = _small_image(net, num_in_ch, multiple)
        try:
            calls = record_calls(net, image)
            if tap is None:
                return multiple, image, calls, find_tap(net, calls, image)
            return multiple, image, calls, named_tap(net, calls, image, tap)
        except UserError as error:
            without_features = without_features or error
        except Exception as error:  # whatever another's network says of images of this size
            not_run = not_run or error
    if without_features is not None:
        raise without_features
    text = (str(not_run) or type(not_run).__name__).splitlines()[0]
    raise UserError(
        f'encoder: {type(net).__name__} does not run on small images of {num_in_ch} channels '
        f'({text}).'
    )


def _small_image(net: nn.Module, num_in_ch: int, multiple: int) -> Tensor:
    """A random image (1, num_in_ch, h, w) of the network's device and type; see `first_run`."""
    odd = -(-LEAST // multiple) | 1
    shape = (1, num_in_ch, multiple * odd, multiple * (odd + 2))
    image = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    return image.to(next(net.parameters(), torch.zeros(())))


class Call(NamedTuple):
    """One call of a submodule.

    Attributes:
        name: Of the submodule, as `net.named_modules()` has it.
        module: The submodule.
        given: A copy of its first argument; None if that is no tensor.
        made: What it returned; None if that is no tensor.
    """

    name: str
    module: nn.Module
    given: Any  # a tensor; None where the first thing that it was given is none
    made: Tensor | None


def record_calls(net: nn.Module, image: Tensor) -> list[Call]:
    """Run a network, and note what each submodule was given and made of it.

    Returns:
        The calls of its submodules, in the order in which they began.
    """
    calls: list[Call] = []
    open_calls: list[int] = []
    names = {module: name for name, module in net.named_modules()}

    def before(module: nn.Module, inputs: tuple) -> None:
        given = None
        if inputs and isinstance(inputs[0], Tensor):
            given = inputs[0].clone()  # what follows may work in place
        open_calls.append(len(calls))
        calls.append(Call(names[module], module, given, None))

    def after(module: nn.Module, inputs: tuple, output: object) -> None:
        index = open_calls.pop()
        if isinstance(output, Tensor):
            calls[index] = calls[index]._replace(made=output)

    with ExitStack() as hooks:
        for module in names:
            if module is not net:
                hooks.enter_context(module.register_forward_pre_hook(before))
                hooks.enter_context(module.register_forward_hook(after))
        net(image)
    return calls


def _enlarged(x: Tensor | None, image: Tensor) -> int:
    """How many times larger than the image a tensor (1, C, H, W) is on both axes; 0 if not."""
    if x is None or x.ndim != 4 or len(x) != 1:
        return 0
    (h, w), (rows, cols) = image.shape[-2:], x.shape[-2:]
    factor = rows // h
    if (rows, cols) != (factor * h, factor * w):
        return 0
    return factor


def find_tap(net: nn.Module, calls: list[Call], image: Tensor) -> Tap:
    """The first submodule from which the image is larger than the input.

    In a network that does not enlarge, its last convolution.

    Args:
        net: The network, for messages.
        calls: What `record_calls` returned for the image.
        image: The image, (1, num_in_ch, h, w).

    Raises:
        UserError: There is none with features of the input's size.
    """
    last = None
    for i, call in enumerate(calls):
        given, made = _enlarged(call.given, image), _enlarged(call.made, image)
        of_features = given > 0 and call.given.shape[1] != image.shape[1]  # not of the image itself
        if given == 1 and made > 1 and of_features:
            return _tap(net, calls, _in_front_of_shuffle(calls, i), 1)
        if isinstance(call.module, nn.Conv2d):
            if given > 1:  # a function has enlarged it
                return _tap(net, calls, i, given)
            if of_features:
                last = i
    if last is not None:
        return _tap(net, calls, last, 1)
    raise UserError(
        f"encoder: {type(net).__name__} has no features of the input's size in front of an "
        'upsampler; name the submodule whose input they are (encoder.tap), or use a network that '
        "keeps the input's size until it enlarges it."
    )


def _in_front_of_shuffle(calls: list[Call], i: int) -> int:
    """A pixel shuffle's features are those in front of the convolution that made its channels."""
    if not isinstance(calls[i].module, nn.PixelShuffle):
        return i
    for j in reversed(range(i)):
        made = calls[j].made
        if isinstance(calls[j].module, nn.Conv2d) and made is not None:
            if torch.equal(made, calls[i].given):
                return j
    return i


def _tap(net: nn.Module, calls: list[Call], i: int, step: int) -> Tap:
    """A tap at a call, whose input may be features that were enlarged by repeating them."""
    name, given = calls[i].name, calls[i].given
    if name in _names(calls[:i]):
        raise UserError(
            f'encoder: {type(net).__name__} runs {name}, whose input its features are, earlier '
            'too; name another submodule (encoder.tap).'
        )
    feat = given[..., ::step, ::step]
    if not torch.equal(feat.repeat_interleave(step, -1).repeat_interleave(step, -2), given):
        raise UserError(
            f'encoder: {type(net).__name__} enlarges its features by other means than repeating '
            f'them in front of {name}; name a submodule in front of that (encoder.tap).'
        )
    return Tap(name, step, given)


def named_tap(net: nn.Module, calls: list[Call], image: Tensor, name: str) -> Tap:
    """A tap that the user names, the first time that it runs.

    Raises:
        UserError: There is no such submodule, or its input has another size than the image.
    """
    names = _names(calls)
    if name not in names:
        known = [known for known in dict.fromkeys(names) if '.' not in known]
        raise UserError(
            f'encoder.tap: found {name!r}, which {type(net).__name__} does not run; '
            f'{suggest(name, known)}'
        )
    i = names.index(name)
    given = calls[i].given
    factor = _enlarged(given, image)
    if factor == 0:
        size = None if given is None else tuple(given.shape)
        raise UserError(
            f'encoder.tap: the input of {name} is {size} for an image {tuple(image.shape)}; needed '
            "features (1, C, h, w) of the image's size."
        )
    return _tap(net, calls, i, factor)


def remove_from(net: nn.Module, calls: list[Call], tap: str) -> list[str]:
    """Put a stop in a submodule's place, and nothing in that of those that run only behind it.

    Modules around the stop lose their `__call__`, which keeps a record for hooks and tracers that
    an exception from within would leave open.

    Returns:
        The names of the outermost that were removed.
    """
    ran = _names(calls)
    used = set(ran[: ran.index(tap)])
    kept = used.union(*map(_parents, [*used, tap]))
    unused = set(ran) - kept
    removed = []
    for name, _ in net.named_modules():
        if name in unused and unused.isdisjoint(_parents(name)):
            removed.append(name)
    for name in removed:
        net.set_submodule(name, nn.Identity())
    net.set_submodule(tap, _Stop())
    for name in _parents(tap):
        module = net.get_submodule(name)
        kind = type(module)
        module.__class__ = type(kind.__name__, (kind,), {'__call__': kind.forward})
    return removed


def _names(calls: list[Call]) -> list[str]:
    """The submodules that were called, in the order of the calls."""
    return [call.name for call in calls]


def _parents(name: str) -> list[str]:
    """The names of the submodules around one: a and a.b of a.b.c."""
    parts = name.split('.')
    return ['.'.join(parts[:i]) for i in range(1, len(parts))]
