"""Checkpoint files: safe loading, whole writing, training states and the way back to them, and what
fits a network.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor, nn

from liif_arch.config.registries import unsaved_networks
from liif_arch.errors import UserError, suggest
from liif_arch.files.atomic import atomic_write
from liif_arch.weights import shipped, weights_path
from liif_arch.weights.one_scale import is_packed, unpacked_checkpoint
from liif_arch.weights.safetensors_files import (
    is_safetensors,
    load_safetensors,
    safetensors_bytes,
)
from liif_arch.weights.thera import read_pickle

StateDict = dict[str, Tensor]


def load_file(path: str | Path) -> dict:
    """Load a checkpoint onto the CPU without executing anything it holds (`weights_only=True`).

    Args:
        path: A file, or the name of weights that ship (see `liif_arch.weights`); a .pkl is one of
            Thera's authors. A .safetensors file has its tensors as `params`.

    Raises:
        UserError: No such file, not a checkpoint, or one that needs code to load.
    """
    try:
        content = _load(weights_path(path))
    except OSError as error:
        if isinstance(error, FileNotFoundError) and re.fullmatch(r'\w+', str(path)):
            raise UserError(
                f'{path}: no such file, and no weights that ship{_trained_beside(path)}: '
                f'{suggest(path, shipped())}'
            ) from None
        raise UserError(
            f'{path}: cannot read these weights ({error.strerror}){_trained_beside(path)}'
            f'{_on_hub(path)}.'
        ) from None
    except UserError:
        raise
    except Exception as error:  # damaged bytes make the unpickler raise anything
        raise UserError(
            f'{path}: not a checkpoint of tensors alone, or cut short ({type(error).__name__}).'
        ) from None
    if not isinstance(content, dict):
        raise UserError(
            f'{path}: found a {type(content).__name__}; needed a checkpoint with named parameters.'
        )
    for parameters in (content, content.get('params')):
        if is_packed(parameters):
            return unpacked_checkpoint(parameters, path)
    return content


def _on_hub(path: str | Path) -> str:
    """Names the repository that was meant, where a path is one's name or address."""
    match = re.fullmatch(r'(?:https?:/+huggingface\.co/)?([\w.-]+/[\w.-]+)', str(path))
    if match is None or match[1].endswith(('.pth', '.safetensors', '.pkl')):
        return ''
    return f'; a repository of the Hugging Face hub is hf:{match[1]}'


def _trained_beside(path: str | Path) -> str:
    """Names the weights of a training whose folder, or whose name, was given in their place."""
    for folder in (Path(path), Path('experiments', path)):
        weights = folder / 'models/net_g_latest.pth'
        if weights.is_file():
            return f'; this training wrote {weights}'
    return ''


# What a checkpoint of MMEngine's runner holds beside tensors: its message hub, of figures it logs.
MESSAGE_HUB = (
    'mmengine.logging.history_buffer.HistoryBuffer',
    'builtins.getattr',
    'numpy.dtype',
    'numpy.ndarray',
    'numpy.core.multiarray.scalar',
    'numpy.core.multiarray._reconstruct',
    'numpy._core.multiarray.scalar',
    'numpy._core.multiarray._reconstruct',
)


class _Ignored:
    """Stands in for what a checkpoint names and nobody reads; does nothing with its arguments."""

    def __new__(cls, *arguments: object) -> '_Ignored':
        return super().__new__(cls)

    def __setstate__(self, state: object) -> None:
        """Forget it."""


def _load(path: str | Path) -> object:
    """A file's content; of MMEngine's checkpoints `state_dict` alone."""
    if str(path).endswith('.pkl'):
        return read_pickle(path)
    if is_safetensors(path):
        return load_safetensors(path)
    try:
        return torch.load(path, map_location='cpu', weights_only=True)
    except UnpicklingError:
        with torch.serialization.safe_globals([(_Ignored, name) for name in MESSAGE_HUB]):
            content = torch.load(path, map_location='cpu', weights_only=True)
        return {'state_dict': content['state_dict']}  # the rest has lost what was ignored


