"""Option files against what is known of them: every key, every type, all problems in one list.

What is known comes from tables of BasicSR's keys (below), from the signatures of registered
networks, losses, metrics, optimisers and schedulers, and, for models and datasets of others, from
the keys that their source reads. A fragment is JSON Schema's, so that the same tables make the
schema for editors (`option_schema`).
"""

import difflib
import re
import types
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import torch

from liif_arch.archs import MODULES, is_own, own_network
from liif_arch.config.fragments import (
    ANY,
    COUNT,
    EVERYTHING,
    FLAG,
    LIST,
    NUMBER,
    OBJECT,
    TEXT,
    WHOLE,
    Fragment,
    closed,
    is_number,
    keys_read_by,
    maybe,
    mismatch,
    short,
    signature,
)
from liif_arch.errors import UserError, suggest

EVERY = {'type': 'number', 'minimum': 1, 'maximum': 10**12}  # iterations; BasicSR takes 5e3 as well
SCALE = {'type': ['number', 'array']}
WANDB = closed({'project': maybe(TEXT), 'resume_id': maybe(TEXT)})
DIST_PARAMS = closed(
    {
        'backend': {'enum': ['nccl', 'gloo', 'mpi']},
        'port': {'type': 'integer', 'minimum': 1, 'maximum': 65535},
    }
)
IO_BACKENDS = {  # what `basicsr.utils.FileClient` and its backends take, by type
    'disk': {},
    'lmdb': {
        'db_paths': {'type': ['string', 'array']},
        'client_keys': {'type': ['string', 'array']},
        'readonly': FLAG,
        'lock': FLAG,
        'readahead': FLAG,
    },
    'memcached': {'server_list_cfg': TEXT, 'client_cfg': TEXT, 'sys_path': maybe(TEXT)},
}
WORKERS = {'type': ['string', 'integer'], 'pattern': '^auto$', 'minimum': 0, 'maximum': 1024}
ROOT = {
    'name': TEXT,
    'model_type': TEXT,
    'scale': maybe(SCALE),
    'num_gpu': {'type': ['integer', 'string']},
    'manual_seed': maybe(COUNT),
    'deterministic': FLAG,
    'datasets': OBJECT,
    'path': OBJECT,
    'train': OBJECT,
    'val': maybe(OBJECT),
    'logger': OBJECT,
    'dist_params': maybe(DIST_PARAMS),
    'find_unused_parameters': FLAG,
}
PATH = {
    'pretrain_network_*': maybe(TEXT),
    'strict_load_*': FLAG,
    'param_key_*': maybe(TEXT),
    'resume_state': maybe(TEXT),
    'ignore_resume_networks': maybe(LIST),
}
TRAIN = {'total_iter': EVERY, 'warmup_iter': {'type': 'number', 'minimum': -1}, 'scheduler': OBJECT}
TRAIN_TYPES = {
    'ema_decay': {'type': 'number', 'minimum': 0, 'maximum': 1},
    'optim_*': OBJECT,
    '*_opt': maybe(OBJECT),
}
LOSSES = ('pixel_opt', 'perceptual_opt', 'gan_opt', 'ldl_opt', 'feature_matching_opt')  # BasicSR's
VAL = {'val_freq': EVERY, 'save_img': FLAG, 'suffix': maybe(TEXT), 'pbar': FLAG, 'metrics': ANY}
LOGGER = {
    'print_freq': EVERY,
    'save_checkpoint_freq': EVERY,
    'use_tb_logger': FLAG,
    'wandb': maybe(WANDB),
    'keep_checkpoints': maybe(WHOLE),
}
LOADER = {
    'name': TEXT,
    'type': TEXT,
    'scale': maybe(SCALE),
    'seed': COUNT,
    'io_backend': OBJECT,
    'batch_size_per_gpu': WHOLE,
    'num_worker_per_gpu': WORKERS,
    'dataset_enlarge_ratio': WHOLE,
    'prefetch_mode': {'enum': [None, 'cpu', 'cuda']},
    'num_prefetch_queue': {**WHOLE, 'maximum': 1024},
    'pin_memory': FLAG,
    'persistent_workers': FLAG,
    'on_bad_sample': {'enum': ['raise', 'skip']},
    'most_bad_samples': COUNT,
    'use_shuffle': FLAG,
}  # the last: in BasicSR's files, though nothing reads it
SKIPPING = ('on_bad_sample', 'most_bad_samples')  # of training alone: figures are of all images
METRIC = {
    'crop_border': COUNT,
    'input_order': {'enum': ['HWC', 'CHW']},
    'test_y_channel': FLAG,
    'better': {'enum': ['higher', 'lower']},
}
DATASET_TYPES = {  # of keys that several datasets read
    'dataroot_gt': TEXT,
    'dataroot_lq': maybe(TEXT),
    'meta_info_file': maybe(TEXT),
    'filename_tmpl': TEXT,
    'gt_size': WHOLE,
    'lq_size': WHOLE,
    'num_samples': maybe(WHOLE),
    'first_k': maybe(WHOLE),
    'cache': FLAG,
    'patch': FLAG,
    'use_hflip': FLAG,
    'use_rot': FLAG,
    'mean': maybe(LIST),
    'std': maybe(LIST),
}
COMMON = {**ROOT, **PATH, **TRAIN, **VAL, **LOGGER, **LOADER}
NEEDED = ('name', 'model_type', 'num_gpu', 'datasets', 'network_g', 'path')
NEEDED_TRAIN = (
    'train',
    'train:total_iter',
    'train:scheduler',
    'logger',
    'logger:print_freq',
    'logger:save_checkpoint_freq',
    'datasets:train',
    'datasets:train:batch_size_per_gpu',
    'datasets:train:num_worker_per_gpu',
)


