"""What BasicSR, this package and other plugins have registered, by the names that options use."""

from collections.abc import Iterable, Iterator, Mapping
from importlib.util import find_spec

import torch
from torch.optim import Optimizer

from liif_arch.archs import MODULES, is_own, own_network
from liif_arch.config.fragments import Fragment
from liif_arch.config.sources import EVERYTHING, keys_read_by
from liif_arch.config.tables import IO_BACKENDS, LOADER, LOGGER, ROOT, TRAIN, VAL

MORE_OPTIMIZERS = (
    'ADOPT',
    'AdEMAMix',
    'AdaBelief',
    'AdamP',
    'Adan',
    'CAME',
    'Lamb',
    'Lion',
    'MARS',
    'Muon',
    'Prodigy',
    'SOAP',
    'ScheduleFreeAdamW',
    'ScheduleFreeRAdam',
    'ScheduleFreeSGD',
    'StableAdamW',
)  # of pytorch_optimizer: those whose training goes on bit for bit from a saved state (tested)
SECTIONS = ('', 'train', 'val', 'path')  # sections in which models read options of their own


def registered(registry: Iterable[tuple[str, object]]) -> dict[str, object]:
    """What a registry holds, by the names that options use, in their order."""
    return {name.removesuffix('_basicsr'): value for name, value in _by_name(registry)}


def _by_name(registry: Iterable[tuple[str, object]]) -> list[tuple[str, object]]:
    return sorted(iter(registry), key=lambda pair: pair[0])


def networks_for(network: object) -> dict[str, object]:
    """The networks that an option `network_g` may name.

    Args:
        network: The option. Of one of this package, with an encoder of this package, no others are
            imported.
    """
    if is_own(network):
        return {name: own_network(name) for name in MODULES}
    from basicsr.utils.registry import ARCH_REGISTRY

    return registered(ARCH_REGISTRY)


def models() -> dict[str, object]:
    """The models."""
    from basicsr.utils.registry import MODEL_REGISTRY

    return registered(MODEL_REGISTRY)


def datasets() -> dict[str, object]:
    """The datasets."""
    from basicsr.utils.registry import DATASET_REGISTRY

    return registered(DATASET_REGISTRY)


def losses() -> dict[str, object]:
    """The losses."""
    from basicsr.utils.registry import LOSS_REGISTRY

    return registered(LOSS_REGISTRY)


def metrics() -> dict[str, object]:
    """The metrics that BasicSR's own models take."""
    from basicsr.utils.registry import METRIC_REGISTRY

    return registered(METRIC_REGISTRY)


def storage_backends() -> dict[str, Mapping[str, Fragment] | None]:
    """The keys of the storage backends of `basicsr.utils.FileClient`; None of those of plugins."""
    from basicsr.utils import FileClient

    return {name: IO_BACKENDS.get(name) for name in FileClient._backends}


def optimizers() -> Mapping[str, type[Optimizer]]:
    """The optimisers of torch.optim, and of pytorch_optimizer where it is installed.

    torch's Muon is not among them: it takes no convolutions.
    """
    return _Optimizers()


class _Optimizers(Mapping[str, type[Optimizer]]):
    """Optimisers by name; pytorch_optimizer, which takes a second, is imported for its own."""

    def __init__(self) -> None:
        self._found = {}
        for name, value in vars(torch.optim).items():
            if isinstance(value, type) and issubclass(value, Optimizer) and value is not Optimizer:
                self._found[name] = value
        self._found.pop('Muon', None)
        self._more = MORE_OPTIMIZERS if find_spec('pytorch_optimizer') is not None else ()

    def __getitem__(self, name: str) -> type[Optimizer]:
        if name in self._more:
            import pytorch_optimizer

            return getattr(pytorch_optimizer, name)
        return self._found[name]

    def __contains__(self, name: object) -> bool:
        return name in self._more or name in self._found

    def __iter__(self) -> Iterator[str]:
        return iter((*self._found, *self._more))

    def __len__(self) -> int:
        return len(self._found) + len(self._more)


def unknown_optimizer() -> str:
    """What to say of the name of an optimiser that is not there."""
    if find_spec('pytorch_optimizer') is not None:
        return ''
    names = ', '.join(MORE_OPTIMIZERS)
    return f" ({names} come with pip install 'basicsr-liif[optim]')"


def schedulers() -> Mapping[str, object]:
    """The schedulers of BasicSR and of this package."""
    from liif_arch.training.schedules import SCHEDULERS

    return SCHEDULERS


def model_options(model: type | None) -> Mapping[str, Iterable[str]]:
    """What a model reads beside BasicSR's common keys, by section ('': the file's own keys).

    Args:
        model: Its class; None: one that is not known, which may read everything.

    Returns:
        Its table `own_options`, or the keys that its source reads.
    """
    if model is None:
        return dict.fromkeys(SECTIONS, EVERYTHING)
    if hasattr(model, 'own_options'):
        return model.own_options
    read = keys_read_by(model)
    own = dict.fromkeys(SECTIONS, read)
    if isinstance(read, frozenset):  # its source does not tell the sections apart
        own['path'] = read - {*ROOT, *TRAIN, *VAL, *LOGGER, *LOADER}
    return own


def unsaved_networks(opt: Mapping) -> tuple[str, ...]:
    """The keys of networks that a run's model neither trains nor saves, such as a teacher.

    Args:
        opt: Options of the run; its model says them as `unsaved_networks`.
    """
    model = models().get(str(opt.get('model_type')))
    return getattr(model, 'unsaved_networks', ())


def one_gpu_a_process(opt: Mapping) -> bool:
    """Whether a run's model trains on several GPUs by a process for each, and not by DataParallel;
    it says so as `one_gpu_a_process`.
    """
    return getattr(models().get(str(opt.get('model_type'))), 'one_gpu_a_process', False)


def dataset_options(dataset: type) -> Iterable[str]:
    """The options of a dataset's own: its table `own_options`, or what its source reads."""
    if hasattr(dataset, 'own_options'):
        return dataset.own_options
    return keys_read_by(dataset)
