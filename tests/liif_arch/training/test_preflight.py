"""Every mistake ends in one clear line before anything is created, and no earlier experiment is
touched.
"""

import random
import subprocess
import sys

import numpy as np
import pytest
import torch
from helpers import (
    assert_one_line,
    run_basicsr,
    run_here,
    tiny_train,
    write_options,
    write_photos,
)
from refusals import run_bad

from liif_arch import LIIF, EDSREncoder
from liif_arch.config import parse
from liif_arch.training import preflight


@pytest.mark.parametrize(
    'change,parts',
    [
        (
            {'datasets__train__dataroot_gt': 'datasets/nowhere'},
            ['datasets.train.dataroot_gt', 'does not exist'],
        ),
        (
            {'datasets__val__dataroot_gt': 'nowhere.lmdb'},
            ['datasets.val.dataroot_gt', 'nowhere.lmdb does not exist'],
        ),
        (
            {'datasets__train__scale_range': [4, 1]},
            ['datasets.train.scale_range: found [4, 1]', '0 < lowest <= highest'],
        ),
        ({'datasets__val__scales': [2, 0]}, ['datasets.val.scales', 'above 0']),
        (
            {'datasets__train__lq_size': 20},
            ['im00.png: this image is 72x60', '80-pixel crop', 'lower lq_size'],
        ),
        (
            {'datasets__train__batch_size_per_gpu': 64},
            ['a batch of 64', '4 images', 'dataset_enlarge_ratio to 16'],
        ),
        (
            {'datasets__train__type': 'RandomScaleDataset'},
            ['datasets.train.type', 'did you mean RandomScalePaired'],
        ),
        (
            {'path__pretrain_network_g': 'nowhere.pth'},
            ['path.pretrain_network_g', 'nowhere.pth', 'No such file'],
        ),
        ({'network_g__type': 'LIFF'}, ['network_g.type', 'did you mean LIIF?']),
        (
            {'network_g__hidden_lists': [8]},
            ['network_g: found hidden_lists', 'did you mean hidden_list?'],
        ),
        (
            {'network_g__encoder__type': 'EDSREncodr'},
            ['network_g.encoder.type', 'did you mean EDSREncoder?'],
        ),
        (
            {'network_g__encoder__num_blok': 3},
            ['network_g.encoder: found num_blok', 'did you mean num_block?'],
        ),
        ({'network_g__hidden_list': []}, ['network_g: hidden_list']),
        ({'model_type': 'LIFModel'}, ['model_type', 'did you mean LIIFModel?']),
        ({'val__metrics': ['pnsr']}, ['val.metrics', 'did you mean psnr?']),
        ({'val__panel': [0]}, ['val.panel']),
        ({'val__panel': [5]}, ['val.panel: found 5']),
        ({'name': 'a/b'}, ["name: found 'a/b'"]),
        ({'name': '..'}, ["name: found '..'"]),
        ({'name': 'é' * 101}, ['of 202 bytes; it names a folder: at most 200']),
        ({'path__pretrain_network_gg': None}, ['did you mean pretrain_network_g?']),
        ({'manualseed': 1}, ['did you mean manual_seed?']),
        (
            {'path__pretrain_netwrk_g': None},
            ['path: found pretrain_netwrk_g', 'did you mean pretrain_network_g?'],
        ),
        ({'train__total_iter': -5}, ['train.total_iter: found -5']),
        ({'logger__save_checkpoint_freq': 0}, ['logger.save_checkpoint_freq: found 0']),
        ({'train__pixel_opt': None}, ['train.pixel_opt']),
        ({'num_gpu': 3}, ['num_gpu: found 3']),
        ({'train__optim_g': None}, ['train.optim_g: found None; needed keys and values']),
        ({'train__scheduler__type': 'MultistepLR'}, ['did you mean MultiStepLR']),
        ({'train__optim_g__type': 'Adm'}, ['train.optim_g.type', 'did you mean Adam?']),
        ({'train__pixel_opt__type': 'L1Los'}, ['L1Loss?']),
        ({'train__optim_g__lr': 'abc'}, ["train.optim_g: lr: found 'abc'; needed a number"]),
        ({'train__total_iter': 'abc'}, ['train.total_iter']),
        ({'val__val_freq': 'x'}, ['val.val_freq']),
        ({'datasets__train__batch_size_per_gpu': 0}, ['batch_size_per_gpu']),
        ({'network_g__num_in_ch': 1}, ['network_g.num_in_ch: found 1', '3 channels']),
        ({'val__panel': 4}, ['val.panel: found 4']),
        ({'manual_seed': -1}, ['manual_seed']),
        ({'network_g__encoder__num_feat': -3}, ['num_feat: found -3']),
        ({'datasets': [1]}, ['datasets']),
        ({'network_g__encoder__num_block': -1}, ['num_block: found -1']),
        ({'train__ema_deca': 1}, ['did you mean ema_decay']),
        (
            {'train__precision': 'bfloat'},
            ["train.precision: found 'bfloat'; needed one of float32", 'did you mean bfloat16?'],
        ),
        ({'network_g__precision': 16}, ['network_g: precision: found 16']),
        ({'datasets__train__degrad': 'device'}, ['did you mean degrade']),
        (
            {'datasets__train__degrade': 'gpu'},
            ["datasets.train.degrade: found 'gpu'; needed loader or device"],
        ),
        (
            {'datasets__train__degrade': 'device', 'network_g__num_in_ch': 1},
            ['network_g.num_in_ch: found 1', '3 channels'],
        ),
        ({'datasets__train__use_hflp': 1}, ['did you mean use_hflip']),
        ({'val__bicubc': True}, ['did you mean bicubic']),
        ({'val__metrics': {'psnr': {'type': 'calculate_psnr'}}}, ['val.metrics', 'needed a list']),
    ],
)
def test_bad_options__one_line_and_nothing_moved(
    monkeypatch, tmp_path, photos, capsys, change, parts
):
    line = run_bad(monkeypatch, tmp_path, capsys, tiny_train(photos, **change))
    for part in parts:
        assert part in line, line


