"""What must hold before a run creates or moves anything: networks, weights and data are built and
looked at once.
"""

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from copy import deepcopy
from pathlib import Path

import torch
from basicsr.archs import build_network
from basicsr.utils.registry import DATASET_REGISTRY, MODEL_REGISTRY
from torch.utils.data import Dataset, default_collate

from liif_arch.config.check import Problems
from liif_arch.config.registries import registered
from liif_arch.errors import UserError
from liif_arch.training import datasets, randomness
from liif_arch.training.checkpoints import some
from liif_arch.training.samples import SampleSet
from liif_arch.weights import networks

MOST_SAMPLES = 10**8  # of an epoch: its order is drawn at once


def check(opt: dict, problems: Problems | None = None) -> None:
    """Raise where a run with these options would fail; the random state is left as it was.

    Args:
        opt: Options of a run.
        problems: What is known to be wrong already; places that have a problem are not tried.

    Raises:
        UserError: What was found, what is needed, which key to change, of everything that is wrong.
    """
    problems = Problems() if problems is None else problems
    model = None if problems.at('model_type') else registered(MODEL_REGISTRY)[opt['model_type']]
    if hasattr(model, 'check_options') and not any(
        map(problems.at, ('train', 'val', 'path', 'datasets'))
    ):
        problems.attempt('model', model.check_options, opt)
    _check_run(opt, problems)
    with randomness.preserved(), silent_logger():
        for key in [k for k in opt if k.startswith('network_')]:
            if not problems.at(key):
                problems.attempt(key, _check_network, opt, key)
        built = {
            phase: problems.attempt(f'datasets.{phase}', _check_dataset, opt, phase, dataset_opt)
            for phase, dataset_opt in opt['datasets'].items()
            if not problems.at(f'datasets.{phase}')
        }
        if not problems:
            problems.attempt('model', _check_model, opt, model, built)
    problems.raise_any()


def _check_run(opt: dict, problems: Problems) -> None:
    """What must fit together, and what must be installed."""
    if not opt['is_train'] or problems.at('train') or problems.at('logger'):
        return
    train, wandb = opt['train'], opt['logger'].get('wandb')
    train['total_iter'] = int(train['total_iter'])
    for key in ('print_freq', 'save_checkpoint_freq'):
        opt['logger'][key] = int(opt['logger'][key])
    if isinstance(wandb, dict) and wandb.get('project') is not None:
        if importlib.util.find_spec('wandb') is None:
            problems.add(
                'logger.wandb',
                'logger.wandb.project: found a project, and wandb is not installed; '
                'pip install wandb, or set it to ~.',
            )
        elif not opt['logger'].get('use_tb_logger'):
            problems.add('logger.wandb', 'logger.use_tb_logger: wandb needs it; set it to true.')


@contextmanager
def silent_logger() -> Iterator[None]:
    """Keep BasicSR's logger, which takes its log file at first use, from being set up before that
    file exists.
    """
    from basicsr.utils.logger import initialized_logger

    before = dict(initialized_logger)
    initialized_logger['basicsr'] = True
    try:
        yield
    finally:
        initialized_logger.clear()
        initialized_logger.update(before)


def _check_network(opt: dict, key: str) -> None:
    net = _attempt(key, build_network, opt[key])
    weights = None if _resumes(opt) else opt['path'].get(f'pretrain_{key}')
    if weights is not None:
        label = key.removeprefix('network_')
        try:
            networks.load_into(
                net,
                weights,
                opt['path'].get(f'strict_load_{label}', True),
                opt['path'].get(f'param_key_{label}', 'params'),
            )
        except UserError as error:
            raise UserError(f'path.pretrain_{key}: {error}') from None


def _resumes(opt: dict) -> bool:
    """Whether a run goes on from a state, and reads its own weights instead of pretrained ones."""
    if not opt['is_train']:
        return False
    if opt['auto_resume']:
        return any(Path(opt['path']['training_states']).glob('*.state'))
    return bool(opt['path'].get('resume_state'))


def _check_model(opt: dict, model: type, built_sets: dict[str, Dataset]) -> None:
    """Build the whole model as BasicSR will, and compare its network with a sample of each dataset.

    Each of several processes does it by itself, as if it were alone.
    """
    alone = {**deepcopy(opt), 'dist': False, 'num_gpu': min(opt['num_gpu'], 1)}
    if _resumes(opt):
        alone['path'] = {k: v for k, v in alone['path'].items() if not k.startswith('pretrain_')}
    built = _attempt(opt['model_type'], model, alone)
    net = getattr(built, 'net_g', None)
    wanted = getattr(net, 'num_in_ch', None)
    for phase, dataset in built_sets.items():
        found = _channels(dataset[0]) if wanted else None
        if found != wanted:
            raise UserError(
                f'network_g.num_in_ch: found {wanted}, but the images of datasets.{phase} '
                f'have {found} channels; change it (and num_out_ch), or the color of the '
                'dataset.'
            )
    if opt['is_train']:
        _rehearse(opt, built, built_sets['train'])


