"""PSNR protocols against golden and analytic values; SSIM, tables, plots and pictures."""

import csv
import json
import math

import numpy as np
import pytest
import torch
from helpers import photo
from parameters import GOLDEN
from PIL import Image

from liif_arch.metrics import fidelity, panel, report


def test_psnr__golden_protocols():
    arrays = np.load(GOLDEN / 'psnr.npz')
    for case in json.loads((GOLDEN / 'psnr.json').read_text()):
        sr, gt = (torch.from_numpy(arrays[f'{k}{case["index"]}'])[0] for k in ('sr', 'hr'))
        scale = (case['scale'],) * 2
        figures = [f(sr, gt, scale) for f in (fidelity.psnr, fidelity.psnr_y, fidelity.psnr_div2k)]
        assert figures == pytest.approx([case['plain'], case['benchmark'], case['div2k']], abs=1e-5)


def test_psnr__analytic_and_shaved():
    gt = torch.zeros(3, 40, 50)
    sr = gt + 0.1
    assert fidelity.psnr(sr, gt, (2, 2)) == pytest.approx(20)
    assert fidelity.psnr_div2k(sr, gt, (2, 2)) == pytest.approx(20)
    luma = 0.1 * sum(fidelity.LUMA)
    assert fidelity.psnr_y(sr, gt, (2, 2)) == pytest.approx(-20 * math.log10(luma))
    sr[:, :3] = sr[:, -3:] = 1  # rows that x3 shaves
    sr[:, :, :4] = sr[:, :, -4:] = 1  # columns that x3.5 shaves
    assert fidelity.psnr_y(sr, gt, (3, 3.5)) == pytest.approx(-20 * math.log10(luma), abs=1e-4)
    assert fidelity.psnr_y(sr, gt, (2, 3.5)) < 15


def test_psnr__one_channel_identical_and_nothing_left():
    gt = torch.rand(1, 30, 30)
    assert fidelity.psnr_y(gt + 0.01, gt, (2, 2)) == pytest.approx(40, abs=1e-3)
    assert fidelity.psnr(gt, gt, (2, 2)) == math.inf
    assert math.isnan(fidelity.psnr_div2k(gt + 0.1, gt, (30, 30)))


def test_ssim__agrees_with_scikit_image():
    from skimage.metrics import structural_similarity

    gt = torch.from_numpy(photo(60, 50)).permute(2, 0, 1) / 255
    sr = (gt + 0.05 * torch.randn(gt.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    pair = [fidelity.luma(x.double())[0].numpy() * 255 for x in (sr, gt)]
    _, full = structural_similarity(
        *pair,
        data_range=255,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    inner = full[7:-7, 7:-7]  # 2 pixels shaved, 5 for the window
    assert fidelity.ssim(sr, gt, (2, 2)) == pytest.approx(inner.mean(), abs=1e-4)
    assert fidelity.ssim(gt, gt, (2, 2)) == pytest.approx(1)
    assert math.isnan(fidelity.ssim(gt, gt, (26, 26)))


RECORDS = [
    {
        'scale': s,
        'image': i,
        'figures': {'psnr': p, 'ssim': 0.5},
        'bicubic': {'psnr': p - 1, 'ssim': 0.25},
    }
    for s, i, p in [
        ('x2', 'a', 30.0),
        ('x2', 'b', 40.0),
        ('x2x3', 'a', 25.0),
        ('x2x3', 'b', math.inf),
    ]
]


def test_report__files_say_the_same(tmp_path):
    results = {'Set': report.summarize(RECORDS)}
    report.write_report(results, tmp_path)
    assert (
        report.read_report(tmp_path)
        == results
        == json.loads((tmp_path / 'metrics.json').read_text())
    )
    assert results['Set']['x2']['psnr'] == 35 and results['Set']['x2']['bicubic']['psnr'] == 34
    assert results['Set']['x2']['images']['b'] == {
        'psnr': 40,
        'ssim': 0.5,
        'bicubic': {'psnr': 39, 'ssim': 0.25},
    }
    assert results['Set']['x2x3']['psnr'] is None  # one image is not finite
    rows = list(csv.DictReader((tmp_path / 'metrics.csv').open()))
    assert len(rows) == 2 * 2 * 3 and rows[0]['psnr'] == '35.0' and rows[1]['method'] == 'bicubic'
    lines = (tmp_path / 'metrics.md').read_text().splitlines()
    assert len(lines) == 4 and len({len(line) for line in lines}) == 1
    assert lines[2].split('|')[1:-1] == [
        ' Set     ',
        ' x2    ',
        ' 35.00 ',
        '     34.00 ',
        ' 0.5000 ',
        '    0.2500 ',
    ]
    assert Image.open(tmp_path / 'psnr_scale.png').size[0] > 300


def test_report__absent(tmp_path):
    assert report.read_report(tmp_path) is None


def test_panel__shows_the_busiest_detail(tmp_path):
    image = np.full((300, 400, 3), 128, np.uint8)
    image[150:250, 250:350] = np.random.default_rng(0).integers(0, 256, (100, 100, 3))
    rows, cols = panel.busiest_window(image, panel.DETAIL)
    assert rows.start <= 152 and rows.stop >= 248 and cols.start <= 252 and cols.stop >= 348
    small = photo(20, 30)
    rows = [
        panel.Row(n, s, dict.fromkeys(('bicubic', 'LIIF', 'original'), i))
        for n, s, i in (('a', 'x4', image), ('b', 'x8', small))
    ]
    panel.write_panel(rows, tmp_path / 'p.png')
    assert Image.open(tmp_path / 'p.png').size[1] > 500
