"""Command line of `basicsr train` and `test`, and the options that BasicSR's pipelines run with.

`parse_options` takes the place of BasicSR's function of that name (same flags, same result). It
mends: paths that were only looked at after the previous experiment had been renamed. How option
files are read safely is in `read`.
"""

import argparse
import multiprocessing
import os
import random
import re
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from liif_arch.arguments import CommandParser
from liif_arch.config.files import find_option_file
from liif_arch.config.read import force_option, load_options
from liif_arch.errors import UserError

if TYPE_CHECKING:
    from liif_arch.config.check import Problems

MOST_WORKERS = 8  # of `num_worker_per_gpu: auto`
READ_HERE = ('name', 'num_gpu', 'manual_seed', 'logger', 'val')  # keys that parsing goes on with
MOST_NAME = 200  # bytes; a file system holds 255, and logs and archived runs add some


def build_parser(command: str) -> argparse.ArgumentParser:
    """The flags of BasicSR's own parser, for `basicsr train` and `basicsr test`."""
    parser = CommandParser(
        prog=f'basicsr {command}',
        allow_abbrev=False,
        description=(
            f"{command.capitalize()} a model with BasicSR's {command}_pipeline; "
            'the current directory is the root.'
        ),
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
    from basicsr.utils.dist_util import get_dist_info

    from liif_arch.config.check import Problems, check_option_file

    command = 'test'
    if is_train:
        command = 'train'
    args = build_parser(command).parse_args()
    args.opt = str(find_option_file(args.opt))
    opt = load_options(Path(args.opt))
    for entry in args.force_yml or []:
        force_option(opt, entry)
    if not is_train:
        _test_of_training_options(opt, root_path)
    found = problems
    if found is None:
        found = Problems()
    found.name = args.opt
    check_option_file(opt, is_train, found)
    _check_run(opt, found, args.launcher, is_train)
    if problems is None or any(problem.place in READ_HERE for problem in found):
        found.raise_any()
    opt.setdefault('val', None)

    opt['dist'] = args.launcher != 'none'
    if opt['dist']:
        _join_processes(opt, args.launcher)
    opt['rank'], opt['world_size'] = get_dist_info()
    if opt.get('deterministic', False):
        os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')  # what cuBLAS needs for it
        torch.use_deterministic_algorithms(True)
    if opt.get('manual_seed') is None:
        opt['manual_seed'], opt['manual_seed_drawn'] = random.randint(1, 10000), True
    set_random_seed(opt['manual_seed'] + opt['rank'])

    # By torchrun --max-restarts.
    restarted = int(os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)) > 0
    opt['auto_resume'], opt['is_train'] = args.auto_resume or restarted, is_train
    if args.debug and not opt['name'].startswith('debug'):
        opt['name'] = 'debug_' + opt['name']
    if opt['num_gpu'] == 'auto':
        opt['num_gpu'] = _automatic_gpus(opt, command)
    if is_train:
        opt['logger'].setdefault('use_tb_logger', False)
        _complete_counts(opt, found)
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


def _join_processes(opt: dict, launcher: str) -> None:
    """Make this process one of those that a launcher has started.

    Raises:
        UserError: No launcher has, or more processes than there are GPUs.
    """
    import torch
    from basicsr.utils.dist_util import init_dist

    if launcher == 'pytorch' and 'RANK' not in os.environ:
        raise UserError(
            '--launcher pytorch: start it with torchrun: torchrun --nproc_per_node=N -m '
            'liif_arch.cli train -opt FILE --launcher pytorch.'
        )
    is_chosen = multiprocessing.get_start_method(allow_none=True) is not None
    if not is_chosen and 'fork' in multiprocessing.get_all_start_methods():
        # BasicSR would spawn data workers, which takes long.
        multiprocessing.set_start_method('fork')
    here = int(os.environ.get('LOCAL_WORLD_SIZE', 1))
    if opt['num_gpu'] != 0 and 0 < torch.cuda.device_count() < here:
        raise UserError(
            f'{here} processes share {torch.cuda.device_count()} GPUs; start as many as '
            'there are, or set num_gpu: 0.'
        )
    backend = 'nccl'
    if opt['num_gpu'] == 0:
        backend = 'gloo'
    port = (opt.get('dist_params') or {}).get('port')
    if launcher == 'slurm' and port is not None:
        init_dist(launcher, backend, port=port)
    else:
        init_dist(launcher, backend)


def _test_of_training_options(opt: dict, root_path: str) -> None:
    """Let a training's option file test its last weights, on its validation sets."""
    datasets = opt.get('datasets')
    if not isinstance(datasets, dict) or 'train' not in datasets or len(datasets) < 2:
        return
    del datasets['train']
    models = os.path.join(root_path, 'experiments', str(opt.get('name')), 'models')
    weights = os.path.join(models, 'net_g_latest.pth')
    path = opt.setdefault('path', OrderedDict())
    is_given = not isinstance(path, dict) or path.get('pretrain_network_g')
    if not is_given and os.path.isfile(weights):
        path['pretrain_network_g'] = weights
        path['param_key_g'] = 'params_ema'  # BasicSR falls back to params


