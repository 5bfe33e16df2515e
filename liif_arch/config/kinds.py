"""Kinds of things that an option file chooses by `type: NAME`, and the schema of each one's keys.

Where `type: NAME` decides which keys there are, the schema of a file at hand holds the keys of the
name that stands there, and the schema of `EVERY_FILE` holds the keys of every registered name. Two
annotations are for error messages: `description` says what is needed, and `x-unknown` what to say
of a name that is none of an enumeration.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import NamedTuple

from liif_arch.config import registries
from liif_arch.config.fragments import ANY, NUMBER, TEXT, Fragment, maybe
from liif_arch.config.sources import EVERYTHING, signature
from liif_arch.config.tables import DATASET_TYPES, LOADER, METRIC, SCALE, SKIPPING

EVERY_FILE = object()  # in place of what the file at hand holds: whatever any file may hold
READ: Fragment = {'$comment': "read by the class's source, which does not say what it holds"}
NOT_REGISTERED = ', which no installed plugin registers'
TYPED = '"type: NAME" and its options'


class Kind(NamedTuple):
    """Something that a file chooses by `type: NAME`.

    Args:
        label: Its name among the schema's definitions.
        members: What is registered, by name.
        options: The keys of a member (None: of one that is not known) in a mapping of the file.
        unknown: What to say of an unknown name, before the nearest one is named.
        required: Keys that it needs whatever its type.
        description: What is needed where there is no such mapping.
    """

    label: str
    members: Callable[[], Mapping[str, object]]
    options: Callable[[object, object], Fragment]
    unknown: str = NOT_REGISTERED
    required: tuple[str, ...] = ('type',)
    description: str = TYPED


def part(found: object, key: str) -> object:
    """What a mapping of the file at hand holds under a key; of every file, anything."""
    if found is EVERY_FILE:
        return EVERY_FILE
    if isinstance(found, dict):
        return found.get(key)
    return None


# --------------------------------------------------------------------------------------------------
# Mappings


def table_of(
    known: Mapping[str, Fragment], own: Iterable[str] = (), types: Mapping[str, Fragment] = ANY
) -> dict[str, Fragment]:
    """All keys of a section.

    Args:
        known: BasicSR's keys; one with an asterisk is a pattern.
        own: The keys of a class of its own: a table, or names that its source reads.
        types: What is known of names that several sources read.
    """
    table = {}
    for key in own:
        if '*' not in key:  # a source may hold such a text, which is no pattern of ours
            table[key] = lookup(types, key) or READ
    if own is EVERYTHING:
        table.update(types)
    table.update(known)
    if isinstance(own, Mapping):
        table.update(own)
    return table


def lookup(table: Mapping[str, Fragment], key: object) -> Fragment | None:
    """A key's fragment in a table, by name or by pattern; None where the table has no such key."""
    if key in table:
        return table[key]
    for pattern, fragment in table.items():
        before, asterisk, after = pattern.partition('*')
        long_enough = len(str(key)) > len(before) + len(after)
        if asterisk and long_enough and str(key).startswith(before) and str(key).endswith(after):
            return fragment
    return None


def mapping(
    table: Mapping[str, Fragment], required: Iterable[str] = (), is_open: bool = False
) -> Fragment:
    """A table as a mapping; keys that it does not hold pass if `is_open`."""
    fragment: Fragment = {'type': 'object', 'required': list(required)}
    if not is_open:
        fragment['additionalProperties'] = False
    properties, patterns = {}, {}
    for key, value in table.items():
        if '*' in key:
            patterns[_regular(key)] = value
        else:
            properties[key] = value
    fragment['properties'] = properties
    fragment['patternProperties'] = patterns
    return fragment


def _regular(pattern: str) -> str:
    return f'^{pattern.replace("*", ".+")}$'


def keywords(
    function: Callable,
    more: Mapping[str, Fragment] = ANY,
    skip: Iterable[str] = (),
    required: Iterable[str] = (),
) -> Fragment:
    """The keywords that a class or function takes, as a mapping.

    Args:
        function: Its signature says names, types and defaults.
        more: Keywords that it takes besides, or of which more is known.
        skip: Those that do not come from the option file.
        required: Those of `more` that are needed.
    """
    parameters, without_default, is_open = signature(function)
    kept = {'type': ANY, **parameters, **more}
    for key in skip:
        kept.pop(key, None)
    needed = [key for key in (*without_default, *required) if key in kept]
    fragment = {'type': 'object', 'required': needed}
    if is_open:
        fragment['x-misspelt'] = False  # only names near to a known one are refused
    else:
        fragment['additionalProperties'] = False
    fragment['properties'] = kept
    return fragment


# --------------------------------------------------------------------------------------------------
# Mappings with a type


def typed(kind: Kind, found: object) -> Fragment:
    """`type: NAME` and that name's keys: of the file at hand, or a reference to all of them."""
    if found is EVERY_FILE:
        return {'$ref': f'#/definitions/{kind.label}'}
    members = kind.members()
    name = part(found, 'type')
    member = None
    if isinstance(name, str):
        member = members.get(name)
    return _with_type(kind, members, kind.options(member, found))