class Problem(NamedTuple):
    """What is wrong, and where: keys joined by dots."""

    place: str
    text: str


class Problems(list):
    """Problems found so far, in the option file `name`."""

    name = 'options'

    def add(self, place: str, text: str) -> None:
        """Note one, unless the same place has one."""
        if not self.at(place):
            self.append(Problem(place, text))

    def at(self, place: str) -> bool:
        """Whether a place, or something in it, has a problem."""
        return any(p.place == place or p.place.startswith(f'{place}.') for p in self)

    def attempt(self, place: str, function: Callable, *arguments: object) -> object:
        """A function's result; a UserError that it raises is noted, and None returned."""
        try:
            return function(*arguments)
        except UserError as error:
            self.add(place, str(error))
            return None

    def raise_any(self) -> None:
        """Raise all of them as one UserError: a line, or a list."""
        texts = list(dict.fromkeys(p.text for p in self))
        if len(texts) == 1:
            raise UserError(texts[0])
        if texts:
            raise UserError(
                f'{self.name}: {len(texts)} problems:' + ''.join(f'\n  - {text}' for text in texts)
            )


def check_options(opt: dict, is_train: bool, problems: Problems) -> None:
    """Note everything in an option file that is missing, unknown or of the wrong kind.

    Raises:
        UserError: Where its structure is too broken to look any further.
    """
    from basicsr.utils.registry import MODEL_REGISTRY

    _check_needed(opt, is_train, problems)
    own = _own_options(opt.get('model_type'))
    _check_mapping(opt, {**ROOT, 'network_*': OBJECT}, own.get('', ()), 'option file', problems)
    for place, known, kinds in (
        ('path', _path_options(opt), {}),
        ('train', TRAIN, TRAIN_TYPES),
        ('val', VAL, {}),
        ('logger', LOGGER, {}),
    ):
        if place != 'train' or is_train:
            _check_mapping(opt.get(place), known, own.get(place, ()), place, problems, kinds)
    if not _is_sound(opt, is_train):
        problems.raise_any()
    _check_typed(opt.get('model_type'), MODEL_REGISTRY, 'model_type', problems)
    for key in [k for k in opt if str(k).startswith('network_')]:
        check_network(opt[key], key, problems)
    _check_ignored(opt, problems)
    for phase, dataset in opt['datasets'].items():
        _check_dataset(dataset, f'datasets.{phase}', problems)
    if is_train:
        _check_training(opt['train'], problems)
    _check_metrics(opt, own.get('val', ()), problems)


