"""Going on with options that have changed since a training state was saved.

BasicSR puts optimisers and schedulers back as they were saved, so that a learning rate, milestones
or betas that have changed in the option file are ignored without a word. Here the state is brought
in line with the options first: what can change is applied and said, what cannot is refused.
"""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from basicsr.archs import build_network
from basicsr.models.lr_scheduler import CosineAnnealingRestartLR, MultiStepRestartLR
from basicsr.utils import get_root_logger

from liif_arch.config.fragments import short
from liif_arch.errors import UserError
from liif_arch.training import randomness
from liif_arch.training.checkpoints import load_file, misfits, plain, some
from liif_arch.training.preflight import silent_logger
from liif_arch.weights.networks import state_dict_of

NOT_OPTIONS = ('path', 'rank', 'dist', 'auto_resume', 'root_path', 'is_train', 'manual_seed_drawn')
SCHEDULES = {  # what a scheduler of BasicSR is made of; the rest of its state follows from these
    'MultiStepLR': ('milestones', 'gamma', 'restarts', 'restart_weights'),
    'CosineAnnealingRestartLR': ('periods', 'restart_weights', 'eta_min'),
}
HOW = (
    'params',
    'lr',
    'initial_lr',
    'foreach',
    'fused',
    'capturable',
    'differentiable',
    'maximize',
    'decoupled_weight_decay',
)  # keys of a parameter group that do not tell an optimiser's type
NOT_SET = 'not set'


class Change(NamedTuple):
    """An option that is not what it was when a state was saved; keys are joined by dots."""

    place: str
    old: object
    new: object

    def __str__(self) -> str:
        old, new = (v if isinstance(v, str) else short(v) for v in (self.old, self.new))
        return f'{self.place}: {old} when it was saved, {new} now'


# --------------------------------------------------------------------------------------------------
# Before a model is built


def check(state: dict | None, opt: dict) -> dict:
    """Look whether a run can go on from a training state.

    Args:
        state: The training state; None for a new run.
        opt: Options of the run, before BasicSR takes things out of them. A `manual_seed` that was
            drawn becomes the state's.

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
    faults = [] if saved is None else _other_optimizers(saved, now)
    for key in networks_of(state, opt):
        faults += _other_network(key, state, opt)
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
    """Options as a training state keeps them: all but paths and what is this process's own."""
    return plain({key: value for key, value in opt.items() if key not in NOT_OPTIONS})


def networks_of(state: Mapping, opt: Mapping) -> list[str]:
    """The networks, by their keys, that a run takes from beside a training state."""
    ignored = opt['path'].get('ignore_resume_networks') or []
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
    types = [
        {
            key: value['type']
            for key, value in options['train'].items()
            if key.startswith('optim_') and isinstance(value, Mapping)
        }
        for options in (saved, now)
    ]
    changes = [
        Change(f'train.{key}.type', *(t.get(key, NOT_SET) for t in types))
        for key in dict.fromkeys([*types[0], *types[1]])
    ]
    return [
        f'{change}, and one optimiser cannot take over what another has learnt'
        for change in changes
        if change.old != change.new
    ]


def _other_network(key: str, state: Mapping, opt: Mapping) -> list[str]:
    """Which options keep a network from taking the saved parameters, and which these are."""
    label = key.removeprefix('network_')
    path = Path(opt['path']['models'], f'net_{label}_{state["iter"]}.pth')
    content, param_key = load_file(path), opt['path'].get(f'param_key_{label}', 'params')
    with randomness.preserved(), silent_logger():
        net = build_network(opt[key])
    faults = misfits(net, state_dict_of(content, path, param_key))
    if not faults:
        return []
    saved = state.get('options', content).get(key)
    changed = [] if saved is None else list(differences({key: saved}, {key: plain(opt[key])}))
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


# --------------------------------------------------------------------------------------------------
# Once the model is built


