"""Option files against what is known of them: every key, every type, all problems in one list.

What is known comes from tables of BasicSR's keys (below), from the signatures of registered networks, losses, metrics,
optimisers and schedulers, and, for models and datasets of others, from the keys that their source reads. A fragment is
JSON Schema's, so that the same tables make the schema for editors (`option_schema`).
"""
import ast
import difflib
import inspect
import math
import re
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple

import torch
from basicsr.models import lr_scheduler
from basicsr.utils.registry import ARCH_REGISTRY, DATASET_REGISTRY, LOSS_REGISTRY, METRIC_REGISTRY, MODEL_REGISTRY

from liif_arch.errors import UserError, suggest

Fragment = dict
ANY: Fragment = {}
TEXT, FLAG, OBJECT, LIST = ({'type': t} for t in ('string', 'boolean', 'object', 'array'))
WHOLE, COUNT, NUMBER = ({'type': 'integer', 'minimum': 1, 'maximum': 2**31 - 1},
                        {'type': 'integer', 'minimum': 0, 'maximum': 2**31 - 1}, {'type': 'number'})
EVERY = {'type': 'number', 'minimum': 1, 'maximum': 10**12}  # iterations; BasicSR takes 5e3 as well
LARGE = 10**5  # more blocks or channels than this is a slip, whose network would take hours to build
SCALE = {'type': ['number', 'array']}
WORKERS = {'type': ['string', 'integer'], 'pattern': '^auto$', 'minimum': 0, 'maximum': 1024}


def maybe(fragment: Fragment) -> Fragment:
    """The fragment, or null."""
    kinds = fragment.get('type', [])
    return {**fragment, 'type': [*([kinds] if isinstance(kinds, str) else kinds), 'null']}


ROOT = {'name': TEXT, 'model_type': TEXT, 'scale': maybe(SCALE), 'num_gpu': {'type': ['integer', 'string']},
        'manual_seed': maybe(COUNT), 'deterministic': FLAG, 'datasets': OBJECT, 'path': OBJECT, 'train': OBJECT,
        'val': maybe(OBJECT), 'logger': OBJECT, 'dist_params': maybe(OBJECT), 'find_unused_parameters': FLAG}
PATH = {'pretrain_network_*': maybe(TEXT), 'strict_load_*': FLAG, 'param_key_*': maybe(TEXT),
        'resume_state': maybe(TEXT), 'ignore_resume_networks': maybe(LIST)}
TRAIN = {'total_iter': EVERY, 'warmup_iter': {'type': 'number', 'minimum': -1}, 'scheduler': OBJECT}
TRAIN_TYPES = {'ema_decay': {'type': 'number', 'minimum': 0, 'maximum': 1}, 'optim_*': OBJECT, '*_opt': maybe(OBJECT)}
VAL = {'val_freq': EVERY, 'save_img': FLAG, 'suffix': maybe(TEXT), 'pbar': FLAG, 'metrics': ANY}
LOGGER = {'print_freq': EVERY, 'save_checkpoint_freq': EVERY, 'use_tb_logger': FLAG, 'wandb': maybe(OBJECT),
          'keep_checkpoints': maybe(WHOLE)}
WANDB = {'project': maybe(TEXT), 'resume_id': maybe(TEXT)}
LOADER = {'name': TEXT, 'type': TEXT, 'scale': maybe(SCALE), 'seed': COUNT, 'io_backend': OBJECT,
          'batch_size_per_gpu': WHOLE, 'num_worker_per_gpu': WORKERS, 'dataset_enlarge_ratio': WHOLE,
          'prefetch_mode': {'enum': [None, 'cpu', 'cuda']}, 'num_prefetch_queue': {**WHOLE, 'maximum': 1024},
          'pin_memory': FLAG, 'persistent_workers': FLAG, 'on_bad_sample': {'enum': ['raise', 'skip']},
          'most_bad_samples': COUNT, 'use_shuffle': FLAG}  # the last: in BasicSR's files, though nothing reads it
SKIPPING = ('on_bad_sample', 'most_bad_samples')  # of training alone: figures are of all images
METRIC = {'crop_border': COUNT, 'input_order': {'enum': ['HWC', 'CHW']}, 'test_y_channel': FLAG,
          'better': {'enum': ['higher', 'lower']}}
DATASET_TYPES = {  # of keys that several datasets read
    'dataroot_gt': TEXT, 'dataroot_lq': maybe(TEXT), 'meta_info_file': maybe(TEXT), 'filename_tmpl': TEXT,
    'gt_size': WHOLE, 'lq_size': WHOLE, 'num_samples': maybe(WHOLE), 'first_k': maybe(WHOLE), 'cache': FLAG,
    'patch': FLAG, 'use_hflip': FLAG, 'use_rot': FLAG, 'mean': maybe(LIST), 'std': maybe(LIST)}
