"""What BasicSR needs mended.

More of it is shown elsewhere: resuming in test_run, training and validation on two processes in
test_processes, reading option files in test_options, and bad options in test_preflight.
"""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import lmdb
import numpy as np
import pytest
import torch
from basicsr.data import build_dataset
from helpers import paired_options, run_here, tiny_train, write_options, write_photos

from liif_arch.errors import UserError
from liif_arch.training import basicsr_patches, checkpoints
from liif_arch.training.addressed import SampleSet
from liif_data.lmdb_writer import create_lmdb


@pytest.fixture(autouse=True)
def _installed():
    with basicsr_patches.installed():
        yield


def paired_lmdb(folder: Path) -> dict:
    """`paired_options` on LMDBs."""
    options = paired_options(folder)
    for name in ('pgt', 'plq'):
        create_lmdb(folder / name, folder / f'{name}.lmdb', 1)
    for dataset in options['datasets'].values():
        dataset.update(
            dataroot_gt=str(folder / 'pgt.lmdb'),
            dataroot_lq=str(folder / 'plq.lmdb'),
            io_backend={'type': 'lmdb'},
        )
    return options


def test_remedy__basicsr_imports_once_the_package_has():
    code = (
        'import liif_arch.register, basicsr.data.degradations as d\n'
        'print(d.rgb_to_grayscale.__module__)'
    )
    found = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', code], capture_output=True, text=True
    )
    assert found.returncode == 0 and 'torchvision' in found.stdout, found.stderr


def test_rows_2_3__resumed_on_a_cpu_and_from_another_folder(tmp_path, photos, monkeypatch):
    write_options(tmp_path / 'o.yml', tiny_train(photos, train__total_iter=2))
    assert run_here(monkeypatch, tmp_path, 'train', '-opt', 'o.yml') == 0
    opt = {
        'name': 'tiny',
        'auto_resume': True,
        'rank': 0,
        'path': {
            'training_states': str(tmp_path / 'experiments/tiny/training_states'),
            'models': str(tmp_path / 'experiments/tiny/models'),
        },
    }
    monkeypatch.chdir('/')
    assert checkpoints.load_resume_state(opt)['iter'] == 2
    assert opt['path']['resume_state'].endswith('2.state')


def test_remedy__the_old_launchers_argument(tmp_path, photos, monkeypatch):
    write_options(tmp_path / 'o.yml', tiny_train(photos, train__total_iter=1))
    assert run_here(monkeypatch, tmp_path, 'train', '-opt', 'o.yml', '--local-rank=0') == 0


def test_remedy__prefetching_for_a_gpu_falls_back_and_says_so(
    tmp_path, photos, monkeypatch, capsys
):
    write_options(
        tmp_path / 'o.yml',
        tiny_train(
            photos,
            train__total_iter=2,
            datasets__train__prefetch_mode='cuda',
            datasets__train__num_prefetch_queue=2,
        ),
    )
    assert run_here(monkeypatch, tmp_path, 'train', '-opt', 'o.yml') == 0
    assert 'datasets.train.prefetch_mode: cuda needs a GPU; using cpu.' in capsys.readouterr().out


@pytest.mark.parametrize('workers', [0, 2])
def test_remedy__one_lmdb_in_training_and_validation(tmp_path, monkeypatch, workers):
    options = paired_lmdb(tmp_path)
    options['datasets']['train']['num_worker_per_gpu'] = workers
    write_options(tmp_path / 'o.yml', options)
    assert run_here(monkeypatch, tmp_path, 'train', '-opt', 'o.yml') == 0


def test_remedy__a_missing_key_is_named(tmp_path, monkeypatch, capsys):
    options = paired_lmdb(tmp_path)
    with lmdb.open(str(tmp_path / 'plq.lmdb')) as env, env.begin(write=True) as transaction:
        transaction.delete(b'im01')
    write_options(tmp_path / 'o.yml', options)
    assert run_here(monkeypatch, tmp_path, 'train', '-opt', 'o.yml') == 2
    assert 'plq.lmdb: has no key "im01"' in capsys.readouterr().err


@pytest.mark.parametrize('workers,broken', [(0, 'im00'), (2, 'im02')])
def test_remedy__a_broken_image_is_named_or_skipped(tmp_path, monkeypatch, capsys, workers, broken):
    options = paired_options(tmp_path)
    options['datasets']['train'].update(num_worker_per_gpu=workers, dataset_enlarge_ratio=4)
    (tmp_path / f'plq/{broken}.png').write_bytes(b'no image')
    del options['datasets']['val']
    options['val'] = None
    write_options(tmp_path / 'o.yml', options)
    assert run_here(monkeypatch, tmp_path, 'train', '-opt', 'o.yml') == 2
    error = capsys.readouterr().err
    assert (
        f'plq/{broken}.png' in error and 'on_bad_sample: skip' in error and 'Traceback' not in error
    )
    options['datasets']['train']['on_bad_sample'] = 'skip'
    write_options(tmp_path / 'o.yml', options)
    assert run_here(monkeypatch, tmp_path, 'train', '-opt', 'o.yml') == 0


