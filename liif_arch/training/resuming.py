"""Going on with options that have changed since a training state was saved.

BasicSR puts optimisers and schedulers back as they were saved, so that a learning rate, milestones
or betas that have changed in the option file are ignored without a word. Here the state is brought
in line with the options first: what can change is applied and said, what cannot is refused.
"""

import inspect
import math
from collections.abc import Mapping

import torch
from basicsr.models.lr_scheduler import CosineAnnealingRestartLR, MultiStepRestartLR
from basicsr.utils import get_root_logger

from liif_arch.config.optimizers import groups_for, parameter_groups
from liif_arch.errors import UserError
from liif_arch.training.changes import NOT_SET, Change, differences
from liif_arch.training.checkpoints import builtin
from liif_arch.training.schedules import OneCycleLR

SCHEDULES = {  # what a scheduler is made of; the rest of its state follows from these
    'MultiStepLR': ('milestones', 'gamma', 'restarts', 'restart_weights'),
    'CosineAnnealingRestartLR': ('periods', 'restart_weights', 'eta_min'),
    'OneCycleLR': ('total_steps', 'pct_start', 'div_factor', 'final_div_factor'),
}
Known = MultiStepRestartLR | CosineAnnealingRestartLR | OneCycleLR
# What Muon calls the settings of its groups for AdamW.
ADAMW = {
    'lr': 'adamw_lr',
    'betas': 'adamw_betas',
    'eps': 'adamw_eps',
    'weight_decay': 'adamw_wd',
}
# Keys of a parameter group that do not tell an optimiser's type.
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
)


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
    _require_same_groups(model, state.get('options', options), options)
    is_warmed = any(change.place == 'train.warmup_iter' for change in changes)
    optimizers, schedulers = list(state['optimizers']), list(state['schedulers'])
    for i, (optimizer, saved) in enumerate(zip(model.optimizers, optimizers, strict=False)):
        name = _name_of(model, optimizer)
        if 'options' not in state:
            _require_type(name, optimizer, saved)
        changes += _settings_changes(name, optimizer, saved)
        optimizers[i] = _with_settings(optimizer, saved)
    for i, (scheduler, saved) in enumerate(zip(model.schedulers, schedulers, strict=False)):
        name = _name_of(model, scheduler.optimizer)
        found = _schedule_changes(scheduler, saved, state, options)
        changes += found
        changed = {change.place for change in changes}
        if found or is_warmed or changed & {f'{name}.lr', f'{name}.adamw_lr'}:
            _move(scheduler, saved['last_epoch'], state['iter'], options['train'])
            rates = [group['lr'] for group in scheduler.optimizer.param_groups]
            schedulers[i] = {
                **builtin(scheduler.state_dict()),
                '_step_count': saved['_step_count'],
                '_last_lr': rates,
            }
            _set_rates(optimizers[model.optimizers.index(scheduler.optimizer)], scheduler.optimizer)
    model.resume_training({**state, 'optimizers': optimizers, 'schedulers': schedulers})
    for line in dict.fromkeys(map(str, changes)):
        get_root_logger().info(f'{line}: applied.')


def _name_of(model: object, optimizer: torch.optim.Optimizer) -> str:
    """The option of an optimiser: BasicSR's models call that of `optim_g` `optimizer_g`."""
    for name, value in vars(model).items():
        if value is optimizer:
            return f'train.optim_{name.removeprefix("optimizer_")}'
    return 'train.optim'


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


def _require_same_groups(model: object, saved: Mapping, now: Mapping) -> None:
    """Raise where rules of `train.param_groups` put parameters into other groups than they did:
    what an optimiser has learnt of them lies in its state by group and place.
    """
    old, new = (options['train'].get('param_groups') or [] for options in (saved, now))
    if old == new:
        return
    kind = now['train']['optim_g']['type']
    named = dict(model.get_bare_model(model.net_g).named_parameters())
    names = {parameter: name for name, parameter in named.items()}
    found = []
    for rules in (old, new):
        groups = groups_for(kind, parameter_groups(named.items(), rules))
        found.append([[names[parameter] for parameter in group['params']] for group in groups])
    if found[0] != found[1]:
        raise UserError(
            'its rules put parameters into other groups than when the training state was saved, '
            'and what the optimiser has learnt lies there by group; set their names back, or start '
            'anew from the weights (path.pretrain_network_g). Rates and other settings of a rule '
            'may change.',
            key='train.param_groups',
        )


def _require_type(name: str, optimizer: torch.optim.Optimizer, saved: Mapping) -> None:
    """Raise where a state without options is of another optimiser, by the names of its settings."""
    decay = 'decoupled_weight_decay'  # by which newer versions of torch tell AdamW from Adam
    for group, old in zip(optimizer.param_groups, saved['param_groups'], strict=False):
        own, there = _telling(group), _telling(old)
        is_other = decay in group and decay in old and group[decay] != old[decay]
        if is_other or set(own) != set(there):
            raise UserError(
                f'found {type(optimizer).__name__}, which has {", ".join(own)}, and '
                'the training state is of another optimiser, with '
                f'{", ".join(there)}; set that one, or start anew.',
                key=f'{name}.type',
            )


