"""Plugins load through their entry points; one that fails is named and does not stop the others."""
import sys
from importlib.metadata import EntryPoint

from liif_arch.bridge import plugins


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
    assert outcome == {'broken_plugin': "ModuleNotFoundError: No module named 'a_package_nobody_has'",
                       'good_plugin': None}
    assert 'plugin "broken" (broken_plugin) does not load: ModuleNotFoundError' in capsys.readouterr().err
    assert sys.modules['good_plugin'].LOADED
