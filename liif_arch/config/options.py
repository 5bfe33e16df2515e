"""Option files: finding them, reading them safely, and the options that BasicSR's pipelines run
with.

`parse_options` takes the place of BasicSR's function of that name (same flags, same result). It
mends: an unsafe YAML loader, `1e-4` read as a string, `--force_yml` through exec and eval, and
paths that were only looked at after the previous experiment had been renamed.
"""

import argparse
import multiprocessing
import os
import random
import re
import sys
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from liif_arch.config.plugins import option_files, yaml_files
from liif_arch.config.similar_options import similar_options, stem_of
from liif_arch.errors import UserError, suggest

if TYPE_CHECKING:
    from liif_arch.config.option_check import Problems


MOST_WORKERS = 8  # of `num_worker_per_gpu: auto`
MOST_NAME = 200  # bytes; a file system holds 255, and logs and archived runs add some


class OptionLoader(yaml.SafeLoader):
    """YAML without Python tags, with ordered mappings, floats as in YAML 1.2 (1e-4), and no key
    twice.
    """


def _mapping(loader: OptionLoader, node: yaml.MappingNode) -> OrderedDict:
    seen = set()
    for key_node, _ in node.value:  # before "<<" brings in keys that this mapping may override
        if not isinstance(key_node, yaml.ScalarNode) or key_node.value in seen:
            problem = (
                f'key "{key_node.value}" stands twice'
                if isinstance(key_node, yaml.ScalarNode)
                else 'not a key'
            )
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


def shipped_options() -> dict[str, Path]:
    """Option files inside this package and other installed plugins, by name without extension; ours
    come first.
    """
    own = yaml_files('liif_arch.options')
    return own | {name: path for name, path in option_files().items() if name not in own}


def find_option_file(name: str, folder: Path | None = None) -> Path:
    """An option file by its path, or a shipped one by its name (`quickstart`,
    `options/quickstart.yml`).

    Args:
        name: What was asked for.
        folder: Where an error looks for similar names; None: where the path leads from here.

    Raises:
        UserError: Neither; suggests the nearest files beside it and the nearest shipped name.
    """
    path = Path(name).expanduser()
    if path.is_file():
        return path
    shipped = shipped_options()
    stem = stem_of(path.name)
    if stem in shipped and str(path.parent) in ('.', 'options'):
        return shipped[stem]
    beside = path if folder is None else folder / path
    hint = similar_options(beside, shipped)
    raise UserError(
        f'-opt: found {name}, which is neither a file nor a shipped option file; {hint}'
    )


def require_option_file(name: str) -> Path:
    """`find_option_file` for a command's `-opt`.

    Where a path was given and a shipped file is used, a line says so.
    """
    path = find_option_file(name)
    by_path = name != stem_of(name) or os.sep in name
    if by_path and not Path(name).expanduser().is_file() and 'RANK' not in os.environ:
        print(f'-opt {name}: not here; using the one that ships ({path})', file=sys.stderr)
    return path


def read_yaml(text: str, name: str) -> OrderedDict:
    """Parse an option file's text.

    Raises:
        UserError: Not YAML, a Python tag, a key twice, or not a mapping; says where.
    """
    try:
        opt = yaml.load(text, Loader=OptionLoader)  # a SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, 'problem_mark', None)
        place = f', line {mark.line + 1}, column {mark.column + 1}' if mark else ''
        problem = getattr(error, 'problem', None) or str(error).splitlines()[0]
        raise UserError(f'{name}{place}: {problem}.') from None
    if not isinstance(opt, dict):
        raise UserError(
            f'{name}: found {type(opt).__name__ if opt is not None else "nothing"}; needed "key: '
            'value".'
        )
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
    beside = path.parent / str(name)
    try:
        base = beside if beside.is_file() else find_option_file(str(name), path.parent)
    except UserError as error:
        raise UserError(f'{path}: _base_{str(error).removeprefix("-opt")}') from None
    if base.resolve() in [p.resolve() for p in (path, *children)]:
        raise UserError(f'{path}: _base_: {name} leads back to this file.')
    return merge(load_options(base, (path, *children)), opt)


def merge(base: OrderedDict, changes: Mapping) -> OrderedDict:
    """`base` with `changes`: mappings are merged key by key, others are replaced.

    A mapping that says `_delete_: true`, or another `type`, whose options would not be the base's,
    is replaced too.
    """
    for key, value in changes.items():
        if isinstance(value, Mapping):
            keep = base.get(key) if isinstance(base.get(key), Mapping) else OrderedDict()
            if value.pop('_delete_', False) or (
                'type' in value and value['type'] != keep.get('type', value['type'])
            ):
                keep = OrderedDict()
            base[key] = merge(keep, value)
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


