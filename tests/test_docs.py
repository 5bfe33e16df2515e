"""What README and the other pages say: files exist, commands parse, Python examples run."""

import re
import shlex
from importlib import import_module, metadata
from pathlib import Path

import pytest
import yaml
from helpers import write_photos

import liif_arch
from liif_arch import load_network
from liif_arch.errors import UserError

ROOT = Path(__file__).parents[1]
PAGES = (
    ROOT / 'README.md',
    ROOT / 'CONTRIBUTING.md',
    ROOT / 'options/README.md',
    ROOT / 'liif_arch/weights/README.md',
    *sorted((ROOT / 'docs').glob('*.md')),
)
MOST_WORDS = 1300  # of README
FENCE = re.compile(r'^```(\w*)\n(.*?)^```$', re.MULTILINE | re.DOTALL)
LINK = re.compile(r'\]\(([^)\s]+)\)')
CODE = re.compile(r'`([^`\n]+)`')
OF_REPOSITORY = re.compile(r'(?:\.ci|docs|liif_arch|liif_data|options|scripts|tests)/[\w./-]*')
PLACEHOLDERS = ('FILE', 'options/NAME.yml', 'train_tinysr_lte')  # the last is another plugin's
SHELL_ENDS = ('|', '>', '&&', ';')  # where a command of a shell's line ends


def name_of(page: Path) -> str:
    """A page's path in the repository, for messages."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, language: str) -> list[str]:
    """A page's blocks of code in one language."""
    found = FENCE.findall(page.read_text(encoding='utf-8'))
    return [text for name, text in found if name == language]


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return FENCE.sub('', page.read_text(encoding='utf-8'))


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r'^#+ (.+)$', prose(page), re.MULTILINE)
    return {re.sub(r'[^\w\- ]', '', title.lower()).replace(' ', '-') for title in titles}


@pytest.mark.parametrize('page', PAGES, ids=name_of)
def test_links__lead_to_what_exists(page):
    broken = []
    for target in LINK.findall(prose(page)):
        path, _, anchor = target.partition('#')
        if '://' in target:
            continue
        file = (page.parent / path).resolve() if path else page
        is_there = file.exists() and ROOT in (file, *file.parents)
        if not is_there or (anchor and anchor not in anchors(file)):
            broken.append(target)
    assert not broken


@pytest.mark.parametrize('page', PAGES, ids=name_of)
def test_files__that_are_named_exist(page):
    named = CODE.findall(prose(page))
    for block in blocks(page, 'bash'):
        named += re.findall(r'(?:scripts|tests|liif_arch)/\S+', block)
    paths = [name for name in named if OF_REPOSITORY.fullmatch(name) and 'NAME' not in name]
    assert not [path for path in paths if not (ROOT / path).exists()]


def test_readme__is_short():
    assert len((ROOT / 'README.md').read_text(encoding='utf-8').split()) <= MOST_WORDS


def test_readme__has_the_test_command():
    assert any("pip install '.[test]' && pytest" in text for text in blocks(PAGES[0], 'bash'))


def test_pages__are_listed_by_question():
    index = ROOT / 'docs/README.md'
    listed = LINK.findall(prose(index))
    pages = {path.name for path in index.parent.glob('*.md')} - {index.name}
    assert pages <= set(listed)


def commands(page: Path) -> list[list[str]]:
    """Arguments of every `basicsr COMMAND ...` in a page's shell blocks and in its text."""
    lines = [line for text in blocks(page, 'bash') for line in text.splitlines()]
    lines += CODE.findall(prose(page))
    found = []
    for line in lines:
        if not line.startswith('basicsr ') or '...' in line or line.endswith('\\'):
            continue
        words = shlex.split(line, comments=True)
        ends = [i for i, word in enumerate(words) if word in SHELL_ENDS]
        found.append(words[1 : ends[0] if ends else None])
    return found


def parser_of(command: str):
    """The parser of one of the command's subcommands."""
    if command in ('train', 'test'):
        from liif_arch.config.parse import build_parser

        return build_parser(command)
    return import_module(f'liif_arch.cli.{command}').build_parser()


