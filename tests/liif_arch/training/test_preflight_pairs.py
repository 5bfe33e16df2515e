"""Mistakes in the options of BasicSR's own paired dataset, each in one line."""

import pytest
from helpers import paired_options, run_here, write_options
from refusals import run_bad

from liif_data.lmdb_writer import create_lmdb


def paired(tmp_path, **changes) -> dict:
    """BasicSR's own model and dataset, with changes of `datasets.train`; None removes a key."""
    options = paired_options(tmp_path)
    train = options['datasets']['train']
    for key, value in changes.items():
        train[key] = value
        if value is None:
            del train[key]
    return options


@pytest.mark.parametrize(
    'change,parts',
    [
        (
            {'gt_size': 17},
            ['datasets.train.gt_size: found 17', 'no multiple of scale 2', 'set 16 or 18'],
        ),
        (
            {'filename_tmpl': '{}x2'},
            [
                "datasets.train.filename_tmpl: found '{}x2'",
                'plq should hold "im00x2.png" for',
                'pgt/im00.png',
                'the nearest there is "im00.png"',
                '3 of 3 images',
            ],
        ),
        (
            {'filename_tmpl': '{}x{scale}'},
            ["datasets.train.filename_tmpl: found '{}x{scale}'; needed {}"],
        ),
        ({'filename_tmpl': 'all'}, ["datasets.train.filename_tmpl: found 'all'; needed {}"]),
        ({'gt_size': None}, ['datasets.train.gt_size: missing; PairedImageDataset reads it']),
        ({'use_rot': None}, ['datasets.train.use_rot: missing; PairedImageDataset reads it']),
        ({'io_backend': None}, ["datasets.train: missing or unknown 'io_backend'"]),
        (
            {'meta_info_file': 'nowhere.txt'},
            ['datasets.train.meta_info_file: nowhere.txt does not exist'],
        ),
        (
            {'io_backend': {'type': 'lmdb'}},
            ['datasets.train.dataroot_gt', 'pgt is a folder of files', 'io_backend: {type: disk}'],
        ),
    ],
)
def test_bad_paired_dataset__names_the_option(monkeypatch, tmp_path, capsys, change, parts):
    line = run_bad(monkeypatch, tmp_path, capsys, paired(tmp_path, **change))
    for part in parts:
        assert part in line, line


def test_bad_paired_dataset__an_image_too_many(monkeypatch, tmp_path, capsys):
    options = paired(tmp_path)
    del options['datasets']['val']
    options['val'] = None
    (tmp_path / 'pgt/im02.png').unlink()
    line = run_bad(monkeypatch, tmp_path, capsys, options)
    assert 'datasets.train.dataroot_lq' in line and 'for instance "im02.png"' in line


def test_bad_paired_dataset__a_database_read_as_files(monkeypatch, tmp_path, capsys):
    options = paired(tmp_path)
    for key in ('gt', 'lq'):
        create_lmdb(tmp_path / f'p{key}', tmp_path / f'{key}.lmdb')
        options['datasets']['train'][f'dataroot_{key}'] = str(tmp_path / f'{key}.lmdb')
    line = run_bad(monkeypatch, tmp_path, capsys, options)
    assert 'datasets.train.dataroot_gt: ' in line and 'set io_backend: {type: lmdb}' in line
    options['datasets']['train']['io_backend']['type'] = 'lmdb'
    write_options(tmp_path / 'a.yml', options)
    assert run_here(monkeypatch, tmp_path, 'train', '-opt', 'a.yml') == 0