COMMON = {**ROOT, **PATH, **TRAIN, **VAL, **LOGGER, **LOADER}
NEEDED = ('name', 'model_type', 'num_gpu', 'datasets', 'network_g', 'path')
NEEDED_TRAIN = ('train', 'train:total_iter', 'train:scheduler', 'logger', 'logger:print_freq',
                'logger:save_checkpoint_freq', 'datasets:train', 'datasets:train:batch_size_per_gpu',
                'datasets:train:num_worker_per_gpu')


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
            raise UserError(f'{self.name}: {len(texts)} problems:' + ''.join(f'\n  - {text}' for text in texts))


def check_options(opt: dict, is_train: bool, problems: Problems) -> None:
    """Note everything in an option file that is missing, unknown or of the wrong kind.

    Raises:
        UserError: Where its structure is too broken to look any further.
    """
    _check_needed(opt, is_train, problems)
    own = _own_options(opt.get('model_type'))
    _check_mapping(opt, {**ROOT, 'network_*': OBJECT}, own.get('', ()), 'option file', problems)
    for place, known, kinds in (('path', PATH, {}), ('train', TRAIN, TRAIN_TYPES), ('val', VAL, {}),
                                ('logger', LOGGER, {})):
        if place != 'train' or is_train:
            _check_mapping(opt.get(place), known, own.get(place, ()), place, problems, kinds)
    if not _is_sound(opt, is_train):
        problems.raise_any()
    _check_typed(opt.get('model_type'), MODEL_REGISTRY, 'model_type', problems)
    for key in [k for k in opt if str(k).startswith('network_')]:
        check_network(opt[key], key, problems)
    for phase, dataset in opt['datasets'].items():
        _check_dataset(dataset, f'datasets.{phase}', problems)
    if is_train:
        _check_training(opt['train'], problems)
    metrics = opt['val'].get('metrics') if isinstance(opt.get('val'), dict) else None
    if isinstance(metrics, dict) and not problems.at('val.metrics'):
        for key, metric in metrics.items():
            check_object(metric, METRIC_REGISTRY, f'val.metrics.{key}', problems, METRIC, ('img', 'img2'))


def _is_sound(opt: dict, is_train: bool) -> bool:
    """Whether every section is there, so that what is in it can be looked at."""
    sections = [opt.get(key) for key in ('datasets', 'path', *['train', 'logger'] * is_train)]
    sections += [] if opt.get('val') is None else [opt['val']]
    datasets = opt['datasets'].values() if isinstance(opt.get('datasets'), dict) else []
    return all(isinstance(section, dict) for section in [*sections, *datasets]) and all(
        opt.get(key) is not None for key in NEEDED)


def _check_needed(opt: dict, is_train: bool, problems: Problems) -> None:
    """All keys that BasicSR's pipelines read without a default; missing ones are named together."""
    needed = [*NEEDED, *(NEEDED_TRAIN if is_train else ['val'])]
    if isinstance(opt.get('val'), dict):
        needed += ['val:save_img', *(['val:val_freq'] if is_train else [])]
    if isinstance(opt.get('datasets'), dict):
        for phase in opt['datasets']:
            kinds = ('train', 'val') if is_train else ('test', 'val')
            if str(phase).split('_')[0] not in kinds:
                problems.add(f'datasets.{phase}', f'{problems.name}: datasets: found "{phase}"; needed {kinds[0]} or '
                             f'{kinds[1]}_1, {kinds[1]}_2, ...')
            if isinstance(opt['datasets'][phase], dict):
                needed += [f'datasets:{phase}:{key}' for key in ('name', 'type')]
            else:
                problems.add(f'datasets.{phase}', f'datasets.{phase}: found {_short(opt["datasets"][phase])}; needed '
                             '"name:", "type:" and its options.')
    missing = []
    for path in needed:
        place, section = opt, {}
        for key in path.split(':'):
            section = place if isinstance(place, dict) else {}
            place = section.get(key)
        if place is None and not any(path.startswith(f'{m}:') for m in missing):
            near = difflib.get_close_matches(key, [k for k in map(str, section) if k not in COMMON], n=1, cutoff=0.75)
            if near:  # a problem of that key, which is not looked at again
                problems.add('.'.join([*path.split(':')[:-1], near[0]]),
                             f'{problems.name}: missing {path}; found {near[0]}, did you mean {key}?')
            else:
                missing.append(path)
    problems += [Problem(path.replace(':', '.'), f'{problems.name}: missing {", ".join(missing)}.') for path in missing]