@pytest.mark.parametrize('page', PAGES, ids=name_of)
def test_commands__parse_and_name_option_files_that_ship(page):
    from liif_arch.config.files import find_option_file

    for command, *arguments in commands(page):
        if not arguments or command == 'COMMAND' or '--help' in arguments:
            continue  # `basicsr upscale` in the text names the command alone
        args = parser_of(command).parse_args(arguments)
        option_file = getattr(args, 'opt', None)
        if option_file not in (None, *PLACEHOLDERS):
            find_option_file(option_file)


def test_commands__are_found_and_looked_at():
    found = commands(ROOT / 'README.md')
    assert ['upscale', 'photo.jpg', '--scale', '3.7'] in found and len(found) > 12
    with pytest.raises(SystemExit):
        parser_of('upscale').parse_args(['photo.jpg', '--scales', '2'])
    with pytest.raises(UserError):
        from liif_arch.config.files import find_option_file

        find_option_file('options/quickstrat.yml')


def python_blocks() -> list:
    """Every Python example, as a parameter of a test."""
    cases = []
    for page in PAGES:
        for number, text in enumerate(blocks(page, 'python'), 1):
            marks = [pytest.mark.slow] if 'onnxruntime' in text else []
            cases.append(pytest.param(text, id=f'{name_of(page)}-{number}', marks=marks))
    return cases


@pytest.mark.parametrize('text', python_blocks())
def test_python__examples_run(tmp_path, monkeypatch, text):
    photo = write_photos(tmp_path, [(13, 18)], ['photo']) / 'photo.png'
    write_photo_as_jpeg(photo)
    monkeypatch.chdir(tmp_path)
    if 'onnxruntime' in text:
        export_here()
    exec(compile(text, 'example', 'exec'), {'__name__': 'example'})


def write_photo_as_jpeg(path: Path) -> None:
    """`photo.jpg` beside an image."""
    from liif_arch import read_image, write_image

    write_image(path.with_suffix('.jpg'), read_image(path))


def export_here() -> None:
    """What `basicsr export --weights small -o onnx` writes."""
    pytest.importorskip('onnxruntime')
    from liif_arch.export import export_onnx

    list(export_onnx(load_network('small'), 'onnx'))


def test_basicsr_page__names_tests_that_exist():
    page = ROOT / 'docs/basicsr.md'
    rows = [line for line in prose(page).splitlines() if line.startswith('| ') and '`' in line]
    named = [CODE.findall(row)[-1] for row in rows]
    sources = [path.read_text(encoding='utf-8') for path in (ROOT / 'tests').rglob('test_*.py')]
    defined = re.findall(r'^def (test_\w+)\(', '\n'.join(sources), re.MULTILINE)
    assert len(named) > 30
    assert not [name for name in named if not any(test.endswith(name) for test in defined)]


def test_basicsr_page__names_files_and_functions_that_exist():
    page = ROOT / 'docs/basicsr.md'
    for cells in re.findall(r'^\| .+? \| (.+?) \| `\w+` \|$', prose(page), re.MULTILINE):
        source = ''
        for name in CODE.findall(cells):
            if name.endswith('.py'):
                path = ROOT / (name if '/' in name else f'liif_arch/training/{name}')
                source = path.read_text(encoding='utf-8')
            elif re.fullmatch(r'[A-Za-z_.]+', name) and source:
                defined = rf'^\s*(?:def|class) {name.split(".")[-1]}\b'
                assert re.search(defined, source, re.MULTILINE), name


def test_version__has_one_owner():
    assert metadata.version('basicsr-liif') == liif_arch.__version__
    assert liif_arch.__version__ not in (ROOT / 'setup.py').read_text(encoding='utf-8')


@pytest.mark.parametrize('name', ['CITATION.cff', '.pre-commit-config.yaml'])
def test_yaml__of_the_repository_is_read(name):
    assert isinstance(yaml.safe_load((ROOT / name).read_text(encoding='utf-8')), dict)


def test_workflow__runs_ci_on_every_python_of_the_classifiers_that_ci_names():
    workflow = yaml.safe_load((ROOT / '.github/workflows/test.yml').read_text(encoding='utf-8'))
    job = workflow['jobs']['test']
    tested = job['strategy']['matrix']['python']
    assert job['steps'][-1] == {'run': 'bash .ci/run'}
    assert f'bash .ci/pythons "$wheel" {" ".join(tested)}' in (ROOT / '.ci/run').read_text(
        encoding='utf-8'
    )
