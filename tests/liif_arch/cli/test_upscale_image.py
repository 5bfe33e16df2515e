"""`basicsr upscale` on one image."""

import subprocess
import sys

import numpy as np
import pytest
from helpers import (
    PEAK,
    assert_one_line,
    photo,
    run_basicsr,
    run_here,
)

from liif_arch import LIIF, read_image, upscale, write_image


@pytest.mark.parametrize(
    'target,size',
    [
        (['--scale', '3.7'], (44, 37)),
        (['--scale', '2x3'], (36, 20)),
        (['--size', '100x120'], (120, 100)),
        (['--size', '50x'], (60, 50)),
        (['--size', '100x70', '--stretch'], (70, 100)),
        (['--scale', '0.5'], (6, 5)),
    ],
)
def test_upscale__one_file(monkeypatch, tmp_path, weights, capsys, target, size):
    write_image(tmp_path / 'a.png', photo(12, 10))
    assert (
        run_here(
            monkeypatch,
            tmp_path,
            'upscale',
            'a.png',
            '--weights',
            weights,
            *target,
            '-o',
            'b.png',
            '--precision',
            'float32',
        )
        == 0
    )
    from liif_arch import load_network

    expected = upscale(load_network(weights), photo(12, 10), size=size)
    assert np.array_equal(read_image(tmp_path / 'b.png'), expected)
    assert f'b.png  10x12 -> {size[1]}x{size[0]}' in capsys.readouterr().out


def test_upscale__precision(monkeypatch, tmp_path, weights, capsys):
    """bfloat16 where the processor has it, unless float32 is asked for; 8-bit results differ by a
    level at most.
    """
    monkeypatch.setattr('liif_arch.precision.has_bfloat16', lambda device: True)
    write_image(tmp_path / 'a.png', photo(12, 10))
    images = {}
    for precision in ('float32', 'bfloat16', None):
        flags = ['--precision', precision] if precision else []
        assert (
            run_here(
                monkeypatch,
                tmp_path,
                'upscale',
                'a.png',
                '--weights',
                weights,
                '--scale',
                4,
                '-o',
                'b.png',
                '--overwrite',
                *flags,
            )
            == 0
        )
        images[precision] = read_image(tmp_path / 'b.png').astype(int)
    assert np.array_equal(images[None], images['bfloat16'])
    assert 0 < np.abs(images['bfloat16'] - images['float32']).max() <= 2
    monkeypatch.setattr('liif_arch.precision.has_bfloat16', lambda device: False)
    capsys.readouterr()
    for precision, message in (
        ('bfloat16', 'has no instructions for; use float32, or auto'),
        ('half', "--precision: found 'half'"),
    ):
        assert (
            run_here(
                monkeypatch,
                tmp_path,
                'upscale',
                'a.png',
                '--weights',
                weights,
                '--scale',
                4,
                '-o',
                'c.png',
                '--precision',
                precision,
            )
            == 2
        )
        assert message in capsys.readouterr().err


def test_upscale__a_tif_is_streamed(monkeypatch, tmp_path, weights, capsys):
    from liif_arch import load_network
    from liif_arch.upscaling import upscale as upscaling

    write_image(tmp_path / 'a.png', photo(12, 10))
    expected = upscale(load_network(weights), photo(12, 10), scale=3)
    monkeypatch.setattr(upscaling, 'upscale', None)  # which holds the whole output
    assert (
        run_here(
            monkeypatch,
            tmp_path,
            'upscale',
            'a.png',
            '--weights',
            weights,
            '--scale',
            3,
            '-o',
            'b.tif',
            '--precision',
            'float32',
        )
        == 0
    )
    assert np.array_equal(read_image(tmp_path / 'b.tif'), expected)
    out = capsys.readouterr()
    assert 'b.tif  10x12 -> 30x36' in out.out and out.err == ''  # no terminal, no bar


@pytest.mark.parametrize('name', ['b.tif', 'b.png'])
def test_upscale__ctrl_c_leaves_nothing(monkeypatch, tmp_path, weights, capsys, name):
    def interrupt(*_):
        raise KeyboardInterrupt

    write_image(tmp_path / 'a.png', photo(12, 10))
    before = sorted(p.name for p in tmp_path.iterdir())
    monkeypatch.setattr(LIIF, 'render_window', interrupt)
    assert (
        run_here(
            monkeypatch,
            tmp_path,
            'upscale',
            'a.png',
            '--weights',
            weights,
            '--scale',
            3,
            '-o',
            name,
        )
        == 130
    )
    assert 'basicsr upscale: stopped.' in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_upscale__as_a_user_runs_it(tmp_path, weights):
    """A whole process: exit status, one line of error, no traceback."""
    write_image(tmp_path / 'a.png', photo(6, 6))
    assert_one_line(
        run_basicsr(
            'upscale',
            'a.png',
            '--weights',
            'nowhere.pth',
            '--scale',
            '2',
            '-o',
            'b.png',
            cwd=tmp_path,
        ),
        'nowhere.pth',
        'No such file',
    )


def test_upscale__memory_of_a_510x339_image_at_x2(tmp_path, shared):
    """The published network on a CPU stays below 2.5 GiB of resident memory.

    One hidden layer of all corners of all pixels would take 2.6 GiB.
    """
    write_image(tmp_path / 'a.png', photo(339, 510))
    code = f'{PEAK}from liif_arch.cli import main\nassert main() == 0\nprint(peak())'
    result = subprocess.run(
        [
            sys.executable,
            '-c',
            code,
            'upscale',
            'a.png',
            '--scale',
            '2',
            '-o',
            'b.png',
            '--weights',
            str(shared / 'checkpoints/edsr-baseline-liif.pth'),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert 300 < float(result.stdout.split()[-1]) < 2560, result.stdout
    assert read_image(tmp_path / 'b.png').shape == (678, 1020, 3)
