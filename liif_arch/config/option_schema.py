"""The JSON schema of option files, for editors, made of what `option_check` knows;
`options/schema.json` is its text.

python -m liif_arch.config.option_schema > options/schema.json
"""

import json
from collections.abc import Mapping

from basicsr.utils.registry import (
    ARCH_REGISTRY,
    DATASET_REGISTRY,
    LOSS_REGISTRY,
    METRIC_REGISTRY,
    MODEL_REGISTRY,
)

from liif_arch.archs.tapped_encoder import IN_CHANNELS, OUT_CHANNELS
from liif_arch.config import option_check as known
from liif_arch.config.fragments import Fragment, signature
from liif_arch.config.option_check import registered
from liif_arch.config.plugins import load_plugins

OWN = ('liif_arch', 'liif_data', 'basicsr')  # other plugins' names depend on the machine
SUGGESTED = {'type': 'string'}  # beside an enumeration: what plugins bring passes


def schema() -> Fragment:
    """The whole schema: keys that it does not know pass where models read keys of their own, but
    not in LIIFModel's.
    """
    load_plugins()
    model = registered(MODEL_REGISTRY)['LIIFModel'].own_options
    train = {**known.TRAIN, **known.TRAIN_TYPES}
    optimizers = {
        'type': 'object',
        'required': ['type', 'lr'],
        'properties': {'type': known.TEXT, 'lr': known.NUMBER},
    }  # torch.optim's, of any version
    scheduler = {
        'type': 'object',
        'required': ['type'],
        'properties': {'type': {'enum': sorted(known.schedulers())}},
    }
    own = {
        place: section({**table, **model[place]}, closed=True)
        for place, table in (('train', known.TRAIN), ('val', known.VAL))
    }
    return {
        '$schema': 'http://json-schema.org/draft-07/schema#',
        'title': 'BasicSR option file',
        'type': 'object',
        'properties': {
            **known.ROOT,
            '_base_': known.TEXT,
            'model_type': {'anyOf': [{'enum': names(MODEL_REGISTRY)}, SUGGESTED]},
            'datasets': {
                'type': 'object',
                'additionalProperties': False,
                'patternProperties': {'^(train|val|test)': {'$ref': '#/definitions/dataset'}},
            },
            'path': section({**known.PATH, **model['path']}),
            'logger': section(known.LOGGER, closed=True),
            'train': {
                **section(train),
                'properties': {**section(train)['properties'], 'scheduler': scheduler},
                'patternProperties': {
                    '^optim_': optimizers,
                    '_opt$': {'$ref': '#/definitions/loss'},
                },
            },
            'val': {**section(known.VAL), 'type': ['object', 'null']},
        },
        'patternProperties': {'^network_': {'$ref': '#/definitions/network'}},
        'if': {'properties': {'model_type': {'const': 'LIIFModel'}}, 'required': ['model_type']},
        'then': {'properties': {**own, 'val': {**own['val'], 'type': ['object', 'null']}}},
        'definitions': {
            'network': by_type({name: keywords(value) for name, value in members(ARCH_REGISTRY)}),
            'encoder': by_type(
                {
                    name: encoder(value)
                    for name, value in members(ARCH_REGISTRY)
                    if 'encoder' not in signature(value)[0]
                }
            ),
            'loss': {
                **by_type({name: keywords(value) for name, value in members(LOSS_REGISTRY)}),
                'type': ['object', 'null'],
            },
            'metric': by_type({name: keywords(value) for name, value in members(METRIC_REGISTRY)}),
            'io_backend': io_backend(),
            'dataset': by_type({name: dataset(value) for name, value in members(DATASET_REGISTRY)}),
        },
    }


def section(table: Mapping[str, Fragment], closed: bool = False) -> Fragment:
    """A table of keys, of which some are patterns, as a mapping."""
    patterns = {f'^{key.replace("*", ".+")}$': value for key, value in table.items() if '*' in key}
    return {
        'type': 'object',
        'properties': {k: v for k, v in table.items() if '*' not in k},
        'patternProperties': patterns,
        'additionalProperties': not closed,
    }


def members(registry) -> list[tuple[str, object]]:
    """What a registry holds of this package's and BasicSR's."""
    return [
        (name, value)
        for name, value in sorted(registered(registry).items())
        if value.__module__.split('.')[0] in OWN
    ]


def names(registry) -> list[str]:
    """Their names."""
    return [name for name, _ in members(registry)]


def by_type(cases: Mapping[str, Fragment]) -> Fragment:
    """A mapping whose key `type` says which keys it has; a name that is not known passes, since
    plugins bring more.
    """
    return {
        'type': 'object',
        'required': ['type'],
        'properties': {'type': {'anyOf': [{'enum': list(cases)}, SUGGESTED]}},
        'allOf': [
            {'if': {'properties': {'type': {'const': name}}, 'required': ['type']}, 'then': case}
            for name, case in cases.items()
        ],
    }


def keywords(function: object) -> Fragment:
    """A signature as a mapping."""
    parameters, required, is_open = signature(function)
    parameters = {k: v for k, v in parameters.items() if k not in ('img', 'img2')}
    if 'encoder' in parameters:
        parameters['encoder'] = {'anyOf': [{'$ref': '#/definitions/encoder'}, {'type': 'null'}]}
    return {
        'properties': {'type': known.TEXT, **parameters},
        **({'required': [k for k in required if k in parameters]} if required else {}),
        **({} if is_open else {'additionalProperties': False}),
    }


def encoder(cls: type) -> Fragment:
    """A network as another one's encoder, which tells it its channels."""
    own = keywords(cls)
    own['properties']['tap'] = known.maybe(known.TEXT)
    required = [k for k in own.pop('required', []) if k not in (*IN_CHANNELS, *OUT_CHANNELS)]
    return {**own, 'required': required} if required else own


def dataset(cls: type) -> Fragment:
    """A dataset's options: of ours those alone, of BasicSR's more may pass."""
    loader = {**known.LOADER, 'io_backend': {'$ref': '#/definitions/io_backend'}}
    if hasattr(cls, 'own_options'):
        return {'properties': {**cls.own_options, **loader}, 'additionalProperties': False}
    read = known.dataset_options(cls)
    return {'properties': {**{k: v for k, v in known.DATASET_TYPES.items() if k in read}, **loader}}


def io_backend() -> Fragment:
    """Where a dataset of BasicSR reads its files."""
    return by_type(
        {
            name: {'properties': {'type': known.TEXT, **table}, 'additionalProperties': False}
            for name, table in known.IO_BACKENDS.items()
        }
    )


def text() -> str:
    """The schema as the file holds it."""
    return json.dumps(schema(), indent=1) + '\n'


if __name__ == '__main__':
    print(text(), end='')