def _telling(group: Mapping) -> list[str]:
    """Keys of a parameter group by which one optimiser differs from another."""
    return [key for key in group if key not in HOW]


def _settings_changes(name: str, optimizer: torch.optim.Optimizer, saved: Mapping) -> list[Change]:
    """Settings of an optimiser that its saved state has otherwise."""
    found = []
    for group, old in zip(optimizer.param_groups, saved['param_groups'], strict=False):
        for key, option in _settings(optimizer, group, old).items():
            before, after = builtin(old[key]), builtin(group[key])
            if before != after:
                found.append(Change(f'{name}.{option}', before, after))
    return found


def _settings(optimizer: torch.optim.Optimizer, group: Mapping, old: Mapping) -> dict[str, str]:
    """Keys of a parameter group that an option file sets, each with its option.

    The learning rate moves on its own, and so does what an optimiser keeps there of its steps
    (schedule-free ones, Prodigy): it is no parameter of its class.
    """
    parameters = inspect.signature(type(optimizer).__init__).parameters
    found = {}
    for key in group:
        option = 'lr' if key == 'initial_lr' else key
        if group.get('use_muon') is False:  # of the parameters that Muon leaves to AdamW
            option = ADAMW.get(option, option)
        if key in old and key not in ('params', 'lr') and option in parameters:
            found[key] = option
    return found


def _with_settings(optimizer: torch.optim.Optimizer, saved: Mapping) -> dict:
    """The saved state of an optimiser, with its settings of today; the learning rate stays."""
    groups = list(saved['param_groups'])
    for i, (group, old) in enumerate(zip(optimizer.param_groups, groups, strict=False)):
        groups[i] = dict(old)
        for key in _settings(optimizer, group, old):
            groups[i][key] = group[key]
    return {**saved, 'param_groups': groups}


def _set_rates(saved: dict, optimizer: torch.optim.Optimizer) -> None:
    for group, old in zip(optimizer.param_groups, saved['param_groups'], strict=False):
        old['lr'] = group['lr']


def _schedule_changes(
    scheduler: object, saved: Mapping, state: Mapping, options: Mapping
) -> list[Change]:
    """What a scheduler is made of today, where its saved state is made of something else.

    Raises:
        UserError: The scheduler is none of `SCHEDULES`, and its options have changed.
    """
    now = scheduler.state_dict()
    if not isinstance(scheduler, Known):
        return _no_changes(scheduler, saved, state, options)
    old_type, new_type = _schedule_type(saved), _schedule_type(now)
    if old_type != new_type:
        return [Change('train.scheduler.type', old_type, new_type)]
    changes = []
    for key in SCHEDULES[new_type]:
        old, new = _listed(builtin(saved[key])), _listed(builtin(now[key]))
        if old != new:
            changes.append(Change(f'train.scheduler.{key}', old, new))
    return changes


def _schedule_type(state: Mapping) -> str:
    """The type of a scheduler, of what its state holds."""
    for name, keys in SCHEDULES.items():
        if set(keys) <= set(state):
            return name
    return 'another'


def _no_changes(
    scheduler: object, saved: Mapping, state: Mapping, options: Mapping
) -> list[Change]:
    """None; raises where there are some, since only its own steps bring this scheduler anywhere."""
    old, new = _schedule_of(state.get('options', options)), _schedule_of(options)
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


def _schedule_of(options: Mapping) -> dict:
    """What of a training's options decides its learning rates, beside the optimisers'."""
    train = options['train']
    return {key: train.get(key, NOT_SET) for key in ('scheduler', 'warmup_iter')}


def _listed(value: object) -> object:
    """Milestones, which their scheduler counts, as the list that an option file has."""
    if not isinstance(value, Mapping):
        return value
    milestones = []
    for milestone, count in value.items():
        milestones += [milestone] * count
    return sorted(milestones)


def _move(scheduler: Known, last: int, iteration: int, train: Mapping) -> None:
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


def _steps(scheduler: Known, begin: int, last: int) -> list[int]:
    """The steps after `begin`, up to `last`, that decide a learning rate."""
    if isinstance(scheduler, OneCycleLR):  # a function of the step alone
        return [last]
    if isinstance(scheduler, CosineAnnealingRestartLR):  # in closed form
        if last <= begin:
            return []
        return [min(last, scheduler.cumulative_period[-1])]
    steps = {*scheduler.milestones, *scheduler.restarts}
    return sorted(step for step in steps if begin < step <= last)
