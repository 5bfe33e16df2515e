"""Fragments of JSON Schema, of which an option file's description is made, and their values."""

from collections.abc import Mapping

Fragment = dict
ANY: Fragment = {}
TEXT: Fragment = {'type': 'string'}
FLAG: Fragment = {'type': 'boolean'}
OBJECT: Fragment = {'type': 'object'}
LIST: Fragment = {'type': 'array'}
WHOLE: Fragment = {'type': 'integer', 'minimum': 1, 'maximum': 2**31 - 1}
COUNT: Fragment = {'type': 'integer', 'minimum': 0, 'maximum': 2**31 - 1}
NUMBER: Fragment = {'type': 'number'}
NUMBERS: Fragment = {'type': 'array', 'items': NUMBER}
A_LOSS: Fragment = {'type': ['object', 'null'], 'x-kind': 'loss'}  # `type: NAME` and its options
KINDS = {
    'string': str,
    'boolean': bool,
    'object': dict,
    'array': (list, tuple),
    'null': type(None),
}  # classes of the JSON types that are no numbers


def maybe(fragment: Fragment) -> Fragment:
    """The fragment, or null."""
    return {**fragment, 'type': [*kinds_of(fragment), 'null']}


def closed(properties: Mapping[str, Fragment]) -> Fragment:
    """A mapping of these keys alone."""
    return {'type': 'object', 'additionalProperties': False, 'properties': dict(properties)}


def kinds_of(fragment: Fragment) -> list[str]:
    """The JSON types that a fragment names; none where it takes any."""
    kinds = fragment.get('type', [])
    if isinstance(kinds, str):
        return [kinds]
    return list(kinds)


def is_kind(value: object, kind: str) -> bool:
    """Whether a value is of a JSON type, as the pipelines take them: 3.0 is no whole number."""
    if kind == 'number':
        return is_number(value)
    if kind == 'integer':
        return isinstance(value, int) and is_number(value)
    return isinstance(value, KINDS[kind])


def is_number(value: object) -> bool:
    """Whether a value is a number that 64 bits hold; neither a boolean nor NaN is one."""
    is_real = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_real and abs(value) < 2**63  # which NaN is not


def short(value: object) -> str:
    """A value in a message, of at most 60 characters."""
    if isinstance(value, dict):
        value = dict(value)  # an OrderedDict shows its class
    text = repr(value)
    if len(text) <= 60:
        return text
    return f'{text[:57]}...'