def _rehearse(opt: dict, built: object, dataset: Dataset) -> None:
    """Take a step with a batch of one sample."""
    if hasattr(built, 'queue_size') or (opt['num_gpu'] > 1 and not opt['dist']):
        return  # a queue wants whole batches; DataParallel shares a batch out
    batch = default_collate([dataset[0]] * min(2, opt['datasets']['train']['batch_size_per_gpu']))

    def step() -> None:
        built.feed_data(batch)
        built.optimize_parameters(1)

    with suppress(torch.OutOfMemoryError):  # the earlier run beside this one, perhaps
        _attempt(f'{opt["model_type"]}, first step', step)
        if opt['dist'] and not opt.get('find_unused_parameters', False):
            _require_gradients(opt, built)


def _require_gradients(opt: dict, built: object) -> None:
    """Raise where DistributedDataParallel would wait for a gradient that a step does not give.

    A network without any gradient took no step, as a discriminator may not at first.
    """
    for key in [k for k in opt if k.startswith('network_')]:
        net = getattr(built, key.replace('network_', 'net_'), None)
        if not isinstance(net, torch.nn.Module):
            continue
        trained = {name: p for name, p in net.named_parameters() if p.requires_grad}
        unused = [name for name, p in trained.items() if p.grad is None]
        if 0 < len(unused) < len(trained):
            raise UserError(
                f'{len(unused)} of the {len(trained)} parameters of {key} got no gradient in '
                f'a step: {some(unused)}. Several processes would wait for them; set '
                'find_unused_parameters: true, or remove what the network does not use.',
                key='find_unused_parameters',
            )


def _channels(sample: dict) -> int:
    """Channels of a sample's low-resolution image, or of the crop that the device makes it of."""
    return sample['crop'].shape[-1] if 'crop' in sample else sample['lq'].shape[-3]


def _attempt(place: str, build: Callable, *arguments: object) -> object:
    """Call a constructor; what it raises becomes one line that names the place."""
    try:
        return build(*arguments)
    except torch.OutOfMemoryError:
        raise
    except UserError as error:
        raise error.within(place) from None
    except KeyError as error:
        raise UserError(f'{place}: missing or unknown {error.args[0]!r}.') from None
    except (
        ArithmeticError,
        AssertionError,
        AttributeError,
        ImportError,
        IndexError,
        MemoryError,
        NotImplementedError,
        OSError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        text = str(error).strip().splitlines()
        raise UserError(f'{place}: {text[0] if text else type(error).__name__}') from None


def _check_dataset(opt: dict, phase: str, dataset_opt: dict) -> Dataset:
    """Build one dataset, and look at its size, its batch and its images."""
    place = f'datasets.{phase}'
    cls = registered(DATASET_REGISTRY)[dataset_opt['type']]
    datasets.check_sources(cls, dataset_opt, place)
    dataset = _attempt(place, cls, deepcopy(dataset_opt))
    if len(dataset) == 0:
        raise UserError(f'{place}: found no images.')
    if dataset_opt['phase'] == 'train':
        _check_batch(opt, place, dataset_opt, len(dataset))
    samples = SampleSet(dataset, dataset_opt)
    if not hasattr(dataset, 'verify'):
        _attempt(place, samples.__getitem__, 0)
    elif not samples.skip:
        dataset.verify()
    return samples


def _check_batch(opt: dict, place: str, dataset_opt: dict, length: int) -> None:
    batch = dataset_opt['batch_size_per_gpu'] * (1 if opt['dist'] else max(1, opt['num_gpu']))
    ratio = dataset_opt.get('dataset_enlarge_ratio', 1)
    available = length * ratio // opt['world_size']
    if length * ratio > MOST_SAMPLES:
        raise UserError(
            f'{place}.dataset_enlarge_ratio: found {ratio}, which makes epochs of '
            f'{length * ratio:g} '
            f'samples; needed {MOST_SAMPLES // length} or less.'
        )
    if batch > available:
        raise UserError(
            f'{place}.batch_size_per_gpu: a batch of {batch} is larger than the set, {length} '
            'images x '
            f'dataset_enlarge_ratio {ratio}; lower it, or raise dataset_enlarge_ratio to '
            f'{-(-batch * opt["world_size"] // length)} or more.'
        )