def _check_metrics(opt: dict, own: Iterable[str], problems: Problems) -> None:
    """Metrics as BasicSR's models take them, by name; a model's own table says if it takes
    others.
    """
    from basicsr.models.sr_model import SRModel
    from basicsr.utils.registry import METRIC_REGISTRY, MODEL_REGISTRY

    place = 'val.metrics'
    metrics = opt['val'].get('metrics') if isinstance(opt.get('val'), dict) else None
    if metrics is None or problems.at(place) or (isinstance(own, Mapping) and 'metrics' in own):
        return
    if isinstance(metrics, dict):
        for key, metric in metrics.items():
            check_object(
                metric, METRIC_REGISTRY, f'{place}.{key}', problems, METRIC, ('img', 'img2')
            )
    elif not problems.at('model_type') and issubclass(
        registered(MODEL_REGISTRY)[opt['model_type']], SRModel
    ):
        problems.add(
            place,
            f'{place}: found {short(metrics)}; needed "NAME: {{type: ...}}" of each metric, or ~.',
        )


def _path_options(opt: dict) -> dict[str, Fragment]:
    """`PATH` for the networks of a file: a typo would leave a network with the weights it is
    drawn.
    """
    labels = {'g': None} | {
        str(k).removeprefix('network_'): None for k in opt if str(k).startswith('network_')
    }
    return {key.replace('*', label): fragment for key, fragment in PATH.items() for label in labels}


def _check_ignored(opt: dict, problems: Problems) -> None:
    """The networks that a resumed run is told not to take from beside its state."""
    place, networks = (
        'path.ignore_resume_networks',
        [k for k in opt if str(k).startswith('network_')],
    )
    names = opt['path'].get('ignore_resume_networks')
    for name in names if isinstance(names, list) else []:
        if name not in networks:
            problems.add(
                place,
                f'{place}: found {short(name)}, which is no network of this file; '
                f'{suggest(name, networks)}',
            )


def _is_sound(opt: dict, is_train: bool) -> bool:
    """Whether every section is there, so that what is in it can be looked at."""
    sections = [opt.get(key) for key in ('datasets', 'path', *['train', 'logger'] * is_train)]
    sections += [] if opt.get('val') is None else [opt['val']]
    datasets = opt['datasets'].values() if isinstance(opt.get('datasets'), dict) else []
    return all(isinstance(section, dict) for section in [*sections, *datasets]) and all(
        opt.get(key) is not None for key in NEEDED
    )


def _check_needed(opt: dict, is_train: bool, problems: Problems) -> None:
    """All keys that BasicSR's pipelines read without a default; missing ones are named together."""
    needed = [*NEEDED, *(NEEDED_TRAIN if is_train else ['val'])]
    if isinstance(opt.get('val'), dict):
        needed += ['val:save_img', *(['val:val_freq'] if is_train else [])]
    if isinstance(opt.get('datasets'), dict):
        for phase in opt['datasets']:
            kinds = ('train', 'val') if is_train else ('test', 'val')
            if str(phase).split('_')[0] not in kinds:
                problems.add(
                    f'datasets.{phase}',
                    f'{problems.name}: datasets: found "{phase}"; needed {kinds[0]} or '
                    f'{kinds[1]}_1, {kinds[1]}_2, ...',
                )
            if isinstance(opt['datasets'][phase], dict):
                needed += [f'datasets:{phase}:{key}' for key in ('name', 'type')]
            else:
                problems.add(
                    f'datasets.{phase}',
                    f'datasets.{phase}: found {short(opt["datasets"][phase])}; needed '
                    '"name:", "type:" and its options.',
                )
    missing = []
    for path in needed:
        place, section = opt, {}
        for key in path.split(':'):
            section = place if isinstance(place, dict) else {}
            place = section.get(key)
        if place is None and not any(path.startswith(f'{m}:') for m in missing):
            near = difflib.get_close_matches(
                key, [k for k in map(str, section) if k not in COMMON], n=1, cutoff=0.75
            )
            if near:  # a problem of that key, which is not looked at again
                problems.add(
                    '.'.join([*path.split(':')[:-1], near[0]]),
                    f'{problems.name}: missing {path}; found {near[0]}, did you mean {key}?',
                )
            else:
                missing.append(path)
    problems += [
        Problem(path.replace(':', '.'), f'{problems.name}: missing {", ".join(missing)}.')
        for path in missing
    ]


