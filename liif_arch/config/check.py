"""Option files against what is known of them: every key, every type, all problems in one list.

What is known is a JSON Schema, see `schema`; what is beyond one (periods that add up to the
iterations, an optimiser's own checks) follows where the schema has found nothing. Nothing changes
the options.
"""

from collections.abc import Callable

import torch

from liif_arch.config import kinds, registries, schema
from liif_arch.config.fragments import Fragment, is_number, short
from liif_arch.config.messages import Problem, explained
from liif_arch.config.optimizers import OF_RULES, build_optimizer
from liif_arch.config.tables import NEEDED
from liif_arch.errors import UserError, suggest

NOT_TRIED = ('capturable', 'fused')  # options of optimisers that need a GPU


class Problems(list):
    """Problems found so far, in the option file `name`."""

    name = 'options'

    def add(self, place: str, text: str) -> None:
        """Note one, unless the same place has one."""
        if not self.at(place):
            self.append(Problem(place, text))

    def at(self, place: str) -> bool:
        """Whether a place, or something in it, has a problem."""
        return any(p.place == place or p.place.startswith(f'{place}.') for p in self)

    def attempt(self, place: str, function: Callable, *arguments: object) -> object:
        """A function's result; a UserError that it raises is noted, and None returned."""
        try:
            return function(*arguments)
        except UserError as error:
            self.add(place, str(error))
            return None

    def raise_any(self) -> None:
        """Raise all of them as one UserError: a line, or a list."""
        texts = list(dict.fromkeys(p.text for p in self))
        if len(texts) == 1:
            raise UserError(texts[0])
        if texts:
            listed = ''.join(f'\n  - {text}' for text in texts)
            raise UserError(f'{self.name}: {len(texts)} problems:{listed}')


def check_option_file(opt: dict, is_train: bool, problems: Problems) -> None:
    """Note everything in an option file that is missing, unknown or of the wrong kind.

    Raises:
        UserError: Where its structure is too broken to look any further.
    """
    _validate(opt, schema.schema_of(opt, is_train), problems)
    if not _is_sound(opt, is_train):
        problems.raise_any()
    _check_names(opt['datasets'], problems)
    if is_train:
        _check_optimizers(opt['train'], problems)
        _check_schedule(opt['train'], problems)


def _check_names(datasets: dict, problems: Problems) -> None:
    """Note two sets that are measured under one name, of which one would replace the other."""
    seen: dict[str, str] = {}
    for phase, dataset in datasets.items():
        if phase.split('_')[0] == 'train':
            continue
        name = str(dataset.get('name'))
        if name in seen:
            place = f'datasets.{phase}.name'
            problems.add(
                place,
                f'{place}: found {name}, the name of datasets.{seen[name]}; needed another, since '
                'figures and images are filed under it.',
            )
        seen[name] = phase


def check_network(network: object, place: str, problems: Problems) -> None:
    """Note everything in a network's option, and in its encoder's, that is wrong.

    Of networks of this package BasicSR is not imported.
    """
    fragment = kinds.typed(kinds.network_kind(network), network)
    _validate({place: network}, {'properties': {place: fragment}}, problems)


def _validate(found: dict, fragment: Fragment, problems: Problems) -> None:
    """Note what a mapping's schema does not allow."""
    from liif_arch.config.validator import errors_of  # jsonschema takes a while to import

    for problem in explained(errors_of(found, fragment), found, problems.name):
        problems.add(*problem)


def _is_sound(opt: dict, is_train: bool) -> bool:
    """Whether every section is there, so that what is in it can be looked at."""
    sections = [opt.get('datasets'), opt.get('path')]
    if is_train:
        sections += [opt.get('train'), opt.get('logger')]
    if opt.get('val') is not None:
        sections.append(opt['val'])
    if isinstance(opt.get('datasets'), dict):
        sections += opt['datasets'].values()
    has_needed = all(opt.get(key) is not None for key in NEEDED[''])
    return has_needed and all(isinstance(section, dict) for section in sections)


