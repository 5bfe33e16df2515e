"""One JSON Schema of option files, for the file at hand, or for every file, as editors want it.

Both are made by the same functions, see `kinds`. `basicsr options --schema` prints the one for
editors, with the names that installed plugins register.
"""

import json
from collections.abc import Iterable, Mapping

from liif_arch.config import registries
from liif_arch.config.fragments import ANY, TEXT, Fragment, maybe
from liif_arch.config.kinds import (
    DATASET,
    EVERY_FILE,
    IO_BACKEND,
    LOSS,
    LOSS_AT_SCALE,
    METRIC_KIND,
    NOT_REGISTERED,
    OPTIMIZER,
    SCHEDULER,
    TRAINING_SET,
    Kind,
    definition,
    encoder_kind,
    lookup,
    mapping,
    network_kind,
    part,
    table_of,
    typed,
)
from liif_arch.config.plugins import load_plugins
from liif_arch.config.sources import EVERYTHING
from liif_arch.config.tables import (
    LOGGER,
    LOSSES,
    NEEDED,
    NEEDED_TEST,
    NEEDED_TRAIN,
    PATH,
    PHASES,
    ROOT,
    TRAIN,
    TRAIN_TYPES,
    VAL,
)

DRAFT = 'http://json-schema.org/draft-07/schema#'
NO_NETWORK = ', which is no network of this file'
METRICS = '"NAME: {type: ...}" of each metric, or ~'
KINDS = (IO_BACKEND, DATASET, TRAINING_SET, OPTIMIZER, SCHEDULER, LOSS, LOSS_AT_SCALE, METRIC_KIND)


def schema_of(opt: dict, is_train: bool) -> Fragment:
    """The schema of the file at hand.

    Args:
        opt: What it holds.
        is_train: Whether it is to train; else it is to test.
    """
    model = registries.models().get(str(opt.get('model_type')))
    return _file_schema(opt, model, is_train)


def schema_for_editors() -> Fragment:
    """The schema of every file: what each model, network, dataset, loss ... of this machine takes.

    A section's missing keys are no errors, since a file with a `_base_` holds changes alone.
    """
    load_plugins()
    schema = _file_schema(EVERY_FILE, None, None)
    cases = []
    for name, model in sorted(registries.models().items()):
        is_it = {'properties': {'model_type': {'const': name}}, 'required': ['model_type']}
        case = _file_schema(EVERY_FILE, model, None)
        cases.append({'if': is_it, 'then': _without_common(case, schema)})
    kinds = (network_kind(EVERY_FILE), encoder_kind(EVERY_FILE), *KINDS)
    return {
        '$schema': DRAFT,
        'title': 'BasicSR option file',
        **schema,
        'allOf': cases,
        'definitions': {kind.label: definition(kind) for kind in kinds},
    }


def text_for_editors() -> str:
    """That schema as a JSON file's text."""
    return json.dumps(schema_for_editors(), indent=1) + '\n'


def _without_common(case: Fragment, schema: Fragment) -> Fragment:
    """A model's schema, where what it shares with the whole schema only names the keys."""
    result = dict(case)
    for part_of_it in ('properties', 'patternProperties'):
        common, own = schema[part_of_it], {}
        for key, fragment in case[part_of_it].items():
            own[key] = fragment
            if fragment == common.get(key):
                own[key] = ANY
        result[part_of_it] = own
    return result


# --------------------------------------------------------------------------------------------------
# Sections


def _file_schema(found: object, model: type | None, is_train: bool | None) -> Fragment:
    """The schema of a file.

    Args:
        found: What the file holds, or `EVERY_FILE`.
        model: The class that `model_type` names; None: it names none.
        is_train: Whether it is to train; None: either.
    """
    own = registries.model_options(model)
    of_file = own.get('', ())
    table = table_of({**ROOT, 'network_*': typed(network_kind(EVERY_FILE), EVERY_FILE)}, of_file)
    table['model_type'] = {'enum': sorted(registries.models()), 'x-unknown': NOT_REGISTERED}
    table['datasets'] = _datasets(part(found, 'datasets'), is_train)
    table['path'] = _path(found, own.get('path', ()))
    table['logger'] = mapping(table_of(LOGGER), needed('logger', is_train))
    if is_train is not False:
        table['train'] = _train(part(found, 'train'), own.get('train', ()), is_train)
    val = _val(part(found, 'val'), own.get('val', ()), model, is_train)
    table['val'] = val
    if is_train is not False:
        table['val'] = maybe(val)
    if found is EVERY_FILE:
        table['_base_'] = TEXT
    else:
        del table['network_*']
        for key in _networks_in(found):
            table[key] = typed(network_kind(found[key]), found[key])
    return mapping(table, needed('', is_train), of_file is EVERYTHING)


def needed(section: str, is_train: bool | None) -> list[str]:
    """The keys of a section that BasicSR's pipelines read without a default; see `_file_schema`."""
    if is_train is None:
        return []
    more = NEEDED_TEST
    if is_train:
        more = NEEDED_TRAIN
    return [*NEEDED.get(section, ()), *more.get(section, ())]