def resume(model: object, state: dict, options: Mapping) -> None:
    """BasicSR's `resume_training`, with a state that the options of this run have been put into.

    Args:
        model: BasicSR's model, as it was built with these options, before its first step.
        state: The training state.
        options: Options of this run, as `check` returned them.

    Raises:
        UserError: An option has changed that the state cannot take.
    """
    changes = _other_changes(state.get('options', options), options)
    is_warmed = any(change.place == 'train.warmup_iter' for change in changes)
    optimizers, schedulers = list(state['optimizers']), list(state['schedulers'])
    for i, (optimizer, saved) in enumerate(zip(model.optimizers, optimizers, strict=False)):
        name = _name_of(model, optimizer)
        if 'options' not in state:
            _require_type(name, optimizer, saved)
        changes += _settings_changes(name, optimizer, saved)
        optimizers[i] = _with_settings(optimizer, saved)
    for i, (scheduler, saved) in enumerate(zip(model.schedulers, schedulers, strict=False)):
        rate = f'{_name_of(model, scheduler.optimizer)}.lr'
        found = _schedule_changes(scheduler, saved, state, options)
        changes += found
        if found or is_warmed or any(change.place == rate for change in changes):
            _move(scheduler, saved['last_epoch'], state['iter'], options['train'])
            rates = [group['lr'] for group in scheduler.optimizer.param_groups]
            schedulers[i] = {
                **plain(scheduler.state_dict()),
                '_step_count': saved['_step_count'],
                '_last_lr': rates,
            }
            _set_rates(optimizers[model.optimizers.index(scheduler.optimizer)], scheduler.optimizer)
    model.resume_training({**state, 'optimizers': optimizers, 'schedulers': schedulers})
    for line in dict.fromkeys(map(str, changes)):
        get_root_logger().info(f'{line}: applied.')


def _name_of(model: object, optimizer: torch.optim.Optimizer) -> str:
    """The option of an optimiser: BasicSR's models call that of `optim_g` `optimizer_g`."""
    names = [name for name, value in vars(model).items() if value is optimizer]
    return f'train.optim_{names[0].removeprefix("optimizer_")}' if names else 'train.optim'


def _other_changes(saved: Mapping, now: Mapping) -> list[Change]:
    """What has changed beside optimisers and schedulers, whose own states show it."""
    seeds = (saved.get('manual_seed'), now.get('manual_seed'))
    found = []
    for change in differences(saved, now):
        follows = change.place.endswith('.seed') and (change.old, change.new) == seeds
        if change.place == 'world_size':
            found.append(change._replace(place='number of processes'))
        elif not follows and not change.place.startswith(('train.optim_', 'train.scheduler.')):
            found.append(change)
    return found


def _require_type(name: str, optimizer: torch.optim.Optimizer, saved: Mapping) -> None:
    """Raise where a state without options is of another optimiser, by the names of its settings."""
    for group, old in zip(optimizer.param_groups, saved['param_groups'], strict=False):
        own, there = ([k for k in g if k not in HOW] for g in (group, old))
        decay = 'decoupled_weight_decay'  # by which newer versions of torch tell AdamW from Adam
        is_other = decay in group and decay in old and group[decay] != old[decay]
        if is_other or set(own) != set(there):
            raise UserError(
                f'found {type(optimizer).__name__}, which has {", ".join(own)}, and '
                'the training state is of another optimiser, with '
                f'{", ".join(there)}; set that one, or start anew.',
                key=f'{name}.type',
            )


def _settings_changes(name: str, optimizer: torch.optim.Optimizer, saved: Mapping) -> list[Change]:
    """Settings of an optimiser that its saved state has otherwise."""
    found = []
    for group, old in zip(optimizer.param_groups, saved['param_groups'], strict=False):
        for key in [k for k in group if k in old and k not in ('params', 'lr')]:
            before, after = plain(old[key]), plain(group[key])
            if before != after:
                option = 'lr' if key == 'initial_lr' else key
                found.append(Change(f'{name}.{option}', before, after))
    return found