def test_bad_options__bfloat16_where_it_is_missing(monkeypatch, tmp_path, photos, capsys):
    monkeypatch.setattr('liif_arch.precision.has_bfloat16', lambda device: False)
    line = run_bad(monkeypatch, tmp_path, capsys, tiny_train(photos, train__precision='bfloat16'))
    assert (
        'train.precision: found bfloat16, which this CPU' in line and 'use float32, or auto' in line
    )


def test_bad_options__a_required_key_misspelt(monkeypatch, tmp_path, photos, capsys):
    opt = tiny_train(photos)
    opt['train']['totl_iter'] = opt['train'].pop('total_iter')
    line = run_bad(monkeypatch, tmp_path, capsys, opt)
    assert 'missing train:total_iter; found totl_iter, did you mean total_iter?' in line


def test_bad_test__without_weights(monkeypatch, tmp_path, photos, capsys):
    opt = tiny_train(photos)
    opt['datasets'] = {'test_1': opt['datasets']['val']}
    assert 'path.pretrain_network_g: missing' in run_bad(monkeypatch, tmp_path, capsys, opt, 'test')


def test_bad_weights__that_do_not_match(monkeypatch, tmp_path, photos, capsys):
    torch.save(
        {'params': LIIF(EDSREncoder(num_feat=4, num_block=1), [16]).state_dict()},
        tmp_path / 'w.pth',
    )
    opt = tiny_train(photos, path__pretrain_network_g=str(tmp_path / 'w.pth'))
    line = run_bad(monkeypatch, tmp_path, capsys, opt)
    assert (
        'w.pth: these weights do not fit LIIF' in line
        and 'encoder.head.0.weight is (4, 3, 3, 3), needed' in line
    )


def test_bad_weights__not_a_checkpoint_in_a_test(monkeypatch, tmp_path, photos, capsys):
    (tmp_path / 'w.pth').write_bytes(b'nonsense')
    opt = tiny_train(photos, path__pretrain_network_g=str(tmp_path / 'w.pth'))
    opt['datasets'] = {'test_1': opt['datasets']['val']}
    assert 'w.pth: not a checkpoint' in run_bad(monkeypatch, tmp_path, capsys, opt, 'test')


