"""What `import liif_arch` offers: to a program, to an editor, to a type checker."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import liif_arch
from liif_arch.errors import UserError

ROOT = Path(__file__).parents[2]

# Modules that a bare import of the package may load.
LIGHT = {
    'liif_arch',
    'liif_arch.archs',
    'liif_arch.basicsr_source',
    'liif_arch.deferred_imports',
    'liif_arch.errors',
    'liif_arch.threads',
    'liif_arch.torchvision_alias',
}


def names_for_type_checkers() -> dict[str, str]:
    """The names that the package's `if TYPE_CHECKING:` block imports, with their modules."""
    tree = ast.parse(Path(liif_arch.__file__).read_text(encoding='utf-8'))
    blocks = [node for node in tree.body if isinstance(node, ast.If)]
    assert [ast.unparse(block.test) for block in blocks] == ['TYPE_CHECKING']
    names = {}
    for statement in blocks[0].body:
        for alias in statement.names:
            assert alias.asname == alias.name  # which type checkers take for an export
            names[alias.name] = statement.module
    return names


@pytest.mark.parametrize('name', liif_arch.__all__)
def test_public_names__each_resolves_to_what_its_module_defines(name):
    value = getattr(liif_arch, name)
    assert value.__name__ == name
    assert value.__module__ == names_for_type_checkers()[name]


def test_public_names__dir_shows_them_and_nothing_else():
    assert dir(liif_arch) == sorted(liif_arch.__all__)
    assert {'UserError', 'CoordinateNetwork', 'LIIF', 'upscale'} <= set(dir(liif_arch))


def test_public_names__type_checkers_and_programs_see_the_same():
    assert names_for_type_checkers() == liif_arch._MODULE_OF
    assert set(liif_arch.__all__) == set(liif_arch._MODULE_OF)


def test_public_names__an_unknown_one_is_told_which_there_are():
    with pytest.raises(AttributeError, match=r"no attribute 'LIFF'; it has LIIF, LTE"):
        _ = liif_arch.LIFF


def test_public_names__an_error_is_the_one_that_is_raised():
    assert liif_arch.UserError is UserError


def test_import__loads_nothing_heavy():
    code = 'import sys, liif_arch; dir(liif_arch); print(*sys.modules)'
    result = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, check=True
    )
    loaded = set(result.stdout.split())
    assert {name for name in loaded if name.startswith('liif_')} == LIGHT
    assert loaded.isdisjoint({'torch', 'torchvision', 'basicsr', 'numpy', 'cv2', 'yaml', 'PIL'})


def test_py_typed__is_in_what_is_built(tmp_path):
    command = [sys.executable, 'setup.py', '--quiet', 'build', '--build-base', str(tmp_path)]
    command += ['egg_info', '--egg-base', str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    for package in ('liif_arch', 'liif_data'):
        assert (tmp_path / 'lib' / package / 'py.typed').is_file()
