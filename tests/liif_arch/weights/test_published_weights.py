"""The published EDSR-baseline weights, converted, through `basicsr test` on Set5: the reference's
own figures.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import run_here, write_options
from parameters import GOLDEN

from liif_arch.config.files import shipped_options
from liif_arch.config.read import load_options

SCRIPT = Path(__file__).parents[3] / 'scripts/convert_official_checkpoint.py'
# Of the six that the file names: trained for, with published inputs, and beyond, without.
SCALES = [4, 12]
PROTOCOLS = {'psnr_y': 'y_shave_s', 'psnr_div2k': 'rgb_shave_s_plus_6', 'psnr': 'rgb'}


def test_set5__within_0_002_db(monkeypatch, tmp_path, shared):
    subprocess.run(
        [sys.executable, SCRIPT, shared / 'checkpoints/edsr-baseline-liif.pth', 'w.pth'],
        cwd=tmp_path,
        check=True,
    )
    opt = json.loads(json.dumps(load_options(shipped_options()['test_liif_edsr'])))
    set5 = next(d for d in opt['datasets'].values() if d['name'] == 'Set5')
    for key in ('dataroot_gt', 'dataroot_lq'):
        set5[key] = set5[key].replace('datasets', str(shared / 'data'))
    set5['scales'] = SCALES
    opt['datasets'], opt['path']['pretrain_network_g'] = {'test_1': set5}, 'w.pth'
    opt['val']['metrics'] = ['psnr', 'psnr_y', 'psnr_div2k']
    assert (
        run_here(monkeypatch, tmp_path, 'test', '-opt', write_options(tmp_path / 'a.yml', opt)) == 0
    )
    found = json.loads((tmp_path / 'results/test_liif_edsr/metrics.json').read_text())['Set5']
    golden = json.loads((GOLDEN / 'set5_psnr.json').read_text())
    golden = {scale: golden[scale] for scale in found}
    assert list(found) == [f'x{scale}' for scale in SCALES]
    for scale, entry in golden.items():
        for ours, theirs in PROTOCOLS.items():
            assert found[scale][ours] == pytest.approx(entry['mean'][theirs], abs=0.002), (
                scale,
                ours,
            )
            for name, figures in entry['images'].items():
                assert found[scale]['images'][name][ours] == pytest.approx(
                    figures[theirs], abs=0.005
                ), (scale, name)
