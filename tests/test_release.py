"""The distributions that a release would upload."""

import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest

pytest.importorskip('build')
pytestmark = pytest.mark.slow
ROOT = Path(__file__).parent.parent
IGNORED = shutil.ignore_patterns('.git', '*.egg-info', 'build', 'dist', '.*_cache', '__pycache__')
MOST_BYTES = 12 * 2**20  # of a wheel


@pytest.fixture(scope='module')
def distributions(tmp_path_factory) -> Path:
    """A folder with a source distribution, and the wheel that was built from it."""
    work = tmp_path_factory.mktemp('release')
    shutil.copytree(ROOT, work / 'checkout', ignore=IGNORED)
    command = [sys.executable, '-m', 'build', '--no-isolation', '--skip-dependency-check']
    result = subprocess.run(
        [*command, '-o', str(work / 'dist')], cwd=work / 'checkout', capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return work / 'dist'


@pytest.fixture(scope='module')
def wheel(distributions) -> zipfile.ZipFile:
    [path] = distributions.glob('*.whl')
    assert path.stat().st_size < MOST_BYTES
    with zipfile.ZipFile(path) as file:
        yield file


@pytest.fixture(scope='module')
def metadata(wheel) -> Message:
    [name] = [name for name in wheel.namelist() if name.endswith('.dist-info/METADATA')]
    return message_from_bytes(wheel.read(name))


def packaged(suffixes: tuple[str, ...]) -> set[str]:
    """Files of the packages in the checkout."""
    found = set()
    for package in ('liif_arch', 'liif_data'):
        for path in (ROOT / package).rglob('*'):
            if path.suffix in suffixes:
                found.add(path.relative_to(ROOT).as_posix())
    return found


def test_wheel__holds_every_file_of_the_packages(wheel):
    suffixes = ('.py', '.pth', '.html', '.js', '.css', '.sha256', '.typed', '.png', '.md')
    wanted = packaged(suffixes)
    wanted |= {f'liif_arch/options/{path.name}' for path in (ROOT / 'options').glob('*.yml')}
    assert wanted <= set(wheel.namelist())


def test_wheel__holds_nothing_else(wheel):
    rooms = {name.split('/')[0] for name in wheel.namelist()}
    assert {room for room in rooms if not room.endswith('.dist-info')} == {'liif_arch', 'liif_data'}


def test_source__holds_what_its_tests_need(distributions):
    [path] = distributions.glob('*.tar.gz')
    with tarfile.open(path) as file:
        names = {name.partition('/')[2] for name in file.getnames()}
    for room in ('docs', 'options', 'scripts', 'tests'):
        wanted = {
            path.relative_to(ROOT).as_posix()
            for path in (ROOT / room).rglob('*')
            if path.is_file() and '__pycache__' not in path.parts
        }
        assert wanted <= names
    assert {'CHANGELOG.md', 'CITATION.cff', 'CONTRIBUTING.md', 'LICENSE', '.ci/run'} <= names


def test_description__renders_and_leads_nowhere(metadata):
    markdown = pytest.importorskip('readme_renderer.markdown')
    assert metadata['Description-Content-Type'] == 'text/markdown'
    rendered = markdown.render(metadata.get_payload())
    assert rendered is not None and '<h1' in rendered and '<img' not in rendered
    addresses = re.findall(r'(?:href|src)="([^"]*)"', rendered)
    assert addresses and all(re.match(r'https?://|#', address) for address in addresses), addresses


def test_extras__are_those_of_the_documentation(metadata):
    page = (ROOT / 'docs/install.md').read_text(encoding='utf-8')
    documented = set(re.findall(r'^\| `(\w+)` \|', page, re.MULTILINE))
    assert set(metadata.get_all('Provides-Extra')) == documented


def test_version__is_one(metadata):
    from liif_arch import __version__

    assert metadata['Version'] == __version__
    citation = (ROOT / 'CITATION.cff').read_text(encoding='utf-8')
    assert re.search(r'^version: *["\']?([\w.]+)', citation, re.MULTILINE)[1] == __version__