def _check_run(opt: dict, problems: 'Problems', launcher: str, is_train: bool) -> None:
    """What of the file's own keys is more than a type."""
    import torch

    from liif_arch.config.registries import one_gpu_a_process

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
    elif num_gpu != 'auto' and num_gpu > there and launcher == 'none':
        # With a launcher BasicSR asks only whether it is 0.
        problems.add(
            'num_gpu', f'num_gpu: found {num_gpu}, and this machine has {there}; set num_gpu: auto.'
        )
    elif (
        num_gpu not in ('auto', 0, 1) and is_train and launcher == 'none' and one_gpu_a_process(opt)
    ):
        problems.add(
            'num_gpu',
            f'num_gpu: found {num_gpu} in one process, and {opt["model_type"]} has a process for '
            f'each GPU; set num_gpu: auto, and start it with --nproc {num_gpu}.',
        )


def _automatic_gpus(opt: dict, command: str) -> int:
    """What `num_gpu: auto` comes to.

    All there are; but one for models that train on several by a process for each, where no launcher
    has started more than this one.
    """
    import torch

    from liif_arch.config.registries import one_gpu_a_process

    there = torch.cuda.device_count()
    if opt['dist'] or there < 2 or not one_gpu_a_process(opt):
        return there
    if command == 'train':
        print(f'num_gpu: auto: one of {there} GPUs; --nproc {there} trains on all.', flush=True)
    return 1


def _is_addressed(name: object) -> bool:
    """Whether a registered dataset draws its own random numbers, by address."""
    from basicsr.utils.registry import DATASET_REGISTRY

    if not isinstance(name, str):
        return False
    return getattr(dict(iter(DATASET_REGISTRY)).get(name), 'addressed', False)


def automatic_workers(opt: Mapping) -> int:
    """What `num_worker_per_gpu: auto` comes to: this process's share of the cores, 1 to 8.

    Args:
        opt: Options of the run. Of several GPUs in one process each gets as many from BasicSR.
    """
    cores = os.cpu_count() or 1
    if hasattr(os, 'sched_getaffinity'):
        cores = len(os.sched_getaffinity(0))
    sharing = max(1, opt['num_gpu'])
    if opt['dist']:
        sharing = int(os.environ.get('LOCAL_WORLD_SIZE', 1))
    return max(1, min(MOST_WORKERS, cores // sharing))


def _complete_datasets(opt: dict) -> None:
    """Give every dataset what it and its loader read beside its own options."""
    for phase, dataset in opt['datasets'].items():
        if dataset.get('num_worker_per_gpu') == 'auto':
            dataset['num_worker_per_gpu'] = automatic_workers(opt)
        if opt['num_gpu'] != 0 and phase == 'train':
            # Copies from other memory may wait for the GPU.
            pinned = dataset.setdefault('pin_memory', True)
            if dataset.get('prefetch_mode') == 'cuda' and not pinned:
                print(f'datasets.{phase}.prefetch_mode: cuda needs pin_memory: true.', flush=True)
                dataset['pin_memory'] = True
        if opt['num_gpu'] == 0:  # what only a GPU can use would warn or fail
            dataset.pop('pin_memory', None)
            if dataset.get('prefetch_mode') == 'cuda':
                print(f'datasets.{phase}.prefetch_mode: cuda needs a GPU; using cpu.', flush=True)
                dataset['prefetch_mode'] = 'cpu'
        if dataset.get('prefetch_mode') == 'cpu':
            # Threads of two epochs would share one iterator.
            dataset.pop('persistent_workers', None)
            if dataset.get('num_worker_per_gpu') == 0 and not _is_addressed(dataset['type']):
                print(
                    f'datasets.{phase}.prefetch_mode: cpu without workers would draw from the '
                    'same random numbers as the model; using none.',
                    flush=True,
                )
                dataset['prefetch_mode'] = None
        if dataset.get('num_worker_per_gpu') == 0:
            dataset.pop('persistent_workers', None)  # torch refuses it without workers
        dataset['phase'] = phase.split('_')[0]
        # Samples are addressed by (seed, epoch, index).
        dataset.setdefault('seed', opt['manual_seed'])
        if 'scale' in opt:
            dataset['scale'] = opt['scale']
        for key in ('dataroot_gt', 'dataroot_lq'):
            if isinstance(dataset.get(key), str):
                dataset[key] = os.path.expanduser(dataset[key])


def _complete_counts(opt: dict, problems: 'Problems') -> None:
    """Whole numbers that a file may write as 1e6, as whole numbers."""
    counts = [(opt['train'], 'train', 'total_iter')]
    for key in ('print_freq', 'save_checkpoint_freq'):
        counts.append((opt['logger'], 'logger', key))
    for section, place, key in counts:
        if not problems.at(f'{place}.{key}') and key in section:
            section[key] = int(section[key])


def _complete_paths(opt: dict, root_path: str) -> None:
    """Name the folders that the run writes into."""
    for key, value in opt['path'].items():
        if isinstance(value, str) and ('resume_state' in key or 'pretrain_' in key):
            opt['path'][key] = os.path.expanduser(value)
    kind = 'results'
    if opt['is_train']:
        kind = 'experiments'
    root = os.path.join(root_path, kind, opt['name'])
    opt['path'][f'{kind}_root'] = opt['path']['log'] = root
    opt['path']['visualization'] = os.path.join(root, 'visualization')
    if opt['is_train']:
        opt['path']['models'] = os.path.join(root, 'models')
        opt['path']['training_states'] = os.path.join(root, 'training_states')
