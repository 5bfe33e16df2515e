"""Where the features of a network of one scale are: before its upsampler, found by running it."""

import math
from collections.abc import Callable
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
    sizes = [getattr(module, 'window_size', 1) for module in net.modules()]
    flat = [n for size in sizes for n in (size if isinstance(size, (tuple, list)) else [size])]
    return math.lcm(*(n for n in flat if isinstance(n, int) and n > 0)) if flat else 1


def first_run(
    net: nn.Module, num_in_ch: int, tap: str | None
) -> tuple[int, Tensor, list['Call'], Tap]:
    """Run a network on a small image, and find its features.

    Returns:
        The multiple that sizes must be of: of its windows, or twice or more of that if it has
        features of the image's size on nothing else; the image, (1, num_in_ch, h, w), h and w odd
        multiples of it; what ran; the tap.

    Raises:
        UserError: It runs on no image, or has no such features.
    """
    parameter = next(net.parameters(), torch.zeros(()))
    windows = window_multiple(net)
    failure: Exception | None = None
    for multiple in (windows * factor for factor in (1, 2, 4, 8)):
        odd = -(-LEAST // multiple) | 1
        image = torch.rand(
            1,
            num_in_ch,
            multiple * odd,
            multiple * (odd + 2),
            generator=torch.Generator().manual_seed(0),
        ).to(parameter)
        try:
            calls = record_calls(net, image)
            found = (
                find_tap(net, calls, image) if tap is None else named_tap(net, calls, image, tap)
            )
            return multiple, image, calls, found
        except UserError as error:
            failure = (
                failure if isinstance(failure, UserError) else error
            )  # of the smallest image that it ran on
        except Exception as error:
            failure = failure or error
    if isinstance(failure, UserError):
        raise failure
    text = str(failure).splitlines()[0] if str(failure) else type(failure).__name__
    raise UserError(
        f'encoder: {type(net).__name__} does not run on small images of {num_in_ch} channels '
        f'({text}).'
    )


class Call(NamedTuple):
    """One call of a submodule, in the order in which they began."""

    name: str
    module: nn.Module
    given: Any  # a tensor; None where the first thing that it was given is none
    made: Tensor | None


def record_calls(net: nn.Module, image: Tensor) -> list[Call]:
    """Run a network, and note what each submodule was given and made of it."""
    calls: list[Call] = []
    open_calls: list[int] = []

    def before(name: str) -> Callable[[nn.Module, tuple], None]:
        def note(module: nn.Module, inputs: tuple) -> None:
            open_calls.append(len(calls))
            calls.append(
                Call(
                    name,
                    module,
                    inputs[0].clone() if inputs and isinstance(inputs[0], Tensor) else None,
                    None,
                )
            )

        return note

    def after(module: nn.Module, inputs: tuple, output: object) -> None:
        index = open_calls.pop()
        calls[index] = calls[index]._replace(made=output if isinstance(output, Tensor) else None)

    handles = [
        h
        for name, module in net.named_modules()
        if name
        for h in (
            module.register_forward_pre_hook(before(name)),
            module.register_forward_hook(after),
        )
    ]
    try:
        net(image)
    finally:
        for handle in handles:
            handle.remove()
    return calls


def _enlarged(x: Tensor | None, image: Tensor) -> int:
    """How many times larger than the image a tensor (1, C, H, W) is on both axes; 0 if not."""
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
        if (
            given == 1 and made > 1 and call.given.shape[1] != image.shape[1]
        ):  # else it holds the whole network
            return _tap(net, calls, _in_front_of_shuffle(calls, i), 1)
        if given > 1 and isinstance(call.module, nn.Conv2d):  # a function has enlarged it
            return _tap(net, calls, i, given)
    last = [
        i
        for i, c in enumerate(calls)
        if isinstance(c.module, nn.Conv2d)
        and _enlarged(c.given, image)
        and c.given.shape[1] != image.shape[1]
    ][-1:]
    if last and _enlarged(calls[last[0]].given, image) == 1:
        return _tap(net, calls, last[0], 1)
    raise UserError(
        f"encoder: {type(net).__name__} has no features of the input's size in front of an "
        'upsampler; name the submodule whose input they are (encoder.tap), or use a network that '
        "keeps the input's size until it enlarges it."
    )


def _in_front_of_shuffle(calls: list[Call], i: int) -> int:
    """A pixel shuffle's features are those in front of the convolution that made its channels."""
    if isinstance(calls[i].module, nn.PixelShuffle):
        for j in reversed(range(i)):
            made = calls[j].made
            if (
                isinstance(calls[j].module, nn.Conv2d)
                and made is not None
                and made.shape == calls[i].given.shape
                and torch.equal(made, calls[i].given)
            ):
                return j
    return i


def _tap(net: nn.Module, calls: list[Call], i: int, step: int) -> Tap:
    """A tap at a call, whose input may be features that were enlarged by repeating them."""
    name, given = calls[i].name, calls[i].given
    if any(c.name == name for c in calls[:i]):
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
    i = next((i for i, c in enumerate(calls) if c.name == name), None)
    if i is None:
        known = list(dict.fromkeys(c.name for c in calls if '.' not in c.name))
        raise UserError(
            f'encoder.tap: found {name!r}, which {type(net).__name__} does not run; '
            f'{suggest(name, known)}'
        )
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
        module.__class__ = type(kind.__name__, (kind,), {'__call__': kind.forward})
    return removed


def _parents(name: str) -> list[str]:
    parts = name.split('.')
    return ['.'.join(parts[:i]) for i in range(1, len(parts))]
