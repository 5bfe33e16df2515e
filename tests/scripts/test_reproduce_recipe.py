"""The group `recipe` of `scripts/reproduce.py`: its options, its budget, its table."""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers import write_photos
from PIL import Image

from liif_arch.config.check import Problems, check_option_file
from liif_arch.errors import UserError

SCRIPTS = Path(__file__).parents[2] / 'scripts'
sys.path.insert(0, str(SCRIPTS))
import reproduce  # noqa: E402  the scripts are no package
from reproduce_options import stretched, test_options, training_options  # noqa: E402
from reproduce_report import Trained, write_budgets, write_comparison  # noqa: E402
from reproduce_runs import GROUPS  # noqa: E402
from reproduce_speed import Speeds, seconds_in  # noqa: E402

test_options.__test__ = False  # its name, not a test
RECIPE = GROUPS['recipe']


def arguments(tmp_path, **changes) -> argparse.Namespace:
    options = {
        'train': 'builtin:photos/train',
        'test': 'builtin:photos/heldout',
        'test_name': 'heldout',
        'test_lq': None,
        'cache': False,
        'workers': 0,
        'network': 'small',
        'precision': 'float32',
        'metric': 'psnr_y',
        'scales': [2, 4],
        'seeds': [0],
        'minutes': None,
        'equal_time': False,
        'iterations': [1000],
        'budget': 1000,
        'out': tmp_path,
        'folder': tmp_path,
    }
    args = argparse.Namespace(**{**options, **changes})
    args.speeds = Speeds(args)
    return args


def checked_options(run, args) -> dict:
    """A run's options, in which nothing may be wrong."""
    opt = training_options(run, args, 1000, seed=2)
    problems = Problems()
    check_option_file(json.loads(json.dumps(opt)), True, problems)
    assert not list(problems)
    assert opt['manual_seed'] == 2 and opt['name'].endswith('_seed2')
    return opt


@pytest.mark.parametrize('network', ['small', 'paper'])
@pytest.mark.parametrize('run', RECIPE, ids=lambda run: run.label)
def test_every_row__can_be_trained_and_is_one_of_a_kind(tmp_path, run, network):
    """Its options are known, and no other row's but for the name."""
    args = arguments(tmp_path, network=network)
    opt = checked_options(run, args)
    same = []
    for other in RECIPE:
        if {**training_options(other, args, 1000, 2), 'name': opt['name']} == opt:
            same.append(other.label)
    assert same == [run.label]
    pixels = opt['datasets']['train']['num_samples']
    if run.label == 'a quarter of the pixels':
        assert pixels == {'small': 576, 'paper': 2304}[network] / 4


OTHERS = {r.label: r for group, runs in GROUPS.items() if group != 'recipe' for r in runs}


@pytest.mark.parametrize('network', ['small', 'paper'])
@pytest.mark.parametrize('run', OTHERS.values(), ids=OTHERS)
def test_every_run__can_be_trained(tmp_path, run, network):
    for side in (128, 256):
        write_photos(tmp_path / f'faces/train/{side}', [(side, side)] * 2)
    opt = checked_options(run, arguments(tmp_path, network=network))
    assert opt['train']['total_iter'] == 1000


@pytest.mark.parametrize('network,times', [('paper', 1), ('small', 10)])
def test_rates__of_the_small_network_are_ten_times_the_papers(tmp_path, network, times):
    args = arguments(tmp_path, network=network)
    found = {}
    for run in (*RECIPE, *GROUPS['recommended']):
        train = training_options(run, args, 1000)['train']
        schedule = train['scheduler']
        found[run.label] = (train['optim_g'], schedule['type'], schedule.get('periods'))
    kind, lengths = 'MultiStepLR', None
    if network == 'small':
        kind, lengths = 'CosineAnnealingRestartLR', [1000]
    assert found['LIIF'] == ({'type': 'Adam', 'lr': pytest.approx(times * 1e-4)}, kind, lengths)
    muon = {'type': 'Muon', 'lr': pytest.approx(times * 5e-4)}
    assert found['Muon'][0] == {**muon, 'adamw_lr': pytest.approx(times * 1e-4)}
    assert found['AdamW, schedule-free'][1] == 'MultiStepLR'
    few = {'adamw_lr': pytest.approx(times * 3e-5)}
    assert found['recommended'][0] == {**muon, **few}
    cycle = found['one cycle, peak at twice the rate']
    assert cycle == ({'type': 'Adam', 'lr': pytest.approx(times * 2e-4)}, 'OneCycleLR', None)
    recommended = training_options(GROUPS['recommended'][1], args, 1000)
    assert recommended['train']['scheduler']['periods'] == [1000]
    assert recommended['datasets']['train']['num_samples'] == {'paper': 2304, 'small': 576}[network]