def test_on_bad_sample__stops_above_the_limit_and_is_not_silent(tmp_path, caplog):
    options = paired_options(tmp_path)['datasets']['train']
    for name in ('im00', 'im01'):
        (tmp_path / f'plq/{name}.png').write_bytes(b'')
    options.update(phase='train', scale=2, on_bad_sample='skip', most_bad_samples=1)
    samples = SampleSet(build_dataset(options), options)
    for _ in range(3):  # one broken sample counts once, however often it comes up
        assert samples[1]['lq_path'].endswith('im02.png')
    assert samples.bad.sum() == 1
    with pytest.raises(
        UserError, match=r'2 samples were skipped, and most_bad_samples is 1; the last: .*im00\.png'
    ):
        samples[0]
    for name in ('pgt', 'plq'):
        shutil.rmtree(tmp_path / name)
    options['most_bad_samples'] = 99
    broken = SampleSet(samples.dataset, options)
    with pytest.raises(UserError, match='none of its 3 samples can be made'):
        broken[0]


def test_on_bad_sample__of_our_own_dataset_and_in_training_alone(
    tmp_path, photos, monkeypatch, capsys
):
    data = (photos / 'im02.png').read_bytes()
    (photos / 'im02.png').write_bytes(data[: len(data) // 2])
    options = tiny_train(
        photos, datasets__train__on_bad_sample='skip', datasets__train__dataset_enlarge_ratio=4
    )
    del options['datasets']['val']
    options['val'] = None
    write_options(tmp_path / 'o.yml', options)
    assert run_here(monkeypatch, tmp_path, 'train', '-opt', 'o.yml') == 0
    options = tiny_train(photos, datasets__val__on_bad_sample='skip')
    write_options(tmp_path / 'o.yml', options)
    assert run_here(monkeypatch, tmp_path, 'train', '-opt', 'o.yml') == 2
    assert 'datasets.val: found on_bad_sample' in capsys.readouterr().err


def test_rows_4_5__samples_of_basicsr_depend_on_their_address_alone(tmp_path):
    from liif_arch.training.addressed import SampleIndex

    options = {**paired_options(tmp_path)['datasets']['train'], 'phase': 'train', 'scale': 2}
    samples = SampleSet(build_dataset(options), options)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()
    draws = [
        samples[SampleIndex(1, epoch, repeat)]['gt'] for epoch in (0, 1, 2) for repeat in (0, 1)
    ]
    assert sum(torch.equal(draws[0], d) for d in draws) < 4
    again = SampleSet(build_dataset(options), options)
    assert torch.equal(again[SampleIndex(1, 2, 1)]['gt'], draws[-1])
    assert (
        torch.equal(before[0], torch.get_rng_state())
        and before[1] == np.random.get_state()[1].tolist()
    )


def test_rows_6_8__basicsrs_own_models_save_whole_or_stop(tmp_path, monkeypatch, capsys):
    write_options(tmp_path / 'o.yml', paired_options(tmp_path))
    save = torch.save

    def full(content, file, *args):
        if isinstance(content, dict) and 'params' in content:
            file.write(b'half')
            raise OSError(28, 'No space left on device')
        return save(content, file, *args)

    monkeypatch.setattr(torch, 'save', full)
    assert run_here(monkeypatch, tmp_path, 'train', '-opt', 'o.yml') == 2
    assert (
        'net_g_2.pth: cannot save this checkpoint (No space left on device)'
        in capsys.readouterr().err
    )
    assert not list((tmp_path / 'experiments/tiny/models').iterdir())


def test_rows_13_24__folders_are_read_in_order(tmp_path, monkeypatch):
    from basicsr.data import data_util

    write_photos(tmp_path / 'a', [(8, 8)] * 5, ['e', 'b', 'd', 'a', 'c'])
    shutil.copytree(tmp_path / 'a', tmp_path / 'b')
    names = [
        Path(p['gt_path']).stem
        for p in data_util.paired_paths_from_folder(
            [str(tmp_path / 'a'), str(tmp_path / 'b')], ['lq', 'gt'], '{}'
        )
    ]
    assert names == ['a', 'b', 'c', 'd', 'e']


def test_remedy__the_last_validation_has_the_last_iteration(tmp_path, monkeypatch):
    options = paired_options(tmp_path)
    options['train']['total_iter'], options['val']['val_freq'] = 5, 100
    write_options(tmp_path / 'o.yml', options)
    assert run_here(monkeypatch, tmp_path, 'train', '-opt', 'o.yml') == 0
    state = checkpoints.load_file(tmp_path / 'experiments/tiny/training_states/5.state')
    assert state['best_metric_results']['v']['psnr']['iter'] == 5 and state['validated']


def test_remedy__gathering_without_a_gpu():
    """mmengine's collectives, in a group of one that gloo has made."""
    code = (
        'import os\nos.environ.update(RANK="0", WORLD_SIZE="1", MASTER_ADDR="localhost", '
        'MASTER_PORT="0")\n'
        'from liif_arch.training import processes, remedies\nremedies.init_dist_pytorch("gloo")\n'
        'import torch.distributed as d\nprint(d.get_backend(), processes.gather([1, "a"]), '
        'processes.any_of(True))'
    )
    found = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', code], capture_output=True, text=True
    )
    assert found.stdout.strip() == "gloo [[1, 'a']] True", found.stderr


def test_remedy__wandb_where_it_is_not_installed(tmp_path, photos, monkeypatch, capsys):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, 'find_spec', lambda name, *a: None if name == 'wandb' else find(name, *a)
    )
    write_options(tmp_path / 'o.yml', tiny_train(photos, logger__wandb={'project': 'p'}))
    assert run_here(monkeypatch, tmp_path, 'train', '-opt', 'o.yml') == 2
    assert 'wandb is not installed; pip install wandb' in capsys.readouterr().err
    assert not (tmp_path / 'experiments').exists()


