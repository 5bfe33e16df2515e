"""Where option files are found, and what is said of one that is nowhere."""

from pathlib import Path

import pytest
import yaml

from liif_arch.config import files, read
from liif_arch.errors import UserError


def test_find_option_file__paths_and_shipped_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ('quickstart', 'quickstart.yml', 'options/quickstart.yml'):
        assert files.find_option_file(name).name == 'quickstart.yml'
    (tmp_path / 'quickstart.yml').write_text('name: mine')
    assert files.find_option_file('quickstart.yml').read_text() == 'name: mine'
    for name, hint in [
        ('quickstrat', 'did you mean quickstart'),
        ('other/quickstart.yml', 'other/quickstart.yml'),
    ]:
        with pytest.raises(UserError, match=hint):
            files.find_option_file(name)


@pytest.mark.parametrize(
    'name,hint',
    [
        ('mine.yaml', 'did you mean mine.yml?'),
        ('d/train_min.yml', 'did you mean d/train_mine.yml'),
        ('d/quickstrat.yml', 'did you mean d/quickstort.yml or quickstart (which ships)?'),
        ('d', 'd is a folder.'),
        (
            'd/zzz.yml',
            'd has aaa.yml, bbb.yml, ccc.yml, quickstort.yml, train_mine.yml. `basicsr options` '
            'lists those',
        ),
        ('nowhere/zzz.yml', 'nowhere does not exist'),
        ('e/zzz.yml', 'e has no option files. `basicsr options` lists'),
    ],
)
def test_find_option_file__the_nearest_files_are_named(tmp_path, monkeypatch, name, hint):
    monkeypatch.chdir(tmp_path)
    for folder, names in (
        ('.', ['mine.yml']),
        ('e', []),
        ('d', ['train_mine.yml', 'quickstort.yml', 'aaa.yml', 'bbb.yml', 'ccc.yml']),
    ):
        (tmp_path / folder).mkdir(exist_ok=True)
        for file in names:
            (tmp_path / folder / file).write_text('name: a')
    with pytest.raises(UserError) as error:
        files.find_option_file(name)
    assert hint in str(error.value) and len(str(error.value)) < 400
    (tmp_path / 'e/on.yml').write_text('_base_: of.yml')
    (tmp_path / 'e/off.yml').write_text('name: a')
    with pytest.raises(
        UserError, match=r'e/on.yml: _base_: found of.yml, .* did you mean e/off.yml'
    ):
        read.load_options(Path('e/on.yml'))


def test_shipped_options__are_strict_yaml_with_the_command_on_top():
    shipped = files.shipped_options()
    assert {
        'quickstart',
        'train_liif_edsr',
        'train_liif_rdn',
        'test_liif_edsr',
        'test_liif_rdn',
    } <= set(shipped)
    for name, path in shipped.items():
        text = path.read_text()
        opt = read.load_options(path)
        assert opt['name'] == name and f'-opt options/{name}.yml' in text
        assert read.read_yaml(text, name) == yaml.safe_load(text)  # plain YAML 1.1 readers agree