def test_names__are_not_shared():
    names = [run.name(seed) for run in RECIPE for seed in (0, 1)]
    assert len(set(names)) == len(names)


def probes(monkeypatch, seconds: dict[str, float], drift: float = 0.0) -> list[str]:
    """The labels of the runs that are probed from here on; they take seconds by label, or 1, on a
    machine that becomes slower by a share from probe to probe.
    """
    probed = []

    def probe(_, run):
        probed.append(run.label)
        one = seconds.get(run.label, 1.0) * (1 + drift * len(probed))
        return [0.5 * one, one, one, 1.1 * one, 5 * one]  # other work came and went

    monkeypatch.setattr(Speeds, '_probe', probe)
    return probed


def test_equal_time__as_many_iterations_as_the_first_runs_time_allows(tmp_path, monkeypatch):
    labels = [run.label for run in RECIPE]
    probed = probes(monkeypatch, dict(zip(labels, (0.2, 0.1, 0.25), strict=False)), 0.01)
    args = arguments(tmp_path, equal_time=True)
    found = [reproduce.iterations_of(run, RECIPE[0], args) for run in RECIPE[:3]]
    assert found == pytest.approx([1000, 2000, 800], rel=1e-3)
    # In turn with the first, in both orders.
    assert probed == [labels[i] for i in (0, 1, 1, 0, 0, 1, 1, 0, 0, 2, 2, 0, 0, 2, 2, 0)]
    faces = GROUPS['size-varied']  # of another group the first one is another
    assert reproduce.iterations_of(faces[1], faces[0], args) == 1000
    # The same speeds at another budget and by another command, whatever is measured by then.
    probes(monkeypatch, {})
    again = arguments(tmp_path, equal_time=True, budget=20)
    found = [reproduce.iterations_of(run, RECIPE[0], again) for run in RECIPE[:3]]
    assert found == [20, 40, 16]


def test_minutes__as_many_iterations_as_they_have_room_for(tmp_path, monkeypatch):
    probes(monkeypatch, {RECIPE[2].label: 0.25})
    args = arguments(tmp_path, minutes=2)
    assert reproduce.iterations_of(RECIPE[2], RECIPE[0], args) == 480
    assert reproduce.iterations_of(RECIPE[0], RECIPE[0], args) == 120
    probes(monkeypatch, {})
    assert reproduce.iterations_of(RECIPE[2], RECIPE[0], arguments(tmp_path, minutes=1)) == 240


def test_speeds__are_read_from_a_log():
    lines = ['2026-01-01 10:00:00,000 INFO: Start training from epoch: 0, iter: 0']
    for second, number in (('09,500', 10), ('11,500', 20), ('13,000', 30), ('14,250', 40)):
        lines.append(
            f'2026-01-01 10:00:{second} INFO: [probe..][epoch:  0, iter:{number:8d}, '
            'lr:(1.000e-03,)] [eta: 0:00:12, time (data): 0.248 (0.024)] l_pix: 3.3e-02'
        )
    assert seconds_in('\n'.join(lines)) == [0.2, 0.15, 0.125]


