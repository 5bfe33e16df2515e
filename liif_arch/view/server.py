"""The page's server: tiles one after the other, for those alone who were given the address."""

import asyncio
import json
import math
import secrets
import socket
import time
from importlib.resources import files
from typing import Any

from liif_arch.errors import UserError
from liif_arch.view.pictures import HIGHEST, MOST_COMPARED, STEPS, TILE, Gallery, TileKey

try:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.middleware import Middleware
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route
except ImportError:
    raise UserError(
        "the page needs starlette and uvicorn; pip install 'basicsr-liif[view]'."
    ) from None

STATIC = {
    '': ('index.html', 'text/html'),
    'style.css': ('style.css', 'text/css'),
    'view.js': ('view.js', 'text/javascript'),
    'tiles.js': ('tiles.js', 'text/javascript'),
    'gestures.js': ('gestures.js', 'text/javascript'),
}
HEADERS = {
    # Nothing from elsewhere, no frame around it, no address told to others, nothing kept on disk.
    'content-security-policy': (
        "default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'"
    ),
    'referrer-policy': 'no-referrer',
    'x-content-type-options': 'nosniff',
    'cross-origin-resource-policy': 'same-origin',
    'cache-control': 'no-store',
}


class Guard:
    """Refuses requests for another host (DNS rebinding), from another page, and writing ones.

    Args:
        app: What answers the others.
        hosts: The names, with ports, by which the server may be asked; None: any.
        framed: Whether another page, such as a notebook, may show the page within itself.
    """

    def __init__(self, app: Any, hosts: set[str] | None, framed: bool) -> None:
        self.app, self.hosts, self.framed = app, hosts, framed

    async def __call__(self, scope: dict, receive: Any, send: Any) -> None:
        """ASGI's call."""
        if scope['type'] == 'lifespan':
            await self.app(scope, receive, send)
            return
        if scope['type'] != 'http':  # no sockets
            return
        headers = {key: value for key, value in scope['headers']}
        host = headers.get(b'host', b'').decode('latin-1')
        origin = headers.get(b'origin')
        site = headers.get(b'sec-fetch-site', b'none')
        own = origin is None or origin.decode('latin-1') == f'http://{host}'
        asked = self.hosts is None or host.lower() in self.hosts
        near = site in (b'none', b'same-origin')
        # A link to the page in another one; what it shows is read by nobody but the browser.
        near = near or headers.get(b'sec-fetch-dest') == b'document'
        if self.framed and headers.get(b'sec-fetch-dest') == b'iframe':
            near = True
        if not asked or not own or not near:
            await Response('no', 403, HEADERS)(scope, receive, send)
        elif scope['method'] not in ('GET', 'HEAD'):
            await Response('no', 405, HEADERS)(scope, receive, send)
        else:
            await self.app(scope, receive, send)


