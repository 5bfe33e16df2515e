"""`basicsr upscale` of files of every kind: what comes out, what is said, streams and JSON."""

import json
import os
import subprocess
import sys
from io import BytesIO
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
from helpers import photo, run_here
from PIL import Image

from liif_arch import load_network, read_image, upscale, write_image
from liif_arch.archs.self_ensemble import SelfEnsemble

PHOTO = photo(24, 20)
LIGHT = (PHOTO / 255).astype(np.float32) ** 2.2 * 6


def bits() -> Image.Image:
    return Image.fromarray(PHOTO[..., 0] > 120)


def inks() -> Image.Image:
    return Image.fromarray(np.dstack([PHOTO, PHOTO[..., :1]]), 'CMYK')


# Name of the file, what saves it, name of the result, and its channels and dtype.
KINDS = {
    'TGA': ('a.tga', lambda path: Image.fromarray(PHOTO).save(path), 'a_x2.png', 3, 'uint8'),
    'JPEG 2000': ('a.jp2', lambda path: Image.fromarray(PHOTO).save(path), 'a_x2.png', 3, 'uint8'),
    'AVIF': ('a.avif', lambda path: write_image(path, PHOTO), 'a_x2.png', 3, 'uint8'),
    'OpenEXR': ('a.exr', lambda path: write_image(path, LIGHT), 'a_x2.exr', 3, 'float32'),
    'Radiance': ('a.hdr', lambda path: write_image(path, LIGHT), 'a_x2.hdr', 3, 'float32'),
    'PFM': ('a.pfm', lambda path: write_image(path, LIGHT), 'a_x2.pfm', 3, 'float32'),
    'palette': (
        'a.png',
        lambda path: Image.fromarray(PHOTO).quantize(16).save(path),
        'a_x2.png',
        3,
        'uint8',
    ),
    '1 bit': ('a.png', lambda path: bits().save(path), 'a_x2.png', 1, 'uint8'),
    'fax': (
        'a.tif',
        lambda path: bits().save(path, compression='group4'),
        'a_x2.tif',
        1,
        'uint8',
    ),
    '16-bit gray': (
        'a.png',
        lambda path: write_image(path, PHOTO[..., :1].astype(np.uint16) * 257),
        'a_x2.png',
        1,
        'uint16',
    ),
    'still GIF': ('a.gif', lambda path: Image.fromarray(PHOTO).save(path), 'a_x2.png', 3, 'uint8'),
}


@pytest.fixture
def run(monkeypatch, tmp_path, weights, capsys):
    """`run(flags...)`: the command's lines, at x2 with a tiny network; it must succeed."""

    def command(*flags: object, status: int = 0) -> list[str]:
        scale = [] if '--scale' in flags else ['--scale', 2]
        found = run_here(monkeypatch, tmp_path, 'upscale', '--weights', weights, *scale, *flags)
        out = capsys.readouterr()
        assert found == status, out.err
        return (out.err if status else out.out).splitlines()

    return command


@pytest.mark.parametrize('kind', KINDS)
def test_upscale__every_kind_of_file(run, tmp_path, kind):
    name, save, result, channels, dtype = KINDS[kind]
    save(tmp_path / name)
    [line] = run(name)
    assert line.startswith(f'{result}  20x24 -> 40x48 (width x height)')
    found = read_image(tmp_path / result)
    assert found.shape == (48, 40, channels) and found.dtype == dtype


def test_upscale__heic(run, tmp_path):
    pillow_heif = pytest.importorskip('pillow_heif')
    pillow_heif.from_pillow(Image.fromarray(PHOTO)).save(tmp_path / 'a.heic', quality=90)
    [line] = run('a.heic')
    assert line.startswith('a_x2.png  20x24 -> 40x48')


def test_upscale__linear_light_is_enlarged_as_displays_show_it(run, tmp_path, weights):
    write_image(tmp_path / 'a.exr', LIGHT)
    run('a.exr', '--precision', 'float32')
    expected = upscale(load_network(weights), LIGHT, scale=2, linear=True)
    np.testing.assert_allclose(read_image(tmp_path / 'a_x2.exr'), expected, rtol=1e-5, atol=1e-6)


def test_upscale__pages_become_files(run, tmp_path):
    with tifffile.TiffWriter(tmp_path / 'scan.tif') as file:
        for page in (PHOTO, PHOTO[::-1]):
            file.write(page, photometric='rgb', metadata=None)
    lines = run('scan.tif')
    assert [line.split()[0] for line in lines] == ['scan_x2_1.tif', 'scan_x2_2.tif']
    first, second = (read_image(tmp_path / f'scan_x2_{k}.tif') for k in (1, 2))
    assert np.array_equal(first, read_image(tmp_path / 'scan_x2_1.tif'))
    assert not np.array_equal(first, second)


