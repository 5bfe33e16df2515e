"""`basicsr compare`: panels hold the pixels of each method, zooms go where they are sent."""

import numpy as np
import pytest
from helpers import photo, run_here
from PIL import Image

from liif_arch import load_network, upscale, write_image
from liif_arch.view import still
from liif_arch.view.pictures import Shown

pytest.importorskip('starlette')


@pytest.fixture
def image(tmp_path):
    gt = photo(120, 160)
    write_image(tmp_path / 'gt.png', gt)
    small = Image.fromarray(gt).resize((80, 60), Image.Resampling.BICUBIC)
    small.save(tmp_path / 'a.png')
    return np.asarray(small)


def compare(monkeypatch, tmp_path, *flags, status=0) -> None:
    arguments = ('compare', 'a.png', *flags)
    assert run_here(monkeypatch, tmp_path, *arguments) == status


def test_panel__holds_what_upscale_makes(monkeypatch, tmp_path, image, capsys):
    flags = ('--scale', 6, '--weights', 'fast', 'small', '--gt', 'gt.png', '--crop', '10,20,20,30')
    compare(monkeypatch, tmp_path, *flags, '-o', 'p.png')
    found = np.asarray(Image.open(tmp_path / 'p.png'))
    width, height = 180, 120
    wide = (found.shape[1] + still.GAP) // 4 - still.GAP  # as the titles need
    assert found.shape == (still.BAR + height, 4 * wide + 3 * still.GAP, 3) and wide >= width
    assert capsys.readouterr().out.startswith(f'p.png  {found.shape[1]}x{found.shape[0]}')
    for number, name in enumerate(('fast', 'small'), 1):
        left = number * (wide + still.GAP)
        expected = upscale(load_network(name), image, scale=6)[60:180, 120:300]
        part = found[still.BAR :, left : left + width]
        assert np.abs(part.astype(int) - expected).max() <= 1
    title = found[: still.BAR]
    assert (title < 128).any() and (title > 250).mean() > 0.5  # letters on paper


def test_panel__of_gray_and_alpha(monkeypatch, tmp_path):
    pixels = np.dstack([photo(30, 40)[..., :1], np.full((30, 40), 128, np.uint8)])
    write_image(tmp_path / 'a.png', pixels)
    compare(monkeypatch, tmp_path, '--scale', 2, '--weights', 'small', '-o', 'p.png')
    found = Image.open(tmp_path / 'p.png')
    wide = (found.width - still.GAP) // 2
    assert wide >= 80 and found.size == (2 * wide + still.GAP, 60 + still.BAR)


def test_titles__say_at_which_scale_psnr_is(tmp_path, image):
    """The ground truth is twice as large as the image, whatever scale is looked at."""
    shown = Shown(tmp_path / 'a.png', {'small': lambda: load_network('small')}, tmp_path / 'gt.png')
    whole = (0.0, 1.0, 0.0, 1.0)
    psnr = f'{shown.psnr("small", whole):.2f} dB'
    assert still._title(shown, 'small', 2, whole) == f'small  x2  {psnr}'
    assert still._title(shown, 'small', 6, whole) == f'small  x6  {psnr} at x2'
    assert still._title(shown, 'original', 6, whole) == 'original  x2'
    alone = Shown(tmp_path / 'a.png', {})
    assert still._title(alone, 'bicubic', 6, whole) == 'bicubic  x6'


def test_panel__of_a_small_detail_and_a_tall_image(tmp_path):
    """Titles do not run into one another, and the inset stays below them."""
    write_image(tmp_path / 'tall.png', photo(400, 20))
    shown = Shown(tmp_path / 'tall.png', {'a long name of weights': lambda: load_network('small')})
    panel = np.asarray(still.panel(shown, 2, (100, 5, 10, 10)))
    letters = (panel[: still.BAR] < 128).any((0, 2))
    gap = (panel.shape[1] - still.GAP) // 2
    assert not letters[gap : gap + still.GAP].any() and letters[gap + still.GAP :].any()
    assert (panel[:4] == 255).all()


@pytest.mark.parametrize('name', ['z.gif', 'z.webp', 'z.mp4'])
def test_zoom__is_written(monkeypatch, tmp_path, image, name):
    monkeypatch.setattr('liif_arch.cli.compare.FRAMES', 4)
    compare(monkeypatch, tmp_path, '--zoom', '1:8', '--weights', 'small', '-o', name)
    if name == 'z.mp4':
        av = pytest.importorskip('av')
        with av.open(str(tmp_path / name)) as film:
            sizes = [(frame.width, frame.height) for frame in film.decode(video=0)]
    else:
        with Image.open(tmp_path / name) as animation:
            sizes = [animation.size] * animation.n_frames
            assert animation.info['loop'] == 0
    assert sizes == [(2 * 80 + still.GAP, 60)] * 4


def test_zoom__ends_at_its_place(tmp_path, image):
    net = load_network('small')
    shown = Shown(tmp_path / 'a.png', {'small': lambda: net})
    *_, last = still.zoom(shown, (1, 10), (15, 60), (40, 50), 3)
    whole = upscale(net, image, scale=10)
    expected = whole[150 - 20 : 150 + 20, 600 - 25 : 600 + 25]
    assert np.abs(last[:, 50 + still.GAP :].astype(int) - expected).max() <= 1


@pytest.mark.parametrize(
    'flags,part',
    [
        (('--scale', 2, '-o', 'p.mp4'), '-o: found p.mp4; needed one of .png'),
        (('--zoom', '1:8', '-o', 'p.jpg'), '-o: found p.jpg; needed one of .mp4'),
        (('--zoom', '8:1', '-o', 'p.gif'), '--zoom: found 8:1; needed two rising scales'),
        (('--scale', 0.5, '-o', 'p.png'), '--scale: found 0.5; needed 1 or more'),
        (('--scale', 2, '-o', 'a.png'), '-o: a.png exists'),
        (('--zoom', '1:8', '--gt', 'gt.png', '-o', 'p.gif'), '--gt: found it beside --zoom'),
        (('--scale', 99, '--crop', '0,0,50,50', '-o', 'p.png'), '--crop: the detail would have'),
        (('--scale', 2, '--crop', '0,0,99,99', '-o', 'p.png'), 'crop: found y 0'),
    ],
)
def test_compare__refuses(monkeypatch, tmp_path, image, capsys, flags, part):
    compare(monkeypatch, tmp_path, '--weights', 'small', *flags, status=2)
    assert part in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ['a.png', 'gt.png']
