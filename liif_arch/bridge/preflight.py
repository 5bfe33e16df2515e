"""What must hold before a run creates or moves anything: networks, weights and data are built and looked at once."""
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path

from basicsr.archs import build_network
from basicsr.utils.registry import ARCH_REGISTRY, DATASET_REGISTRY, LOSS_REGISTRY, MODEL_REGISTRY
from torch.utils.data import Dataset

from liif_arch.bridge import networks, randomness
from liif_arch.errors import UserError, missing_path, require_known, require_whole, suggest

SCHEDULERS = ('MultiStepLR', 'MultiStepRestartLR', 'CosineAnnealingRestartLR')


def check(opt: dict) -> None:
    """Raise where a run with these options would fail; the random state is left as it was.

    Raises:
        UserError: What was found, what is needed, which key to change.
    """
    require_known_type(MODEL_REGISTRY, opt['model_type'], 'model_type')
    model = _registered(MODEL_REGISTRY, opt['model_type'])
    if hasattr(model, 'check_options'):
        model.check_options(opt)
    if opt['is_train']:
        _check_training(opt)
    with randomness.preserved(), silent_logger():
        for key in [k for k in opt if k.startswith('network_')]:
            _check_network(opt, key)
        datasets = {phase: _check_dataset(opt, phase, dataset_opt) for phase, dataset_opt in opt['datasets'].items()}
        if not opt['dist']:
            _check_model(opt, model, datasets)


@contextmanager
def silent_logger() -> Iterator[None]:
    """Keep BasicSR's logger, which takes its log file at first use, from being set up before that file exists."""
    from basicsr.utils.logger import initialized_logger
    before = dict(initialized_logger)
    initialized_logger['basicsr'] = True
    try:
        yield
    finally:
        initialized_logger.clear()
        initialized_logger.update(before)


def _check_network(opt: dict, key: str) -> None:
    _check_type(opt[key], key)
    net = _attempt(key, build_network, opt[key])
    weights = opt['path'].get(f'pretrain_{key}')
    if weights is not None:
        label = key.removeprefix('network_')
        try:
            networks.load_into(net, weights, opt['path'].get(f'strict_load_{label}', True),
                                  opt['path'].get(f'param_key_{label}', 'params'))
        except UserError as error:
            raise UserError(f'path.pretrain_{key}: {error}') from None


def _check_training(opt: dict) -> None:
    """Numbers and names that BasicSR reads after it has moved the previous experiment."""
    train, logger, data = opt['train'], opt['logger'], opt['datasets']['train']
    if isinstance(train['total_iter'], float):
        train['total_iter'] = int(train['total_iter'])
    require_whole('train.', total_iter=train['total_iter'])
    for key in ('print_freq', 'save_checkpoint_freq'):
        if isinstance(logger[key], float) and logger[key] >= 1:
            logger[key] = int(logger[key])
        require_whole('logger.', **{key: logger[key]})
    require_whole('datasets.train.', batch_size_per_gpu=data['batch_size_per_gpu'],
                  dataset_enlarge_ratio=data.get('dataset_enlarge_ratio', 1))
    require_whole('datasets.train.', least=0, num_worker_per_gpu=data['num_worker_per_gpu'])
    freq = 1 if opt.get('val') is None else opt['val']['val_freq']
    if not isinstance(freq, (int, float)) or freq < 1:
        raise UserError(f'val.val_freq: found {freq!r}; needed iterations of at least 1.')
    scheduler = train.get('scheduler')
    if isinstance(scheduler, dict):
        require_known([scheduler.get('type')], SCHEDULERS, 'train.scheduler.type')
    for key, value in train.items():
        if isinstance(value, dict) and key.endswith('_opt') and 'type' in value:
            require_known_type(LOSS_REGISTRY, value['type'], f'train.{key}.type')


def _check_model(opt: dict, model: type, datasets: dict[str, Dataset]) -> None:
    """Build the whole model as BasicSR will, and compare its network with a sample of each dataset."""
    built = _attempt(opt['model_type'], model, deepcopy(opt))
    net = getattr(built, 'net_g', None)
    wanted = getattr(getattr(net, 'module', net), 'num_in_ch', None)
    for phase, dataset in datasets.items():
        found = _channels(dataset[0]) if wanted else None
        if found != wanted:
            raise UserError(f'network_g.num_in_ch: found {wanted}, but the images of datasets.{phase} have {found} '
                            'channels; change it (and num_out_ch), or the color of the dataset.')


