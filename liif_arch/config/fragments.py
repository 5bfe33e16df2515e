"""Fragments of JSON Schema: what an option may hold, as annotations, defaults and sources say it.

`option_check` compares option files with them, and `option_schema` writes them down for editors.
"""

import ast
import inspect
import math
import re
import sys
import types
import typing
from collections.abc import Callable, Mapping
from functools import lru_cache

import torch

from liif_arch.errors import suggest

Fragment = dict
ANY: Fragment = {}
TEXT, FLAG, OBJECT, LIST = ({'type': t} for t in ('string', 'boolean', 'object', 'array'))
WHOLE: Fragment = {'type': 'integer', 'minimum': 1, 'maximum': 2**31 - 1}
COUNT: Fragment = {'type': 'integer', 'minimum': 0, 'maximum': 2**31 - 1}
NUMBER: Fragment = {'type': 'number'}
NUMBERS: Fragment = {'type': 'array', 'items': NUMBER}
LARGE = 10**5  # more blocks or channels are a slip, whose network would take hours to build
WORDS = {
    'string': 'text',
    'boolean': 'true or false',
    'object': 'keys and values',
    'array': 'a list',
    'null': '~',
    'integer': 'a whole number',
    'number': 'a number',
}
FOUNDATIONS = ('builtins', 'torch', 'abc', 'typing')  # packages whose sources read no options
READERS = ('get', 'pop', 'setdefault')  # methods of a mapping whose first argument is a key


class _Everything:
    """Holds every key, and lists none."""

    def __contains__(self, key: object) -> bool:
        return True

    def __iter__(self) -> typing.Iterator[str]:
        return iter(())


EVERYTHING = _Everything()  # the keys of what is not known at all


def maybe(fragment: Fragment) -> Fragment:
    """The fragment, or null."""
    return {**fragment, 'type': [*_kinds(fragment), 'null']}


def closed(properties: Mapping[str, Fragment]) -> Fragment:
    """A mapping of these keys alone."""
    return {'type': 'object', 'properties': dict(properties), 'additionalProperties': False}


def _kinds(fragment: Fragment) -> list[str]:
    kinds = fragment.get('type', [])
    return [kinds] if isinstance(kinds, str) else list(kinds)


# --------------------------------------------------------------------------------------------------
# Values


def mismatch(value: object, fragment: Fragment) -> str | None:
    """What a fragment needs, where a value is something else."""
    if 'enum' in fragment:
        return _not_among(value, fragment['enum'])
    kinds = _kinds(fragment)
    if not kinds:
        return None
    low, high = fragment.get('minimum', -math.inf), fragment.get('maximum', math.inf)
    if any(is_kind(value, kind) for kind in kinds):
        items = value if isinstance(value, (list, tuple)) else []
        wrong = [needed for v in items if (needed := mismatch(v, fragment.get('items', ANY)))]
        if wrong:
            return f'a list, each {wrong[0]}'
        if isinstance(value, str) and not re.search(fragment.get('pattern', ''), value):
            wrong = [value]
        if not wrong and (not is_number(value) or low <= value <= high):
            return None
    limits = [f'of at least {low:g}'] if low > -math.inf else []
    limits += [f'at most {high:g}'] if high < math.inf else []
    text = fragment.get('pattern', WORDS['string']).strip(
        '^$'
    )  # the pattern of a word is that word
    words = {**WORDS, 'string': text}
    return ' '.join([' or '.join(words[k] for k in kinds), ' and '.join(limits)]).strip()


def _not_among(value: object, allowed: list) -> str | None:
    if any(value == a and type(value) is type(a) for a in allowed):
        return None
    words = ['~' if a is None else str(a) for a in allowed]
    listed = ' or '.join(words) if len(words) < 3 else f'one of {", ".join(words)}'
    near = suggest(value, [a for a in allowed if a is not None])
    return f'{listed} ({near})' if near.startswith('did you mean') else listed


def is_kind(value: object, kind: str) -> bool:
    """Whether a value is of a JSON type."""
    if kind == 'number':
        return is_number(value)
    if kind == 'integer':
        return isinstance(value, int) and is_number(value)
    python = {
        'string': str,
        'boolean': bool,
        'object': dict,
        'array': (list, tuple),
        'null': type(None),
    }
    return isinstance(value, python[kind])


def is_number(value: object) -> bool:
    """Whether a value is a number that 64 bits hold; neither a boolean nor NaN is one."""
    is_real = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_real and abs(value) < 2**63  # which NaN is not


def short(value: object) -> str:
    """A value in a message."""
    text = repr(dict(value) if isinstance(value, dict) else value)
    return text if len(text) <= 60 else f'{text[:57]}...'


# --------------------------------------------------------------------------------------------------
# Signatures


@lru_cache(maxsize=256)
def signature(function: Callable) -> tuple[dict[str, Fragment], tuple[str, ...], bool]:
    """What a class or function takes: its keywords, those without a default, whether others pass.

    Returns:
        The fragment of each keyword, the required ones, and whether any other keyword passes.
    """
    known, required, is_open = {}, [], False
    try:
        hints = typing.get_type_hints(function.__init__ if inspect.isclass(function) else function)
    except Exception:  # names that exist for type checkers alone
        hints = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            is_open = is_open or parameter.kind == parameter.VAR_KEYWORD
            continue
        known[name] = fragment_of(hints[name]) if name in hints else _of_default(parameter.default)
        if parameter.default is parameter.empty:
            required.append(name)
    return known, tuple(required), is_open


def fragment_of(hint: object) -> Fragment:
    """A type annotation as a fragment; {} where it says nothing that an option file can hold."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _of_union([fragment_of(a) for a in arguments])
    if isinstance(hint, type) and issubclass(hint, torch.nn.Module):
        return ANY
    base = origin or hint
    if isinstance(base, type) and not issubclass(base, str) and issubclass(base, typing.Sequence):
        items = fragment_of(arguments[0]) if arguments else ANY
        return {**LIST, 'items': items} if items else LIST
    if isinstance(base, type) and issubclass(base, (dict, Mapping)):
        return OBJECT
    plain = {
        int: {'type': 'integer', 'maximum': LARGE},
        float: NUMBER,
        bool: FLAG,
        str: TEXT,
        type(None): {'type': 'null'},
    }
    return plain.get(hint, ANY) if isinstance(hint, type) else ANY


def _of_union(parts: list[Fragment]) -> Fragment:
    kinds = [kind for part in parts for kind in _kinds(part)]
    items = next((part['items'] for part in parts if 'items' in part), None)
    if not kinds:
        return ANY
    return {'type': list(dict.fromkeys(kinds)), **({'items': items} if items else {})}


def _of_default(default: object) -> Fragment:
    """What a default says of its type: a whole number may as well be a fraction."""
    if isinstance(default, bool):
        return FLAG
    if isinstance(default, int):
        return {'type': 'number', 'minimum': -LARGE, 'maximum': LARGE}
    if isinstance(default, float):
        return NUMBER
    return {str: TEXT, tuple: LIST, list: LIST}.get(type(default), ANY)


# --------------------------------------------------------------------------------------------------
# Sources


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