def _own_options(model_type: object) -> Mapping[str, Iterable[str]]:
    """What a model reads beside BasicSR's common keys, by section ('': the file's own keys)."""
    model = registered(MODEL_REGISTRY).get(model_type) if isinstance(model_type, str) else None
    if model is None:
        return dict.fromkeys(('', 'train', 'val', 'path'), EVERYTHING)
    if hasattr(model, 'own_options'):
        return model.own_options
    return dict.fromkeys(('', 'train', 'val', 'path'), keys_read_by(model))


class _Everything:
    def __contains__(self, key: object) -> bool:
        return True

    def __iter__(self):
        return iter(())


EVERYTHING = _Everything()  # of what is not known at all


def _check_mapping(mapping: object, known: Mapping[str, Fragment], own: Iterable[str], place: str, problems: Problems,
                   kinds: Mapping[str, Fragment] = types.MappingProxyType({})) -> None:
    """Keys and types of one section: `known` and `own` are its keys, `kinds` says more of their types."""
    if not isinstance(mapping, dict):
        return  # a missing or wrongly typed section is noted where it stands
    own_kinds = own if isinstance(own, Mapping) else {}
    for key, value in mapping.items():
        where = str(key) if place == 'option file' else f'{place}.{key}'
        fragment = _lookup({**kinds, **known, **own_kinds}, key)
        if _lookup(known, key) is None and key not in own:
            near = suggest(key, [*known, *own])
            if not near.startswith('did you mean'):
                near = suggest(key, [*known, *own_kinds])  # what a stranger's source reads is too much to list
            near = near.replace('*', 'g')  # most often a name for network_g
            problems.add(where, f'{place}: found {key}, which is no option of it; {near}')
        elif fragment and (needed := mismatch(value, fragment)):
            problems.add(where, f'{where}: found {_short(value)}; needed {needed}.')


def _lookup(known: Mapping[str, Fragment], key: object) -> Fragment | None:
    if key in known:
        return known[key]
    return next((f for pattern, f in known.items() if '*' in pattern
                 and re.fullmatch(pattern.replace('*', '.+'), str(key))), None)


def check_network(network: object, place: str, problems: Problems) -> None:
    """A network option, and the encoder in it, which is told its channels and may be tapped."""
    check_object(network, ARCH_REGISTRY, place, problems)
    if isinstance(network, dict) and isinstance(network.get('encoder'), dict):
        from liif_arch.archs.tapped_encoder import given_channels
        encoder = {**given_channels(network['encoder'].get('type'), 3), **network['encoder']}
        check_object(encoder, ARCH_REGISTRY, f'{place}.encoder', problems, {'tap': maybe(TEXT)})


def check_object(found: object, registry, place: str, problems: Problems, more: Mapping[str, Fragment] | None = None,
                 skip: tuple[str, ...] = ()) -> None:
    """`type: NAME` and the keywords of what is registered under that name."""
    if not isinstance(found, dict) or 'type' not in found:
        problems.add(place, f'{place}: found {_short(found)}; needed "type: NAME" and its options.')
        return
    if not _check_typed(found['type'], registry, f'{place}.type', problems):
        return
    function = registered(registry)[found['type']]
    check_keywords(function, {k: v for k, v in found.items() if k != 'type'}, place, problems, more, skip)


def check_keywords(function: Callable, keywords: dict, place: str, problems: Problems,
                   more: Mapping[str, Fragment] | None = None, skip: tuple[str, ...] = ()) -> None:
    """Keywords against a signature: unknown ones, missing ones, and their types as far as it says them."""
    known, required, is_open = signature(function)
    known = {k: f for k, f in {**known, **(more or {})}.items() if k not in skip}
    for key, value in keywords.items():
        if key not in known:
            near = suggest(key, known)
            if not is_open or near.startswith('did you mean'):
                problems.add(f'{place}.{key}', f'{place}: found {key}, which is no option of it; {near}')
        elif known[key] and (needed := mismatch(value, known[key])):
            problems.add(f'{place}.{key}', f'{place}: {key}: found {_short(value)}; needed {needed}.')
    missing = [k for k in required if k not in keywords and k not in skip]
    if missing:
        problems.add(place, f'{place}: missing {", ".join(missing)}.')


def _check_typed(name: object, registry, place: str, problems: Problems) -> bool:
    names = registered(registry)
    if not isinstance(name, str) or name not in names:
        problems.add(place, f'{place}: found {_short(name)}, which no installed plugin registers; '
                            f'{suggest(name, sorted(names))}')
        return False
    return True


