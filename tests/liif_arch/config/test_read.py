"""Option files read safely: YAML, `_base_`, `--force_yml`."""

import pytest

from liif_arch.config import read
from liif_arch.errors import UserError


@pytest.mark.parametrize(
    'text,value',
    [
        ('1e-4', 1e-4),
        ('1e9', 1e9),
        ('-2.5E+3', -2500.0),
        ('3', 3),
        ('0.5', 0.5),
        ('!!float 1e-4', 1e-4),
        ('~', None),
        ('a1e4', 'a1e4'),
        ('1.4.2', '1.4.2'),
    ],
)
def test_read_yaml__numbers(text, value):
    found = read.read_yaml(f'a: {text}', 'x.yml')['a']
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    'text,message',
    [
        (
            'a: !!python/object/apply:os.system [exit 1]',
            'x.yml, line 1, column 4: could not determine a constructor',
        ),
        ('a: 1\n b: 2', 'x.yml, line 2'),
        ('? [a]\n: 1', 'not a key'),
        ('', 'found nothing'),
        ('[1, 2]', 'found list'),
        ('a: 1\na: 2', 'stands twice'),
    ],
)
def test_read_yaml__refuses(text, message):
    with pytest.raises(UserError, match=message):
        read.read_yaml(text, 'x.yml')


def test_force_option__sets_existing_keys():
    opt = {'train': {'lr': 1, 'list': [1]}, 'name': 'a'}
    for entry in ('train:lr=1e-3', 'train:list=[2, 3]', 'name=b=c'):
        read.force_option(opt, entry)
    assert opt == {'train': {'lr': 1e-3, 'list': [2, 3]}, 'name': 'b=c'}
    read.force_option(opt, 'train:lr=None')
    assert opt['train']['lr'] is None


@pytest.mark.parametrize(
    'entry,message',
    [
        ('train:lrr=1', 'did you mean lr'),
        ('train', 'needed key:key=value'),
        ('name:x=1', 'no key name:x'),
        ('name=[1', 'not YAML'),
        ('x"];import os;#=1', 'no key'),
    ],
)
def test_force_option__refuses(entry, message):
    with pytest.raises(UserError, match=message):
        read.force_option({'train': {'lr': 1}, 'name': 'a'}, entry)


def test_load_options__bases_are_merged_and_mappings_replaced(tmp_path):
    (tmp_path / 'a.yml').write_text(
        'name: a\nnet: {type: X, wide: 3}\ntrain: {lr: 1, list: [1, 2]}'
    )
    (tmp_path / 'b.yml').write_text(
        '_base_: a.yml\ntrain: {list: [3]}\nnet: {_delete_: true, type: Y}\nnew: {k: 1}'
    )
    assert read.load_options(tmp_path / 'b.yml') == {
        'name': 'a',
        'net': {'type': 'Y'},
        'train': {'lr': 1, 'list': [3]},
        'new': {'k': 1},
    }
    (tmp_path / 'c.yml').write_text('_base_: quickstart\nname: mine')  # a shipped one
    assert read.load_options(tmp_path / 'c.yml')['model_type'] == 'LIIFModel'


def test_load_options__another_type_replaces_a_mapping(tmp_path):
    """The base's options are of another network: an encoder must not train with its width."""
    (tmp_path / 'a.yml').write_text('net: {type: X, encoder: {type: E, num_feat: 32}, flag: 1}')
    (tmp_path / 'b.yml').write_text('_base_: a.yml\nnet: {encoder: {type: F, num_block: 2}}')
    net = read.load_options(tmp_path / 'b.yml')['net']
    assert net == {'type': 'X', 'flag': 1, 'encoder': {'type': 'F', 'num_block': 2}}
    (tmp_path / 'c.yml').write_text('_base_: a.yml\nnet: {encoder: {type: E, num_block: 2}}')
    assert read.load_options(tmp_path / 'c.yml')['net']['encoder'] == {
        'type': 'E',
        'num_feat': 32,
        'num_block': 2,
    }


@pytest.mark.parametrize(
    'text,message',
    [
        ('_base_: nowhere.yml', r'd\.yml: _base_: found nowhere\.yml'),
        ('_base_: d.yml', 'leads back to this file'),
    ],
)
def test_load_options__refuses_bases(tmp_path, text, message):
    (tmp_path / 'd.yml').write_text(text)
    with pytest.raises(UserError, match=message):
        read.load_options(tmp_path / 'd.yml')


def test_load_options__not_text(tmp_path):
    (tmp_path / 'd.yml').write_bytes(b'\xff\xfe\x00')
    with pytest.raises(UserError, match='cannot read this option file'):
        read.load_options(tmp_path / 'd.yml')


def test_read_yaml__merged_keys_may_be_overridden():
    opt = read.read_yaml('a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}', 'x.yml')
    assert opt['b'] == {'x': 1, 'y': 3}
