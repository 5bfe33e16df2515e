"""`scripts/reproduce.py` on tiny data: trains, tests, reports, skips what is done."""

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers import run_here, write_photos
from PIL import Image

from liif_arch.errors import UserError

SCRIPT = Path(__file__).parents[2] / 'scripts/reproduce.py'
sys.path.insert(0, str(SCRIPT.parent))
import reproduce as script  # noqa: E402  the scripts are no package
import reproduce_command  # noqa: E402
import reproduce_cost  # noqa: E402
import reproduce_plots  # noqa: E402


def reproduce(cwd: Path, *arguments: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, arguments)], cwd=cwd, capture_output=True, text=True
    )


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The script in this process, and so are its trainings, each of which starts one else."""

    def run(command: list[str], cwd: Path, **_: object) -> subprocess.CompletedProcess:
        with pytest.MonkeyPatch.context() as patch:
            status = run_here(patch, cwd, *command[3:])  # behind python -m liif_arch.cli
        return subprocess.CompletedProcess(command, status, stdout='')

    stand_in = SimpleNamespace(run=run, STDOUT=subprocess.STDOUT, PIPE=subprocess.PIPE)
    monkeypatch.setattr(reproduce_command, 'subprocess', stand_in)
    monkeypatch.chdir(tmp_path)

    def main(*arguments: object) -> None:
        monkeypatch.setattr(sys, 'argv', [str(SCRIPT), *map(str, arguments)])
        script.main()

    return main


def test_decoders__report_then_nothing_left_to_do(tmp_path, monkeypatch, here):
    monkeypatch.setattr(reproduce_cost, 'SIZE', (120, 180))
    monkeypatch.setattr(reproduce_cost, 'REPEATS', 1)
    monkeypatch.setattr(reproduce_plots, 'PANEL_SCALES', [4])
    write_photos(tmp_path / 'train', [(100, 110)] * 4)
    write_photos(tmp_path / 'test', [(66, 70)])
    command = [
        '--group',
        'decoders',
        '--train',
        'train',
        '--test',
        'test',
        '--scales',
        2,
        3,
        4,
        6,
        '--iterations',
        20,
        '--workers',
        0,
        '--runs',
        'LIIF',
        'MetaSR',
        'EDSR x2',
        '--out',
        'out',
    ]
    here(*command)
    report = (tmp_path / 'out/report_decoders/report.md').read_text()
    rows = {
        line.split('|')[1].strip(): line.split('|')[2:]
        for line in report.splitlines()
        if line.startswith('|')
    }
    assert set(rows) >= {'bicubic', 'LIIF', 'MetaSR', 'EDSR x2', 'paper: LIIF', 'paper: EDSR x2'}
    assert [c.strip() for c in rows['EDSR x2']][2:4] == ['-', '-'] and '34.55' in rows[
        'paper: EDSR x2'
    ][1]
    assert rows['LIIF'][0].strip() == '20' and float(rows['LIIF'][1]) > 5
    cost = (tmp_path / 'out/report_decoders/cost.md').read_text()
    costs = [line.split('|')[1:4] for line in cost.splitlines() if line.startswith('| ')][1:]
    assert [label.strip() for label, *_ in costs] == ['bicubic', 'LIIF', 'MetaSR']
    assert all(float(seconds) > 0 for _, _, seconds in costs)
    for name in ('panels.png', 'psnr_scale.png', 'psnr_time.png'):
        assert Image.open(tmp_path / 'out/report_decoders' / name).size[0] > 500
    weights = tmp_path / 'out/experiments/train_liif_edsr/models/net_g_latest.pth'
    before = weights.stat().st_mtime_ns
    here(*command)
    assert weights.stat().st_mtime_ns == before
    assert (tmp_path / 'out/report_decoders/report.md').read_text() == report
    command[command.index(20)] = 30
    other = reproduce(tmp_path, *command)
    assert (
        other.returncode == 2
        and 'name another --out' in other.stderr
        and 'Traceback' not in other.stderr
    )


def test_size_varied__from_one_folder_of_faces(tmp_path, here):
    write_photos(tmp_path / 'faces', [(256, 256)] * 7)
    here(
        '--group',
        'size-varied',
        '--faces',
        'faces',
        '--iterations',
        20,
        '--workers',
        0,
        '--runs',
        '64 to 128: LIIF, size-varied',
        '64 to 128: resized ground truth',
        '--out',
        'out',
    )
    report = (tmp_path / 'out/report_size-varied/report.md').read_text()
    assert '| 64 to 128: resized ground truth' in report and '35.96' in report
    assert len(list((tmp_path / 'out/faces/heldout/128').iterdir())) == 2


def test_refuses(here):
    for arguments, part in [
        (['--group', 'size-varied'], '--faces'),
        (['--group', 'decoders', '--iterations', 3], 'at least 20'),
        (['--group', 'decoders', '--train', 'nowhere'], '--train: '),
        (['--group', 'scales', '--runs', 'X'], 'none of'),
        (['--group', 'all', '--faces', 'f', '--runs', 'LIIF', 'MetaSRR'], 'did you mean MetaSR'),
        (['--group', 'decoders', '--runs', 'EDSR x2', '--scales', 3], '--scales: found [3]'),
    ]:
        with pytest.raises(UserError, match=re.escape(part)):
            here(*arguments, '--out', 'out')
