"""Preparation scripts on tiny archives of the published layout.

The archives come from folders, and from a server on this machine.
"""

import hashlib
import json
import re
import subprocess
import sys
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from helpers import photo, write_photos

from liif_arch.errors import UserError
from liif_arch.files.images import read_image, resize_bicubic, write_image
from liif_data import archives
from liif_data.store import open_store
from liif_data.subimages import extract_subimages, starts

SCRIPTS = Path(__file__).parents[2] / 'scripts'


def run(script: str, *arguments: object, cwd: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, str(SCRIPTS / script), *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
    )


def refused(result: subprocess.CompletedProcess, *parts: str) -> None:
    lines = [line for line in result.stderr.splitlines() if line.startswith('prepare')]
    assert result.returncode == 2 and len(lines) == 1 and 'Traceback' not in result.stderr, (
        result.stderr
    )
    assert all(p in lines[0] for p in parts), lines[0]


@pytest.fixture
def server(tmp_path):
    """Serves tmp_path/served with ranges; `server.cut` bytes are sent of each answer at most."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            path = tmp_path / 'served' / self.path.lstrip('/')
            if not path.is_file():
                return self.send_error(404)
            data, start = path.read_bytes(), 0
            if match := re.match(r'bytes=(\d+)-', self.headers.get('Range', '')):
                start = int(match[1])
            self.send_response(206 if start else 200)
            self.send_header('Content-Length', str(len(data) - start))
            self.end_headers()
            self.wfile.write(data[start : start + httpd.cut])
            httpd.starts.append(start)

        def log_message(self, *_):
            pass

    httpd = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    httpd.cut, httpd.starts, httpd.url = 2**40, [], f'http://127.0.0.1:{httpd.server_port}'
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield httpd
    httpd.shutdown()


def div2k_archives(folder: Path, work: Path) -> None:
    folder.mkdir()
    layout = {
        'DIV2K_train_HR': ('DIV2K_train_HR', '{}', (500, 490)),
        'DIV2K_valid_HR': ('DIV2K_valid_HR', '{}', (64, 60)),
        **{
            f'DIV2K_valid_LR_bicubic_X{s}': (
                f'DIV2K_valid_LR_bicubic/X{s}',
                f'{{}}x{s}',
                (64 // s, 60 // s),
            )
            for s in (2, 3, 4)
        },
    }
    for name, (inside, template, size) in layout.items():
        write_photos(
            work / name / inside, [size] * 2, [template.format(n) for n in ('0001', '0002')]
        )
        with zipfile.ZipFile(folder / f'{name}.zip', 'w') as content:
            for path in sorted((work / name).rglob('*.png')):
                content.write(path, path.relative_to(work / name))


def test_div2k__unpacked_cut_and_in_lmdbs(tmp_path):
    div2k_archives(tmp_path / 'zips', tmp_path / 'work')
    result = run('prepare_div2k.py', 'DIV2K', '--archives', tmp_path / 'zips', cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    root = tmp_path / 'DIV2K'
    assert (root / 'DIV2K_valid_LR_bicubic/X3/0002x3.png').is_file()
    assert open_store(str(root / 'DIV2K_train_HR.lmdb')).keys == ['0001', '0002']
    pieces = open_store(str(root / 'DIV2K_train_HR_sub.lmdb'))
    assert len(pieces) == 2 * 4 and pieces.size('0001_s004') == (480, 480)
    assert np.array_equal(pieces.read('0001_s004'), photo(500, 490, 0)[20:, 10:])
    assert (
        'is there' in run('prepare_div2k.py', 'DIV2K', '--archives', 'nowhere', cwd=tmp_path).stdout
    )
    assert sorted(p.name for p in root.iterdir()) == [
        'DIV2K_train_HR',
        'DIV2K_train_HR.lmdb',
        'DIV2K_train_HR_sub',
        'DIV2K_train_HR_sub.lmdb',
        'DIV2K_valid_HR',
        'DIV2K_valid_LR_bicubic',
    ]


def test_div2k__downloaded_in_pieces(tmp_path, server):
    div2k_archives(tmp_path / 'served', tmp_path / 'work')
    server.cut = (tmp_path / 'served/DIV2K_train_HR.zip').stat().st_size // 2
    first = run(
        'prepare_div2k.py', 'DIV2K', '--archives', server.url, '--no-subimages', cwd=tmp_path
    )
    refused(first, 'DIV2K_train_HR.zip', 'run the same command to go on')
    assert sorted(p.name for p in (tmp_path / 'DIV2K').rglob('*') if p.is_file()) == [
        'DIV2K_train_HR.zip.part'
    ]
    server.cut = 2**40
    second = run(
        'prepare_div2k.py', 'DIV2K', '--archives', server.url, '--no-subimages', cwd=tmp_path
    )
    assert second.returncode == 0, second.stderr
    assert max(server.starts) > 0  # it went on from what was there
    assert len(open_store(str(tmp_path / 'DIV2K/DIV2K_train_HR.lmdb'))) == 2


def test_div2k__wrong_checksum_cut_short_missing(tmp_path):
    div2k_archives(tmp_path / 'zips', tmp_path / 'work')
    archive = tmp_path / 'zips/DIV2K_train_HR.zip'
    arguments = ['prepare_div2k.py', 'DIV2K', '--archives', tmp_path / 'zips']
    refused(
        run(*arguments, '--sha256', f'{archive.name}={"0" * 64}', cwd=tmp_path),
        'its SHA-256 is',
        '0' * 64,
    )
    refused(run(*arguments, '--sha256', 'x=1', cwd=tmp_path), '64 hexadecimal digits')
    archive.write_bytes(archive.read_bytes()[:-2000])
    refused(run(*arguments, cwd=tmp_path), 'DIV2K_train_HR.zip', 'cut short')
    archive.unlink()
    refused(run(*arguments, cwd=tmp_path), 'there is no such archive')
    assert not [p for p in (tmp_path / 'DIV2K').rglob('*') if p.is_file()]


def benchmark_archive(path: Path, work: Path) -> None:
    for name in ('Set5', 'Set14'):
        write_photos(work / f'benchmark/{name}/HR', [(24, 24)], ['a'])
        for s in (2, 3, 4):
            write_photos(
                work / f'benchmark/{name}/LR_bicubic/X{s}', [(24 // s, 24 // s)], [f'ax{s}']
            )
    with tarfile.open(path, 'w') as content:
        content.add(work / 'benchmark', 'benchmark')


def test_benchmarks__layout_checksum_and_existing_target(tmp_path, server):
    (tmp_path / 'served').mkdir()
    archive = tmp_path / 'served/benchmark.tar'
    benchmark_archive(archive, tmp_path / 'work')
    total = hashlib.sha256(archive.read_bytes()).hexdigest()
    refused(
        run('prepare_benchmarks.py', 'b', '--archive', archive, '--sha256', '1' * 64, cwd=tmp_path),
        'SHA-256',
    )
    url = f'{server.url}/benchmark.tar'
    result = run('prepare_benchmarks.py', 'b', '--archive', url, '--sha256', total, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert (
        'Set5: 1 images; inputs X2: 1, X3: 1, X4: 1' in result.stdout
        and 'B100: missing' in result.stdout
    )
    assert (tmp_path / 'b/Set14/LR_bicubic/X4/ax4.png').is_file()
    refused(run('prepare_benchmarks.py', 'b', '--archive', archive, cwd=tmp_path), 'exists')
    archive.write_bytes(archive.read_bytes()[:3000])
    refused(run('prepare_benchmarks.py', 'c', '--archive', archive, cwd=tmp_path), 'benchmark.tar')
    refused(
        run('prepare_benchmarks.py', 'c', '--archive', f'{server.url}/no.tar', cwd=tmp_path),
        'download stopped',
    )
    assert not (tmp_path / 'c').exists()


def test_unpack__a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    benchmark_archive(tmp_path / 'b.tar', tmp_path / 'work')

    def full(*_, **__):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(tarfile.TarFile, 'extract', full)
    with pytest.raises(UserError, match='No space left on device'):
        archives.unpack(tmp_path / 'b.tar', tmp_path / 'out', 'benchmark')
    assert sorted(p.name for p in tmp_path.iterdir()) == ['b.tar', 'work']


def test_unpack__names_stay_inside_the_folder(tmp_path):
    with zipfile.ZipFile(tmp_path / 'a.zip', 'w') as content:
        content.writestr('../../outside.txt', 'x')
    archives.unpack(tmp_path / 'a.zip', tmp_path / 'deep/out')
    assert (
        not (tmp_path / 'outside.txt').exists() and not (tmp_path.parent / 'outside.txt').exists()
    )


def test_celebahq__sizes_splits_and_lmdbs(tmp_path):
    write_photos(tmp_path / 'faces', [(300, 300)] * 7, [f'f{i}' for i in range(7)])
    result = run('prepare_celebahq.py', 'faces', 'out', cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert open_store(str(tmp_path / 'out/val/64.lmdb')).keys == ['f0', 'f6']
    train = open_store(str(tmp_path / 'out/train/32.lmdb'))
    assert len(train) == 5
    assert np.array_equal(train.read('f1'), resize_bicubic(photo(300, 300, 1), (32, 32)))
    refused(run('prepare_celebahq.py', 'faces', 'out', cwd=tmp_path), 'exists')


def test_celebahq__split_file_and_refusals(tmp_path):
    write_photos(tmp_path / 'faces', [(256, 256)] * 4, ['a', 'b', 'c', 'd.0'])
    split = {'train': ['a.jpg', 'c.jpg', 'd.0.jpg'], 'val': ['b', 'd.0']}
    (tmp_path / 's.json').write_text(json.dumps(split))
    result = run(
        'prepare_celebahq.py', 'faces', 'out', '--split', 's.json', '--folders', cwd=tmp_path
    )
    assert result.returncode == 0, result.stderr
    assert read_image(tmp_path / 'out/train/128/c.png').shape == (128, 128, 3)
    (tmp_path / 's.json').write_text(json.dumps({'train': ['ghost'], 'val': ['b']}))
    refused(run('prepare_celebahq.py', 'faces', 'new', '--split', 's.json', cwd=tmp_path), 'ghost')
    (tmp_path / 's.json').write_text('[]')
    refused(
        run('prepare_celebahq.py', 'faces', 'new', '--split', 's.json', cwd=tmp_path), '--split'
    )
    write_image(tmp_path / 'faces/wide.png', photo(256, 300))
    refused(run('prepare_celebahq.py', 'faces', 'new', cwd=tmp_path), 'wide.png', 'square')
    assert not (tmp_path / 'new/train').exists()


def test_starts__cover_the_axis():
    assert starts(100, 480, 240) == [0] and starts(480, 480, 240) == [0]
    assert starts(1000, 480, 240) == [0, 240, 480, 520] and starts(960, 480, 240) == [0, 240, 480]


def test_subimages__nothing_is_left_of_a_failure(tmp_path):
    write_photos(tmp_path / 'd', [(50, 50)] * 2)
    (tmp_path / 'd/bad.png').write_bytes(b'x')
    with pytest.raises(UserError, match=r'bad\.png'):
        extract_subimages(tmp_path / 'd', tmp_path / 'sub', 40, 20, workers=2)
    assert [p.name for p in tmp_path.iterdir()] == ['d']
