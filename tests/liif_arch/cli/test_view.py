"""`basicsr view` before its page is there: what is wrong is one line."""

import socket
import sys

import pytest
from helpers import photo, run_here

from liif_arch import write_image
from liif_arch.cli import serving, view

pytest.importorskip('uvicorn')


@pytest.fixture
def fails(monkeypatch, tmp_path, capsys):
    """`fails(flags...)`: the line that the command ends with."""
    write_image(tmp_path / 'a.png', photo(20, 24))
    write_image(tmp_path / 'narrow.png', photo(20, 23))

    def run(*flags: object) -> str:
        assert run_here(monkeypatch, tmp_path, 'view', '--no-browser', *flags) == 2
        [line] = capsys.readouterr().err.splitlines()
        return line

    return run


@pytest.mark.parametrize(
    'flags,part',
    [
        (('no.png',), 'no.png: cannot read this image'),
        (('a.png', '--weights', 'fats'), 'fats'),
        (
            ('a.png', '--gt', 'a.png', 'a.png'),
            'found 2 ground truths for 1 images; needed one for each',
        ),
        (('a.png', '--precision', 'float8'), '--precision: found'),
        (('a.png', '--device', 'abacus'), '--device: abacus'),
        (('a.png', '--threads', 0), '--threads'),
        (('a.png', '--memory', -5), 'memory: found -5.0; needed a number of MiB above 0'),
        (('a.png', '--gt', 'narrow.png'), 'narrow.png is 23x20, and the image 24x20'),
        (('a.png', '--host', 'no.such.host.invalid'), 'cannot listen at no.such.host.invalid'),
        (('a.png', '--port', 99999), 'cannot listen at 127.0.0.1:99999'),
    ],
)
def test_view__what_is_wrong_is_one_line(fails, flags, part):
    assert part in fails(*flags)


def test_view__is_asked_by_the_names_that_browsers_use():
    assert view._names('127.0.0.1', 8000) == {'127.0.0.1:8000', 'localhost:8000'}
    assert view._names('Desk', 80) == {'desk', 'desk:80'}
    assert view._names('::1', 8000) == {'[::1]:8000'} and view.in_address('::1') == '[::1]'
    assert view._names('::', 8000) is None


def test_listening__waits_for_a_browser_that_comes_first():
    with serving.listening(serving.LOCAL, 0) as listener:
        socket.create_connection(listener.getsockname(), timeout=10).close()


def test_view__a_port_that_is_taken(fails):
    with socket.create_server(('127.0.0.1', 0)) as other:
        port = other.getsockname()[1]
        assert f'cannot listen at 127.0.0.1:{port}' in fails('a.png', '--port', port)


def test_view__without_its_packages_names_them(fails, monkeypatch):
    monkeypatch.setitem(sys.modules, 'uvicorn', None)
    monkeypatch.delitem(sys.modules, 'liif_arch.view.server', raising=False)
    assert "pip install 'basicsr-liif[view]'" in fails('a.png')
