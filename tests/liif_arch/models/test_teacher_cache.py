"""A teacher's colours that are kept, and samples that come again."""

import copy
import json
import shutil

import pytest
import torch
from helpers import differences, run_basicsr, run_here, tiny_train, write_options
from teachers import (
    BOTH,
    L1,
    options_of,
    state_of,
    train,
    weights_of,
    write_teacher,
)
from teachers import teacher as teacher

from liif_arch import load_network
from liif_arch.models.distillation import Distillation
from liif_arch.models.liif_model import LIIFModel
from liif_arch.training.addressed import SampleIndex
from liif_data.random_scale_dataset import RandomScalePairedDataset

# --- cache


def test_cache__has_the_teachers_colours(monkeypatch, tmp_path, photos, teacher, caplog):
    """The second time round the teacher does not work, and the losses are the same to float16."""
    options = options_of(photos, teacher, {'colours': {'type': 'L1Loss'}})
    options['datasets']['train'].update(repeat_epochs=2, dataset_enlarge_ratio=2)
    options['train'].update(total_iter=4, optim_g={'type': 'SGD', 'lr': 1e-9})
    del options['datasets']['train']['batch_size_per_gpu']
    options['datasets']['train'].update(batch_size_per_gpu=8)
    calls, teach = [], Distillation._teach
    monkeypatch.setattr(Distillation, '_teach', lambda *a: calls.append(len(a[1])) or teach(*a))
    logs = {}
    monkeypatch.setattr(
        LIIFModel,
        'get_current_log',
        lambda self: (
            logs.setdefault(self.opt['name'], []).append(float(self.log_dict['l_distill'])) or {}
        ),
    )
    assert train(monkeypatch, tmp_path, options) == 0
    assert calls == [2, 8, 8, 8, 8]  # the first is rehearsed
    options['name'], options['train']['distill_opt']['cache'] = 'cached', str(tmp_path / 'c')
    calls.clear()
    assert train(monkeypatch, tmp_path, options) == 0
    assert calls == [2, 8, 8]
    plain, cached = torch.tensor(logs['tiny']), torch.tensor(logs['cached'])
    torch.testing.assert_close(plain, cached, rtol=0, atol=2**-11)  # half a step of float16 at 1
    torch.testing.assert_close(cached[:2].sum(), cached[2:].sum(), rtol=1e-4, atol=0)
    assert len(set(logs['cached'])) > 1
    size = 2 * 32 * 3 + 4
    assert (tmp_path / 'c/colours.bin').stat().st_size == 4 * 2 * 2 * size


def test_cache__of_another_teacher_or_other_samples_is_refused(
    monkeypatch, tmp_path, photos, teacher, capsys
):
    options = options_of(photos, teacher, {'colours': L1, 'cache': str(tmp_path / 'c')})
    options['datasets']['train']['repeat_epochs'] = 2
    options['train']['total_iter'] = 1
    assert train(monkeypatch, tmp_path, options) == 0
    shutil.rmtree(tmp_path / 'experiments')
    kept = (tmp_path / 'c/colours.bin').read_bytes()
    other = write_teacher(tmp_path / 'other.pth', 2)
    (photos / 'im00.png').rename(photos / 'im99.png')
    cases = [
        ({'path__pretrain_network_t': str(other)}, 'network_t: '),
        ({'datasets__train__lq_size': 9}, 'datasets.train.lq_size: 8 when it was saved, 9 now'),
        ({'datasets__train__seed': 5}, 'datasets.train.seed: 0 when it was saved, 5 now'),
        ({}, 'images: '),
    ]
    for changes, text in cases:
        changed = copy.deepcopy(options)
        for key, value in changes.items():
            place, *keys = changed, *key.split('__')
            for each in keys[:-1]:
                place = place[each]
            place[keys[-1]] = value
        capsys.readouterr()
        assert train(monkeypatch, tmp_path, changed) == 2
        error = capsys.readouterr().err
        assert 'train.distill_opt.cache: ' in error and text in error
        assert 'name another folder' in error
    assert (tmp_path / 'c/colours.bin').read_bytes() == kept
    assert not (tmp_path / 'experiments').exists()


def test_cache__a_damaged_record_is_made_again(monkeypatch, tmp_path, photos, teacher):
    """A run that finds half a record ends with the same network, and mends the record."""
    options = options_of(photos, teacher, {'colours': L1, 'cache': '../c'})
    options['datasets']['train']['repeat_epochs'] = 2
    assert train(monkeypatch, tmp_path / 'a', options) == 0
    file = tmp_path / 'c/colours.bin'
    kept = file.read_bytes()
    file.write_bytes(kept[:20] + bytes(100) + kept[120:-1])
    assert train(monkeypatch, tmp_path / 'b', options) == 0
    torch.testing.assert_close(
        weights_of(tmp_path / 'a')['params'], weights_of(tmp_path / 'b')['params']
    )
    assert len(file.read_bytes()) == len(kept) and file.read_bytes()[20:120] != bytes(100)


