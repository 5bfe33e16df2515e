"""Option files read safely: YAML without Python's tags, `_base_`, `--force_yml`.

It mends of BasicSR: an unsafe YAML loader, `1e-4` read as a string, and `--force_yml` through exec
and eval.
"""

import re
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

import yaml

from liif_arch.config.files import find_option_file, require_option_file
from liif_arch.errors import UserError, suggest


class OptionLoader(yaml.SafeLoader):
    """YAML without Python tags and without a key twice.

    Mappings are ordered, and floats are YAML 1.2's (1e-4).
    """


def _mapping(loader: OptionLoader, node: yaml.MappingNode) -> OrderedDict:
    """A mapping in its order; an error where a key is no text or number, or stands twice."""
    seen = set()
    for key_node, _ in node.value:  # before "<<" brings in keys that this mapping may override
        problem = ''
        if not isinstance(key_node, yaml.ScalarNode):
            problem = 'not a key'
        elif key_node.value in seen:
            problem = f'key "{key_node.value}" stands twice'
        if problem:
            raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
        seen.add(key_node.value)
    loader.flatten_mapping(node)
    return OrderedDict(loader.construct_pairs(node, deep=True))


OptionLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)
OptionLoader.add_implicit_resolver(
    'tag:yaml.org,2002:float',
    re.compile(r'^[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?$|^[-+]?\.(inf|Inf|INF)$|^\.nan$'),
    list('-+0123456789.'),
)
# Whole numbers match the float pattern too; YAML asks the resolvers in order, so the integers'
# stays in front.


def read_yaml(text: str, name: str) -> OrderedDict:
    """Parse an option file's text.

    Raises:
        UserError: Not YAML, a Python tag, a key twice, or not a mapping; says where.
    """
    try:
        opt = yaml.load(text, Loader=OptionLoader)  # a SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, 'problem_mark', None)
        place = ''
        if mark:
            place = f', line {mark.line + 1}, column {mark.column + 1}'
        problem = getattr(error, 'problem', None) or str(error).splitlines()[0]
        raise UserError(f'{name}{place}: {problem}.') from None
    if opt is None:
        raise UserError(f'{name}: found nothing; needed "key: value".')
    if not isinstance(opt, dict):
        raise UserError(f'{name}: found {type(opt).__name__}; needed "key: value".')
    return opt


def load_options(path: Path, children: tuple[Path, ...] = ()) -> OrderedDict:
    """Read an option file; one with `_base_: FILE` holds what it changes in FILE (a path beside it,
    or a shipped name).

    `_base_` and `_delete_` mean what they mean in MMEngine's configs.

    Raises:
        UserError: It or a base cannot be used, or it is its own base.
    """
    try:
        opt = read_yaml(path.read_text(encoding='utf-8'), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f'{path}: cannot read this option file ({error}).') from None
    name = opt.pop('_base_', None)
    if name is None:
        return opt
    base = path.parent / str(name)
    if not base.is_file():
        try:
            base = find_option_file(str(name), path.parent)
        except UserError as error:
            raise UserError(f'{path}: _base_: {error.text}') from None
    if base.resolve() in map(Path.resolve, (path, *children)):
        raise UserError(f'{path}: _base_: {name} leads back to this file.')
    return merge(load_options(base, (path, *children)), opt)


WHOLE = ('dataroot_gt',)  # keys of mappings that hold folders, not options


def merge(base: OrderedDict, changes: Mapping) -> OrderedDict:
    """`base` with `changes`: mappings are merged key by key, others are replaced.

    A mapping that says `_delete_: true`, or another `type`, whose options would not be the base's,
    is replaced too; so is one of `WHOLE`.
    """
    for key, value in changes.items():
        if isinstance(value, Mapping) and key not in WHOLE:
            keep = base.get(key)
            if not isinstance(keep, dict):
                keep = OrderedDict()
            is_other = 'type' in value and value['type'] != keep.get('type', value['type'])
            if value.get('_delete_', False) or is_other:
                keep = OrderedDict()
            changed = OrderedDict(value)
            changed.pop('_delete_', None)
            base[key] = merge(keep, changed)
        else:
            base[key] = value
    return base


def force_option(opt: dict, entry: str) -> None:
    """Apply one `--force_yml` entry, `a:b=value`; the key must exist, the value is read as YAML.

    Raises:
        UserError: No "=", or no such key; suggests the nearest.
    """
    path, equals, text = entry.partition('=')
    keys = path.strip().split(':')
    if not equals:
        raise UserError(
            f'--force_yml: found {entry!r}; needed key:key=value, for instance '
            'train:ema_decay=0.999.'
        )
    place: object = opt
    for depth, key in enumerate(keys):
        if not isinstance(place, dict) or key not in place:
            hint = suggest(key, place if isinstance(place, dict) else [])
            raise UserError(
                f'--force_yml: the option file has no key {":".join(keys[: depth + 1])}; {hint} '
                f'{"Keys are joined by colons." if "." in key else "A new key goes into the file."}'
            )
        if depth < len(keys) - 1:
            place = place[key]
    try:
        place[keys[-1]] = (
            None if text.strip().lower() == 'none' else yaml.load(text, Loader=OptionLoader)
        )
    except yaml.YAMLError:
        raise UserError(f'--force_yml: {entry!r}: the value is not YAML.') from None


def network_option(name: str | None) -> dict | None:
    """`network_g` of the option file that a command's `-opt` names; None without one.

    Raises:
        UserError: The file is not there, or has no network_g.
    """
    if name is None:
        return None
    path = require_option_file(name)
    opt = load_options(path)
    if 'network_g' not in opt:
        raise UserError(f'-opt: {path} has no network_g.')
    return opt['network_g']