def _check_dataset(dataset: dict, place: str, problems: Problems) -> None:
    if 'type' not in dataset or not _check_typed(dataset['type'], DATASET_REGISTRY, f'{place}.type', problems):
        return
    cls = registered(DATASET_REGISTRY)[dataset['type']]
    known = LOADER if place == 'datasets.train' else {k: v for k, v in LOADER.items() if k not in SKIPPING}
    _check_mapping(dataset, known, dataset_options(cls), place, problems, DATASET_TYPES)


def dataset_options(cls: type) -> Iterable[str]:
    """The options of a dataset's own: what it says it has (`option_names`), or what its source reads."""
    return cls.option_names() if hasattr(cls, 'option_names') else keys_read_by(cls)


def _check_training(train: dict, problems: Problems) -> None:
    for key, value in train.items():
        place = f'train.{key}'
        if not isinstance(value, dict) or problems.at(place):
            continue
        if str(key).startswith('optim_') or key == 'scheduler':
            known = schedulers() if key == 'scheduler' else optimizers()
            name = value.get('type')
            if 'type' not in value:
                problems.add(place, f'{place}: missing type; found {", ".join(map(str, value)) or "nothing"}.')
            elif not isinstance(name, str) or name not in known:
                problems.add(f'{place}.type', f'{place}.type: found {_short(name)}; {suggest(name, known)}')
            else:
                skip = ('optimizer', 'last_epoch') if key == 'scheduler' else ('params', )
                more, keywords = {} if key == 'scheduler' else {'lr': NUMBER}, {**value}
                del keywords['type']
                check_keywords(known[name], keywords, place, problems, more, skip)
                if key != 'scheduler' and 'lr' not in value:
                    problems.add(place, f'{place}: missing lr.')
                elif key != 'scheduler' and not problems.at(place):
                    _try_optimizer(known[name], keywords, place, problems)
        elif str(key).endswith('_opt') and 'type' in value:
            check_object(value, LOSS_REGISTRY, place, problems)
    _check_schedule(train, problems)


def _try_optimizer(optimizer: type, keywords: dict, place: str, problems: Problems) -> None:
    """Build it, and take a step with one parameter."""
    keywords = {k: v for k, v in keywords.items() if k not in ('capturable', 'fused')}  # of GPUs
    parameter = torch.nn.Parameter(torch.zeros(1, 1))
    parameter.grad = torch.ones(1, 1)
    try:
        optimizer([parameter], **keywords).step(*[lambda: 0.0] * (optimizer is torch.optim.LBFGS))
    except (AssertionError, IndexError, OverflowError, RuntimeError, TypeError, ValueError) as error:
        problems.add(place, f'{place}: {optimizer.__name__}: {(str(error) or type(error).__name__).splitlines()[0]}.')


def _check_schedule(train: dict, problems: Problems) -> None:
    scheduler, total = train.get('scheduler'), train.get('total_iter')
    if not isinstance(scheduler, dict) or problems.at('train.scheduler') or problems.at('train.total_iter'):
        return
    periods, weights = scheduler.get('periods'), scheduler.get('restart_weights')
    for key in ('periods', 'milestones', 'restart_weights'):
        values = scheduler.get(key)
        if values is not None and not (isinstance(values, (list, tuple)) and all(map(_is_number, values))):
            problems.add(f'train.scheduler.{key}', f'train.scheduler.{key}: found {_short(values)}; needed numbers.')
            return
    if periods is not None and sum(periods) < total:
        problems.add('train.scheduler.periods', f'train.scheduler.periods: found {periods}, {sum(periods):g} '
                     f'iterations in all, and train.total_iter is {total:g}: the run would stop there. Add a period.')
    if scheduler.get('type') == 'CosineAnnealingRestartLR' and weights is not None and len(weights) != len(periods):
        problems.add('train.scheduler.restart_weights', f'train.scheduler.restart_weights: found {len(weights)}, and '
                     f'{len(periods)} periods; needed one each.')


def optimizers() -> dict[str, type]:
    """The optimisers of torch.optim, by name."""
    return {name: value for name, value in vars(torch.optim).items()
            if isinstance(value, type) and issubclass(value, torch.optim.Optimizer) and name != 'Optimizer'}


def schedulers() -> dict[str, type]:
    """The schedulers that BasicSR builds, by name."""
    return {'MultiStepLR': lr_scheduler.MultiStepRestartLR, 'MultiStepRestartLR': lr_scheduler.MultiStepRestartLR,
            'CosineAnnealingRestartLR': lr_scheduler.CosineAnnealingRestartLR}