def test_check__writes_no_cache(monkeypatch, tmp_path, photos, teacher, capsys):
    options = options_of(photos, teacher, {'colours': L1, 'cache': 'c'})
    options['datasets']['train']['repeat_epochs'] = 2
    write_options(tmp_path / 'o.yml', options)
    assert run_here(monkeypatch, tmp_path, 'check', '-opt', 'o.yml') == 0
    assert not (tmp_path / 'c').exists()


def test_cache__that_cannot_be_made_is_said_before_a_run(
    monkeypatch, tmp_path, photos, teacher, capsys
):
    (tmp_path / 'file').write_text('no folder')
    options = options_of(photos, teacher, {'colours': L1, 'cache': 'file/c'})
    options['datasets']['train']['repeat_epochs'] = 2
    assert train(monkeypatch, tmp_path, options) == 2
    assert 'train.distill_opt.cache: file/c: file is no folder' in capsys.readouterr().err
    assert not (tmp_path / 'experiments').exists()


def test_cache__in_a_home_folder_and_for_others_to_read(monkeypatch, tmp_path, photos, teacher):
    monkeypatch.setenv('HOME', str(tmp_path / 'home'))
    options = options_of(photos, teacher, {'colours': L1, 'cache': '~/c'}, train__total_iter=1)
    options['datasets']['train']['repeat_epochs'] = 2
    assert train(monkeypatch, tmp_path, options) == 0
    assert (tmp_path / 'home/c/made_of.json').stat().st_mode & 0o777 == 0o644


# --- samples that repeat


@pytest.mark.parametrize('degrade', ['loader', 'device'])
def test_repeat_epochs__is_the_sample_of_an_earlier_epoch(photos, degrade):
    options = tiny_train(photos)['datasets']['train']
    options.update(seed=3, repeat_epochs=3, dataset_enlarge_ratio=5, degrade=degrade)
    dataset = RandomScalePairedDataset(options)
    plain = RandomScalePairedDataset({**options, 'repeat_epochs': None})
    first, again = dataset[SampleIndex(2, 1, 4)], dataset[SampleIndex(2, 7, 4)]
    expected = plain[SampleIndex(2, 1, 4)]
    numbers = first.pop('draw'), again.pop('draw')
    assert differences(first, again) == differences(first, expected) == []
    assert differences(plain[SampleIndex(2, 7, 4)], expected) != []
    assert torch.equal(*numbers) and numbers[0][0] == (1 * 5 + 4) * 4 + 2
    found = set()
    for epoch in range(3):
        for repeat in range(5):
            for index in range(4):
                found.add(int(dataset[SampleIndex(index, epoch, repeat)]['draw'][0]))
    assert found == set(range(3 * 5 * 4))


def test_cache__says_what_it_is_made_of(monkeypatch, tmp_path, photos, teacher):
    options = options_of(photos, teacher, {'colours': L1, 'cache': 'c'}, train__total_iter=1)
    options['datasets']['train'].update(repeat_epochs=2, degrade='device', num_worker_per_gpu=1)
    assert train(monkeypatch, tmp_path, options) == 0
    said = json.loads((tmp_path / 'c/made_of.json').read_text())
    assert said['shape'] == [32, 3] and said['train'] == {'precision': 'float32'}
    assert said['network_t'] == load_network(teacher).digest()
    samples = said['datasets']['train']
    assert samples['seed'] == 0 and samples['repeat_epochs'] == 2
    assert not {'dataroot_gt', 'batch_size_per_gpu', 'degrade', 'name', 'type'} & samples.keys()


def test_processes__two_share_a_cache_and_train_one_projection(tmp_path, photos, teacher):
    """Two processes with a batch of 2 each make the steps of one with a batch of 4."""
    options = options_of(photos, teacher, {**BOTH, 'cache': '../c'}, train__total_iter=3)
    options['train'].update(accumulate=2, optim_g={'type': 'SGD', 'lr': 0.1})
    options['datasets']['train'].update(repeat_epochs=2, dataset_enlarge_ratio=2)
    for name, flags, batch in (('one', (), 4), ('two', ('--nproc', 2), 2)):
        (tmp_path / name).mkdir()
        options['datasets']['train']['batch_size_per_gpu'] = batch
        write_options(tmp_path / name / 'o.yml', options)
        result = run_basicsr('train', '-opt', 'o.yml', *flags, cwd=tmp_path / name)
        assert result.returncode == 0, result.stdout + result.stderr
        (tmp_path / 'c').rename(tmp_path / f'c_{name}')
    one, two = tmp_path / 'one', tmp_path / 'two'
    for found, expected in (
        (weights_of(two, 3)['params'], weights_of(one, 3)['params']),
        (state_of(two, 3)['model'], state_of(one, 3)['model']),
    ):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    whole = (tmp_path / 'c_one/colours.bin').stat().st_size
    assert (tmp_path / 'c_two/colours.bin').stat().st_size == whole > 0