def test_probe__trains_and_leaves_nothing_but_its_options(tmp_path):
    train = write_photos(tmp_path / 'train', [(100, 110)] * 4)
    args = arguments(tmp_path, train=str(train), minutes=1)
    started = time.monotonic()
    seconds = args.speeds.seconds(RECIPE[0])
    assert 0 < seconds < time.monotonic() - started
    kept = json.loads((tmp_path / 'speeds.json').read_text())
    assert kept == {'seconds of train_liif_edsr': seconds}
    assert not list((tmp_path / 'experiments').iterdir())


def test_schedules__keep_their_shape_over_another_number_of_iterations():
    steps = {'type': 'MultiStepLR', 'milestones': [200, 400], 'gamma': 0.5}
    assert stretched(steps, 1000, 50) == {**steps, 'milestones': [10, 20]}
    cosine = {'type': 'CosineAnnealingRestartLR', 'periods': [1000], 'eta_min': 1e-7}
    assert stretched(cosine, 1000, 50) == {**cosine, 'periods': [50]}


def table(text: str) -> list[list[str]]:
    """The rows of a report's table, without the line below its head."""
    lines = [line for line in text.splitlines() if line.startswith('|')]
    return [[cell.strip() for cell in line.split('|')[1:-1]] for line in lines if '---' not in line]


def measured(*psnr: float, scales: tuple[int, ...] = (2, 4), metric: str = 'psnr_y') -> dict:
    """What a test has measured at some scales."""
    bicubic = {metric: 30.0}
    return {f'x{s}': {metric: p, 'bicubic': bicubic} for s, p in zip(scales, psnr, strict=True)}


def test_table__tells_mean_and_deviation_of_several_seeds(tmp_path, capsys):
    args = arguments(tmp_path, seeds=[0, 1, 2])
    results = {
        RECIPE[0].label: Trained(1000, [measured(p, p - 4) for p in (31.0, 32.0, 33.0)]),
        RECIPE[1].label: Trained(1021, [measured(32.5, 28.0)] * 3),
    }
    text = write_comparison('recipe', results, args).read_text()
    rows = {label: cells for label, *cells in table(text)}
    assert rows[RECIPE[0].label][:2] == ['1,000', '32.00 \u00b1 1.00']
    assert rows[RECIPE[1].label][:2] == ['1,021', '32.50 \u00b1 0.00']
    assert Image.open(tmp_path / 'report_recipe/changes.png').size[0] > 500
    assert rows['bicubic'][1] == '30.00' and 'of 3 seeds' in text
    assert '3 seeds' in capsys.readouterr().out


def test_several_budgets__have_a_table_and_a_curve(tmp_path, capsys):
    results = {
        100: {
            'LIIF': Trained(100, [measured(30, 26), measured(31, 27)]),
            'recommended': Trained(150, [measured(32, 28), measured(34, 30)]),
        },
        1000: {
            'LIIF': Trained(1000, [measured(33, 29)] * 2),
            'recommended': Trained(1500, [measured(35, 31)] * 2),
        },
    }
    args = arguments(tmp_path, seeds=[0, 1], equal_time=True)
    text = write_budgets('recommended', results, args).read_text()
    assert 'standard deviation of 2 seeds' in text and 'trained on builtin:photos/train' in text
    assert table(text) == [
        ['method', 'time, in iterations of LIIF', 'iterations', 'x2', 'x4'],
        ['bicubic', '', '', '30.00', '30.00'],
        ['LIIF', '100', '100', '30.50 \u00b1 0.71', '26.50 \u00b1 0.71'],
        ['LIIF', '1,000', '1,000', '33.00 \u00b1 0.00', '29.00 \u00b1 0.00'],
        ['recommended', '100', '150', '33.00 \u00b1 1.41', '29.00 \u00b1 1.41'],
        ['recommended', '1,000', '1,500', '35.00 \u00b1 0.00', '31.00 \u00b1 0.00'],
    ]
    assert Image.open(tmp_path / 'report_recommended/budgets.png').size[0] > 1000
    assert '| 35.00 ' in capsys.readouterr().out


