"""The page in a browser (Debian's Chromium, headless): what is seen, dragged, saved and refused."""

import base64
import math
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from chromium import NEEDS_CHROMIUM
from chromium import browser as browser
from helpers import photo
from PIL import Image
from served import served

from liif_arch import load_network, upscale, write_image
from liif_arch.view.pictures import Shown, size_at

pytestmark = NEEDS_CHROMIUM
SIZE = {'width': 700, 'height': 500}
FULL = (90, 120)


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('view')
    gt = photo(360, 480)
    write_image(folder / 'gt.png', gt)
    Image.fromarray(gt).resize(FULL[::-1], Image.Resampling.BICUBIC).save(folder / 'a.png')
    write_image(folder / 'b.png', photo(50, 40))
    return folder


@pytest.fixture(scope='module')
def address(folder) -> str:
    """Of a command that runs."""
    flags = ['a.png', 'b.png', '--gt', 'gt.png', 'b.png', '--weights', 'fast', 'small']
    with served('view', *flags, '--precision', 'float32', cwd=folder) as found:
        yield found


@pytest.fixture
def page(browser, address):
    """The page, with all its tiles; an error in it fails the test."""
    errors = []
    context = browser.new_context(viewport=SIZE, accept_downloads=True)
    opened = context.new_page()
    opened.on('pageerror', lambda error: errors.append(str(error)))
    opened.on('requestfailed', lambda request: None)
    opened.goto(address)
    wait(opened)
    yield opened
    failed = opened.get_attribute('body', 'data-failed')
    context.close()
    assert not errors and failed == '0'


def wait(page) -> None:
    """Until every tile of the window is there."""
    page.wait_for_timeout(250)  # a zoom comes to rest
    page.wait_for_selector('body[data-ready=true]', timeout=60_000)


def until(page, holds: Callable[[], bool]) -> None:
    """Until something holds; the page's own rules allow no JavaScript of others, which might."""
    for _ in range(600):
        if holds():
            return
        page.wait_for_timeout(100)
    raise AssertionError('it did not happen')


def seen(page) -> np.ndarray:
    """The canvas, (H, W, 3)."""
    data = page.evaluate(
        """() => {
            const canvas = document.getElementById('canvas');
            const { width, height } = canvas;
            const { data } = canvas.getContext('2d').getImageData(0, 0, width, height);
            let text = '';
            for (let at = 0; at < data.length; at += 8192)
                text += String.fromCharCode(...data.subarray(at, at + 8192));
            return btoa(text);
        }"""
    )
    pixels = np.frombuffer(base64.b64decode(data), np.uint8)
    return pixels.reshape(SIZE['height'], SIZE['width'], 4)[..., :3]


def press(page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)
    wait(page)


def expected(folder: Path, level: int, middle: tuple[float, float]) -> np.ndarray:
    """What `upscale` makes of the window at a level, whose middle is a point of the image."""
    size = size_at(FULL, level)
    image = np.asarray(Image.open(folder / 'a.png'))
    window = (SIZE['height'], SIZE['width'])
    # JavaScript rounds halves up.
    top, left = (-math.floor(window[k] / 2 - middle[k] * size[k] / FULL[k] + 0.5) for k in (0, 1))
    whole = upscale(load_network('fast'), image, size=size)
    return whole[top : top + SIZE['height'], left : left + SIZE['width']]