def _own_options(model_type: object) -> Mapping[str, Iterable[str]]:
    """What a model reads beside BasicSR's common keys, by section ('': the file's own keys)."""
    from basicsr.utils.registry import MODEL_REGISTRY

    model = registered(MODEL_REGISTRY).get(model_type) if isinstance(model_type, str) else None
    if model is None:
        return dict.fromkeys(('', 'train', 'val', 'path'), EVERYTHING)
    if hasattr(model, 'own_options'):
        return model.own_options
    read = keys_read_by(model)
    own = dict.fromkeys(('', 'train', 'val', 'path'), read)
    if isinstance(read, frozenset):  # its source does not tell the sections apart
        own['path'] = read - {*ROOT, *TRAIN, *VAL, *LOGGER, *LOADER}
    return own


def _check_mapping(
    mapping: object,
    known: Mapping[str, Fragment],
    own: Iterable[str],
    place: str,
    problems: Problems,
    kinds: Mapping[str, Fragment] = types.MappingProxyType({}),
) -> None:
    """Keys and types of one section: `known` and `own` are its keys, `kinds` says more of their
    types.
    """
    if not isinstance(mapping, dict):
        return  # a missing or wrongly typed section is noted where it stands
    own_kinds = own if isinstance(own, Mapping) else {}
    for key, value in mapping.items():
        where = str(key) if place == 'option file' else f'{place}.{key}'
        fragment = _lookup({**kinds, **known, **own_kinds}, key)
        if _lookup(known, key) is None and key not in own:
            near = suggest(key, [*known, *own])
            if not near.startswith('did you mean'):  # a stranger's source reads too much to list
                near = suggest(key, [*known, *own_kinds])
            near = near.replace('*', 'g')  # most often a name for network_g
            problems.add(where, f'{place}: found {key}, which is no option of it; {near}')
        elif fragment and (needed := mismatch(value, fragment)):
            problems.add(where, f'{where}: found {short(value)}; needed {needed}.')
        elif fragment and 'properties' in fragment:
            _check_mapping(value, fragment['properties'], (), where, problems)


def _lookup(known: Mapping[str, Fragment], key: object) -> Fragment | None:
    if key in known:
        return known[key]
    return next(
        (
            f
            for pattern, f in known.items()
            if '*' in pattern and re.fullmatch(pattern.replace('*', '.+'), str(key))
        ),
        None,
    )


def check_network(network: object, place: str, problems: Problems) -> None:
    """A network option, and the encoder in it, which is told its channels and may be tapped."""
    networks = _networks_for(network)
    check_object(network, networks, place, problems)
    if isinstance(network, dict) and isinstance(network.get('encoder'), dict):
        from liif_arch.archs.tapped_encoder import given_channels

        encoder = {**given_channels(network['encoder'].get('type'), 3), **network['encoder']}
        check_object(encoder, networks, f'{place}.encoder', problems, {'tap': maybe(TEXT)})


def _networks_for(network: object) -> Iterable[tuple[str, type]]:
    """Names and classes: this package's where no others are asked for, else all of BasicSR's."""
    if is_own(network):
        return [(name, own_network(name)) for name in MODULES]
    from basicsr.utils.registry import ARCH_REGISTRY

    return ARCH_REGISTRY