def save_file(content: dict, path: str | Path) -> None:
    """`torch.save`, or a .safetensors file of the weights alone; never leaving a partial file.

    Raises:
        UserError: It cannot be written (a full disk, say); what was there before is still there.
    """
    try:
        with atomic_write(path) as file:
            if is_safetensors(path):
                file.write(safetensors_bytes(content, path))
            else:
                torch.save(content, file)
    except (OSError, RuntimeError) as error:  # torch's writer reports a full disk as RuntimeError
        reason = getattr(error, 'strerror', None) or str(error).splitlines()[0]
        raise UserError(
            f'{path}: cannot save this checkpoint ({reason}); earlier ones are whole. Free some '
            'space, and go on from the last with --auto_resume.'
        ) from None


def builtin(value: object) -> object:
    """Options or figures in Python's own dicts, lists and numbers, which load with
    `weights_only=True`.
    """
    if isinstance(value, Mapping):
        return {k: builtin(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return list(map(builtin, value))
    if isinstance(value, date):  # YAML reads 2020-01-01 as one
        return str(value)
    if hasattr(value, 'item'):  # a number of NumPy or PyTorch
        return value.item()
    return value


# --------------------------------------------------------------------------------------------------
# Saving, in the place of BasicSR's methods of these names, which write over what they replace and
# ignore a failure


def save_network(
    self,
    net: nn.Module | list[nn.Module],
    net_label: str,
    current_iter: int,
    param_key: str | list[str] = 'params',
) -> None:
    """`BaseModel.save_network`, with the option that built the network, so that the file alone says
    what it is.
    """
    if self.opt['rank'] != 0:
        return
    content: dict = {}
    for each, key in zip(listed(net), listed(param_key), strict=True):
        content[key] = {}
        for name, value in self.get_bare_model(each).state_dict().items():
            content[key][name.removeprefix('module.')] = value.cpu()
    option = f'network_{net_label.removeprefix("net_")}'
    if option in self.opt:
        content[option] = builtin(self.opt[option])
    iteration = 'latest' if current_iter == -1 else current_iter
    save_file(content, Path(self.opt['path']['models'], f'{net_label}_{iteration}.pth'))


def listed(value: object) -> list:
    """One thing, or a list of several, as a list."""
    return value if isinstance(value, list) else [value]


def save_training_state(self, epoch: int, current_iter: int) -> None:
    """`BaseModel.save_training_state`, with all that a resumed run needs to go on as if it had not
    stopped.
    """
    if current_iter == -1:
        return
    state = {'epoch': epoch, 'iter': current_iter, 'optimizers': [], 'schedulers': []}
    for optimizer in self.optimizers:
        state['optimizers'].append(optimizer.state_dict())
    for scheduler in self.schedulers:
        state['schedulers'].append(builtin(scheduler.state_dict()))
    state.update(getattr(self, 'extra_state', dict)())  # gathered from all processes
    if self.opt['rank'] == 0:
        save_file(state, Path(self.opt['path']['training_states']) / f'{current_iter}.state')


def prune(path: Mapping, keep: int | None, last: int) -> None:
    """Remove all but the newest `keep` training states up to iteration `last`, and their networks;
    None: keep all.

    Later ones are of a run that was left for an earlier state, and are nobody's to remove.
    """
    if keep is None:
        return
    kept = 0
    for iteration, state in _states(path):
        if iteration > last:
            continue
        kept += 1
        if kept <= keep:
            continue
        state.unlink(missing_ok=True)  # first: a state implies its networks
        for network in Path(path['models']).glob(f'net_*_{iteration}.pth'):
            network.unlink(missing_ok=True)


def _states(path: Mapping) -> Iterator[tuple[int, Path]]:
    """Training states of a run, the newest first."""
    found = []
    for file in Path(path['training_states']).glob('*.state'):
        if re.fullmatch(r'\d+', file.stem):
            found.append((int(file.stem), file))
    yield from sorted(found, reverse=True)


# --------------------------------------------------------------------------------------------------
# Resuming


def load_resume_state(opt: dict) -> dict | None:
    """`basicsr.train.load_resume_state` for any machine and folder, and past files that a crash has
    cut short.

    With --auto_resume the newest state that is whole, and whose networks are; those passed over are
    named.

    Raises:
        UserError: `path.resume_state` cannot be loaded, or --auto_resume finds states and none that
            is whole.
    """
    from liif_arch.training.remedies import check_resume

    path, state = opt['path'].get('resume_state'), None
    if opt['auto_resume']:
        state = _newest_whole(opt)
    elif path:
        state = load_state(Path(path), opt)
    if state is not None:
        check_resume(opt, state['iter'])
    return state


def _newest_whole(opt: dict) -> dict | None:
    folder, faults = opt['path']['training_states'], []
    opt['path']['resume_state'] = None
    for _, path in _states(opt['path']):
        try:
            state = load_state(path, opt)
        except UserError as error:
            faults.append(str(error))
            if opt['rank'] == 0:
                print(f'--auto_resume: passing over {error}', flush=True)
            continue
        opt['path']['resume_state'] = str(path)
        return state
    if faults:
        raise UserError(
            f'--auto_resume: none of the {len(faults)} training states in {folder} is whole '
            f'({faults[0]}); start anew without --auto_resume, or put a whole state there.'
        )
    if opt['rank'] == 0:
        print(f'--auto_resume: no training state in {folder}; starting anew.', flush=True)
    return None


def load_state(path: Path, opt: dict) -> dict:
    """A training state, after a look at the networks of the same iteration."""
    state = load_file(path)
    kinds = {'iter': int, 'epoch': int, 'optimizers': list, 'schedulers': list}
    if not all(isinstance(state.get(key), kind) for key, kind in kinds.items()):
        raise UserError(
            f'path.resume_state: {path} is not a training state (iter, epoch, optimizers, '
            'schedulers).'
        )
    ignored = [*(opt['path'].get('ignore_resume_networks') or []), *unsaved_networks(opt)]
    saved = state.get('options', opt)
    for key in opt:
        if key.startswith('network_') and key in saved and key not in ignored:
            label = key.removeprefix('network_')
            load_file(Path(opt['path']['models'], f'net_{label}_{state["iter"]}.pth'))
    return state


def remove_partial_files(path: Mapping) -> None:
    """Remove what a killed process was writing: temporary files beside networks and states."""
    for folder in (path['models'], path['training_states']):
        for partial in [*Path(folder).glob('.*.pth.*'), *Path(folder).glob('.*.state.*')]:
            partial.unlink(missing_ok=True)


def misfits(net: nn.Module, state_dict: StateDict) -> list[str]:
    """What keeps a state dict from fitting a network: missing and unexpected names, and other
    shapes.
    """
    return differences_of(net.state_dict(), state_dict)


def differences_of(own: StateDict, found: StateDict) -> list[str]:
    """What keeps the parameters that were found from being those of a network, a line each.

    Args:
        own: The network's parameters, whose values are not looked at.
        found: Those of a file.
    """
    missing, shapes = [], []
    for name, parameter in own.items():
        if name not in found:
            missing.append(f'missing {name} {tuple(parameter.shape)}')
        elif found[name].shape != parameter.shape:
            shapes.append(f'{name} is {tuple(found[name].shape)}, needed {tuple(parameter.shape)}')
    unexpected = []
    for name, parameter in found.items():
        if name not in own:
            unexpected.append(f'unexpected {name} {tuple(parameter.shape)}')
    return [*missing, *unexpected, *shapes]


def some(names: Iterable[object], most: int = 6) -> str:
    """The first few of a list of names."""
    texts = list(map(str, names))
    if not texts:
        return 'nothing'
    first = ', '.join(texts[:most])
    if len(texts) <= most:
        return first
    return f'{first} and {len(texts) - most} more'
