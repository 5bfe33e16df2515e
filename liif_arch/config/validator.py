"""jsonschema's validator with the types of YAML and an error for each key.

It differs from draft 7 in what a whole number is (not 3.0), in keys that are no text, in a key
whose value is null (missing, where it is required and null is not allowed), and in `x-misspelt`.
"""

import difflib
import re
from collections.abc import Callable, Iterator, Mapping

from jsonschema import Draft7Validator, ValidationError
from jsonschema.validators import extend

from liif_arch.config.fragments import KINDS, Fragment, is_kind

Errors = Iterator[ValidationError]


def _required(validator, required: list[str], instance: object, schema: Fragment) -> Errors:
    """An error for each key that is not there, or is null where that is not allowed."""
    if not isinstance(instance, Mapping):
        return
    for key in required:
        if instance.get(key) is not None:
            continue
        fragment = schema.get('properties', {}).get(key, {})
        if key not in instance or not validator.evolve(schema=fragment).is_valid(None):
            yield ValidationError(f'missing {key}', path=[key])


def unknown_keys(instance: Mapping, schema: Fragment) -> list[object]:
    """The keys of a mapping that a schema names neither by name nor by pattern."""
    unknown = []
    for key in instance:
        named = key in schema.get('properties', {})
        patterns = schema.get('patternProperties', {})
        if not named and not any(re.search(pattern, str(key)) for pattern in patterns):
            unknown.append(key)
    return unknown


def _additional(validator, allowed: object, instance: object, schema: Fragment) -> Errors:
    """An error for each key that is not known."""
    if not isinstance(instance, Mapping):
        return
    for key in unknown_keys(instance, schema):
        if allowed is False:
            yield ValidationError(f'unknown {key}', path=[key])
        elif isinstance(allowed, Mapping):
            yield from validator.descend(instance[key], allowed, path=key)


def _misspelt(validator, allowed: bool, instance: object, schema: Fragment) -> Errors:
    """An error for each unknown key that is near to a known one; others pass."""
    if not isinstance(instance, Mapping):
        return
    for key in unknown_keys(instance, schema):
        if difflib.get_close_matches(str(key), list(schema['properties']), n=1):
            yield ValidationError(f'misspelt {key}', path=[key])


def _patterns(validator, patterns: dict, instance: object, schema: Fragment) -> Errors:
    """The errors of what stands under keys that patterns name."""
    if not isinstance(instance, Mapping):
        return
    for pattern, fragment in patterns.items():
        for key, value in instance.items():
            if re.search(pattern, str(key)):
                yield from validator.descend(value, fragment, path=key, schema_path=pattern)


def _checker(kind: str) -> Callable[[object, object], bool]:
    return lambda checker, value: is_kind(value, kind)


Validator = extend(
    Draft7Validator,
    validators={
        'required': _required,
        'additionalProperties': _additional,
        'x-misspelt': _misspelt,
        'patternProperties': _patterns,
    },
    type_checker=Draft7Validator.TYPE_CHECKER.redefine_many(
        {kind: _checker(kind) for kind in (*KINDS, 'integer', 'number')}
    ),
)


def errors_of(value: object, schema: Fragment) -> list[ValidationError]:
    """Everything in a value that its schema does not allow."""
    return list(Validator(schema).iter_errors(value))