@pytest.mark.parametrize('steps', [0, 8])
def test_canvas__is_what_upscale_makes(page, folder, steps):
    """x11 and x45: the right half, less the split line."""
    level = 14 + steps
    press(page, '0', '1', *['+'] * (level // 2))
    window = expected(folder, level, (45, 60))
    found = seen(page)
    assert found.shape == window.shape
    assert np.abs(found[:, 355:].astype(int) - window[:, 355:]).max() <= 1
    assert np.abs(found[:, :340].astype(int) - window[:, :340]).max() > 3  # bicubic


def test_split__is_dragged(page):
    press(page, '1', *['+'] * 5)
    before = seen(page)
    line = page.locator('#divider')
    box = line.bounding_box()
    page.mouse.move(box['x'] + 12, 250)
    page.mouse.down()
    page.mouse.move(150, 250, steps=4)
    page.mouse.up()
    wait(page)
    after = seen(page)
    changed = np.abs(after.astype(int) - before).sum((0, 2)).nonzero()[0]
    assert changed.min() >= 149 and changed.max() < 352  # from the old place to the new one
    press(page, 'x', 'x')
    assert np.array_equal(seen(page), after)


def test_wheel__zooms_on_the_line_too(page):
    before = page.inner_text('#scale')
    box = page.locator('#divider').bounding_box()
    page.mouse.move(box['x'] + box['width'] / 2, box['y'] + box['height'] / 2)
    page.mouse.wheel(0, -400)
    wait(page)
    assert page.inner_text('#scale') != before
    page.mouse.move(30, 20)  # the menus
    zoomed = page.inner_text('#scale')
    page.mouse.wheel(0, -400)
    wait(page)
    assert page.inner_text('#scale') == zoomed


def test_drag_and_wheel__move_what_is_under_the_hand(page):
    press(page, '1', '+', '+', '+')
    before = seen(page)
    page.mouse.move(500, 300)
    page.mouse.down()
    page.mouse.move(440, 270, steps=5)
    page.mouse.up()
    wait(page)
    after = seen(page)
    assert np.abs(after[200:300, 460:600].astype(int) - before[230:330, 520:660]).max() <= 1
    page.mouse.move(520, 200)
    page.mouse.wheel(0, -400)
    wait(page)
    assert float(page.inner_text('#scale')[1:]) == pytest.approx(2 * 2 ** (6 / 4), rel=0.01)


def test_bar__says_scale_psnr_time_and_colour(page, folder):
    press(page, '0')
    page.mouse.move(500, 250)
    page.wait_for_selector('#psnr:not(:empty)')
    assert page.inner_text('#psnr').startswith('bicubic ') and ', fast ' in page.inner_text('#psnr')
    told = [float(part.split()[1]) for part in page.inner_text('#psnr').split(', ')]
    networks = {'fast': lambda: load_network('fast')}
    shown = Shown(folder / 'a.png', networks, folder / 'gt.png')
    whole = [shown.psnr(name, (0, 1, 0, 1)) for name in ('bicubic', 'fast')]
    assert told == pytest.approx(whole, abs=0.02)
    assert page.inner_text('#scale').startswith('x') and page.inner_text('#speed')
    colour = seen(page)[250, 500]
    text = page.inner_text('#cursor')
    assert text.endswith(f'rgb {colour[0]} {colour[1]} {colour[2]}')


def test_bar__psnr_is_of_what_arrows_have_moved_to(page):
    press(page, '0', '1', *['+'] * 6)
    page.wait_for_selector('#psnr:not(:empty)')
    before = page.inner_text('#psnr')
    press(page, *['ArrowRight'] * 6)
    until(page, lambda: page.inner_text('#psnr') not in ('', before))
    moved = page.inner_text('#psnr')
    page.mouse.click(300, 250)  # where nothing moves, it is told again
    wait(page)
    page.wait_for_selector('#psnr:not(:empty)')
    assert page.inner_text('#psnr') == moved


def test_wheel__a_small_step_is_one(page):
    press(page, '1')
    page.mouse.move(300, 250)
    for notch, scale in ((-40, 'x1.19'), (-40, 'x1.41'), (40, 'x1.19')):
        page.mouse.wheel(0, notch)
        wait(page)
        assert page.inner_text('#scale') == scale


def test_lists__leave_the_keys_to_the_page(page):
    press(page, '1')
    page.locator('#left').dispatch_event('pointerdown')
    page.locator('#left').focus()
    page.select_option('#left', 'nearest')
    press(page, '+', '+')
    assert page.inner_text('#scale') == 'x2.00'


def test_page__says_that_nobody_answers_and_goes_on_when_somebody_does(page, folder):
    press(page, '0', '1')
    page.context.set_offline(True)
    for _ in range(7):
        page.keyboard.press('+')
    until(page, lambda: page.inner_text('#busy').startswith('no answer'))
    assert page.get_attribute('body', 'data-ready') == 'false'
    page.context.set_offline(False)
    wait(page)
    window = expected(folder, 14, (45, 60))
    assert np.abs(seen(page)[:, 355:].astype(int) - window[:, 355:]).max() <= 1
    assert page.inner_text('#busy') == ''


def test_keys__are_the_dialogs_while_it_is_open(page):
    press(page, '1', '?')
    press(page, '+', 'n')
    assert page.inner_text('#scale') == 'x1.00' and page.title() == 'a.png - basicsr view'
    press(page, 'Escape', '+')
    assert page.inner_text('#scale') == 'x1.41'


def test_wheel__steps_that_are_too_small_add_up(page):
    press(page, '1')
    page.mouse.move(300, 250)
    for _ in range(4):
        page.mouse.wheel(0, -4)
        wait(page)
    assert page.inner_text('#scale') == 'x1.19'


def test_pinch__on_a_touchpad(page):
    """Browsers tell of it as of a wheel with Ctrl: twice as far is twice as large."""
    press(page, '1')
    page.evaluate(
        """() => document.getElementById('canvas').dispatchEvent(new WheelEvent('wheel', {
            deltaY: -100 * Math.log(2), ctrlKey: true, bubbles: true, cancelable: true,
            clientX: 300, clientY: 250 }))"""
    )
    wait(page)
    assert page.inner_text('#scale') == 'x2.00'


def test_save__is_the_window(page):
    press(page, '1', '+', '+')
    with page.expect_download() as download:
        page.keyboard.press('s')
    saved = np.asarray(Image.open(BytesIO(Path(download.value.path()).read_bytes())).convert('RGB'))
    assert np.array_equal(saved, seen(page))
    assert download.value.suggested_filename == 'a_x2.00.png'


def test_images__next_and_previous(page):
    first = seen(page)
    press(page, 'n')
    assert page.title() == 'b.png - basicsr view' and not np.array_equal(seen(page), first)
    page.click('nav button:first-child')
    wait(page)
    assert page.title() == 'a.png - basicsr view' and np.array_equal(seen(page), first)


def test_zooms__a_hundred_quick_ones_end_right(page, folder):
    """What is no longer looked at is not waited for."""
    press(page, '1')
    page.mouse.move(350, 250)
    for step in range(100):
        page.mouse.wheel(0, -300 if step % 3 else 500)
    page.keyboard.press('0')
    press(page, '1', *['+'] * 7)
    window = expected(folder, 14, (45, 60))
    assert np.abs(seen(page)[:, 355:].astype(int) - window[:, 355:]).max() <= 1


def test_memory__stays_flat(page):
    """The browser keeps a number of tiles, however long one looks around."""
    for _ in range(6):
        press(page, '1', *['+'] * 8, *['ArrowLeft'] * 6, *['ArrowDown'] * 6)
    kept = page.evaluate('() => performance.memory ? performance.memory.usedJSHeapSize : 0')
    assert kept < 100 * 2**20


def test_tab__that_is_closed_and_a_second_browser(browser, address, page):
    other = browser.new_context(viewport=SIZE).new_page()
    other.goto(address)
    for _ in range(8):
        other.keyboard.press('+')
    other.close()  # in the middle of its tiles
    start = time.monotonic()
    press(page, '1', *['+'] * 6)
    assert time.monotonic() - start < 30


def test_page__in_the_dark_and_on_a_telephone(browser, address):
    options = {'viewport': {'width': 390, 'height': 800}, 'has_touch': True, 'is_mobile': True}
    context = browser.new_context(color_scheme='dark', device_scale_factor=2, **options)
    opened = context.new_page()
    opened.goto(address)
    wait(opened)
    size = opened.evaluate('() => [canvas.width, canvas.height]')
    assert size == [780, 1600]  # the screen's own pixels
    back = opened.evaluate('() => getComputedStyle(document.body).backgroundColor')
    assert back == 'rgb(22, 22, 22)'
    context.close()


def test_page__without_its_token_is_refused(browser, address):
    opened = browser.new_context().new_page()
    answer = opened.goto(address[:-5] + 'xxxx/')
    assert answer.status == 404
