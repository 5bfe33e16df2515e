"""What must hold before a run creates or moves anything: its data is looked at, its model is built,
and one step is rehearsed.
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
from liif_arch.config.registries import registered, unsaved_networks
from liif_arch.errors import UserError
from liif_arch.training import datasets, randomness
from liif_arch.training.addressed import SampleSet
from liif_arch.training.checkpoints import StateDict, some
from liif_arch.training.patching import Patch, replaced
from liif_arch.weights import networks

MOST_SAMPLES = 10**8  # of an epoch: its order is drawn at once


def check(opt: dict, problems: Problems | None = None) -> dict[str, StateDict]:
    """Raise where a run with these options would fail; the random state is left as it was.

    The model is built once, and of a training takes a step. Only where that fails, networks and
    their weights are looked at one by one, to say which of them it is.

    Args:
        opt: Options of a run; they are not changed.
        problems: What is known to be wrong already; places that have a problem are not tried.

    Returns:
        The parameters of each network that the model built, by its key in the options, on PyTorch's
        meta device: names and shapes, without values.

    Raises:
        UserError: What was found, what is needed, which key to change, of everything that is wrong.
    """
    problems = Problems() if problems is None else problems
    model = None
    if not problems.at('model_type'):
        model = registered(MODEL_REGISTRY)[opt['model_type']]
    sections = map(problems.at, ('train', 'val', 'path', 'datasets'))
    if hasattr(model, 'check_options') and not any(sections):
        problems.attempt('model', model.check_options, opt)
    _check_run(opt, problems)
    parameters: dict[str, StateDict] = {}
    with randomness.preserved(), silent_logger():
        datasets_built = _build_datasets(opt, problems)
        failure = None
        if not problems:
            try:
                parameters = _check_model(opt, model, datasets_built)
            except UserError as error:
                failure = error
        if problems or failure:
            _check_networks(opt, problems)
        if failure and not problems:
            problems.add('model', str(failure))
    problems.raise_any()
    return parameters


def _check_run(opt: dict, problems: Problems) -> None:
    """What must fit together, and what must be installed."""
    if not opt['is_train'] or problems.at('train') or problems.at('logger'):
        return
    wandb = opt['logger'].get('wandb')
    if not isinstance(wandb, dict) or wandb.get('project') is None:
        return
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

    with replaced([Patch(initialized_logger, 'basicsr', True, 'it would open a log file')]):
        yield


def _check_networks(opt: dict, problems: Problems) -> None:
    """Build each network by itself, and read its weights, to name the one that is at fault."""
    for key in opt:
        if key.startswith('network_') and not problems.at(key):
            problems.attempt(key, _check_network, opt, key, problems)


def _check_network(opt: dict, key: str, problems: Problems) -> None:
    net = _attempt(key, build_network, opt[key])
    weights = opt['path'].get(f'pretrain_{key}')
    is_read = key in unsaved_networks(opt) or not _resumes(opt)
    if weights is None or problems.at('path') or not is_read:
        return
    label = key.removeprefix('network_')
    strict = opt['path'].get(f'strict_load_{label}', True)
    param_key = opt['path'].get(f'param_key_{label}', 'params')
    try:
        networks.load_into(net, weights, strict, param_key, key)
    except UserError as error:
        raise UserError(f'path.pretrain_{key}: {error}') from None


def _resumes(opt: dict) -> bool:
    """Whether a run goes on from a state, and reads its own weights instead of pretrained ones."""
    if not opt['is_train']:
        return False
    if opt['auto_resume']:
        return any(Path(opt['path']['training_states']).glob('*.state'))
    return bool(opt['path'].get('resume_state'))


def _check_model(opt: dict, model: type, built_sets: dict[str, Dataset]) -> dict[str, StateDict]:
    """Build the whole model as BasicSR will, compare it with a sample of each dataset, and let it
    take a step.

    Each of several processes does it by itself, as if it were alone.

    Returns:
        The parameters of its networks, see `check`.
    """
    alone = {**deepcopy(opt), 'dist': False, 'num_gpu': min(opt['num_gpu'], 1)}
    alone['is_rehearsed'] = True  # nothing is written
    if _resumes(opt):
        kept = [f'pretrain_{network}' for network in unsaved_networks(opt)]
        for key in opt['path']:
            if key.startswith('pretrain_') and key not in kept:
                del alone['path'][key]
    built = _attempt(opt['model_type'], model, alone)
    _check_channels(built, built_sets)
    if opt['is_train']:
        _rehearse(opt, built, built_sets['train'])
    return _parameters_of(opt, built)


def _check_channels(built: object, built_sets: dict[str, Dataset]) -> None:
    """Compare the channels of the first network with those of a sample of each dataset."""
    wanted = getattr(getattr(built, 'net_g', None), 'num_in_ch', None)
    if not wanted:
        return
    for phase, dataset in built_sets.items():
        found = _channels(dataset[0])
        if found != wanted:
            raise UserError(
                f'network_g.num_in_ch: found {wanted}, but the images of datasets.{phase} '
                f'have {found} channels; change it (and num_out_ch), or the color of the '
                'dataset.'
            )


def _networks_of(opt: dict, built: object) -> dict[str, torch.nn.Module]:
    """The networks of a model that the options describe, by their keys there."""
    found = {}
    for key in opt:
        if key.startswith('network_'):
            net = getattr(built, key.replace('network_', 'net_'), None)
            if isinstance(net, torch.nn.Module):
                found[key] = net
    return found


def _parameters_of(opt: dict, built: object) -> dict[str, StateDict]:
    """The parameters of a model's networks, without values."""
    found: dict[str, StateDict] = {}
    for key, net in _networks_of(opt, built).items():
        found[key] = {}
        for name, value in net.state_dict().items():
            found[key][name.removeprefix('module.')] = value.to('meta')
    return found


