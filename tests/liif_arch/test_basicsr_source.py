"""BasicSR from `my-basicsr` is compared with pinned digests before anything of it is imported."""

import base64
import hashlib
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from liif_arch import basicsr_source
from liif_arch.errors import UserError

FILES = {
    'basicsr/__init__.py': b'from pathlib import Path\nPath("imported").touch()\n',
    'basicsr/train.py': b'x = 1\r\n',
}


def install(folder: Path, files: dict[str, bytes]) -> None:
    """Lay a distribution out as pip does, with a record of its files."""
    record = ''
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b'=').decode()
        record += f'{name},sha256={digest},{len(content)}\n'
    record += 'basicsr/__pycache__/train.cpython-313.pyc,,\nmy_basicsr-1.4.2.dist-info/RECORD,,\n'
    info = folder / 'my_basicsr-1.4.2.dist-info'
    info.mkdir()
    (info / 'RECORD').write_text(record)
    (info / 'METADATA').write_text('Metadata-Version: 2.1\nName: my-basicsr\nVersion: 1.4.2\n')


@pytest.fixture
def pinned(tmp_path, monkeypatch) -> None:
    """The digests of `FILES`, with Unix line endings, are the pinned ones."""
    digests = {
        name: hashlib.sha256(content.replace(b'\r\n', b'\n')).hexdigest()
        for name, content in FILES.items()
    }
    table = tmp_path / 'pinned.sha256'
    table.write_text(''.join(f'{digest}  {name}\n' for name, digest in digests.items()))
    monkeypatch.setattr(basicsr_source, 'PINNED', table)
    monkeypatch.setattr(
        metadata,
        'distribution',
        lambda _: metadata.Distribution.at(tmp_path / 'my_basicsr-1.4.2.dist-info'),
    )


def test_verify__takes_what_is_pinned(tmp_path, pinned):
    install(tmp_path, FILES)
    basicsr_source.verify()


@pytest.mark.parametrize(
    'change,named',
    [
        ({'basicsr/train.py': b'x = 2\n'}, 'basicsr/train.py'),
        ({'basicsr/more.py': b''}, 'basicsr/more.py'),
        ({'start.pth': b'import os\n'}, 'start.pth'),
        (
            {'basicsr/__pycache__/train.cpython-313.pyc': b'compiled elsewhere'},
            'train.cpython-313.pyc',
        ),
    ],
)
def test_verify__names_what_differs(tmp_path, pinned, change, named):
    install(tmp_path, {**FILES, **change})
    with pytest.raises(UserError, match=named):
        basicsr_source.verify()


def test_verify__names_what_is_missing(tmp_path, pinned):
    install(tmp_path, FILES)
    (tmp_path / 'basicsr/train.py').unlink()
    with pytest.raises(UserError, match=r'basicsr/train\.py differ'):
        basicsr_source.verify()


def test_import__of_another_basicsr_is_refused_and_runs_nothing(tmp_path):
    install(tmp_path, FILES)
    code = (
        'import liif_arch\n'
        'for _ in range(2):\n'
        '    try:\n'
        '        import basicsr\n'
        '    except ValueError as error:\n'
        '        print(error)\n'
    )
    result = subprocess.run(
        [sys.executable, '-c', code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, 'PYTHONPATH': str(tmp_path)},
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.count('is not BasicSR as this package knows it') == 2
    assert not (tmp_path / 'imported').exists()


def test_pinned_digests__are_those_of_the_installed_package():
    try:
        distribution = metadata.distribution(basicsr_source.DISTRIBUTION)
    except metadata.PackageNotFoundError:
        assert sys.version_info < (3, 13) and metadata.version('basicsr') == '1.4.2'
        return
    assert basicsr_source.installed_digests(distribution) == basicsr_source.pinned_digests()
