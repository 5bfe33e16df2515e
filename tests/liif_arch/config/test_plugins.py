"""Plugins load through their entry points; one that fails is named and does not stop the others."""

import sys
from importlib.metadata import EntryPoint

from liif_arch.config import plugins
from liif_arch.config.files import shipped_options


def test_load_plugins__ours_are_installed():
    outcome = plugins.load_plugins()
    assert outcome['liif_arch.register'] is None and outcome['liif_data.register'] is None


def test_load_plugins__a_failing_one_is_named(monkeypatch, tmp_path, capsys):
    (tmp_path / 'broken_plugin.py').write_text('import a_package_nobody_has')
    (tmp_path / 'good_plugin.py').write_text('LOADED = True')
    monkeypatch.syspath_prepend(tmp_path)
    entries = [EntryPoint(n, f'{n}_plugin', plugins.GROUP) for n in ('broken', 'good')]
    monkeypatch.setattr(plugins, 'entry_points', lambda group: entries)
    outcome = plugins.load_plugins()
    assert outcome == {
        'broken_plugin': "ModuleNotFoundError: No module named 'a_package_nobody_has'",
        'good_plugin': None,
    }
    assert (
        'plugin "broken" (broken_plugin) does not load: ModuleNotFoundError'
        in capsys.readouterr().err
    )
    assert sys.modules['good_plugin'].LOADED


def test_option_files__of_packages_that_do_not_load_are_named(monkeypatch, tmp_path, capsys):
    modules = {
        'leaving': 'import sys; sys.exit(3)',
        'broken': 'raise ValueError("one\\ntwo")',
        'good': '',
    }
    for name, text in modules.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / '__init__.py').write_text(text)
    (tmp_path / 'good/mine.yml').write_text('# Mine.')
    (tmp_path / 'good/quickstart.yml').write_text('# Not ours.')
    (tmp_path / 'flat.py').write_text('')
    monkeypatch.syspath_prepend(tmp_path)
    entries = [
        EntryPoint(n, n, plugins.OPTIONS) for n in ('leaving', 'broken', 'good', 'flat', 'missing')
    ]
    monkeypatch.setattr(plugins, 'entry_points', lambda group: entries)
    shipped = shipped_options()
    assert (
        shipped['mine'] == tmp_path / 'good/mine.yml'
        and shipped['quickstart'].parent != tmp_path / 'good'
    )
    lines = capsys.readouterr().err.splitlines()
    assert [line.split('"')[1] for line in lines] == ['broken', 'flat', 'leaving', 'missing']