class Server:
    """The application; its `app` is ASGI's.

    Args:
        gallery: What is shown.
        hosts: The names, with ports, by which it may be asked; None: any.
        framed: Whether another page, such as a notebook, may show the page within itself.
    """

    def __init__(self, gallery: Gallery, hosts: set[str] | None, framed: bool = False) -> None:
        self.gallery, self.token = gallery, secrets.token_urlsafe(16)
        self.headers = HEADERS
        if framed:
            policy = HEADERS['content-security-policy'].partition('; frame-ancestors')[0]
            self.headers = {**HEADERS, 'content-security-policy': policy}
        self.rendering = asyncio.Lock()  # each tile has all cores
        routes = [
            Route('/{token}/', self.page),
            Route('/{token}/state.json', self.state),
            Route('/{token}/thumbnail/{image:int}.png', self.thumbnail),
            Route(
                '/{token}/tile/{image:int}/{method:path}/{level}/{row:int}/{col:int}.png', self.tile
            ),
            Route('/{token}/psnr/{image:int}/{method:path}', self.psnr),
            Route('/{token}/{name}', self.page),
        ]
        self.app = Starlette(
            routes=routes, middleware=[Middleware(Guard, hosts=hosts, framed=framed)]
        )
        config = uvicorn.Config(
            self.app, log_level='error', access_log=False, lifespan='off', server_header=False
        )
        self.server = uvicorn.Server(config)  # which may be told to stop before it runs

    def run(self, listener: socket.socket) -> None:
        """Answer at a socket, until Ctrl+C or `stop`."""
        self.server.run(sockets=[listener])

    def stop(self) -> None:
        """Let `run` end, on whatever thread it is or will be."""
        self.server.should_exit = True

    def _known(self, request: Request) -> bool:
        """Whether a request has the token; compared in constant time."""
        return secrets.compare_digest(request.path_params['token'].encode(), self.token.encode())

    async def page(self, request: Request) -> Response:
        """The page and its parts, by name; no file but these is read."""
        found = STATIC.get(request.path_params.get('name', ''))
        if found is None or not self._known(request):
            return _missing()
        content = files('liif_arch.view').joinpath('static', found[0]).read_bytes()
        return Response(content, media_type=found[1], headers=self.headers)

    async def state(self, request: Request) -> Response:
        """What there is to show."""
        if not self._known(request):
            return _missing()
        images = [
            {
                'name': image.name,
                'height': image.full[0],
                'width': image.full[1],
                'methods': image.names,
                'original': 0 if image.original is None else math.prod(image.original.shape[:2]),
            }
            for image in self.gallery.images
        ]
        return _json(
            {
                'images': images,
                'tile': TILE,
                'steps': STEPS,
                'highest': HIGHEST,
                'compared': MOST_COMPARED,
            }
        )

    async def thumbnail(self, request: Request) -> Response:
        """A small picture of an image."""
        number = request.path_params['image']
        if not self._known(request) or number >= len(self.gallery.images):
            return _missing()
        content = await run_in_threadpool(self.gallery.images[number].thumbnail)
        return Response(content, media_type='image/png', headers=HEADERS)

    async def tile(self, request: Request) -> Response:
        """A tile, unless who asked is gone by the time that it would be made."""
        params = request.path_params
        level = _number(params['level'])
        if not self._known(request) or level is None:
            return _missing()
        key = TileKey(params['image'], params['method'], level, params['row'], params['col'])
        if not self.gallery.known(key):
            return _missing()
        start = time.perf_counter()
        found = self.gallery.cached(key)
        if found is None:
            async with self.rendering:
                if await request.is_disconnected():
                    return Response(status_code=499)
                start = time.perf_counter()
                found = await run_in_threadpool(self.gallery.tile, key)
        if found is None:
            return _missing()
        milliseconds = f'{(time.perf_counter() - start) * 1000:.1f}'
        headers = {**HEADERS, 'x-milliseconds': milliseconds}
        return Response(found, media_type='image/png', headers=headers)

    async def psnr(self, request: Request) -> Response:
        """PSNR against the ground truth in the part that is looked at."""
        params = request.path_params
        number, name = params['image'], params['method']
        if not self._known(request) or not self.gallery.known(TileKey(number, name, 0, 0, 0)):
            return _missing()
        try:
            part = tuple(map(float, request.query_params['part'].split(',')))
        except (KeyError, ValueError):
            part = ()
        if len(part) != 4 or not all(-9 < share < 9 for share in part):
            return Response('part: needed four shares', 400, HEADERS)
        async with self.rendering:
            if await request.is_disconnected():
                return Response(status_code=499)
            found = await run_in_threadpool(self.gallery.images[number].psnr, name, part)
        return _json({'psnr': found})


def _number(text: str) -> int | None:
    """A whole number, which may be negative."""
    try:
        return int(text)
    except ValueError:
        return None


def _json(value: object) -> Response:
    return Response(json.dumps(value), media_type='application/json', headers=HEADERS)


def _missing() -> Response:
    """The same for an unknown token as for an unknown picture."""
    return Response('not found', 404, HEADERS)