def test_several_budgets__of_runs_that_share_no_scale(tmp_path):
    """EDSR has one scale a network; and a figure may be infinite at one budget."""
    infinite = {**measured(26.0, 25.0, scales=(2, 3)), 'x4': {'psnr_y': None}}
    whole = measured(26.0, 25.0, 24.0, scales=(2, 3, 4))
    results = {}
    for budget, of_liif in ((100, infinite), (200, whole)):
        results[budget] = {'LIIF': Trained(budget, [of_liif])}
        for scale in (2, 3):
            of_edsr = Trained(budget, [measured(27.0, scales=(scale,))])
            results[budget][f'EDSR x{scale}'] = of_edsr
    rows = table(write_budgets('decoders', results, arguments(tmp_path)).read_text())
    assert rows[0] == ['method', 'budget (iterations)', 'iterations', 'x2', 'x3', 'x4']
    assert rows[2] == ['LIIF', '100', '100', '26.00', '25.00', '-']
    assert rows[3] == ['LIIF', '200', '200', '26.00', '25.00', '24.00']
    assert rows[4] == ['EDSR x2', '100', '100', '27.00', '-', '-']
    assert (tmp_path / 'report_decoders/budgets.png').exists()


def test_several_budgets__of_faces(tmp_path):
    of_faces = measured(33.0, scales=(2,), metric='psnr')
    label = GROUPS['size-varied'][0].label
    results = {budget: {label: Trained(budget, [of_faces])} for budget in (20, 30)}
    args = arguments(tmp_path, faces='some/faces')
    text = write_budgets('size-varied', results, args).read_text()
    assert 'faces of some/faces' in text and 'builtin' not in text
    assert table(text)[2] == [label, '20', '20', '33.00']


def test_runs__are_those_that_are_named_and_tested(tmp_path):
    def labels(group: str, **changes) -> list[str]:
        args = arguments(tmp_path, **{'runs': None, **changes})
        return [run.label for run in reproduce.chosen(group, args)]

    assert 'EDSR x2' not in labels('decoders', scales=[3, 8])
    assert 'EDSR x3' in labels('decoders', scales=[3, 8])
    assert labels('size-varied', scales=[3]) == [run.label for run in GROUPS['size-varied']]
    assert labels('recommended', runs=['recommended', 'LTE']) == ['recommended']


def test_a_row__is_trained_with_its_seed_and_tested_with_its_average(tmp_path):
    write_photos(tmp_path / 'train', [(100, 110)] * 4)
    write_photos(tmp_path / 'test', [(66, 70)])
    command = [sys.executable, str(SCRIPTS / 'reproduce.py'), '--group', 'recipe', '--out', 'out']
    command += ['--train', 'train', '--test', 'test', '--scales', '2', '--workers', '0']
    command += ['--iterations', '20', '24', '--seeds', '3', '--runs', 'average (EMA)']
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-2000:]
    name = 'train_liif_edsr_average_ema_seed3'
    for budget in ('20', '24'):
        out = tmp_path / 'out' / budget
        assert (out / f'experiments/{name}/models/net_g_latest.pth').exists()
        assert 'param_key_g: params_ema' in (out / f'options/test_{name}.yml').read_text()
        report = table((out / 'report_recipe/report.md').read_text())
        assert report[2][:2] == ['average (EMA)', budget]
    budgets = table((tmp_path / 'out/report_recipe/budgets.md').read_text())
    assert [row[:2] for row in budgets[2:]] == [['average (EMA)', '20'], ['average (EMA)', '24']]
    assert (tmp_path / 'out/report_recipe/budgets.png').exists()


@pytest.mark.parametrize(
    'flags,text',
    [
        (['--seeds', '1', '1'], '--seeds: found'),
        (['--seeds', '-1'], '--seeds: found'),
        (['--iterations', '30', '30'], '--iterations: found'),
        (['--iterations', '30', '10'], 'of at least 20'),
        (['--minutes', '1', '--equal-time'], '--equal-time: --minutes'),
    ],
)
def test_budgets__that_cannot_be_are_refused(monkeypatch, flags, text):
    monkeypatch.setattr(sys, 'argv', ['reproduce.py', '--group', 'recipe', *flags])
    with pytest.raises(UserError, match=text):
        reproduce.main()