def build_parser(command: str) -> argparse.ArgumentParser:
    """The flags of BasicSR's own parser, for `basicsr train` and `basicsr test`."""
    parser = argparse.ArgumentParser(
        prog=f'basicsr {command}',
        allow_abbrev=False,
        description={
            'train': "Train a model with BasicSR's train_pipeline; this folder is the root.",
            'test': "Test a model with BasicSR's test_pipeline; the current directory is the root.",
        }[command],
    )
    parser.add_argument(
        '-opt', required=True, metavar='FILE', help='option file, or the name of a shipped one'
    )
    parser.add_argument(
        '--launcher', choices=['none', 'pytorch', 'slurm'], default='none', help='job launcher'
    )
    parser.add_argument(
        '--auto_resume', action='store_true', help='continue from the newest training state, if any'
    )
    parser.add_argument(
        '--debug', action='store_true', help='validate, save and log every few iterations'
    )
    parser.add_argument(
        '--local_rank', '--local-rank', type=int, default=0, help='set by launchers'
    )
    parser.add_argument(
        '--nproc', type=int, metavar='N', help='start N processes, one a GPU, or on CPUs'
    )
    parser.add_argument(
        '--max_restarts',
        type=int,
        default=0,
        metavar='N',
        help='with --nproc: start processes that died again, up to N times',
    )
    parser.add_argument(
        '--force_yml',
        nargs='+',
        default=None,
        metavar='KEY:KEY=VALUE',
        help='change options, for instance train:total_iter=1000',
    )
    return parser


def parse_options(
    root_path: str, is_train: bool = True, problems: 'Problems | None' = None
) -> tuple[OrderedDict, argparse.Namespace]:
    """Options from the command line and the option file, as BasicSR's `parse_options` returns them.

    Raises:
        UserError: The file cannot be used; nothing has been created or moved.
    """
    import torch
    from basicsr.utils import set_random_seed
    from basicsr.utils.dist_util import get_dist_info, init_dist

    from liif_arch.config.option_check import Problems, check_options

    args = build_parser('train' if is_train else 'test').parse_args()
    args.opt = str(find_option_file(args.opt))
    opt = load_options(Path(args.opt))
    for entry in args.force_yml or []:
        force_option(opt, entry)
    if not is_train:
        _test_of_training_options(opt, root_path)
    found = Problems() if problems is None else problems
    found.name = args.opt
    check_options(opt, is_train, found)
    _check_run(opt, found, args.launcher)
    if problems is None or any(
        p.place in ('name', 'num_gpu', 'manual_seed', 'logger', 'val') for p in found
    ):
        found.raise_any()
    opt.setdefault('val', None)

    opt['dist'] = args.launcher != 'none'
    if args.launcher == 'pytorch' and 'RANK' not in os.environ:
        raise UserError(
            '--launcher pytorch: start it with torchrun: torchrun --nproc_per_node=N -m '
            'liif_arch.cli '
            'train -opt FILE --launcher pytorch.'
        )
    if opt['dist']:
        if (
            'fork' in multiprocessing.get_all_start_methods()
            and not multiprocessing.get_start_method(allow_none=True)
        ):
            multiprocessing.set_start_method(
                'fork'
            )  # BasicSR would spawn data workers, which takes long
        here = int(os.environ.get('LOCAL_WORLD_SIZE', 1))
        if opt['num_gpu'] != 0 and 0 < torch.cuda.device_count() < here:
            raise UserError(
                f'{here} processes share {torch.cuda.device_count()} GPUs; start as many as there '
                'are, or '
                'set num_gpu: 0.'
            )
        port = (opt.get('dist_params') or {}).get('port') if args.launcher == 'slurm' else None
        init_dist(
            args.launcher,
            'gloo' if opt['num_gpu'] == 0 else 'nccl',
            **({} if port is None else {'port': port}),
        )
    opt['rank'], opt['world_size'] = get_dist_info()
    if opt.get('deterministic', False):
        os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')  # what cuBLAS needs for it
        torch.use_deterministic_algorithms(True)
    if opt.get('manual_seed') is None:
        opt['manual_seed'], opt['manual_seed_drawn'] = random.randint(1, 10000), True
    set_random_seed(opt['manual_seed'] + opt['rank'])

    restarted = (
        int(os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)) > 0
    )  # by torchrun --max-restarts
    opt['auto_resume'], opt['is_train'] = args.auto_resume or restarted, is_train
    if args.debug and not opt['name'].startswith('debug'):
        opt['name'] = 'debug_' + opt['name']
    if opt['num_gpu'] == 'auto':
        opt['num_gpu'] = torch.cuda.device_count()
    if is_train:
        opt['logger'].setdefault('use_tb_logger', False)
    elif opt['val'] is not None:
        opt['val'].setdefault('suffix', None)
    _complete_datasets(opt)
    _complete_paths(opt, root_path)
    if is_train and 'debug' in opt['name']:
        if opt.get('val'):
            opt['val']['val_freq'] = 8
        opt['logger']['print_freq'] = 1
        opt['logger']['save_checkpoint_freq'] = 8
    del args.nproc, args.max_restarts  # BasicSR's parser has none
    return opt, args


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