def check_object(
    found: object,
    registry,
    place: str,
    problems: Problems,
    more: Mapping[str, Fragment] | None = None,
    skip: tuple[str, ...] = (),
) -> None:
    """`type: NAME` and the keywords of what is registered under that name."""
    if not isinstance(found, dict) or 'type' not in found:
        problems.add(place, f'{place}: found {short(found)}; needed "type: NAME" and its options.')
        return
    if not _check_typed(found['type'], registry, f'{place}.type', problems):
        return
    function = registered(registry)[found['type']]
    check_keywords(
        function, {k: v for k, v in found.items() if k != 'type'}, place, problems, more, skip
    )


def check_keywords(
    function: Callable,
    keywords: dict,
    place: str,
    problems: Problems,
    more: Mapping[str, Fragment] | None = None,
    skip: tuple[str, ...] = (),
) -> None:
    """Keywords against a signature: unknown ones, missing ones, and their types as far as it says
    them.
    """
    known, required, is_open = signature(function)
    known = {k: f for k, f in {**known, **(more or {})}.items() if k not in skip}
    for key, value in keywords.items():
        if key not in known:
            near = suggest(key, known)
            if not is_open or near.startswith('did you mean'):
                problems.add(
                    f'{place}.{key}', f'{place}: found {key}, which is no option of it; {near}'
                )
        elif known[key] and (needed := mismatch(value, known[key])):
            problems.add(
                f'{place}.{key}', f'{place}: {key}: found {short(value)}; needed {needed}.'
            )
    missing = [k for k in required if k not in keywords and k not in skip]
    if missing:
        problems.add(place, f'{place}: missing {", ".join(missing)}.')


def _check_typed(name: object, registry, place: str, problems: Problems) -> bool:
    names = registered(registry)
    if not isinstance(name, str) or name not in names:
        problems.add(
            place,
            f'{place}: found {short(name)}, which no installed plugin registers; '
            f'{suggest(name, sorted(names))}',
        )
        return False
    return True


def _check_dataset(dataset: dict, place: str, problems: Problems) -> None:
    from basicsr.utils.registry import DATASET_REGISTRY

    if 'io_backend' in dataset:
        _check_io_backend(dataset['io_backend'], f'{place}.io_backend', problems)
    if 'type' not in dataset or not _check_typed(
        dataset['type'], DATASET_REGISTRY, f'{place}.type', problems
    ):
        return
    cls = registered(DATASET_REGISTRY)[dataset['type']]
    known = (
        LOADER
        if place == 'datasets.train'
        else {k: v for k, v in LOADER.items() if k not in SKIPPING}
    )
    own = dataset_options(cls)
    if 'scale' in dataset and 'scales' in own and hasattr(cls, 'own_options'):
        problems.add(
            f'{place}.scale',
            f'{place}: found scale, which {cls.__name__} does not read; did you mean scales?',
        )
    _check_mapping(dataset, known, own, place, problems, DATASET_TYPES)


def _check_io_backend(found: object, place: str, problems: Problems) -> None:
    """The type of a storage backend, and its keys where that type is BasicSR's."""
    if not isinstance(found, dict):
        return  # noted with the dataset's other options
    from basicsr.utils import FileClient

    backends = list(FileClient._backends)  # plugins may add some
    name = found.get('type')
    if name not in backends:
        problems.add(
            f'{place}.type', f'{place}.type: found {short(name)}; {suggest(name, backends)}'
        )
    elif name in IO_BACKENDS:
        _check_mapping(found, {'type': TEXT, **IO_BACKENDS[name]}, (), place, problems)


def dataset_options(cls: type) -> Iterable[str]:
    """The options of a dataset's own: its table of them (`own_options`), or what its source
    reads.
    """
    return cls.own_options if hasattr(cls, 'own_options') else keys_read_by(cls)


