"""What code tells of its options: signatures as fragments of JSON Schema, keys that it reads."""

import ast
import inspect
import sys
import types
import typing
from collections.abc import Callable, Mapping
from functools import lru_cache

import torch

from liif_arch.config.fragments import ANY, FLAG, LIST, NUMBER, OBJECT, TEXT, Fragment, kinds_of

LARGE = 10**5  # more blocks or channels are a slip, whose network would take hours to build
FOUNDATIONS = ('builtins', 'torch', 'abc', 'typing')  # packages whose sources read no options
READERS = ('get', 'pop', 'setdefault')  # methods of a mapping whose first argument is a key


class _Everything:
    """Holds every key, and lists none."""

    def __contains__(self, key: object) -> bool:
        return True

    def __iter__(self) -> typing.Iterator[str]:
        return iter(())


EVERYTHING = _Everything()  # the keys of what is not known at all


@lru_cache(maxsize=256)
def signature(function: Callable) -> tuple[dict[str, Fragment], tuple[str, ...], bool]:
    """What a class or function takes: its keywords, those without a default, whether others pass.

    Returns:
        The fragment of each keyword, the required ones, and whether any other keyword passes.
    """
    known, required, is_open = {}, [], False
    annotated = function
    if inspect.isclass(function):
        annotated = function.__init__
    try:
        hints = typing.get_type_hints(annotated)
    except Exception:  # names that exist for type checkers alone
        hints = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            is_open = is_open or parameter.kind == parameter.VAR_KEYWORD
            continue
        if name in hints:
            known[name] = fragment_of(hints[name])
        else:
            known[name] = _of_default(parameter.default)
        if parameter.default is parameter.empty:
            required.append(name)
    return known, tuple(required), is_open


def fragment_of(hint: object) -> Fragment:
    """A type annotation as a fragment; {} where it says nothing that an option file can hold."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _of_union(list(map(fragment_of, arguments)))
    if isinstance(hint, type) and issubclass(hint, torch.nn.Module):
        return ANY
    base = origin or hint
    if isinstance(base, type) and not issubclass(base, str) and issubclass(base, typing.Sequence):
        items = ANY
        if arguments:
            items = fragment_of(arguments[0])
        if not items:
            return LIST
        return {**LIST, 'items': items}
    if isinstance(base, type) and issubclass(base, (dict, Mapping)):
        return OBJECT
    kinds = {
        int: {'type': 'integer', 'maximum': LARGE},
        float: NUMBER,
        bool: FLAG,
        str: TEXT,
        type(None): {'type': 'null'},
    }
    if not isinstance(hint, type):
        return ANY
    return kinds.get(hint, ANY)


def _of_union(parts: list[Fragment]) -> Fragment:
    """What any of several fragments allows; of lists, the items of the first that says some."""
    kinds: list[str] = []
    fragment: Fragment = {}
    for part in parts:
        kinds += kinds_of(part)
        if part.get('items'):
            fragment.setdefault('items', part['items'])
    if not kinds:
        return ANY
    return {'type': list(dict.fromkeys(kinds)), **fragment}


def _of_default(default: object) -> Fragment:
    """What a default says of its type: a whole number may as well be a fraction."""
    if isinstance(default, bool):
        return FLAG
    if isinstance(default, int):
        return {'type': 'number', 'minimum': -LARGE, 'maximum': LARGE}
    if isinstance(default, float):
        return NUMBER
    return {str: TEXT, tuple: LIST, list: LIST}.get(type(default), ANY)


@lru_cache(maxsize=64)
def keys_read_by(cls: type) -> frozenset[str] | _Everything:
    """Every key that the source of a class and its bases reads, in all of their modules.

    Returns:
        The keys; `EVERYTHING` where a part of the source is not there to be read.
    """
    keys: set[str] = set()
    for base in cls.__mro__:
        if base.__module__.split('.')[0] in FOUNDATIONS:
            continue
        module = sys.modules.get(base.__module__)
        try:
            tree = ast.parse(inspect.getsource(module))
        except (OSError, TypeError, SyntaxError):  # compiled, or typed at a prompt
            return EVERYTHING
        keys |= keys_read_in(tree)
    return frozenset(keys)


def keys_read_in(tree: ast.AST) -> set[str]:
    """Every key that a tree reads: `x['key']`, `x.get('key')`, `'key' in x`, `f(opt, 'key')`."""
    keys: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript):
            keys |= _texts(node.slice)
        elif isinstance(node, ast.Call):
            keys |= _keys_of_call(node)
        elif isinstance(node, ast.Compare) and isinstance(node.ops[0], (ast.In, ast.NotIn)):
            keys |= _texts(node.left)
    return keys


def _keys_of_call(node: ast.Call) -> set[str]:
    if isinstance(node.func, ast.Attribute) and node.func.attr in READERS and node.args:
        return _texts(node.args[0])
    if len(node.args) > 1 and isinstance(node.args[0], ast.Name) and node.args[0].id == 'opt':
        return _texts(node.args[1])
    return set()


def _texts(node: ast.AST) -> set[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return {node.value}
    return set()