def _networks_in(found: Mapping) -> list[object]:
    """The keys of a file's networks."""
    return [key for key in found if str(key).startswith('network_')]


def _path(found: object, own: Iterable[str]) -> Fragment:
    """Weights: of networks in the file alone; a typo would leave one with its initial weights."""
    table = dict(PATH)
    if found is not EVERY_FILE:
        names = list(dict.fromkeys(['network_g', *map(str, _networks_in(found))]))
        for pattern, fragment in PATH.items():
            if '*' not in pattern:
                continue
            del table[pattern]
            for name in names:
                table[pattern.replace('*', name.removeprefix('network_'))] = fragment
        there = {'enum': list(map(str, _networks_in(found))), 'x-unknown': NO_NETWORK}
        table['ignore_resume_networks'] = {**PATH['ignore_resume_networks'], 'items': there}
    return mapping(table_of(table, own), is_open=own is EVERYTHING)


def _datasets(found: object, is_train: bool | None) -> Fragment:
    """The datasets by phase: `train`, `val`, `val_1`, ..."""
    phases = PHASES[is_train]
    table: dict = {}
    if isinstance(found, dict):
        for key, dataset in found.items():
            if str(key).split('_')[0] in phases:
                table[key] = typed(_kind_of_set(key), dataset)
    fragment = mapping(table, needed('datasets', is_train))
    if found is EVERY_FILE:
        for phase in phases:
            fragment['patternProperties'][f'^{phase}(_.*)?$'] = typed(_kind_of_set(phase), found)
    return {**fragment, 'x-phases': list(phases)}


def _kind_of_set(phase: object) -> Kind:
    if phase == 'train':
        return TRAINING_SET
    return DATASET


def _train(found: object, own: Iterable[str], is_train: bool | None) -> Fragment:
    """What a model trains with: its optimisers, its schedule and its losses."""
    table = table_of(TRAIN, own, TRAIN_TYPES)
    keys: list = []
    if found is EVERY_FILE:
        keys = list(table)
    elif isinstance(found, dict):
        keys = list(found)
    for key in keys:
        value = part(found, key)
        kind = _kind_in_training(str(key), value)
        fragment = lookup(table, key)
        if fragment is None:
            continue
        if kind is None or 'properties' in fragment:  # it says itself what it holds
            table[key] = _with_losses(fragment, value)
        else:
            table[key] = _chosen(kind, fragment, value)
    if found is EVERY_FILE and '*_opt' in table:  # those without a type are no losses
        other = {'type': 'object', 'not': {'required': ['type']}}
        table['*_opt'] = {'anyOf': [*table['*_opt']['anyOf'], other]}
    return mapping(table, needed('train', is_train), own is EVERYTHING)


def _chosen(kind: Kind, fragment: Fragment, value: object) -> Fragment:
    """A fragment, or in its place the keys of the type that a value names."""
    if isinstance(value, dict):
        return typed(kind, value)
    if value is EVERY_FILE:
        return {'anyOf': [typed(kind, value), {'type': 'null'}]}
    return fragment


def _with_losses(fragment: Fragment, found: object) -> Fragment:
    """A fragment in which losses stand under keys of their own (`A_LOSS`), with their keys."""
    properties = {}
    for key, inner in fragment.get('properties', {}).items():
        properties[key] = inner
        if inner.get('x-kind') == 'loss':
            properties[key] = _chosen(LOSS, inner, part(found, key))
    if not properties:
        return fragment
    return {**fragment, 'properties': properties}


def _kind_in_training(key: str, value: object) -> Kind | None:
    """What a key of `train` chooses by a type; None where it chooses nothing."""
    if key == 'scheduler':
        return SCHEDULER
    if key.startswith('optim_'):
        return OPTIMIZER
    if key == 'consistency_opt':
        return LOSS_AT_SCALE
    is_other_loss = key.endswith('_opt') and (
        value is EVERY_FILE or part(value, 'type') is not None
    )
    if key in LOSSES or is_other_loss:
        return LOSS
    return None


def _val(found: object, own: Iterable[str], model: type | None, is_train: bool | None) -> Fragment:
    """Validation; metrics as BasicSR's models take them, or as a model's own table says."""
    table = table_of(VAL, own)
    if not (isinstance(own, Mapping) and 'metrics' in own):
        table['metrics'] = _metrics(part(found, 'metrics'), model)
    return mapping(table, needed('val', is_train), own is EVERYTHING)


def _metrics(found: object, model: type | None) -> Fragment:
    """The metrics of one of BasicSR's models; another one's may be anything."""
    from basicsr.models.sr_model import SRModel

    if isinstance(found, dict):
        metrics = {key: typed(METRIC_KIND, value) for key, value in found.items()}
        return {'type': 'object', 'properties': metrics}
    if model is None or not issubclass(model, SRModel):
        return ANY
    fragment = {'type': ['object', 'null'], 'description': METRICS}
    if found is EVERY_FILE:
        fragment['additionalProperties'] = typed(METRIC_KIND, EVERY_FILE)
    return fragment
