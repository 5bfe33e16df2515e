"""Starts of `basicsr` without the half of their time that goes into packages of which nothing is
used.

torchvision imports PyTorch's compiler for one question that one of its operators asks. PyTorch's
optimisers import it to tell it to leave them alone. BasicSR imports SciPy's statistics for one kind
of blur kernel. Here each is imported when it is needed.
"""

import functools
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

COMPILER = 'torch._dynamo'
# What a module imports and hardly ever calls, by the module's name.
DEFERRED = {
    'torchvision.ops.roi_align': f'{COMPILER}.utils',
    'basicsr.data.degradations': 'scipy.stats',
}


def install() -> None:
    """Defer these imports from here on; nothing is imported here.

    Modules that have been imported already stay as they are.
    """
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def _hide_later(module: ModuleType) -> None:
    """Let `torch._compile`, whose decorator hides functions from the compiler, import no compiler.

    Before somebody else imports it there is nothing to hide from.
    """
    hide = module._disable_dynamo

    @functools.wraps(hide)
    def decorator(function: Callable | None = None, recursive: bool = True) -> Callable:
        if function is None:
            return functools.partial(decorator, recursive=recursive)
        hidden = hide(function, recursive)

        @functools.wraps(function)
        def call(*args: object, **kwargs: object) -> object:
            chosen = hidden if COMPILER in sys.modules else function
            return chosen(*args, **kwargs)

        return call

    module._disable_dynamo = decorator  # type: ignore[attr-defined]


def _break_no_graph(module: ModuleType) -> None:
    """Let `torch.optim.optimizer`, whose decorator of steps breaks a graph that is being compiled,
    import no compiler where none is compiled. The decorator also sets whether the step has a
    gradient; the optimiser's option `differentiable` says so.
    """
    decorate = module._use_grad_for_differentiable

    @functools.wraps(decorate)
    def decorator(step: Callable) -> Callable:
        decorated = decorate(step)

        @functools.wraps(step)
        def call(optimizer: Any, *args: object, **kwargs: object) -> object:
            if COMPILER in sys.modules:
                return decorated(optimizer, *args, **kwargs)
            with module.torch.set_grad_enabled(optimizer.defaults['differentiable']):
                return step(optimizer, *args, **kwargs)

        return call

    module._use_grad_for_differentiable = decorator  # type: ignore[attr-defined]


# What is done to a module after its import, by its name, and the name that it must have.
MENDED = {
    'torch._compile': ('_disable_dynamo', _hide_later),
    'torch.optim.optimizer': ('_use_grad_for_differentiable', _break_no_graph),
}


class _Finder(MetaPathFinder):
    """Finds the modules of both tables where Python does, and has them loaded by `_Loader`."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module's own spec with another loader; None for all other modules."""
        if name not in {*DEFERRED, *MENDED}:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader(Loader):
    """Loads a module by its own loader, with what the tables say of it."""

    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """As the module's own loader does."""
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Run the module. A stand-in is gone by its end, so that nobody else comes across it."""
        name = module.__name__
        deferred = DEFERRED.get(name, '')
        if not deferred or deferred in sys.modules:
            self.loader.exec_module(module)
        else:
            sys.modules[deferred] = _StandIn(deferred)
            try:
                self.loader.exec_module(module)
            finally:
                sys.modules.pop(deferred, None)
        if name in MENDED:
            attribute, mend = MENDED[name]
            if hasattr(module, attribute):  # another PyTorch may have none
                mend(module)


class _StandIn(ModuleType):
    """A module each of whose names is imported when it is used."""

    def __getattr__(self, name: str) -> object:
        if name.startswith('__'):
            raise AttributeError(name)
        return _Deferred(self.__name__, name)


class _Deferred:
    """A function or a class of a module that is imported when it is called or looked into."""

    def __init__(self, module: str, name: str) -> None:
        self._module = module
        self._name = name

    def __call__(self, *args: object, **kwargs: object) -> object:
        return self._imported()(*args, **kwargs)

    def __getattr__(self, name: str) -> object:
        return getattr(self._imported(), name)

    def _imported(self) -> Any:
        """What it stands for."""
        return getattr(import_module(self._module), self._name)