def _test_of_training_options(opt: dict, root_path: str) -> None:
    """Let a training's option file test what it trained: its validation sets, and its own last
    weights.
    """
    datasets = opt.get('datasets')
    if isinstance(datasets, dict) and 'train' in datasets and len(datasets) > 1:
        del datasets['train']
        weights = os.path.join(
            root_path, 'experiments', str(opt.get('name')), 'models', 'net_g_latest.pth'
        )
        path = opt.setdefault('path', OrderedDict())
        if (
            isinstance(path, dict)
            and not path.get('pretrain_network_g')
            and os.path.isfile(weights)
        ):
            path.update(
                pretrain_network_g=weights, param_key_g='params_ema'
            )  # falls back to params


def _check_run(opt: dict, problems: 'Problems', launcher: str) -> None:
    """What of the file's own keys is more than a type."""
    import torch

    name, num_gpu, there = opt.get('name'), opt.get('num_gpu'), torch.cuda.device_count()
    if isinstance(name, str) and len(name.encode()) > MOST_NAME:
        problems.add(
            'name',
            f'name: found {name[:20]!r}... of {len(name.encode())} bytes; it names a '
            f'folder: at most {MOST_NAME}.',
        )
    elif isinstance(name, str) and (name in ('.', '..') or not re.fullmatch(r'[\w .+=@-]+', name)):
        problems.add(
            'name',
            f'name: found {name!r}; it names a folder: letters, digits, spaces, and . _ - + = @.',
        )
    if num_gpu != 'auto' and (not isinstance(num_gpu, int) or num_gpu < 0):
        problems.add('num_gpu', f'num_gpu: found {num_gpu!r}; needed auto or a number of GPUs.')
    elif (
        num_gpu != 'auto' and num_gpu > there and launcher == 'none'
    ):  # else BasicSR asks only whether it is 0
        problems.add(
            'num_gpu', f'num_gpu: found {num_gpu}, and this machine has {there}; set num_gpu: auto.'
        )


def _is_addressed(name: object) -> bool:
    """Whether a registered dataset draws its own random numbers, by address."""
    from basicsr.utils.registry import DATASET_REGISTRY

    return getattr(
        dict(iter(DATASET_REGISTRY)).get(name) if isinstance(name, str) else None,
        'addressed',
        False,
    )


def automatic_workers(opt: Mapping) -> int:
    """What `num_worker_per_gpu: auto` comes to: this process's share of the cores, 1 to 8.

    Args:
        opt: Options of the run. Of several GPUs in one process each gets as many from BasicSR.
    """
    has_affinity = hasattr(os, 'sched_getaffinity')
    cores = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    sharing = int(os.environ.get('LOCAL_WORLD_SIZE', 1)) if opt['dist'] else max(1, opt['num_gpu'])
    return max(1, min(MOST_WORKERS, cores // sharing))


def _complete_datasets(opt: dict) -> None:
    for phase, dataset in opt['datasets'].items():
        if dataset.get('num_worker_per_gpu') == 'auto':
            dataset['num_worker_per_gpu'] = automatic_workers(opt)
        if opt['num_gpu'] == 0:  # what only a GPU can use would warn or fail
            dataset.pop('pin_memory', None)
            if dataset.get('prefetch_mode') == 'cuda':
                print(f'datasets.{phase}.prefetch_mode: cuda needs a GPU; using cpu.', flush=True)
                dataset['prefetch_mode'] = 'cpu'
        if dataset.get('prefetch_mode') == 'cpu':
            dataset.pop(
                'persistent_workers', None
            )  # threads of two epochs would share one iterator
            if dataset.get('num_worker_per_gpu') == 0 and not _is_addressed(dataset['type']):
                print(
                    f'datasets.{phase}.prefetch_mode: cpu without workers would draw from the same '
                    'random numbers as '
                    'the model; using none.',
                    flush=True,
                )
                dataset['prefetch_mode'] = None
        if dataset.get('num_worker_per_gpu') == 0:
            dataset.pop('persistent_workers', None)  # torch refuses it without workers
        dataset['phase'] = phase.split('_')[0]
        dataset.setdefault(
            'seed', opt['manual_seed']
        )  # samples are addressed by (seed, epoch, index)
        if 'scale' in opt:
            dataset['scale'] = opt['scale']
        for key in ('dataroot_gt', 'dataroot_lq'):
            if isinstance(dataset.get(key), str):
                dataset[key] = os.path.expanduser(dataset[key])


def _complete_paths(opt: dict, root_path: str) -> None:
    for key, value in opt['path'].items():
        if isinstance(value, str) and ('resume_state' in key or 'pretrain_' in key):
            opt['path'][key] = os.path.expanduser(value)
    kind = 'experiments' if opt['is_train'] else 'results'
    root = os.path.join(root_path, kind, opt['name'])
    opt['path'][f'{kind}_root'] = opt['path']['log'] = root
    opt['path']['visualization'] = os.path.join(root, 'visualization')
    if opt['is_train']:
        opt['path']['models'] = os.path.join(root, 'models')
        opt['path']['training_states'] = os.path.join(root, 'training_states')