def test_bad_image__that_does_not_decode(monkeypatch, tmp_path, photos, capsys):
    data = (photos / 'im02.png').read_bytes()
    (photos / 'im02.png').write_bytes(data[: len(data) // 2])
    assert 'im02.png: not a readable image' in run_bad(
        monkeypatch, tmp_path, capsys, tiny_train(photos)
    )


def test_bad_lmdb__half_built(monkeypatch, tmp_path, photos, capsys):
    (tmp_path / 'x.lmdb').mkdir()
    opt = tiny_train(photos, datasets__train__dataroot_gt=str(tmp_path / 'x.lmdb'))
    line = run_bad(monkeypatch, tmp_path, capsys, opt)
    assert 'basicsr lmdb' in line


def test_bad_folder__of_a_plain_basicsr_dataset(monkeypatch, tmp_path, photos, capsys):
    data = {
        'name': 't',
        'type': 'PairedImageDataset',
        'dataroot_gt': str(photos),
        'dataroot_lq': str(tmp_path / 'gtt'),
        'io_backend': {'type': 'disk'},
        'batch_size_per_gpu': 1,
        'num_worker_per_gpu': 0,
        'gt_size': 8,
    }
    line = run_bad(monkeypatch, tmp_path, capsys, tiny_train(photos, datasets__train=data, scale=2))
    assert 'datasets.train.dataroot_lq' in line and 'did you mean gt?' in line


def test_bad_image__is_no_key_of_its_dataset(monkeypatch, tmp_path, photos, capsys):
    """A path stands behind the place, and not in it."""
    line = run_bad(monkeypatch, tmp_path, capsys, tiny_train(photos, datasets__train__lq_size=20))
    assert f'datasets.train: {photos}/im00.png: this image is' in line


@pytest.mark.parametrize('value', ['{}x{scale}', 'all', 3])
def test_bad_template__of_our_dataset(monkeypatch, tmp_path, photos, capsys, value):
    changes = {'dataroot_lq': str(photos), 'filename_tmpl': value, 'scale_range': None}
    changes = {f'datasets__train__{key}': option for key, option in changes.items()}
    line = run_bad(monkeypatch, tmp_path, capsys, tiny_train(photos, **changes))
    assert f'datasets.train.filename_tmpl: found {value!r}; needed' in line


@pytest.mark.parametrize(
    'content,message',
    [
        ({'other.weight': torch.zeros(3)}, 'only 0 of the'),
        (None, 'left out: missing imnet.layers.2.bias'),
    ],
)
def test_bad_weights__in_a_test_that_is_not_strict(
    monkeypatch, tmp_path, photos, capsys, caplog, content, message
):
    opt = tiny_train(
        photos, path__pretrain_network_g=str(tmp_path / 'w.pth'), path__strict_load_g=False
    )
    opt['datasets'] = {'test_1': opt['datasets']['val']}
    net = LIIF(EDSREncoder(num_feat=8, num_block=1), [16]).state_dict()
    del net['imnet.layers.2.bias']
    torch.save({'params': content or net}, tmp_path / 'w.pth')
    if content is None:
        write_options(tmp_path / 'a.yml', opt)
        assert run_here(monkeypatch, tmp_path, 'test', '-opt', 'a.yml') == 0
        assert [r for r in caplog.records if r.levelname == 'WARNING' and message in r.getMessage()]
    else:
        line = run_bad(monkeypatch, tmp_path, capsys, opt, 'test')
        assert 'path.pretrain_network_g: ' in line and 'w.pth' in line and message in line


def test_bad_option_file__missing_and_misspelt(monkeypatch, tmp_path, capsys):
    for name, hint in [
        ('options/quickstrat.yml', 'did you mean quickstart (which ships)?'),
        ('nowhere.yml', 'nowhere.yml'),
    ]:
        assert run_here(monkeypatch, tmp_path, 'train', '-opt', name) == 2
        assert hint in capsys.readouterr().err
    (tmp_path / 'bad.yml').write_text('name: a\n  type: b\n')
    assert run_here(monkeypatch, tmp_path, 'train', '-opt', 'bad.yml') == 2
    assert 'bad.yml, line 2' in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ['bad.yml']


def test_bad_options__as_a_user_sees_them(tmp_path):
    """A whole process: exit status, one line of error, no traceback, the earlier experiment in
    place.
    """
    photos = write_photos(tmp_path / 'gt', [(40, 40)] * 2)
    (tmp_path / 'experiments/tiny').mkdir(parents=True)
    opt = tiny_train(photos, datasets__train__scale_range=[4, 1])
    result = run_basicsr('train', '-opt', write_options(tmp_path / 'a.yml', opt), cwd=tmp_path)
    assert_one_line(result, 'datasets.train.scale_range: found [4, 1]')
    assert [p.name for p in (tmp_path / 'experiments').iterdir()] == ['tiny']


def test_image_that_breaks_during_the_run__is_named_by_its_worker(tmp_path, photos):
    opt = tiny_train(
        photos,
        datasets__train__num_worker_per_gpu=1,
        train__total_iter=50,
        datasets__train__dataset_enlarge_ratio=100,
    )
    path = write_options(tmp_path / 'a.yml', opt)
    (tmp_path / 'run.py').write_text(
        'import pathlib, sys\nfrom liif_arch.training import preflight\nfrom liif_arch.cli import '
        'main\n'
        'check = preflight.check\n'
        'def check_then_break(*arguments):\n'
        '    check(*arguments)\n    p = pathlib.Path("gt/im01.png")\n    '
        'p.write_bytes(p.read_bytes()[:500])\n'
        'preflight.check = check_then_break\nsys.exit(main())\n'
    )
    result = subprocess.run(
        [sys.executable, 'run.py', 'train', '-opt', str(path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert_one_line(result, 'im01.png: not a readable image (500 bytes)')


def test_check__leaves_the_random_state_alone(monkeypatch, tmp_path, photos):
    monkeypatch.setattr(
        sys, 'argv', ['basicsr', '-opt', str(write_options(tmp_path / 'a.yml', tiny_train(photos)))]
    )
    opt, _ = parse.parse_options(str(tmp_path))
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    preflight.check(opt)
    assert torch.equal(before[0], torch.get_rng_state()) and np.array_equal(
        before[1], np.random.get_state()[1]
    )
    assert before[2] == random.getstate()
