"""The options that a run gets: the flags, the file, and what BasicSR adds."""

import json
import sys

import pytest
from helpers import tiny_train, write_options

from liif_arch.config import parse
from liif_arch.config.check import Problems
from liif_arch.errors import UserError


def parsed(monkeypatch, path, *flags, is_train=True, problems=None):
    monkeypatch.setattr(sys, 'argv', ['basicsr', '-opt', str(path), *flags])
    return parse.parse_options('/root_of_run', is_train, problems)


@pytest.mark.parametrize(
    'cores,here,num_gpu,workers',
    [
        (2, None, 0, 2),
        (64, None, 1, 8),
        (1, None, 0, 1),
        (8, 2, 2, 4),
        (2, 4, 0, 1),
        (8, None, 4, 2),
    ],
)
def test_automatic_workers__the_share_of_the_cores(monkeypatch, cores, here, num_gpu, workers):
    """BasicSR starts them once a GPU where one process drives several."""
    monkeypatch.setattr(parse.os, 'sched_getaffinity', lambda pid: range(cores), raising=False)
    monkeypatch.delenv('LOCAL_WORLD_SIZE', raising=False)
    if here:
        monkeypatch.setenv('LOCAL_WORLD_SIZE', str(here))
    assert parse.automatic_workers({'dist': here is not None, 'num_gpu': num_gpu}) == workers


@pytest.mark.parametrize('workers', ['auto', 3, 'many', -1])
def test_parse_options__num_worker_per_gpu(monkeypatch, tmp_path, workers):
    path = write_options(
        tmp_path / 'a.yml', tiny_train(tmp_path, datasets__train__num_worker_per_gpu=workers)
    )
    if workers in ('auto', 3):
        monkeypatch.setattr(parse.os, 'sched_getaffinity', lambda pid: range(5), raising=False)
        opt, _ = parsed(monkeypatch, path)
        assert opt['datasets']['train']['num_worker_per_gpu'] == (5 if workers == 'auto' else 3)
        return
    with pytest.raises(
        UserError,
        match=r'num_worker_per_gpu: found .*; needed auto or a whole number of at least 0',
    ):
        problems = Problems()
        parsed(monkeypatch, path, problems=problems)
        problems.raise_any()


@pytest.mark.parametrize('is_train', [True, False])
@pytest.mark.parametrize(
    'flags', [[], ['--debug'], ['--auto_resume'], ['--force_yml', 'train:total_iter=9', 'name=b']]
)
def test_parse_options__is_what_basicsr_parses(monkeypatch, tmp_path, is_train, flags):
    from basicsr.utils.options import parse_options as theirs

    opt = tiny_train(tmp_path, scale=4, train__optim_g__lr=0.001)
    if not is_train:
        opt['datasets'] = {'test_1': opt['datasets']['val']}
    path = write_options(tmp_path / 'a.yml', opt)
    ours, args = parsed(monkeypatch, path, *flags, is_train=is_train)
    expected, expected_args = theirs('/root_of_run', is_train)
    for dataset in ours['datasets'].values():
        assert dataset.pop('seed') == 0
    if is_train:
        assert ours['logger'].pop('use_tb_logger') is False
    else:
        assert ours['val'].pop('suffix') is None
    plain = [json.loads(json.dumps(o)) for o in (ours, expected)]  # without the order of keys
    assert plain[0] == plain[1] and args == expected_args


def test_parse_options__names_all_missing_keys(monkeypatch, tmp_path):
    opt = tiny_train(tmp_path)
    del (
        opt['val']['save_img'],
        opt['train']['total_iter'],
        opt['datasets']['val']['type'],
        opt['model_type'],
    )
    with pytest.raises(
        UserError, match='missing model_type, train:total_iter, val:save_img, datasets:val:type'
    ):
        parsed(monkeypatch, write_options(tmp_path / 'a.yml', opt))


@pytest.mark.parametrize(
    'change,message',
    [
        ({'num_gpu': 9}, 'num_gpu: found 9'),
        ({'num_gpu': 'all'}, 'needed auto'),
        ({'datasets__extra': {}}, 'found "extra"'),
        ({'datasets__val__scale': [2, 3]}, 'datasets.val: found scale, .*did you mean scales'),
    ],
)
def test_parse_options__refuses(monkeypatch, tmp_path, change, message):
    with pytest.raises(UserError, match=message):
        parsed(monkeypatch, write_options(tmp_path / 'a.yml', tiny_train(tmp_path, **change)))


GPUS = 3


@pytest.fixture
def gpus(monkeypatch):
    """A machine of several GPUs, as option files see it."""
    monkeypatch.setattr('torch.cuda.device_count', lambda: GPUS)


def test_num_gpu__auto_is_one_where_several_take_a_process_each(
    monkeypatch, tmp_path, gpus, capsys
):
    path = write_options(tmp_path / 'a.yml', tiny_train(tmp_path, num_gpu='auto'))
    opt, _ = parsed(monkeypatch, path)
    assert opt['num_gpu'] == 1 and '--nproc 3 trains on all' in capsys.readouterr().out
    of_basicsr = tiny_train(tmp_path, num_gpu='auto', model_type='SRModel')
    opt, _ = parsed(monkeypatch, write_options(tmp_path / 'a.yml', of_basicsr))
    assert opt['num_gpu'] == GPUS  # which DataParallel shares a batch out to


def test_num_gpu__several_in_one_process_are_refused(monkeypatch, tmp_path, gpus):
    """Copies that DataParallel makes of a network have no parameters to decode with."""
    path = write_options(tmp_path / 'a.yml', tiny_train(tmp_path, num_gpu=2))
    with pytest.raises(UserError, match='LIIFModel has a process for each GPU; .* --nproc 2'):
        parsed(monkeypatch, path)
    opt, _ = parsed(monkeypatch, path, is_train=False)  # which asks the network itself
    assert opt['num_gpu'] == 2


@pytest.mark.parametrize('prefetch', [None, 'cuda'])
def test_pin_memory__on_a_gpu_unless_it_is_refused(monkeypatch, tmp_path, gpus, prefetch):
    for given in (None, False):
        train = {'datasets__train__prefetch_mode': prefetch}
        if given is not None:
            train['datasets__train__pin_memory'] = given
        path = write_options(tmp_path / 'a.yml', tiny_train(tmp_path, num_gpu=1, **train))
        opt, _ = parsed(monkeypatch, path)
        # BasicSR's prefetcher does not take memory that is not pinned.
        assert opt['datasets']['train']['pin_memory'] == (prefetch == 'cuda' or given is None)
