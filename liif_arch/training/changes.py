"""Options that have changed since a training state was saved: which, and whether it can go on."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from liif_arch.config.fragments import short
from liif_arch.config.registries import unsaved_networks
from liif_arch.errors import UserError
from liif_arch.training.checkpoints import StateDict, builtin, differences_of, load_file, some
from liif_arch.weights.networks import state_dict_of

NOT_OPTIONS = ('path', 'rank', 'dist', 'auto_resume', 'root_path', 'is_train', 'manual_seed_drawn')
NOT_SET = 'not set'


class Change(NamedTuple):
    """An option that is not what it was when a state was saved; keys are joined by dots."""

    place: str
    old: object
    new: object

    def __str__(self) -> str:
        return f'{self.place}: {_shown(self.old)} when it was saved, {_shown(self.new)} now'


def _shown(value: object) -> str:
    """A value of an option in a message; of texts without quotes."""
    if isinstance(value, str):
        return value
    return short(value)


def check(state: dict | None, opt: dict, networks: Mapping[str, StateDict]) -> dict:
    """Look whether a run can go on from a training state.

    Args:
        state: The training state; None for a new run.
        opt: Options of the run, before BasicSR takes things out of them. A `manual_seed` that was
            drawn becomes the state's.
        networks: The parameters that each network has by these options, by key; their values are
            not looked at. See `preflight.check`.

    Returns:
        The options as a training state keeps them.

    Raises:
        UserError: The state is of other networks or optimisers.
    """
    if state is None:
        return saved_options(opt)
    saved = state.get('options')
    if saved is not None and opt.get('manual_seed_drawn'):
        _take_seed(opt, saved['manual_seed'])
    now = saved_options(opt)
    faults = []
    if saved is not None:
        faults += _other_optimizers(saved, now)
    for key in networks_of(state, opt):
        if key in networks:
            faults += _other_network(key, state, opt, networks[key])
    if faults and opt['rank'] > 0:
        raise SystemExit(2)  # the first process says it
    if faults:
        raise UserError(
            f'{opt["path"]["resume_state"]} cannot go on with these options: '
            f'{"; ".join(faults)}. Set them back, or start anew under another name, '
            'for instance from its weights (path.pretrain_network_g).',
            key='path.resume_state',
        )
    return now


def saved_options(opt: Mapping) -> dict:
    """Options as a training state keeps them: all but what is this process's own, and but paths.

    Of paths those to networks that no run saves are kept, such as a teacher's: with other weights
    the training is another one.
    """
    kept = dict(opt)
    for key in NOT_OPTIONS:
        kept.pop(key, None)
    weights = {}
    for network in unsaved_networks(opt):
        if opt['path'].get(f'pretrain_{network}'):
            weights[f'pretrain_{network}'] = opt['path'][f'pretrain_{network}']
    if weights:
        kept['path'] = weights
    return builtin(kept)


def networks_of(state: Mapping, opt: Mapping) -> list[str]:
    """The networks, by their keys, that a run takes from beside a training state."""
    ignored = [*(opt['path'].get('ignore_resume_networks') or []), *unsaved_networks(opt)]
    saved = state.get('options', opt)
    return [k for k in opt if k.startswith('network_') and k in saved and k not in ignored]


def _take_seed(opt: dict, seed: int) -> None:
    """Let a run whose file names no seed draw the samples of the run that it goes on with."""
    for dataset in opt['datasets'].values():
        if dataset.get('seed') == opt['manual_seed']:
            dataset['seed'] = seed
    opt['manual_seed'] = seed


def _other_optimizers(saved: Mapping, now: Mapping) -> list[str]:
    """Optimisers that are there in one of two files alone, or of another type."""
    before, after = _optimizers_of(saved), _optimizers_of(now)
    faults = []
    for key in dict.fromkeys([*before, *after]):
        change = Change(f'train.{key}.type', before.get(key, NOT_SET), after.get(key, NOT_SET))
        if change.old != change.new:
            faults.append(f'{change}, and one optimiser cannot take over what another has learnt')
    return faults


def _optimizers_of(options: Mapping) -> dict[str, str]:
    """Types of the optimisers of an option file, by key."""
    found = {}
    for key, value in options['train'].items():
        if key.startswith('optim_') and isinstance(value, Mapping):
            found[key] = value['type']
    return found


def _other_network(key: str, state: Mapping, opt: Mapping, now: StateDict) -> list[str]:
    """Which options keep a network from taking the saved parameters, and which these are."""
    label = key.removeprefix('network_')
    path = Path(opt['path']['models'], f'net_{label}_{state["iter"]}.pth')
    content, param_key = load_file(path), opt['path'].get(f'param_key_{label}', 'params')
    faults = differences_of(now, state_dict_of(content, path, param_key))
    if not faults:
        return []
    saved = state.get('options', content).get(key)
    changed = []
    if saved is not None:
        changed = list(differences({key: saved}, {key: builtin(opt[key])}))
    options = ', '.join(map(str, changed)) or key
    return [f'{options}: {len(faults)} parameters of {path.name} do not fit ({some(faults, 3)})']


def differences(saved: Mapping, now: Mapping) -> Iterator[Change]:
    """Where two option files differ."""
    before, after = dict(_leaves(saved)), dict(_leaves(now))
    for place in dict.fromkeys([*before, *after]):
        old, new = before.get(place, NOT_SET), after.get(place, NOT_SET)
        if old != new and repr(old) != repr(new):  # NaN differs from itself
            yield Change(place, old, new)


def _leaves(options: Mapping, place: str = '') -> Iterator[tuple[str, object]]:
    for key, value in options.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f'{place}{key}.')
        else:
            yield f'{place}{key}', value
