"""The datasets' tables of options: what the source reads, what the docstring tells, what `-OO`
leaves.
"""

import ast
import inspect
import re
import subprocess
import sys

import pytest

from liif_arch.config.check import Problems, check_option_file
from liif_arch.config.sources import keys_read_by, keys_read_in
from liif_arch.config.tables import LOADER
from liif_data import dataset_options
from liif_data.augmentations import Augmentations
from liif_data.random_scale_dataset import RandomScalePairedDataset
from liif_data.scale_set_dataset import ScaleSetDataset
from liif_data.size_varied_dataset import SizeVariedDataset

DATASETS = [RandomScalePairedDataset, ScaleSetDataset, SizeVariedDataset]
CHECK = """
from liif_arch.config.check import Problems, check_option_file
from liif_arch.config.files import shipped_options
from liif_arch.config.read import load_options
from liif_arch.config.plugins import load_plugins
load_plugins()
for name, path in shipped_options().items():
    opt = load_options(path)
    problems = Problems()
    check_option_file(opt, 'train' in opt['datasets'], problems)
    print(name, *problems)
    opt['datasets'][next(iter(opt['datasets']))]['dataroot_gtt'] = 'x'
    check_option_file(opt, 'train' in opt['datasets'], problems)
    print(*[problem.text for problem in problems])
"""


@pytest.mark.parametrize('cls', DATASETS)
def test_own_options__are_the_keys_that_the_source_reads(cls):
    read = set(keys_read_by(cls))
    for helper in vars(sys.modules[cls.__module__]).values():
        if getattr(helper, '__module__', '') == dataset_options.__name__:
            read |= keys_read_in(ast.parse(inspect.getsource(helper)))
    if Augmentations.own_options.keys() <= cls.own_options.keys():
        read |= keys_read_by(Augmentations)
    read = {key for key in read if key.isidentifier()} - {'key'}
    assert set(cls.own_options) == read - set(LOADER)


@pytest.mark.parametrize('cls', DATASETS)
def test_own_options__are_documented(cls):
    text = inspect.cleandoc(cls.__doc__)
    told = re.search(r'^Options.*?:\n(.*?)\n\n', text, re.MULTILINE | re.DOTALL)[1]
    lines = re.findall(r'^    ([a-z_, ]+):', told, re.MULTILINE)
    documented = {name for line in lines for name in line.split(', ')}
    assert documented - set(LOADER) == set(cls.own_options)


def test_own_options__without_docstrings(tmp_path):
    """`python -OO` has none; Python 3.13 indents them otherwise."""
    result = subprocess.run(
        [sys.executable, '-OO', '-c', CHECK],
        capture_output=True,
        text=True,
        timeout=200,
        cwd=tmp_path,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    lines = result.stdout.splitlines()
    assert len(lines) > 60 and 'train_liif_edsr' in lines
    for name, typo in zip(lines[::2], lines[1::2], strict=True):
        assert (
            ' ' not in name and 'found dataroot_gtt' in typo and 'did you mean dataroot_gt?' in typo
        )


def dataset_of_no_source() -> type:
    """A dataset that a plugin brings compiled: its module has no source."""
    module = type(sys)('a_compiled_plugin')
    exec(
        'class Compiled:\n    def __init__(self, opt):\n        self.side = opt["side"]',
        vars(module),
    )
    sys.modules[module.__name__] = module
    return module.Compiled


def test_keys_read_by__of_what_has_no_source_anything_passes(monkeypatch):
    from basicsr.utils.registry import DATASET_REGISTRY

    cls = dataset_of_no_source()
    monkeypatch.setitem(DATASET_REGISTRY._obj_map, 'Compiled', cls)
    assert 'side' in keys_read_by(cls) and 'anything' in keys_read_by(cls)
    problems = Problems()
    opt = {
        'name': 'a',
        'model_type': 'SRModel',
        'num_gpu': 0,
        'network_g': {'type': 'SRVGGNetCompact'},
        'path': {},
        'val': {'save_img': False},
        'datasets': {'test_1': {'name': 'a', 'type': 'Compiled', 'side': 3, 'other': 'x'}},
    }
    check_option_file(opt, False, problems)
    assert problems == []
    opt['datasets']['test_1']['io_backend'] = {'type': 'disk', 'typ': 1}
    check_option_file(opt, False, problems)
    assert [p.place for p in problems] == ['datasets.test_1.io_backend.typ']
