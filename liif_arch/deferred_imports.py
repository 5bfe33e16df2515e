"""Starts of `basicsr` without the half of their time that goes into packages of which nothing is
used.

torchvision imports PyTorch's compiler for one question that one of its operators asks. PyTorch's
optimisers import it to tell it to leave them alone. DistributedDataParallel imports it to ask
whether somebody has told it to compile gradients. BasicSR imports SciPy's statistics for one kind
of blur kernel. Here each is imported when it is needed.
"""

import functools
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

COMPILER = 'torch._dynamo'
# By the module that imports it, a module and what of it is imported when it is called.
DEFERRED = {
    'torchvision.ops.roi_align': (f'{COMPILER}.utils', 'is_compile_supported'),
    'basicsr.data.degradations': ('scipy.stats', 'multivariate_normal'),
}


def install() -> None:
    """Defer these imports from here on; nothing is imported here.

    Modules that have been imported already stay as they are.
    """
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def _hide_later(hide: Callable) -> Callable:
    """PyTorch's decorator that hides functions from the compiler, without an import of it.

    Before somebody else imports it there is nothing to hide from.
    """

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

    return decorator


def _break_no_graph(decorate: Callable) -> Callable:
    """PyTorch's decorator of an optimiser's step, which breaks a graph that is being compiled, and
    sets whether the step has a gradient, as the optimiser's option `differentiable` says.

    Here it imports no compiler where none is there to compile a graph.
    """

    @functools.wraps(decorate)
    def decorator(step: Callable) -> Callable:
        decorated = decorate(step)

        @functools.wraps(step)
        def call(optimizer: Any, *args: object, **kwargs: object) -> object:
            if COMPILER in sys.modules:
                return decorated(optimizer, *args, **kwargs)
            import torch

            with torch.set_grad_enabled(optimizer.defaults['differentiable']):
                return step(optimizer, *args, **kwargs)

        return call

    return decorator


@contextmanager
def compiler_with_defaults() -> Iterator[None]:
    """Inside, whoever asks PyTorch's compiler how gradients are shared gets its default, and does
    not import it for that.

    Where it has been imported already it answers itself, since it may have been told otherwise.
    """
    import torch

    if COMPILER in sys.modules:
        yield
        return
    vars(torch)['_dynamo'] = _Defaults(COMPILER)
    try:
        yield
    finally:
        if isinstance(torch._dynamo, _Defaults):  # an import of the compiler takes its place
            del vars(torch)['_dynamo']


# By its module, a decorator of PyTorch's and what makes another one of it.
DECORATORS = {
    'torch._compile': ('_disable_dynamo', _hide_later),
    'torch.optim.optimizer': ('_use_grad_for_differentiable', _break_no_graph),
}


class _Finder(MetaPathFinder):
    """Finds the modules of both tables where Python does, and has them loaded by `_Loader`."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module's own spec with another loader; None for all other modules."""
        if name not in {*DEFERRED, *DECORATORS}:
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
        deferred, attribute = DEFERRED.get(name, ('', ''))
        if not deferred or deferred in sys.modules:
            self.loader.exec_module(module)
        else:
            stand_in = sys.modules[deferred] = _StandIn(deferred, attribute)
            try:
                self.loader.exec_module(module)
            finally:
                stand_in.leave()
        if name in DECORATORS:
            attribute, replaced = DECORATORS[name]
            if hasattr(module, attribute):  # another PyTorch may have none
                setattr(module, attribute, replaced(getattr(module, attribute)))


class _StandIn(ModuleType):
    """A module one of whose names is imported when it is used.

    Whoever asks for another name gets that of the module itself, which is imported then.
    """

    def __init__(self, name: str, attribute: str) -> None:
        super().__init__(name)
        self._attribute = attribute

    def __getattr__(self, name: str) -> object:
        if name.startswith('__'):
            raise AttributeError(name)
        if name == self._attribute:
            return _Deferred(self.__name__, name)
        self.leave()
        return getattr(import_module(self.__name__), name)

    def leave(self) -> None:
        """Make room for the module itself."""
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]


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


class _Defaults:
    """The compiler or one of its modules, of which a question is answered without an import."""

    def __init__(self, module: str) -> None:
        self._module = module

    def __getattr__(self, name: str) -> object:
        if f'{self._module}.{name}' == f'{COMPILER}.utils':
            return _Defaults(f'{COMPILER}.utils')
        if name == 'get_optimize_ddp_mode':
            return lambda: 'ddp_optimizer'
        return getattr(import_module(self._module), name)
