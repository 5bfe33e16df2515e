"""Optimisers, and which parameters one moves how: groups by rules, frozen ones, Muon's two."""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from torch import nn
from torch.optim import Optimizer

from liif_arch.config.registries import optimizers
from liif_arch.errors import UserError, require_known

Parameters = Iterable[tuple[str, nn.Parameter]]
OF_RULES = ('names', 'frozen_until')  # what a rule holds beside an optimiser's settings


def build_optimizer(
    kind: str, parameters: Iterable[nn.Parameter] | Iterable[dict], **settings: object
) -> Optimizer:
    """An optimiser of `torch.optim` or of pytorch_optimizer.

    Args:
        kind: Its name.
        parameters: Those that it moves, or groups of them.
        settings: Of the optimiser.

    Raises:
        UserError: There is none of that name.
    """
    known = optimizers()
    require_known([kind], known, 'train.optim_g.type')
    return known[kind](groups_for(kind, parameters), **settings)


def groups_for(kind: str, parameters: Iterable[nn.Parameter] | Iterable[dict]) -> list:
    """Parameters, or groups of them, as an optimiser of a kind takes them."""
    groups: list = list(parameters)
    if kind != 'Muon':
        return groups
    if groups and not isinstance(groups[0], dict):
        groups = [{'params': groups}]
    return split_for_muon(groups)


def parameter_groups(parameters: Parameters, rules: list[Mapping]) -> list[dict]:
    """Parameters in groups, each with the settings of the first rule that it falls under.

    Args:
        parameters: By name.
        rules: `names` (a pattern with asterisks, or a list of them) and any of an optimiser's
            settings: lr, weight_decay, ...

    Returns:
        A group for each rule, in their order, and one for the rest, as optimisers take them; none
        is empty.

    Raises:
        UserError: A rule is of no parameter.
    """
    parameters = list(parameters)
    groups: list[dict] = [{'params': [], **_settings(rule)} for rule in rules]
    groups.append({'params': []})
    for name, parameter in parameters:
        groups[_rule_of(name, rules)]['params'].append(parameter)
    for number, rule in enumerate(rules):
        if not groups[number]['params']:
            roots = list(dict.fromkeys(name.split('.')[0] for name, _ in parameters))
            raise UserError(
                f'found {rule["names"]}, which is the name of no parameter that no rule before '
                f'it has; names begin with {", ".join(roots)}.',
                key=f'train.param_groups.{number}.names',
            )
    return [group for group in groups if group['params']]


def values_of(parameters: Parameters, rules: list[Mapping], key: str) -> dict[str, float]:
    """What the rule of a parameter says under a key, by name, where it says something.

    Args:
        parameters: By name.
        rules: See `parameter_groups`.
        key: Of the rules.
    """
    found = {}
    for name, _ in parameters:
        number = _rule_of(name, rules)
        if number < len(rules) and rules[number].get(key) is not None:
            found[name] = rules[number][key]
    return found


def _rule_of(name: str, rules: list[Mapping]) -> int:
    """The number of the first rule that a parameter falls under; else how many there are."""
    for number, rule in enumerate(rules):
        patterns = rule['names']
        if isinstance(patterns, str):
            patterns = [patterns]
        if any(fnmatchcase(name, pattern) for pattern in patterns):
            return number
    return len(rules)


def _settings(rule: Mapping) -> dict:
    """What a rule says to the optimiser."""
    return {key: value for key, value in rule.items() if key not in OF_RULES}


def split_for_muon(groups: list[dict]) -> list[dict]:
    """Groups with Muon's switch: matrices and convolutions are its own, the rest is AdamW's, and so
    is a group whose rule says `use_muon: false`.
    """
    split = []
    for group in groups:
        allowed = group.get('use_muon', True)
        own = [p for p in group['params'] if allowed and p.ndim >= 2]
        rest = [p for p in group['params'] if not allowed or p.ndim < 2]
        for use_muon, chosen in ((True, own), (False, rest)):
            if chosen:
                split.append({**group, 'params': chosen, 'use_muon': use_muon})
    return split
