"""The group `recipe` of `scripts/reproduce.py`: its options, its budget, its table."""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import write_photos
from PIL import Image

from liif_arch.config.check import Problems, check_option_file
from liif_arch.errors import UserError

SCRIPTS = Path(__file__).parents[2] / 'scripts'
sys.path.insert(0, str(SCRIPTS))
import reproduce  # noqa: E402  the scripts are no package
from reproduce_options import test_options, training_options  # noqa: E402
from reproduce_report import write_comparison  # noqa: E402
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


def test_equal_time__as_many_iterations_as_the_first_runs_time_allows(tmp_path, monkeypatch):
    seconds = {RECIPE[0].label: 0.2, RECIPE[1].label: 0.1, RECIPE[2].label: 0.25}
    seconds.update({run.label: 1.0 for run in GROUPS['size-varied']})
    monkeypatch.setattr(reproduce, 'seconds_per_iteration', lambda run, args: seconds[run.label])
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
    command += ['--iterations', '20', '--seeds', '3', '--runs', 'average (EMA)']
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-2000:]
    name = 'train_liif_edsr_average_ema_seed3'
    assert (tmp_path / f'out/experiments/{name}/models/net_g_latest.pth').exists()
    assert 'param_key_g: params_ema' in (tmp_path / f'out/options/test_{name}.yml').read_text()
    assert '| average (EMA) | 20 it. |' in (tmp_path / 'out/report_recipe/report.md').read_text()


@pytest.mark.parametrize(
    'flags,text',
    [
        (['--seeds', '1', '1'], '--seeds: found'),
        (['--seeds', '-1'], '--seeds: found'),
        (['--minutes', '1', '--equal-time'], '--equal-time: --minutes'),
    ],
)
def test_budgets__that_cannot_be_are_refused(monkeypatch, flags, text):
    monkeypatch.setattr(sys, 'argv', ['reproduce.py', '--group', 'recipe', *flags])
    with pytest.raises(UserError, match=text):
        reproduce.main()