def _with_type(kind: Kind, members: Mapping[str, object], options: Fragment) -> Fragment:
    """The keys of one member, and the names that `type` may say."""
    names = {'enum': list(members), 'x-unknown': kind.unknown}
    return {
        'type': 'object',
        'description': kind.description,
        **options,
        'required': list(dict.fromkeys([*kind.required, *options.get('required', ())])),
        'properties': {**options.get('properties', {}), 'type': names},
    }


def definition(kind: Kind) -> Fragment:
    """`type: NAME` and, for every name, its keys."""
    members = kind.members()
    cases = []
    for name, member in sorted(members.items()):
        is_it = {'properties': {'type': {'const': name}}, 'required': ['type']}
        cases.append({'if': is_it, 'then': kind.options(member, EVERY_FILE)})
    return {**_with_type(kind, members, {}), 'allOf': cases}


def network_kind(found: object) -> Kind:
    """A network, and in its options the encoder."""
    members = partial(registries.networks_for, found)
    return Kind('network', members, network_options)


def network_options(cls: type | None, found: object) -> Fragment:
    """A network's keywords, and its encoder's."""
    if cls is None:
        return {}
    fragment = keywords(cls)
    encoder = part(found, 'encoder')
    takes_one = 'encoder' in fragment['properties']
    kind = encoder_kind(found)
    if encoder is EVERY_FILE and takes_one:
        fragment['properties']['encoder'] = {'anyOf': [typed(kind, encoder), {'type': 'null'}]}
    elif isinstance(encoder, dict) and (takes_one or 'x-misspelt' in fragment):
        fragment['properties']['encoder'] = typed(kind, encoder)
    return fragment


def encoder_kind(network: object) -> Kind:
    """The encoder of a network: of this package where the whole network is, else any."""
    return Kind('encoder', partial(registries.networks_for, network), encoder_options)


def encoder_options(cls: type | None, found: object) -> Fragment:
    """A network's keywords where it is an encoder: it is told its channels, and may be tapped."""
    if cls is None:
        return {}
    from liif_arch.archs.tapped_encoder import IN_CHANNELS, OUT_CHANNELS

    fragment = keywords(cls, {'tap': maybe(TEXT)})
    told = (*IN_CHANNELS, *OUT_CHANNELS)
    fragment['required'] = [key for key in fragment['required'] if key not in told]
    return fragment


def _without(table: Mapping[str, Fragment], keys: Iterable[str]) -> dict[str, Fragment]:
    """A table without some of its keys."""
    return {key: fragment for key, fragment in table.items() if key not in keys}


def dataset_options(
    cls: type | None, found: object, loader: Mapping[str, Fragment] = LOADER
) -> Fragment:
    """What a dataset reads, and what its loader reads."""
    own = EVERYTHING
    if cls is not None:
        own = registries.dataset_options(cls)
    if hasattr(cls, 'own_options') and 'scales' in own:
        loader = _without(loader, ['scale'])
    table = table_of(loader, own, DATASET_TYPES)
    storage = part(found, 'io_backend')
    if storage is EVERY_FILE or isinstance(storage, dict):
        table['io_backend'] = typed(IO_BACKEND, storage)
    return mapping(table, is_open=own is EVERYTHING)


def storage_options(table: Mapping[str, Fragment] | None, found: object) -> Fragment:
    """The keys of a storage backend; one of a plugin takes any."""
    if table is None:
        return {}
    return mapping({'type': TEXT, **table})


def keywords_or_any(function: Callable | None, found: object, **more: object) -> Fragment:
    """The keywords of what is registered, where it is known."""
    if function is None:
        return {}
    return keywords(function, **more)


IO_BACKEND = Kind('io_backend', registries.storage_backends, storage_options, unknown='')
DATASET = Kind(
    'dataset',
    registries.datasets,
    partial(dataset_options, loader=_without(LOADER, SKIPPING)),
    required=('name', 'type'),
    description='"name:", "type:" and its options',
)
TRAINING_SET = DATASET._replace(
    label='training_set',
    options=dataset_options,
    required=('name', 'type', 'batch_size_per_gpu', 'num_worker_per_gpu'),
)
OPTIMIZER = Kind(
    'optimizer',
    registries.optimizers,
    partial(keywords_or_any, more={'lr': NUMBER}, skip=('params',), required=('lr',)),
    unknown=registries.unknown_optimizer(),
)
SCHEDULER = Kind(
    'scheduler',
    registries.schedulers,
    partial(keywords_or_any, skip=('optimizer', 'last_epoch')),
    unknown='',
)
LOSS = Kind('loss', registries.losses, keywords_or_any)
LOSS_AT_SCALE = LOSS._replace(
    label='loss_at_scale', options=partial(keywords_or_any, more={'scale': SCALE})
)
METRIC_KIND = Kind(
    'metric', registries.metrics, partial(keywords_or_any, more=METRIC, skip=('img', 'img2'))
)
