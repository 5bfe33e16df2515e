"""The demo: its page driven in a browser, and what it computes."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from chromium import NEEDS_CHROMIUM
from chromium import browser as browser
from helpers import photo, run_here, write_photos
from PIL import Image
from served import served

from liif_arch import load_network, read_image, upscale
from liif_arch.errors import UserError

pytest.importorskip('gradio')

from liif_arch.demo import MOST_PIXELS, enlarge


@pytest.mark.parametrize('scale', [1, 2.5])
def test_enlarge__both_of_one_size(tmp_path, scale):
    write_photos(tmp_path, [(12, 14)], ['a'])
    net = load_network('small')
    bicubic, enlarged, said = enlarge(tmp_path / 'a.png', scale, net, tmp_path)
    expected = upscale(net, read_image(tmp_path / 'a.png'), scale=scale)
    assert np.array_equal(read_image(enlarged), expected)
    assert read_image(bicubic).shape == expected.shape
    assert said.startswith('14x12 to 35x30' if scale == 2.5 else '14x12 to 14x12')


def test_enlarge__keeps_16_bits_and_alpha(tmp_path):
    import cv2

    pixels = (photo(9, 9).astype(np.uint16) * 257)[..., [0, 1, 2, 0]]
    cv2.imwrite(str(tmp_path / 'a.png'), pixels)
    _, enlarged, _ = enlarge(tmp_path / 'a.png', 2, load_network('small'), tmp_path)
    assert read_image(enlarged).dtype == np.uint16 and read_image(enlarged).shape[2] == 4


def test_enlarge__both_in_the_image_s_colours(tmp_path):
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes()
    Image.fromarray(photo(9, 9)).save(tmp_path / 'a.png', icc_profile=profile)
    bicubic, enlarged, _ = enlarge(tmp_path / 'a.png', 2, load_network('small'), tmp_path)
    for path in (bicubic, enlarged):
        assert Image.open(path).info['icc_profile'] == profile


def test_enlarge__too_large_or_no_image(tmp_path):
    side = int(MOST_PIXELS**0.5) // 10
    Image.new('RGB', (side, side + 100)).save(tmp_path / 'a.png')
    with pytest.raises(UserError, match='much for a browser; lower the scale'):
        enlarge(tmp_path / 'a.png', 10, load_network('small'), tmp_path)
    (tmp_path / 'b.png').write_bytes(b'no image')
    with pytest.raises(UserError, match=r'b\.png'):
        enlarge(tmp_path / 'b.png', 2, load_network('small'), tmp_path)


def test_command__without_gradio(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, 'gradio', None)
    monkeypatch.delitem(sys.modules, 'liif_arch.demo')
    assert run_here(monkeypatch, tmp_path, 'demo') == 2
    assert "pip install 'basicsr-liif[demo]'" in capsys.readouterr().err


def test_command__weights_that_are_none(monkeypatch, tmp_path, capsys):
    assert run_here(monkeypatch, tmp_path, 'demo', '--weights', 'edrs') == 2
    assert 'did you mean edsr?' in capsys.readouterr().err


@pytest.mark.parametrize(
    'flags',
    [('--port', '99999'), ('--port', '-1'), ('--host', 'nonsense.invalid'), ('--host', 'x y')],
)
def test_command__where_it_cannot_listen(monkeypatch, tmp_path, capsys, flags):
    assert run_here(monkeypatch, tmp_path, 'demo', '--no-browser', *flags) == 2
    assert '--host, --port: cannot listen at' in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize('number,status', [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_command__stopped_while_it_enlarges(tmp_path, number, status):
    client = pytest.importorskip('gradio_client')
    Image.fromarray(photo(600, 800)).save(tmp_path / 'a.png')
    (tmp_path / 'temporary').mkdir()
    process = subprocess.Popen(
        [sys.executable, '-m', 'liif_arch.cli', 'demo', '--no-browser', '--weights', 'liif'],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, 'TMPDIR': str(tmp_path / 'temporary'), 'OMP_NUM_THREADS': '1'},
    )
    address = process.stdout.readline().split()[0]
    asked = client.Client(address, verbose=False, download_files=False)
    job = asked.submit(client.handle_file(tmp_path / 'a.png'), 4, 'liif', api_name='/enlarge')
    results = tmp_path / 'temporary'
    end = time.time() + 60
    while time.time() < end and not list(results.glob('liif_demo_*/results/*/*_bicubic.png')):
        time.sleep(0.1)
    assert not job.done()
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == status and 'basicsr demo: closed.' in errors
    assert not list(results.glob('*'))


def in_browser(test):
    """A test that needs Chromium."""
    for mark in NEEDS_CHROMIUM:
        test = mark(test)
    return test


@pytest.fixture(scope='module')
def address(tmp_path_factory):
    """Where it listens; it leaves nothing on the disk."""
    folder = tmp_path_factory.mktemp('demo')
    with served('demo', cwd=folder, TMPDIR=str(folder)) as found:
        yield found
    assert not list(folder.iterdir())


@pytest.fixture
def page(browser, address):
    found = browser.new_page(viewport={'width': 1200, 'height': 900})
    found.set_default_timeout(90_000)
    asked = []
    found.on('request', lambda request: asked.append(request.url))
    found.goto(address)
    found.wait_for_selector('button:has-text("Enlarge")')
    yield found
    # Nothing from elsewhere is asked for.
    assert all(url.startswith((address, 'data:', 'blob:')) for url in asked), asked
    found.close()


def enlarge_on(page, file, scale=None):
    page.set_input_files('input[type=file]', file)
    page.wait_for_selector('img[src*="/file="]')
    if scale is not None:
        page.fill('input[type=number]', scale)
        page.press('input[type=number]', 'Tab')
    page.click('button:has-text("Enlarge")')


@in_browser
def test_page__image__enlarged_beside_bicubic(page, tmp_path):
    write_photos(tmp_path, [(40, 60)], ['a'])
    enlarge_on(page, tmp_path / 'a.png', '2.5')
    page.wait_for_selector('text=60x40 to 150x100')
    page.wait_for_selector('text=weights fast')
    names = ('a_x2.5.png', 'a_x2.5_bicubic.png')
    for name in names:
        page.wait_for_selector(f'img[src$="{name}"]')
    source = page.get_attribute(f'img[src$="{names[0]}"]', 'src')
    (tmp_path / 'b.png').write_bytes(page.request.get(source).body())
    net = load_network('fast')
    expected = upscale(net, read_image(tmp_path / 'a.png'), scale=2.5).astype(int)
    assert np.abs(read_image(tmp_path / 'b.png') - expected).max() <= 2  # in bfloat16, maybe


@in_browser
def test_page__photograph__gets_its_own_weights(page, tmp_path):
    Image.fromarray(photo(40, 60)).save(tmp_path / 'a.jpg')
    enlarge_on(page, tmp_path / 'a.jpg')
    page.wait_for_selector('text=weights photo')


@in_browser
def test_page__mistakes__are_said(page, tmp_path):
    page.click('button:has-text("Enlarge")')
    page.wait_for_selector('text=Choose an image first.')
    Image.new('RGB', (1000, 1000)).save(tmp_path / 'large.png')
    enlarge_on(page, tmp_path / 'large.png', '32')
    page.wait_for_selector('text=much for a browser')


@in_browser
def test_page__a_file_that_is_no_image_is_named(page, tmp_path):
    (tmp_path / 'b.png').write_bytes(b'no image')
    page.set_input_files('input[type=file]', tmp_path / 'b.png')
    page.wait_for_selector('img[src*="/file="]', state='attached')
    page.click('button:has-text("Enlarge")')
    page.wait_for_selector('text=b.png')
