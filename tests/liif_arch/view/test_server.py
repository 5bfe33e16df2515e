"""The page's server: who is answered, and with what."""

import http.client
import json
import socket
import threading
from typing import NamedTuple

import pytest
from helpers import photo

uvicorn = pytest.importorskip('uvicorn')

from liif_arch import load_network, write_image  # noqa: E402
from liif_arch.view.pictures import Gallery, Shown  # noqa: E402
from liif_arch.view.server import STATIC, Server  # noqa: E402


class Answer(NamedTuple):
    status_code: int
    headers: dict
    content: bytes

    @property
    def text(self) -> str:
        return self.content.decode()


@pytest.fixture(scope='module')
def served(tmp_path_factory):
    """A server that runs, and its port."""
    folder = tmp_path_factory.mktemp('view')
    write_image(folder / 'a.png', photo(30, 40))
    (folder / 'secret.txt').write_text('secret')
    with socket.create_server(('127.0.0.1', 0)) as listener:
        port = listener.getsockname()[1]
        hosts = {f'127.0.0.1:{port}', f'localhost:{port}'}
        networks = {'runs/a.pth': lambda: load_network('small')}  # two weights of one name
        ours = Server(Gallery([Shown(folder / 'a.png', networks)]), hosts)
        theirs = uvicorn.Server(uvicorn.Config(ours.app, log_level='error', lifespan='off'))
        thread = threading.Thread(target=theirs.run, kwargs={'sockets': [listener]}, daemon=True)
        thread.start()
        yield ours, port
        theirs.should_exit = True
        thread.join()


@pytest.fixture
def get(served):
    server, port = served

    def ask(path, token=server.token, method='GET', **headers) -> Answer:
        connection = http.client.HTTPConnection('127.0.0.1', port, timeout=60)
        connection.putrequest(method, f'/{token}/{path}', skip_host='host' in headers)
        for name, value in headers.items():
            connection.putheader(name.replace('_', '-'), value.replace('PORT', str(port)))
        connection.endheaders()
        answer = connection.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        content = answer.read()
        connection.close()
        return Answer(answer.status, found, content)

    return ask


def test_server__a_network_whose_name_is_a_path(get):
    answer = get('tile/0/runs%2Fa.pth/4/0/0.png')
    assert answer.status_code == 200 and answer.content.startswith(b'\x89PNG')
    assert get('psnr/0/runs%2Fa.pth?part=0,1,0,1').status_code == 200
    assert get('tile/0/runs%2Fb.pth/4/0/0.png').status_code == 404


def test_server__gives_the_page_and_what_is_shown(get):
    for name, (_, kind) in STATIC.items():
        answer = get(name)
        assert answer.status_code == 200 and answer.headers['content-type'].startswith(kind)
        assert "default-src 'self'" in answer.headers['content-security-policy']
        assert answer.headers['cache-control'] == 'no-store'
    state = json.loads(get('state.json').content)
    assert state['images'][0]['name'] == 'a.png' and state['images'][0]['width'] == 40
    tile = get('tile/0/bicubic/4/0/0.png')
    assert tile.content.startswith(b'\x89PNG') and float(tile.headers['x-milliseconds']) >= 0
    assert get('tile/0/bicubic/-4/0/0.png').status_code == 200
    assert get('thumbnail/0.png').content.startswith(b'\x89PNG')
    assert json.loads(get('psnr/0/bicubic?part=0,1,0,1').content) == {'psnr': None}


def test_server__page_needs_nothing_from_elsewhere(get):
    for name in STATIC:
        text = get(name).text
        assert 'http://' not in text and 'https://' not in text and '//cdn' not in text


@pytest.mark.parametrize('token', ['', 'x', 'a' * 22, '%00', '%C3%A9'])
def test_attack__a_guessed_token(get, token):
    for path in ('', 'state.json', 'tile/0/bicubic/4/0/0.png', 'psnr/0/bicubic', 'thumbnail/0.png'):
        assert get(path, token).status_code == 404


@pytest.mark.parametrize(
    'host',
    ['evil.example', 'evil.example:PORT', '127.0.0.1', '127.0.0.1:1', '127.0.0.1:PORT.evil'],
)
def test_attack__another_host(get, host):
    """DNS rebinding: a page of another site whose name leads to this machine."""
    assert get('', host=host).status_code == 403


@pytest.mark.parametrize(
    'headers',
    [
        {'origin': 'http://evil.example'},
        {'origin': 'null'},
        {'origin': 'https://127.0.0.1:PORT'},
        {'sec_fetch_site': 'cross-site'},
        {'sec_fetch_site': 'same-site'},
    ],
)
def test_attack__another_page(get, headers):
    assert get('state.json', **headers).status_code == 403
    assert get('state.json', origin='http://127.0.0.1:PORT').status_code == 200


def test_server__a_link_in_another_page_opens_it(get):
    headers = {'sec_fetch_site': 'cross-site', 'sec_fetch_mode': 'navigate'}
    assert get('', sec_fetch_dest='document', **headers).status_code == 200
    assert get('', sec_fetch_dest='iframe', **headers).status_code == 403


@pytest.mark.parametrize(
    'path',
    [
        '../secret.txt',
        '..%2fsecret.txt',
        '%2e%2e/%2e%2e/etc/passwd',
        '....//secret.txt',
        'tile/0/..%2f..%2fsecret.txt/0/0/0.png',
        'server.py',
        'static/view.js',
        'thumbnail/..%2f1.png',
    ],
)
def test_attack__paths(get, path):
    answer = get(path)
    assert answer.status_code == 404 and b'secret' not in answer.content


@pytest.mark.parametrize(
    'path',
    [
        'tile/9/bicubic/0/0/0.png',
        'tile/0/none/0/0/0.png',
        'tile/0/bicubic/999999999/0/0.png',
        'tile/0/bicubic/1e9/0/0.png',
        'tile/0/bicubic/0/99999999999/0.png',
        'tile/0/bicubic/0/-1/0.png',
        'thumbnail/7.png',
    ],
)
def test_attack__tiles_that_there_are_not(get, path):
    assert get(path).status_code == 404


@pytest.mark.parametrize('part', ['', '1,2', '0,1,0,nan', '0,1e99,0,1', 'a,b,c,d'])
def test_attack__parts_that_are_none(get, part):
    assert get(f'psnr/0/bicubic?part={part}').status_code == 400


@pytest.mark.parametrize('method', ['POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH'])
def test_attack__other_methods(get, method):
    assert get('state.json', method=method).status_code == 405


def test_server__every_token_is_another(tmp_path):
    gallery = Gallery([])
    assert len({Server(gallery, None).token for _ in range(50)}) == 50