def registered(registry) -> dict[str, object]:
    """What a registry holds, by the names that options use."""
    return {name.removesuffix('_basicsr'): value for name, value in iter(registry)}


# ---------------------------------------------------------------------------------------------------------------------
# Values, signatures and sources


def mismatch(value: object, fragment: Fragment) -> str | None:
    """What a fragment needs, where a value is something else."""
    kinds = fragment.get('type', [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if 'enum' in fragment:
        allowed = fragment['enum']
        if any(value == a and type(value) is type(a) for a in allowed):
            return None
        near = suggest(value, [a for a in allowed if a is not None])
        return f'one of {", ".join("~" if a is None else str(a) for a in allowed)}' + (
            f' ({near})' if near.startswith('did you mean') else '')
    if not kinds:
        return None
    low, high = fragment.get('minimum', -math.inf), fragment.get('maximum', math.inf)
    if any(_is_kind(value, kind) for kind in kinds):
        inside = not _is_number(value) or low <= value <= high
        if isinstance(value, str):
            inside = re.search(fragment.get('pattern', ''), value) is not None
        items = [] if not isinstance(value, (list, tuple)) else [mismatch(v, fragment.get('items', ANY)) for v in value]
        if inside and not any(items):
            return None
        if any(items):
            return f'a list, each {next(filter(None, items))}'
    text = fragment.get('pattern', 'text').strip('^$')  # the pattern of a word is that word
    words = {'string': text, 'boolean': 'true or false', 'object': 'keys and values', 'array': 'a list', 'null': '~',
             'integer': 'a whole number', 'number': 'a number'}
    limits = [f'of at least {low:g}'] * (low > -math.inf) + [f'at most {high:g}'] * (high < math.inf)
    return ' '.join([' or '.join(words[k] for k in kinds), ' and '.join(limits)]).strip()


def _is_kind(value: object, kind: str) -> bool:
    if kind == 'number':
        return _is_number(value)
    if kind == 'integer':
        return isinstance(value, int) and _is_number(value)
    python = {'string': str, 'boolean': bool, 'object': dict, 'array': (list, tuple), 'null': type(None)}
    return isinstance(value, python[kind])


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 2**63  # NaN is not


def _short(value: object) -> str:
    text = repr(dict(value) if isinstance(value, dict) else value)
    return text if len(text) <= 60 else f'{text[:57]}...'


@lru_cache(maxsize=256)
def signature(function: Callable) -> tuple[dict[str, Fragment], tuple[str, ...], bool]:
    """Keywords of a class or function with their fragments, those without a default, and whether any other passes."""
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
        parts = [fragment_of(a) for a in arguments]
        kinds = [k for p in parts for k in ([p['type']] if isinstance(p.get('type'), str) else p.get('type', []))]
        items = next((p['items'] for p in parts if 'items' in p), None)
        return {'type': list(dict.fromkeys(kinds)), **({'items': items} if items else {})} if kinds else ANY
    if isinstance(hint, type) and issubclass(hint, torch.nn.Module):
        return ANY
    base = origin or hint
    if isinstance(base, type) and issubclass(base, (list, tuple, typing.Sequence)) and not issubclass(base, str):
        items = fragment_of(arguments[0]) if arguments else ANY
        return {'type': 'array', **({'items': items} if items else {})}
    if isinstance(base, type) and issubclass(base, (dict, Mapping)):
        return OBJECT
    plain = {int: {'type': 'integer', 'maximum': LARGE}, float: NUMBER, bool: FLAG, str: TEXT,
             type(None): {'type': 'null'}}
    return plain.get(hint, ANY) if isinstance(hint, type) else ANY


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
def keys_read_by(cls: type) -> frozenset[str]:
    """Every key that the source of a class and its bases reads: `x['key']`, `x.get('key')`, `'key' in x`."""
    keys: set[str] = set()
    for base in cls.__mro__:
        module = sys.modules.get(base.__module__)
        if module is None or base.__module__.split('.')[0] in ('builtins', 'torch', 'abc', 'typing'):
            continue
        try:
            tree = ast.parse(inspect.getsource(module))
        except (OSError, TypeError, SyntaxError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Subscript):
                keys |= _texts(node.slice)
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in (
                    'get', 'pop', 'setdefault') and node.args:
                keys |= _texts(node.args[0])
            elif isinstance(node, ast.Compare) and any(isinstance(o, (ast.In, ast.NotIn)) for o in node.ops):
                keys |= _texts(node.left)
    return frozenset(keys)


def _texts(node: ast.AST) -> set[str]:
    return {node.value} if isinstance(node, ast.Constant) and isinstance(node.value, str) else set()