def _check_training(train: dict, problems: Problems) -> None:
    from basicsr.utils.registry import LOSS_REGISTRY

    for key, value in train.items():
        place = f'train.{key}'
        if not isinstance(value, dict) or problems.at(place):
            continue
        if str(key).startswith('optim_') or key == 'scheduler':
            known = schedulers() if key == 'scheduler' else optimizers()
            name = value.get('type')
            if 'type' not in value:
                problems.add(
                    place,
                    f'{place}: missing type; found {", ".join(map(str, value)) or "nothing"}.',
                )
            elif not isinstance(name, str) or name not in known:
                problems.add(
                    f'{place}.type', f'{place}.type: found {short(name)}; {suggest(name, known)}'
                )
            else:
                skip = ('optimizer', 'last_epoch') if key == 'scheduler' else ('params',)
                more, keywords = {} if key == 'scheduler' else {'lr': NUMBER}, {**value}
                del keywords['type']
                check_keywords(known[name], keywords, place, problems, more, skip)
                if key != 'scheduler' and 'lr' not in value:
                    problems.add(place, f'{place}: missing lr.')
                elif key != 'scheduler' and not problems.at(place):
                    _try_optimizer(known[name], keywords, place, problems)
        elif key in LOSSES or (str(key).endswith('_opt') and 'type' in value):
            check_object(value, LOSS_REGISTRY, place, problems)
    _check_schedule(train, problems)


def _try_optimizer(optimizer: type, keywords: dict, place: str, problems: Problems) -> None:
    """Build it, and take a step with one parameter."""
    keywords = {k: v for k, v in keywords.items() if k not in ('capturable', 'fused')}  # of GPUs
    parameter = torch.nn.Parameter(torch.zeros(1, 1))
    parameter.grad = torch.ones(1, 1)
    try:
        optimizer([parameter], **keywords).step(*[lambda: 0.0] * (optimizer is torch.optim.LBFGS))
    except (
        AssertionError,
        IndexError,
        OverflowError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        problems.add(
            place,
            f'{place}: {optimizer.__name__}: '
            f'{(str(error) or type(error).__name__).splitlines()[0]}.',
        )


def _check_schedule(train: dict, problems: Problems) -> None:
    scheduler, total = train.get('scheduler'), train.get('total_iter')
    if (
        not isinstance(scheduler, dict)
        or problems.at('train.scheduler')
        or problems.at('train.total_iter')
    ):
        return
    periods, weights = scheduler.get('periods'), scheduler.get('restart_weights')
    for key in ('periods', 'milestones', 'restart_weights'):
        values = scheduler.get(key, [])
        if not (isinstance(values, (list, tuple)) and all(map(is_number, values))):
            problems.add(
                f'train.scheduler.{key}',
                f'train.scheduler.{key}: found {short(values)}; needed numbers.',
            )
            return
    if periods is not None and is_number(total) and sum(periods) < total:
        problems.add(
            'train.scheduler.periods',
            f'train.scheduler.periods: found {periods}, {sum(periods):g} '
            f'iterations in all, and train.total_iter is {total:g}: the run would stop there. Add '
            'a period.',
        )
    if (
        scheduler.get('type') == 'CosineAnnealingRestartLR'
        and weights is not None
        and len(weights) != len(periods)
    ):
        problems.add(
            'train.scheduler.restart_weights',
            f'train.scheduler.restart_weights: found {len(weights)}, and '
            f'{len(periods)} periods; needed one each.',
        )


def optimizers() -> dict[str, type]:
    """The optimisers of torch.optim, by name."""
    return {
        name: value
        for name, value in vars(torch.optim).items()
        if isinstance(value, type)
        and issubclass(value, torch.optim.Optimizer)
        and name != 'Optimizer'
    }


def schedulers() -> dict[str, type]:
    """The schedulers that BasicSR builds, by name."""
    from basicsr.models import lr_scheduler

    return {
        'MultiStepLR': lr_scheduler.MultiStepRestartLR,
        'MultiStepRestartLR': lr_scheduler.MultiStepRestartLR,
        'CosineAnnealingRestartLR': lr_scheduler.CosineAnnealingRestartLR,
    }


def registered(registry: Iterable[tuple[str, object]]) -> dict[str, object]:
    """What a registry, or pairs like its, holds, by the names that options use."""
    return {name.removesuffix('_basicsr'): value for name, value in iter(registry)}
