"""The page within a notebook: who may show it, and that it shows."""

import socket
import sys
import threading
import urllib.error
import urllib.request
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from chromium import CHROMIUM
from chromium import browser as browser
from helpers import write_photos

from liif_arch.errors import UserError

pytest.importorskip('starlette')

from liif_arch.view.notebook import View
from liif_arch.view.server import Server


@pytest.fixture(scope='module')
def view(tmp_path_factory):
    folder = tmp_path_factory.mktemp('notebook')
    write_photos(folder, [(40, 60)], ['a'])
    return View(folder / 'a.png', weights=['small'], height=400)


def status(address: str, **headers: str) -> int:
    """What the server answers to a request."""
    request = urllib.request.Request(address)
    for name, value in headers.items():
        request.add_header(name.replace('_', '-'), value)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def test_view__is_a_frame(view):
    assert f'<iframe src="{view.address}"' in view._repr_html_()
    assert 'height="400"' in view._repr_html_()
    with urllib.request.urlopen(view.address) as answer:
        assert 'frame-ancestors' not in answer.headers['content-security-policy']


@pytest.mark.parametrize(
    'headers,expected',
    [
        ({'sec_fetch_site': 'cross-site', 'sec_fetch_dest': 'iframe'}, 200),
        ({'sec_fetch_site': 'cross-site', 'sec_fetch_dest': 'image'}, 403),
        ({'sec_fetch_site': 'cross-site'}, 403),
        ({'host': 'elsewhere.example'}, 403),
        ({'origin': 'http://elsewhere.example', 'sec_fetch_dest': 'iframe'}, 403),
    ],
)
def test_view__who_may_ask(view, headers, expected):
    assert status(view.address, **headers) == expected
    assert status(view.address.replace(view.path, '/guessed/'), **headers) in (403, 404)


def test_view__in_colab(view, monkeypatch, tmp_path):
    """Colab shows ports of the kernel's machine by its own means, and asks by its own names."""
    shown = []
    output = SimpleNamespace(
        serve_kernel_port_as_iframe=lambda port, path, height: shown.append((port, path, height))
    )
    module = ModuleType('google.colab')
    module.output = output
    monkeypatch.setitem(sys.modules, 'google.colab', module)
    monkeypatch.setitem(sys.modules, 'google', ModuleType('google'))
    write_photos(tmp_path, [(40, 60)], ['a'])
    found = View(tmp_path / 'a.png', weights=['small'])
    found._ipython_display_()
    assert shown == [(found.port, found.path, 600)]
    assert status(found.address, host='1234-colab.example') == 200
    assert status(found.address.replace(found.path, '/guessed/'), host='1234-colab.example') == 404


def test_view__ends(tmp_path):
    write_photos(tmp_path, [(40, 60)], ['a'])
    first = View(tmp_path / 'a.png', weights=['small'])
    second = View(tmp_path / 'a.png', weights=['small'])  # the cell is run again
    second.close()
    for found in (first, second):
        found.thread.join(60)
        assert not found.thread.is_alive()
        with pytest.raises(urllib.error.URLError):
            urllib.request.urlopen(found.address)


def test_view__one_thing_is_one(tmp_path):
    write_photos(tmp_path, [(40, 60), (80, 120)], ['a', 'b'])
    found = View(tmp_path / 'a.png', weights='small', gt=str(tmp_path / 'b.png'))
    assert (
        found.gallery.images[0].names[0] == 'small' and found.gallery.images[0].original is not None
    )
    found.close()


def test_view__mistakes(tmp_path):
    with pytest.raises(UserError, match='found a ndarray as an image; needed the path'):
        View(np.zeros((3, 4, 3), np.uint8))
    with pytest.raises(UserError, match='found no images'):
        View()
    write_photos(tmp_path, [(40, 60)], ['a'])
    with pytest.raises(UserError, match='b.png'):
        View(tmp_path / 'b.png')
    with pytest.raises(UserError, match='did you mean edsr?'):
        View(tmp_path / 'a.png', weights=['edrs'])
    with pytest.raises(UserError, match='found 2 ground truths for 1 images'):
        View(tmp_path / 'a.png', gt=['a', 'b'])


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason='needs chromium in the path')
def test_view__shows_the_image_in_another_page(view, browser):
    page = browser.new_page()
    page.set_content(view._repr_html_())
    page.frame_locator('iframe').locator('body[data-ready=true]').wait_for()
    page.close()


def test_server__told_to_stop_before_it_runs(view):
    server = Server(view.gallery, None)
    server.stop()
    thread = threading.Thread(target=server.run, args=(socket.create_server(('127.0.0.1', 0)),))
    thread.daemon = True
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