def _check_optimizers(train: dict, problems: Problems) -> None:
    """Let optimisers take a step, where nothing is wrong with their keys."""
    known = registries.optimizers()
    for key, value in train.items():
        place = f'train.{key}'
        if str(key).startswith('optim_') and isinstance(value, dict) and not problems.at(place):
            if value.get('type') in known:
                settings = _try_optimizer(value, place, problems)
                if key == 'optim_g' and settings:
                    _check_rules(train.get('param_groups'), value['type'], settings, problems)


def _try_optimizer(options: dict, place: str, problems: Problems) -> set[str]:
    """Build it, and take a step with a matrix and a vector.

    Returns:
        The settings of its groups by name; none where it has failed.
    """
    left_out = ('type', *NOT_TRIED)
    keywords = {key: value for key, value in options.items() if key not in left_out}
    parameters = [torch.nn.Parameter(torch.zeros(shape)) for shape in ((1, 1), (1,))]
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    try:
        built = build_optimizer(options['type'], parameters, **keywords)
        found = set().union(*built.param_groups) - {'params'}
        if isinstance(built, torch.optim.LBFGS):
            built.step(lambda: 0.0)
        else:
            built.step()
    except (
        AssertionError,
        IndexError,
        OverflowError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        text = (str(error) or type(error).__name__).splitlines()[0]
        problems.add(place, f'{place}: {options["type"]}: {text}.')
        return set()
    return found


def _check_rules(rules: object, kind: str, settings: set[str], problems: Problems) -> None:
    """Whether what rules of `train.param_groups` say are settings of the optimiser, which takes any
    name without a word.
    """
    for number, rule in enumerate(rules if isinstance(rules, (list, tuple)) else []):
        place = f'train.param_groups.{number}'
        for key in rule if isinstance(rule, dict) else []:
            if key not in {*settings, *OF_RULES}:
                near = suggest(key, sorted(settings))
                text = f'{place}.{key}: no setting of {kind}; {near}'
                problems.add(f'{place}.{key}', text)


def _check_schedule(train: dict, problems: Problems) -> None:
    """Whether a schedule's numbers are numbers, and fit together and to the iterations."""
    place, scheduler, total = 'train.scheduler', train.get('scheduler'), train.get('total_iter')
    is_known_bad = problems.at(place) or problems.at('train.total_iter')
    if is_known_bad or not isinstance(scheduler, dict):
        return
    for key in ('periods', 'milestones', 'restart_weights'):
        values = scheduler.get(key, [])
        if not (isinstance(values, (list, tuple)) and all(map(is_number, values))):
            text = f'{place}.{key}: found {short(values)}; needed numbers.'
            problems.add(f'{place}.{key}', text)
            return
    _check_periods(scheduler, total, problems)
    warmup = train.get('warmup_iter')
    if scheduler.get('type') == 'OneCycleLR' and is_number(warmup) and warmup > 0:
        problems.add(
            'train.warmup_iter',
            f'train.warmup_iter: found {warmup:g} beside OneCycleLR, which begins with a warm-up '
            'of its own (pct_start); set it to -1.',
        )


def _check_periods(scheduler: dict, total: float, problems: Problems) -> None:
    """Whether periods last as long as the training, and have a weight each."""
    periods, weights = scheduler.get('periods'), scheduler.get('restart_weights')
    if periods is not None and is_number(total) and sum(periods) < total:
        problems.add(
            'train.scheduler.periods',
            f'train.scheduler.periods: found {periods}, {sum(periods):g} iterations in all, and '
            f'train.total_iter is {total:g}: the run would stop there. Add a period.',
        )
    restarts = scheduler.get('type') == 'CosineAnnealingRestartLR'
    if restarts and weights is not None and len(weights) != len(periods):
        problems.add(
            'train.scheduler.restart_weights',
            f'train.scheduler.restart_weights: found {len(weights)}, and {len(periods)} periods; '
            'needed one each.',
        )