def _with_settings(optimizer: torch.optim.Optimizer, saved: Mapping) -> dict:
    """The saved state of an optimiser, with its settings of today; the learning rate stays."""
    groups = [
        {**old, **{k: v for k, v in group.items() if k in old and k not in ('params', 'lr')}}
        for group, old in zip(optimizer.param_groups, saved['param_groups'], strict=False)
    ]
    return {**saved, 'param_groups': [*groups, *saved['param_groups'][len(groups) :]]}


def _set_rates(saved: dict, optimizer: torch.optim.Optimizer) -> None:
    for group, old in zip(optimizer.param_groups, saved['param_groups'], strict=False):
        old['lr'] = group['lr']


def _schedule_changes(
    scheduler: object, saved: Mapping, state: Mapping, options: Mapping
) -> list[Change]:
    """What a scheduler is made of today, where its saved state is made of something else.

    Raises:
        UserError: The scheduler is none of BasicSR's, and its options have changed.
    """
    now = scheduler.state_dict()
    if not isinstance(scheduler, (MultiStepRestartLR, CosineAnnealingRestartLR)):
        return _no_changes(scheduler, saved, state, options)
    types = [
        next((name for name, keys in SCHEDULES.items() if set(keys) <= set(values)), 'another')
        for values in (saved, now)
    ]
    if types[0] != types[1]:
        return [Change('train.scheduler.type', *types)]
    pairs = [
        (f'train.scheduler.{key}', *(_listed(plain(v[key])) for v in (saved, now)))
        for key in SCHEDULES[types[1]]
    ]
    return [Change(*pair) for pair in pairs if pair[1] != pair[2]]


def _no_changes(
    scheduler: object, saved: Mapping, state: Mapping, options: Mapping
) -> list[Change]:
    """None; raises where there are some, since only its own steps bring this scheduler anywhere."""
    keys = ('scheduler', 'warmup_iter')
    old, new = (
        {k: o['train'].get(k, NOT_SET) for k in keys}
        for o in (state.get('options', options), options)
    )
    changes = [*differences({'train': old}, {'train': new})]
    rates = [group['initial_lr'] for group in scheduler.optimizer.param_groups]
    if rates != saved.get('base_lrs', rates):
        changes.append(Change('learning rate', saved['base_lrs'], rates))
    if changes:
        listed, kind = '; '.join(map(str, changes)), type(scheduler).__name__
        raise UserError(
            f'{listed}, and what {kind} makes of that is not known in the middle of a '
            'run; set it back, or start anew.',
            key='path.resume_state',
        )
    return []


def _listed(value: object) -> object:
    """Milestones, which their scheduler counts, as the list that an option file has."""
    if not isinstance(value, Mapping):
        return value
    return sorted(milestone for milestone, count in value.items() for _ in range(count))


def _move(
    scheduler: MultiStepRestartLR | CosineAnnealingRestartLR,
    last: int,
    iteration: int,
    train: Mapping,
) -> None:
    """Bring a new scheduler, and the learning rates of its optimiser, to where its steps would.

    Args:
        scheduler: One that has made no step.
        last: Steps to bring it to.
        iteration: The last iteration that was done.
        train: The options `train`, of which warmup_iter overrides the scheduler.
    """
    warmup = train.get('warmup_iter', -1)
    warmed = min(iteration, math.ceil(warmup) - 1)  # the last iteration of the warm-up so far
    groups = scheduler.optimizer.param_groups
    if warmed > 0:
        for group in groups:
            group['lr'] = group['initial_lr'] / warmup * warmed
    for step in _steps(scheduler, max(0, warmed - 1), last):
        scheduler.last_epoch = step
        for group, rate in zip(groups, scheduler.get_lr(), strict=True):
            group['lr'] = rate
    scheduler.last_epoch = last


def _steps(
    scheduler: MultiStepRestartLR | CosineAnnealingRestartLR, begin: int, last: int
) -> list[int]:
    """The steps after `begin`, up to `last`, that decide a learning rate."""
    if isinstance(scheduler, CosineAnnealingRestartLR):  # in closed form
        return [min(last, scheduler.cumulative_period[-1])] if last > begin else []
    steps = {*scheduler.milestones, *scheduler.restarts}
    return sorted(step for step in steps if begin < step <= last)
