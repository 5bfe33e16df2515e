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
from reproduce_report import write_budgets, write_comparison  # noqa: E402
from reproduce_runs import GROUPS  # noqa: E402

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
        'iterations': 1000,
        'faces_out': tmp_path / 'faces',
        'measured': {},
        'budgets': {},
        'out': tmp_path,
    }
    return argparse.Namespace(**{**options, **changes})


@pytest.mark.parametrize('network', ['small', 'paper'])
@pytest.mark.parametrize('run', RECIPE, ids=lambda run: run.label)
def test_every_row__can_be_trained_and_is_one_of_a_kind(tmp_path, run, network):
    """Its options are known, and no other row's but for the name."""
    args = arguments(tmp_path, network=network)
    opt = training_options(run, args, 1000, seed=2)
    problems = Problems()
    check_option_file(json.loads(json.dumps(opt)), True, problems)
    assert not list(problems)
    assert opt['manual_seed'] == 2 and opt['name'].endswith('_seed2')
    same = []
    for other in RECIPE:
        if {**training_options(other, args, 1000, 2), 'name': opt['name']} == opt:
            same.append(other.label)
    assert same == [run.label]
    pixels = opt['datasets']['train']['num_samples']
    if run.label == 'a quarter of the pixels':
        assert pixels == {'small': 576, 'paper': 2304}[network] / 4


def test_names__are_not_shared():
    names = [run.name(seed) for run in RECIPE for seed in (0, 1)]
    assert len(set(names)) == len(names)


def probes(monkeypatch, seconds: dict[str, float]) -> list[str]:
    """The labels of the runs that are probed from here on; they take seconds by label, or 1."""
    probed = []

    def probe(run, args):
        probed.append(run.label)
        one = seconds.get(run.label, 1.0)
        return [one, 1.1 * one, one, one, 5 * one]  # other work came in between

    monkeypatch.setattr(reproduce, 'probe', probe)
    return probed


def test_equal_time__as_many_iterations_as_the_first_runs_time_allows(tmp_path, monkeypatch):
    probes(monkeypatch, dict(zip([run.label for run in RECIPE], (0.2, 0.1, 0.25), strict=False)))
    args = arguments(tmp_path, equal_time=True)
    found = [reproduce.iterations_of(run, RECIPE[0], args) for run in RECIPE[:3]]
    assert found == [1000, 2000, 800]
    faces = GROUPS['size-varied']  # of another group the first one is another
    assert reproduce.iterations_of(faces[1], faces[0], args) == 1000
    # The same command again goes on with what it began with, whatever the machine does meanwhile.
    (tmp_path / 'options').mkdir()
    text = 'train: {total_iter: 1234}\n'
    (tmp_path / f'options/train_{RECIPE[1].name(2)}.yml').write_text(text)
    assert reproduce.iterations_of(RECIPE[1], RECIPE[0], args) == 1234
    minutes = arguments(tmp_path, minutes=2)
    assert reproduce.iterations_of(RECIPE[2], RECIPE[0], minutes) == 480


def test_equal_time__is_measured_once_for_several_budgets(tmp_path, monkeypatch):
    probed = probes(monkeypatch, {RECIPE[1].label: 0.5, RECIPE[2].label: 0.5})
    args = arguments(tmp_path, equal_time=True)
    found = []
    for budget in (100, 1000):
        one = reproduce.at_budget(args, budget, tmp_path / str(budget))
        found.append([reproduce.iterations_of(run, RECIPE[0], one) for run in RECIPE[:3]])
    assert found == [[100, 200, 200], [1000, 2000, 2000]]
    assert probed == [RECIPE[i].label for i in (0, 1, 0, 1, 0, 2, 0, 2)]  # in turn with the first


def test_probe__times_every_ten_iterations_but_the_first(tmp_path, monkeypatch):
    train = write_photos(tmp_path / 'train', [(100, 110)] * 4)
    monkeypatch.setattr(reproduce, 'PROBED', 40)
    started = time.monotonic()
    seconds = reproduce.probe(RECIPE[0], arguments(tmp_path, train=str(train)))
    assert len(seconds) == 3 and min(seconds) > 0
    assert 10 * sum(seconds) < time.monotonic() - started


