"""What is replaced in BasicSR: all of it in one table, and none of it afterwards."""

import ast
from pathlib import Path

import basicsr.test
import basicsr.train
import pytest

import liif_arch
from liif_arch.training import basicsr_patches
from liif_arch.training.launch import CheckedOptions, Evaluation
from liif_arch.training.patching import Patch, replaced
from liif_arch.training.run import Run

PACKAGE = Path(liif_arch.__file__).parent


def names(owner: object) -> dict:
    return owner if isinstance(owner, dict) else vars(owner)


def rows() -> list[Patch]:
    options = CheckedOptions()
    return basicsr_patches.table(Run(options), Evaluation(options))


@pytest.mark.parametrize('error', [None, RuntimeError, KeyboardInterrupt, SystemExit])
def test_installed__is_in_place_and_then_gone(error):
    options = CheckedOptions()
    training, test = Run(options), Evaluation(options)
    table = basicsr_patches.table(training, test)
    before = [names(patch.owner)[patch.name] for patch in table]
    try:
        with basicsr_patches.installed(training, test):
            for patch in table:
                assert names(patch.owner)[patch.name] == patch.by, patch.name
            if error is not None:
                raise error
    except (RuntimeError, KeyboardInterrupt, SystemExit):
        pass
    for patch, value in zip(table, before, strict=True):
        assert names(patch.owner)[patch.name] is value, patch.name


def test_installed__twice_and_within_itself():
    before = basicsr.train.build_model
    with basicsr_patches.installed(Run(CheckedOptions())):
        outer = basicsr.train.build_model
        with basicsr_patches.installed(Run(CheckedOptions())):
            assert basicsr.train.build_model != outer
        assert basicsr.train.build_model == outer
    assert basicsr.train.build_model is before


def test_table__each_name_once_with_a_reason():
    table = rows()
    assert len({(id(patch.owner), patch.name) for patch in table}) == len(table) > 25
    assert all(patch.why and not patch.why.endswith('.') for patch in table)


def test_replaced__takes_back_what_was_inherited_or_missing():
    class Base:
        def name(self) -> str:
            return 'base'

    class Derived(Base):
        pass

    keys = {}
    with replaced([Patch(Derived, 'name', lambda self: 'new', ''), Patch(keys, 'a', 1, '')]):
        assert Derived().name() == 'new' and keys == {'a': 1}
    assert 'name' not in vars(Derived) and Derived().name() == 'base' and keys == {}


def test_package__replaces_nothing_of_basicsr_elsewhere():
    """No assignment to an attribute of a module or class of BasicSR in any other file."""
    for path in PACKAGE.rglob('*.py'):
        if path.name == 'patching.py':
            continue
        tree = ast.parse(path.read_text(encoding='utf-8'))
        imported = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or '').startswith('basicsr'):
                imported |= {alias.asname or alias.name for alias in node.names}
            if isinstance(node, ast.Import):
                imported |= {a.name.split('.')[0] for a in node.names if a.name[:7] == 'basicsr'}
        for node in ast.walk(tree):
            targets = node.targets if isinstance(node, ast.Assign) else []
            if isinstance(node, ast.Call) and getattr(node.func, 'id', '') == 'setattr':
                targets = [ast.Attribute(node.args[0], 'x')]
            for target in targets:
                while isinstance(target, (ast.Attribute, ast.Subscript)):
                    target = target.value
                    assert getattr(target, 'id', '') not in imported, f'{path}: {node.lineno}'
