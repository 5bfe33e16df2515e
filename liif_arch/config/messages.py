"""What a validator finds, in words: what was found, what is needed, which key, the nearest name."""

import difflib
import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from liif_arch.config.fragments import Fragment, kinds_of, short
from liif_arch.config.kinds import READ
from liif_arch.config.tables import COMMON, SECTIONS
from liif_arch.errors import suggest

if TYPE_CHECKING:
    from jsonschema import ValidationError

NEAR = 0.75  # likeness of a missing key and an unknown one, from which on one is the other misspelt
WORDS = {
    'string': 'text',
    'boolean': 'true or false',
    'object': 'keys and values',
    'array': 'a list',
    'null': '~',
    'integer': 'a whole number',
    'number': 'a number',
}  # for JSON types


class Problem(NamedTuple):
    """What is wrong, and where: keys joined by dots."""

    place: str
    text: str


def explained(errors: Iterable['ValidationError'], found: dict, name: str) -> Iterator[Problem]:
    """The problems that a validator's errors are; missing keys first, in one message.

    Args:
        errors: What `validator.errors_of` has found.
        found: The mapping in which it has.
        name: The option file's name.
    """
    missing: list[ValidationError] = []
    others: list[ValidationError] = []
    for error in errors:
        if error.validator == 'required':
            missing.append(error)
        else:
            others.append(error)
    yield from _explained_missing(missing, name)
    for error in others:
        yield _explained(error, found, name)


def _explained(error: 'ValidationError', found: dict, name: str) -> Problem:
    """One error, other than a missing key."""
    path, index = _key_and_index(list(error.absolute_path), found)
    if error.validator in ('additionalProperties', 'x-misspelt'):
        return Problem(_joined(path), _unknown(path, error.schema, name))
    value, needs = error.instance, _needs(error.instance, error.schema)
    if error.validator == 'enum' and 'x-unknown' in error.schema:
        clause = error.schema['x-unknown']
        text = f'{_place(path)}: found {short(value)}{clause}; '
        return Problem(_joined(path), text + suggest(value, error.schema['enum']))
    if index:
        value, needs = _at(found, path), f'a list, each {needs}'
    return Problem(_joined(path), f'{_place(path)}: found {short(value)}; needed {needs}.')


def _key_and_index(path: list, found: dict) -> tuple[list, list]:
    """A path as far as its last key, and the indices of lists that follow."""
    for depth, step in enumerate(path):
        if not isinstance(found, dict):
            return path[:depth], path[depth:]
        found = found.get(step)
    return path, []


def _unknown(path: list, schema: Fragment, name: str) -> str:
    """What to say of a key that is not known."""
    *section, key = path
    place = _joined(section) or 'option file'
    if 'x-phases' in schema:
        first, *_, last = schema['x-phases']
        return f'{name}: {place}: found "{key}"; needed {first} or {last}_1, {last}_2, ...'
    patterns = []
    for pattern in schema.get('patternProperties', {}):
        patterns.append(pattern.strip('^$').replace('.+', 'g'))
    near = suggest(key, [*schema['properties'], *patterns])
    if not near.startswith('did you mean'):  # a stranger's source reads too much to list
        listed = []
        for name_of_key, fragment in schema['properties'].items():
            if fragment is not READ:
                listed.append(name_of_key)
        near = suggest(key, [*listed, *patterns])
    return f'{place}: found {key}, which is no option of it; {near}'


def _needs(value: object, schema: Fragment) -> str:
    """What a fragment needs, in words."""
    if 'description' in schema:
        return schema['description']
    if 'enum' in schema:
        return _one_of(value, schema['enum'])
    low, high = schema.get('minimum', -math.inf), schema.get('maximum', math.inf)
    limits = []
    if low > -math.inf:
        limits.append(f'of at least {low:g}')
    if high < math.inf:
        limits.append(f'at most {high:g}')
    pattern = schema.get('pattern', WORDS['string'])
    words = {**WORDS, 'string': pattern.strip('^$')}  # the pattern of a word is that word
    kinds = ' or '.join(map(words.__getitem__, kinds_of(schema)))
    return f'{kinds} {" and ".join(limits)}'.strip()


def _one_of(value: object, allowed: list) -> str:
    """An enumeration in words, with the nearest of its names."""
    names, words = [], []
    for one in allowed:
        if one is None:
            words.append('~')
        else:
            names.append(str(one))
            words.append(str(one))
    listed = f'one of {", ".join(words)}'
    if len(words) < 3:
        listed = ' or '.join(words)
    near = suggest(value, names)
    if near.startswith('did you mean'):
        return f'{listed} ({near})'
    return listed


# --------------------------------------------------------------------------------------------------
# Missing keys


def _explained_missing(errors: Iterable, name: str) -> Iterator[Problem]:
    """Missing keys of sections together, and those of every other mapping by itself."""
    of_sections: list[list] = []
    of_others: dict[str, list] = {}
    for error in errors:
        path = list(error.absolute_path)
        near = _misspelt(path[-1], error.instance)
        if not _is_section(path[:-1]):
            of_others.setdefault(_joined(path[:-1]), []).append(error)
        elif near is not None:  # a problem of that key, which is not looked at again
            text = f'{name}: missing {":".join(path)}; found {near}, did you mean {path[-1]}?'
            yield Problem(_joined([*path[:-1], near]), text)
        else:
            of_sections.append(path)
    listed = ', '.join(_joined(path, ':') for path in of_sections)
    for path in of_sections:
        yield Problem(_joined(path), f'{name}: missing {listed}.')
    for place, found in of_others.items():
        yield _missing_options(place, found)


def _misspelt(key: str, section: dict) -> str | None:
    """The key of a section that is near to a missing one, and is not BasicSR's itself."""
    others = [other for other in map(str, section) if other not in COMMON]
    near = difflib.get_close_matches(key, others, n=1, cutoff=NEAR)
    if not near:
        return None
    return near[0]


def _missing_options(place: str, errors: list) -> Problem:
    """The missing options of a network, a loss, ..., or its missing type."""
    names = [error.absolute_path[-1] for error in errors]
    if 'type' not in names:
        return Problem(place, f'{place}: missing {", ".join(names)}.')
    schema, found = errors[0].schema, errors[0].instance
    types = schema['properties']['type']
    if types['x-unknown']:
        needs = schema['description']
        return Problem(place, f'{place}: found {short(found)}; needed {needs}.')
    return Problem(f'{place}.type', f'{place}.type: found None; {suggest(None, types["enum"])}')


# --------------------------------------------------------------------------------------------------
# Places


def _is_section(path: list) -> bool:
    """Whether a mapping is a section of the file, or a dataset; not what a `type` has made."""
    if path[:1] == ['datasets']:
        return len(path) < 3
    return not path or (len(path) == 1 and path[0] in SECTIONS)


def _joined(path: Iterable, separator: str = '.') -> str:
    return separator.join(map(str, path))


def _place(path: list) -> str:
    """How a message names a place: `train.total_iter`, and `network_g: num_feat` of an argument."""
    *mapping, key = path
    if _is_argument(mapping) and key != 'type':
        return f'{_joined(mapping)}: {key}'
    return _joined(path)


def _is_argument(path: list) -> bool:
    """Whether a mapping holds arguments: of a network, an optimiser, a loss or a metric."""
    if not path:
        return False
    depth = {'train': 2, 'val': 3}.get(path[0], 1)
    of_type = path[0] in ('train', 'val') or str(path[0]).startswith('network_')
    return of_type and len(path) >= depth


def _at(found: dict, path: list) -> object:
    for key in path:
        found = found[key]
    return found