def test_upscale__a_cut_jpeg_is_read_as_far_as_it_goes(run, tmp_path):
    write_image(tmp_path / 'a.jpg', photo(80, 90))
    whole = (tmp_path / 'a.jpg').read_bytes()
    (tmp_path / 'a.jpg').write_bytes(whole[: len(whole) * 2 // 3])
    [line] = run('a.jpg')
    assert 'it is cut off, and what is missing is gray (--strict refuses it)' in line
    assert 'not a readable image' in run('a.jpg', '--strict', '--overwrite', status=2)[-1]


def test_upscale__another_extension_than_its_content(run, tmp_path):
    write_image(tmp_path / 'a.jpg', PHOTO)
    (tmp_path / 'a.jpg').rename(tmp_path / 'a.tif')
    [line] = run('a.tif')
    assert line.startswith('a_x2.png') and 'its content is JPEG, whatever its name says' in line


@pytest.mark.parametrize('form', ['jpg', 'webp', 'avif'])
def test_upscale__format_and_quality(run, tmp_path, form):
    write_image(tmp_path / 'a.png', photo(64, 64))
    sizes = []
    for quality in (10, 90):
        run('a.png', '--format', form, '--quality', quality, '--suffix', f'_{quality}')
        sizes.append((tmp_path / f'a_{quality}.{form}').stat().st_size)
    assert sizes[0] < sizes[1]


def test_upscale__a_quality_of_none(run, tmp_path):
    write_image(tmp_path / 'a.png', PHOTO)
    assert 'quality is of .jpg' in run('a.png', '--quality', 50, status=2)[-1]
    assert '--quality: found 0; needed 1 to 100' in run('a.png', '--quality', 0, status=2)[-1]
    assert [path.name for path in tmp_path.glob('a*')] == ['a.png']


def test_upscale__a_crop_is_that_part(run, tmp_path):
    write_image(tmp_path / 'a.png', PHOTO)
    flags = ('--scale', 5, '--precision', 'float32')
    run('a.png', *flags)
    [line] = run('a.png', *flags, '--crop', '25%,2.4,6,50%')
    assert line.startswith('a_x5_crop.png  20x24 -> 50x30')
    whole, part = (read_image(tmp_path / f'a_x5{end}.png') for end in ('', '_crop'))
    assert abs(whole[30:60, 12:62].astype(int) - part).max() <= 1


def test_upscale__a_crop_outside(run, tmp_path):
    write_image(tmp_path / 'a.png', PHOTO)
    error = run('a.png', '--crop', '20,0,5,5', status=2)[-1]
    assert 'crop: found y 20, x 0, height 5 and width 5' in error
    assert 'which is 24 high and 20 wide' in error


def test_upscale__an_ensemble(run, tmp_path, weights):
    write_image(tmp_path / 'a.png', PHOTO)
    run('a.png', '--ensemble', 8, '--precision', 'float32')
    expected = upscale(SelfEnsemble(load_network(weights), 8), PHOTO, scale=2)
    assert np.array_equal(read_image(tmp_path / 'a_x2.png'), expected)


def test_upscale__json(monkeypatch, tmp_path, weights, capsys):
    write_image(tmp_path / 'a.png', PHOTO)
    write_image(tmp_path / 'b.jpg', PHOTO)
    write_image(tmp_path / 'out/b.png', PHOTO)
    (tmp_path / 'c.png').write_bytes(b'no image')
    flags = ('--scale', 2, '--weights', weights, '-o', 'out/', '--json')
    assert run_here(monkeypatch, tmp_path, 'upscale', 'a.png', 'b.jpg', 'c.png', *flags) == 2
    skipped, done, failed = map(json.loads, capsys.readouterr().out.splitlines())
    assert skipped == {'source': 'b.jpg', 'result': 'out/b.png', 'skipped': True}
    assert done.pop('seconds') > 0 and done.pop('weights').endswith('w.pth')
    assert done == {
        'source': 'a.png',
        'result': 'out/a.png',
        'source_size': [20, 24],
        'size': [40, 48],
        'why': '',
        'notes': [],
    }
    assert failed['source'] == 'c.png' and 'not a readable image' in failed['error']


@pytest.mark.parametrize(
    'flags',
    [
        ('--scale', 0),
        ('--size', '10x40'),
        ('--scale', 2, '-o', 'no.where'),
        ('--scale', 2, '--weights', 'no.pth'),
        ('--scale', 2, '-opt', 'no.yml'),
    ],
)
def test_upscale__json_of_what_is_refused(monkeypatch, tmp_path, weights, capsys, flags):
    write_image(tmp_path / 'a.png', PHOTO)
    assert run_here(monkeypatch, tmp_path, 'upscale', 'a.png', '--json', *flags) == 2
    [line] = capsys.readouterr().out.splitlines()
    assert json.loads(line)['error']


def test_upscale__standard_input_and_output(tmp_path, weights):
    write_image(tmp_path / 'a.png', PHOTO)
    command = [sys.executable, '-m', 'liif_arch.cli', 'upscale', '--weights', str(weights)]
    for flags, kind in ((['-'], 'PNG'), (['-', '-o', '-', '--format', 'webp'], 'WEBP')):
        result = subprocess.run(
            [*command, '--scale', '2', *flags],
            input=(tmp_path / 'a.png').read_bytes(),
            capture_output=True,
            cwd=tmp_path,
            check=True,
        )
        (tmp_path / 'out').write_bytes(result.stdout)
        with Image.open(tmp_path / 'out') as image:
            assert image.size == (40, 48) and image.format == kind
        assert b'-  20x24 -> 40x48' in result.stderr


def test_upscale__standard_input_stays_without_loss(tmp_path, monkeypatch, weights, capfdbinary):
    """A TIFF file of floats, and one of linear light, become such files."""
    for name in ('a.tif', 'a.pfm'):
        write_image(tmp_path / name, PHOTO.astype(np.float32) / 255)
        data = SimpleNamespace(buffer=BytesIO((tmp_path / name).read_bytes()))
        monkeypatch.setattr(sys, 'stdin', data)
        flags = ('--weights', weights, '--scale', 2)
        assert run_here(monkeypatch, tmp_path, 'upscale', '-', *flags) == 0
        (tmp_path / f'out{name[1:]}').write_bytes(capfdbinary.readouterr().out)
        result = read_image(tmp_path / f'out{name[1:]}')
        assert result.shape == (48, 40, 3) and result.dtype == np.float32


def test_upscale__names_that_are_no_text(tmp_path, weights):
    """Of bytes that are no UTF-8; the lines that name them end no batch."""
    for name in (b'\xe4.png', b'b.png'):
        write_image(tmp_path / 'in/new.png', PHOTO)
        (tmp_path / 'in/new.png').rename(tmp_path / 'in' / os.fsdecode(name))
    command = [sys.executable, '-m', 'liif_arch.cli', 'upscale', 'in', '--weights', str(weights)]
    result = subprocess.run(
        [*command, '--scale', '2', '-o', 'out/'],
        cwd=tmp_path,
        capture_output=True,
        env={**os.environ, 'PYTHONIOENCODING': 'utf-8:strict'},
    )
    assert result.returncode == 0, result.stderr
    assert len(list((tmp_path / 'out').iterdir())) == len(result.stdout.splitlines()) == 2


def test_upscale__a_name_that_begins_with_a_dash(run, tmp_path):
    write_image(tmp_path / '-a.png', PHOTO)
    [line] = run('--', '-a.png')
    assert line.startswith('-a_x2.png')


def test_upscale__says_how_long_before_a_long_job(run, tmp_path, monkeypatch, capsys):
    from liif_arch.upscaling import estimate

    monkeypatch.setattr(estimate, 'SURELY_SHORT', 10)
    monkeypatch.setattr(estimate, 'LONG', 0)
    told = []
    monkeypatch.setattr(
        'liif_arch.cli.upscale_run.tell_long',
        lambda *figures: (told.append(figures[1:]), estimate.tell_long(*figures)),
    )
    for name in 'ab':
        write_image(tmp_path / f'{name}.png', PHOTO)
    run('.', '-o', 'out/')
    [(pixels, largest, _)] = told
    assert (pixels, largest) == (2 * 40 * 48, 40 * 48)


def test_estimate__is_what_a_sample_takes(monkeypatch):
    """At a microsecond for each pixel of output, by a clock of its own."""
    from liif_arch.upscaling import estimate

    net, clock = load_network('small'), [0.0]
    render = net.render

    def timed(feat, size):
        clock[0] += size[0] * size[1] * 1e-6
        return render(feat, size)

    monkeypatch.setattr(net, 'render', timed)
    monkeypatch.setattr(estimate.time, 'perf_counter', lambda: clock[0])
    assert estimate.seconds_for(net, 10**6) == pytest.approx(1)