def _channels(sample: dict) -> int:
    """Channels of a sample's low-resolution image, or of the crop that the device makes it of."""
    return sample['crop'].shape[-1] if 'crop' in sample else sample['lq'].shape[-3]


def _attempt(place: str, build: Callable, *arguments: object) -> object:
    """Call a constructor; what it raises becomes one line that names the place."""
    try:
        return build(*arguments)
    except UserError as error:
        raise UserError(f'{place}{"." if place.startswith("datasets.") else ": "}{error}') from None
    except KeyError as error:
        raise UserError(f'{place}: missing or unknown {error.args[0]!r}.') from None
    except (AssertionError, AttributeError, ImportError, NotImplementedError, OSError, RuntimeError, TypeError,
            ValueError) as error:
        text = str(error).strip().splitlines()
        raise UserError(f'{place}: {text[0] if text else type(error).__name__}') from None


def _check_type(network: dict, place: str) -> None:
    """Types and keywords of a network option and of the encoder inside it."""
    if not isinstance(network, dict) or 'type' not in network:
        raise UserError(f'{place}: found {network!r}; needed "type: NAME" and its options.')
    require_known_type(ARCH_REGISTRY, network['type'], f'{place}.type')
    keywords = {k: v for k, v in network.items() if k != 'type'}
    require_keywords(_registered(ARCH_REGISTRY, network['type']), keywords, place)
    if isinstance(network.get('encoder'), dict):
        _check_type(network['encoder'], f'{place}.encoder')


def _registered(registry, name: str):
    """The registered object, without BasicSR's misleading print."""
    return dict(iter(registry)).get(name) or registry.get(name)


def _check_dataset(opt: dict, phase: str, dataset_opt: dict) -> Dataset:
    """Build one dataset, and look at its size, its batch and its images."""
    place = f'datasets.{phase}'
    require_known_type(DATASET_REGISTRY, dataset_opt['type'], f'{place}.type')
    for key in ('dataroot_gt', 'dataroot_lq'):
        path = dataset_opt.get(key)
        if isinstance(path, str) and '{' not in path and ':' not in path and not Path(path).exists():
            raise UserError(f'{place}.{key}: {path} {missing_path(path)}.')
    dataset = _attempt(place, _registered(DATASET_REGISTRY, dataset_opt['type']), deepcopy(dataset_opt))
    if len(dataset) == 0:
        raise UserError(f'{place}: found no images.')
    if dataset_opt['phase'] == 'train':
        _check_batch(opt, place, dataset_opt, len(dataset))
    if hasattr(dataset, 'verify'):
        dataset.verify()
    return dataset


def _check_batch(opt: dict, place: str, dataset_opt: dict, length: int) -> None:
    batch = dataset_opt['batch_size_per_gpu'] * (1 if opt['dist'] else max(1, opt['num_gpu']))
    ratio = dataset_opt.get('dataset_enlarge_ratio', 1)
    available = length * ratio // opt['world_size']
    if batch > available:
        raise UserError(f'{place}.batch_size_per_gpu: a batch of {batch} is larger than the set, {length} images x '
                        f'dataset_enlarge_ratio {ratio}; lower it, or raise dataset_enlarge_ratio to '
                        f'{-(-batch * opt["world_size"] // length)} or more.')


def require_known_type(registry, name: str, place: str) -> None:
    """Raise UserError, with the nearest registered name, where BasicSR would print a misleading one.

    Raises:
        UserError: `name` is not registered.
    """
    names = [n.removesuffix('_basicsr') for n in registry.keys()]
    if name not in names:
        raise UserError(f'{place}: found {name!r}, which no installed plugin registers; {suggest(name, sorted(names))}')


def require_keywords(function, keywords: dict, place: str) -> None:
    """Raise UserError where a constructor does not take the given options.

    Raises:
        UserError: Unknown or missing keywords.
    """
    parameters = inspect.signature(function).parameters
    names = [n for n, p in parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    if not any(p.kind == p.VAR_KEYWORD for p in parameters.values()):
        require_known(keywords, names, place)
    missing = [n for n in names if parameters[n].default is inspect.Parameter.empty and n not in keywords]
    if missing:
        raise UserError(f'{place}: missing {", ".join(missing)}.')
