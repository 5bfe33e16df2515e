"""A stand-in of the Hugging Face hub: the part of its interface that uploads and downloads use."""

import base64
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = 'hf_of_a_test'


class HubServer:
    """The hub on this machine, in memory.

    Attributes:
        repositories: {owner/name: {branch: {path: content}}}.
        private: Names of those that only who has `TOKEN` sees.
        gated: Names of those that nobody was granted.
        requests: What was asked: 'GET /path'.
        commits: The messages of the commits.
        card_errors: What it finds wrong with model cards.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, dict[str, dict[str, bytes]]] = {}
        self.private: set[str] = set()
        self.gated: set[str] = set()
        self.requests: list[str] = []
        self.commits: list[str] = []
        self.card_errors: list[dict] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'

            def log_message(self, *arguments: object) -> None:
                """Nothing."""

            def do_GET(self) -> None:
                hub.answer(self)

            do_HEAD = do_POST = do_PUT = do_GET

        self.server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.address = f'http://127.0.0.1:{self.server.server_port}'
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Nobody answers any more."""
        self.server.shutdown()
        self.server.server_close()

    def put(self, repository: str, files: dict[str, bytes], branch: str = 'main') -> None:
        """Make a repository, or change files in it."""
        self.repositories.setdefault(repository, {}).setdefault(branch, {}).update(files)

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        path = request.path.split('?')[0]
        self.requests.append(f'{request.command} {path}')
        length = int(request.headers.get('content-length') or 0)
        body = request.rfile.read(length)
        known = request.headers.get('authorization') == f'Bearer {TOKEN}'
        if path == '/api/repos/create':
            self._create(request, json.loads(body), known)
        elif path == '/api/validate-yaml':  # of a model card
            status = 400 if self.card_errors else 200
            _reply(request, {'errors': self.card_errors, 'warnings': []}, status)
        elif match := re.fullmatch(r'/api/models/([^/]+/[^/]+)/preupload/(\w+)', path):
            asked = json.loads(body)['files']
            files = [
                {'path': f['path'], 'uploadMode': 'regular', 'shouldIgnore': False} for f in asked
            ]
            _reply(request, {'files': files})
        elif match := re.fullmatch(r'/api/models/([^/]+/[^/]+)/commit/(\w+)', path):
            self._commit(request, match[1], match[2], body, known)
        elif match := re.fullmatch(r'/api/models/([^/]+/[^/]+)/tree/(\w+)', path):
            files = self._files(request, match[1], match[2], known)
            if files is not None:
                rows = [{'type': 'file', 'path': name, 'size': 1, 'oid': 'o'} for name in files]
                _reply(request, rows)
        elif match := re.fullmatch(r'/api/models/([^/]+/[^/]+)(?:/revision/(\w+))?', path):
            files = self._files(request, match[1], match[2] or 'main', known)
            if files is not None:
                rows = [{'rfilename': name} for name in files]
                _reply(request, {'id': match[1], 'sha': 'a' * 40, 'siblings': rows})
        elif match := re.fullmatch(r'/([^/]+/[^/]+)/resolve/(\w+)/(.+)', path):
            files = self._files(request, match[1], match[2], known)
            if files is not None and match[3] in files:
                _send(request, files[match[3]])
            elif files is not None:
                _refuse(request, 404, 'EntryNotFound')
        else:
            _refuse(request, 404, 'RepoNotFound')

    def _create(self, request: BaseHTTPRequestHandler, body: dict, known: bool) -> None:
        if not known:
            _refuse(request, 401, '')
            return
        name = (
            f'{body["organization"]}/{body["name"]}' if body.get('organization') else body['name']
        )
        status = 409 if name in self.repositories else 200
        self.repositories.setdefault(name, {'main': {}})
        if body.get('private'):
            self.private.add(name)
        _reply(request, {'url': f'{self.address}/{name}', 'id': name}, status)

    def _commit(
        self, request: BaseHTTPRequestHandler, name: str, branch: str, body: bytes, known: bool
    ) -> None:
        if not known:
            _refuse(request, 401, '')
            return
        for line in body.splitlines():
            part = json.loads(line)
            if part['key'] == 'header':
                self.commits.append(part['value']['summary'])
            elif part['key'] == 'file':
                content = base64.b64decode(part['value']['content'])
                self.put(name, {part['value']['path']: content}, branch)
        sha = 'b' * 40
        _reply(request, {'commitUrl': f'{self.address}/{name}/commit/{sha}', 'commitOid': sha})

    def _files(
        self, request: BaseHTTPRequestHandler, name: str, branch: str, known: bool
    ) -> dict[str, bytes] | None:
        """What a branch holds; None where it was refused."""
        if name not in self.repositories or (name in self.private and not known):
            _refuse(request, 404, 'RepoNotFound')
        elif name in self.gated:
            _refuse(request, 403, 'GatedRepo')
        elif branch not in self.repositories[name]:
            _refuse(request, 404, 'RevisionNotFound')
        else:
            return self.repositories[name][branch]
        return None


def _reply(request: BaseHTTPRequestHandler, value: object, status: int = 200) -> None:
    _send(request, json.dumps(value).encode(), status, {'content-type': 'application/json'})


def _refuse(request: BaseHTTPRequestHandler, status: int, code: str) -> None:
    _send(request, b'{"error": "refused"}', status, {'x-error-code': code} if code else {})


def _send(
    request: BaseHTTPRequestHandler,
    content: bytes,
    status: int = 200,
    headers: dict[str, str] | None = None,
) -> None:
    request.send_response(status)
    request.send_header('content-length', str(len(content)))
    request.send_header('etag', f'"{hashlib.sha1(content).hexdigest()}"')
    request.send_header('x-repo-commit', 'c' * 40)
    for name, value in (headers or {}).items():
        request.send_header(name, value)
    request.end_headers()
    if request.command != 'HEAD':
        request.wfile.write(content)