@pytest.mark.parametrize(
    'optimizer', [{'type': 'AdamW', 'lr': 1e-3}, {'type': 'SGD', 'lr': 1e-3, 'momentum': 0.9}]
)
def test_remedy__any_optimizer(tmp_path, photos, monkeypatch, optimizer):
    write_options(tmp_path / 'o.yml', tiny_train(photos, train__optim_g=optimizer))
    assert run_here(monkeypatch, tmp_path, 'train', '-opt', 'o.yml') == 0


def test_remedy__an_unknown_optimizer_is_refused(tmp_path, photos, monkeypatch, capsys):
    write_options(
        tmp_path / 'o.yml', tiny_train(photos, train__optim_g={'type': 'Adem', 'lr': 1e-3})
    )
    assert run_here(monkeypatch, tmp_path, 'train', '-opt', 'o.yml') == 2
    assert (
        'did you mean Adam?' in capsys.readouterr().err and not (tmp_path / 'experiments').exists()
    )


def test_prefetching_thread__hands_an_error_on(tmp_path, monkeypatch, capsys):
    """BasicSR's thread dies in silence, and the run waits for ever."""
    options = paired_options(tmp_path)
    options['datasets']['train']['prefetch_mode'] = 'cpu'
    (tmp_path / 'plq/im02.png').write_bytes(b'no image')
    del options['datasets']['val']
    options['val'] = None
    write_options(tmp_path / 'o.yml', options)
    assert run_here(monkeypatch, tmp_path, 'train', '-opt', 'o.yml') == 2
    assert 'plq/im02.png' in capsys.readouterr().err


def test_a_file_that_disappears__is_named(tmp_path, photos, monkeypatch, capsys, no_trial_step):
    from liif_arch.models.liif_model import LIIFModel

    write_options(tmp_path / 'o.yml', tiny_train(photos, train__total_iter=50))
    step = LIIFModel.optimize_parameters

    def remove(self, current_iter):
        (photos / 'im01.png').unlink(missing_ok=True)
        step(self, current_iter)

    monkeypatch.setattr(LIIFModel, 'optimize_parameters', remove)
    assert run_here(monkeypatch, tmp_path, 'train', '-opt', 'o.yml') == 2
    assert 'im01.png: cannot read this image' in capsys.readouterr().err


@pytest.mark.parametrize('how', ['run', 'library'])
def test_meshgrid__torchs_warning_is_not_for_users(tmp_path, how):
    """It says once that BasicSR's SwinIR should name the indexing, whose default is what it
    means.
    """
    network = {
        'type': 'SwinIR',
        'embed_dim': 8,
        'depths': [2],
        'num_heads': [2],
        'window_size': 8,
        'img_size': 16,
        'upsampler': 'pixelshuffle',
    }
    build = {
        'run': 'from liif_arch.training import basicsr_patches\n'
        'with basicsr_patches.installed():\n    build_network(network)',
        'library': 'from liif_arch.weights.networks import build\nbuild(network, "a test")',
    }[how]
    code = (
        'import liif_arch.register\nfrom basicsr.archs import build_network\n'
        f'network = {network}\n{build}'
    )
    result = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, cwd=tmp_path
    )
    assert result.returncode == 0 and 'meshgrid' not in result.stderr, result.stderr