def test_schedules__keep_their_shape_over_another_number_of_iterations():
    steps = {'type': 'MultiStepLR', 'milestones': [200, 400], 'gamma': 0.5}
    assert stretched(steps, 1000, 50) == {**steps, 'milestones': [10, 20]}
    cosine = {'type': 'CosineAnnealingRestartLR', 'periods': [1000], 'eta_min': 1e-7}
    assert stretched(cosine, 1000, 50) == {**cosine, 'periods': [50]}


def test_several_budgets__have_a_table_and_a_curve(tmp_path, capsys):
    def measured(psnr: float) -> dict:
        figures = {'psnr_y': psnr, 'bicubic': {'psnr_y': 30.0}}
        return {'x2': figures, 'x4': {**figures, 'psnr_y': psnr - 4}}

    results = {
        100: {'LIIF': [measured(30), measured(31)], 'recommended': [measured(32), measured(34)]},
        1000: {'LIIF': [measured(33), measured(33)], 'recommended': [measured(35), measured(35)]},
    }
    args = arguments(tmp_path, seeds=[0, 1], equal_time=True)
    text = write_budgets('recommended', results, args).read_text()
    rows = [
        [cell.strip() for cell in line.split('|')[1:-1]]
        for line in text.splitlines()
        if line.startswith('|')
    ]
    assert rows[0] == ['method', 'time, in iterations of LIIF', 'x2', 'x4']
    assert rows[2:] == [
        ['bicubic', '', '30.00', '30.00'],
        ['LIIF', '100', '30.50 \u00b1 0.71', '26.50 \u00b1 0.71'],
        ['LIIF', '1,000', '33.00 \u00b1 0.00', '29.00 \u00b1 0.00'],
        ['recommended', '100', '33.00 \u00b1 1.41', '29.00 \u00b1 1.41'],
        ['recommended', '1,000', '35.00 \u00b1 0.00', '31.00 \u00b1 0.00'],
    ]
    assert Image.open(tmp_path / 'report_recommended/budgets.png').size[0] > 1000
    assert 'recommended' in capsys.readouterr().out


def test_table__tells_mean_and_deviation_of_several_seeds(tmp_path, capsys):
    def measured(psnr: float) -> dict:
        return {'x2': {'psnr_y': psnr, 'bicubic': {'psnr_y': 30.0}}}

    args = arguments(tmp_path, seeds=[0, 1, 2], budgets={run.label: 7 for run in RECIPE})
    results = {
        RECIPE[0].label: [measured(p) for p in (31.0, 32.0, 33.0)],
        RECIPE[1].label: [measured(p) for p in (32.5, 32.5, 32.5)],
    }
    text = write_comparison('recipe', results, args).read_text()
    rows = {
        line.split('|')[1].strip(): line.split('|')[2:]
        for line in text.splitlines()
        if line.startswith('|')
    }
    assert rows[RECIPE[0].label][1].strip() == '32.00 \u00b1 1.00'
    assert rows[RECIPE[1].label][1].strip() == '32.50 \u00b1 0.00'
    assert Image.open(tmp_path / 'report_recipe/changes.png').size[0] > 500
    assert rows['bicubic'][1].strip() == '30.00' and 'of 3 seeds' in text
    assert '3 seeds' in capsys.readouterr().out


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
        assert f'| average (EMA) | {budget} it. |' in (out / 'report_recipe/report.md').read_text()
    report = (tmp_path / 'out/report_recipe/report.md').read_text()
    assert '| average (EMA) | 24 ' in report and '| average (EMA) | 20 ' in report


@pytest.mark.parametrize(
    'flags,text',
    [
        (['--seeds', '1', '1'], '--seeds: found'),
        (['--seeds', '-1'], '--seeds: found'),
        (['--iterations', '30', '30'], '--iterations: found'),
        (['--iterations', '30', '10'], '--iterations: needed at least 20'),
        (['--minutes', '1', '--equal-time'], '--equal-time: --minutes'),
    ],
)
def test_budgets__that_cannot_be_are_refused(monkeypatch, flags, text):
    monkeypatch.setattr(sys, 'argv', ['reproduce.py', '--group', 'recipe', *flags])
    with pytest.raises(UserError, match=text):
        reproduce.main()