def _rehearse(opt: dict, built: object, dataset: Dataset) -> None:
    """Take a step with a batch of one sample."""
    if hasattr(built, 'queue_size') or (opt['num_gpu'] > 1 and not opt['dist']):
        return  # a queue wants whole batches; DataParallel shares a batch out
    if opt['rank'] == 0:
        print('Rehearsing one step.', flush=True)
    batch = default_collate([dataset[0]] * min(2, opt['datasets']['train']['batch_size_per_gpu']))
    thawed = 1 + int(max(getattr(built, 'frozen', {}).values(), default=0))

    def step() -> None:
        built.feed_data(batch)
        built.optimize_parameters(thawed)  # the first iteration that moves all parameters

    with suppress(torch.OutOfMemoryError):  # the earlier run beside this one, perhaps
        _attempt(f'{opt["model_type"]}, first step', step)
        if opt['dist'] and not opt.get('find_unused_parameters', False):
            _require_gradients(opt, built)


def _require_gradients(opt: dict, built: object) -> None:
    """Raise where DistributedDataParallel would wait for a gradient that a step does not give.

    A network without any gradient took no step, as a discriminator may not at first.
    """
    for key, net in _networks_of(opt, built).items():
        trained, unused = 0, []
        for name, parameter in net.named_parameters():
            trained += parameter.requires_grad
            if parameter.requires_grad and parameter.grad is None:
                unused.append(name)
        if 0 < len(unused) < trained:
            raise UserError(
                f'{len(unused)} of the {trained} parameters of {key} got no gradient in '
                f'a step: {some(unused)}. Several processes would wait for them; set '
                'find_unused_parameters: true, or remove what the network does not use.',
                key='find_unused_parameters',
            )


def _channels(sample: dict) -> int:
    """Channels of a sample's low-resolution image, or of the crop that the device makes it of."""
    if 'crop' in sample:
        return sample['crop'].shape[-1]
    return sample['lq'].shape[-3]


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
        text = str(error).strip() or type(error).__name__
        raise UserError(f'{place}: {text.splitlines()[0]}') from None


def _build_datasets(opt: dict, problems: Problems) -> dict[str, Dataset]:
    """The datasets in which nothing is wrong; of the others it is noted."""
    built = {}
    for phase, dataset_opt in opt['datasets'].items():
        place = f'datasets.{phase}'
        if not problems.at(place):
            built[phase] = problems.attempt(place, _check_dataset, opt, phase, dataset_opt)
    return built


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
    batch = dataset_opt['batch_size_per_gpu']
    if not opt['dist']:  # one process feeds all GPUs
        batch *= max(1, opt['num_gpu'])
    ratio = dataset_opt.get('dataset_enlarge_ratio', 1)
    available = length * ratio // opt['world_size']
    if length * ratio > MOST_SAMPLES:
        raise UserError(
            f'{place}.dataset_enlarge_ratio: found {ratio}, which makes epochs of '
            f'{length * ratio:g} samples; needed {MOST_SAMPLES // length} or less.'
        )
    if batch > available:
        raise UserError(
            f'{place}.batch_size_per_gpu: a batch of {batch} is larger than the set, {length} '
            f'images x dataset_enlarge_ratio {ratio}; lower it, or raise dataset_enlarge_ratio to '
            f'{-(-batch * opt["world_size"] // length)} or more.'
        )
