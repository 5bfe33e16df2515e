"""Option files: found, read safely, completed as BasicSR does, and errors that say where."""

import json
import sys
from pathlib import Path

import pytest
import yaml
from helpers import tiny_train, write_options

from liif_arch.config import files, parse, read
from liif_arch.config.check import Problems
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


def parsed(monkeypatch, path, *flags, is_train=True, problems=None):
    monkeypatch.setattr(sys, 'argv', ['basicsr', '-opt', str(path), *flags])
    return parse.parse_options('/root_of_run', is_train, problems)


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


def gan_options() -> dict:
    """An adversarial training as BasicSR's users write it: every key is one that its models and
    datasets read.
    """
    loader = {
        'use_shuffle': True,
        'num_worker_per_gpu': 6,
        'batch_size_per_gpu': 16,
        'dataset_enlarge_ratio': 100,
        'prefetch_mode': None,
    }
    optim = {'type': 'Adam', 'lr': 1e-4, 'weight_decay': 0, 'betas': [0.9, 0.99]}
    return {
        'name': 'gan',
        'model_type': 'ESRGANModel',
        'scale': 4,
        'num_gpu': 1,
        'manual_seed': 0,
        'datasets': {
            'train': {
                'name': 'a',
                'type': 'PairedImageDataset',
                'dataroot_gt': 'gt',
                'dataroot_lq': 'lq',
                'filename_tmpl': '{}',
                'io_backend': {'type': 'disk'},
                'gt_size': 128,
                'use_hflip': True,
                'use_rot': True,
                **loader,
            },
            'val': {
                'name': 'b',
                'type': 'PairedImageDataset',
                'dataroot_gt': 'gt',
                'dataroot_lq': 'lq',
                'io_backend': {'type': 'disk'},
            },
        },
        'network_g': {
            'type': 'RRDBNet',
            'num_in_ch': 3,
            'num_out_ch': 3,
            'num_feat': 64,
            'num_block': 23,
        },
        'network_d': {'type': 'VGGStyleDiscriminator', 'num_in_ch': 3, 'num_feat': 64},
        'path': {
            'pretrain_network_g': None,
            'pretrain_network_d': None,
            'strict_load_g': True,
            'resume_state': None,
            'param_key_g': 'params_ema',
            'ignore_resume_networks': ['network_d'],
        },
        'train': {
            'ema_decay': 0.999,
            'optim_g': optim,
            'optim_d': optim,
            'scheduler': {'type': 'MultiStepLR', 'milestones': [50000, 100000], 'gamma': 0.5},
            'total_iter': 400000,
            'warmup_iter': 5e3,
            'pixel_opt': {'type': 'L1Loss', 'loss_weight': 1e-2, 'reduction': 'mean'},
            'perceptual_opt': {
                'type': 'PerceptualLoss',
                'layer_weights': {'conv5_4': 1},
                'vgg_type': 'vgg19',
                'use_input_norm': True,
                'range_norm': False,
                'perceptual_weight': 1.0,
                'style_weight': 0,
                'criterion': 'l1',
            },
            'gan_opt': {
                'type': 'GANLoss',
                'gan_type': 'vanilla',
                'real_label_val': 1.0,
                'fake_label_val': 0.0,
                'loss_weight': 5e-3,
            },
            'net_d_iters': 1,
            'net_d_init_iters': 0,
        },
        'val': {
            'val_freq': 5e3,
            'save_img': True,
            'metrics': {
                'psnr': {'type': 'calculate_psnr', 'crop_border': 4, 'test_y_channel': False},
                'niqe': {'type': 'calculate_niqe', 'crop_border': 4, 'better': 'lower'},
            },
        },
        'logger': {
            'print_freq': 100,
            'save_checkpoint_freq': 5e3,
            'use_tb_logger': True,
            'wandb': {'project': None, 'resume_id': None},
        },
        'dist_params': {'backend': 'nccl', 'port': 29500},
        'find_unused_parameters': True,
    }


@pytest.mark.parametrize(
    'change',
    [
        {},
        {'model_type': 'SRGANModel'},
        {
            'model_type': 'RealESRGANModel',
            'l1_gt_usm': True,
            'percep_gt_usm': True,
            'gan_gt_usm': False,
            'resize_prob': [0.2, 0.7, 0.1],
            'resize_range': [0.15, 1.5],
            'gaussian_noise_prob': 0.5,
            'noise_range': [1, 30],
            'jpeg_range': [30, 95],
            'second_blur_prob': 0.8,
            'gt_size': 256,
            'queue_size': 180,
        },
    ],
)
def test_check_options__keys_that_basicsrs_models_read_pass(change):
    from liif_arch.config.check import Problems, check_options

    problems = Problems()
    check_options({**gan_options(), **change}, True, problems)
    assert problems == []
    typo = gan_options()
    typo['train']['net_d_iter'] = typo['train'].pop('net_d_iters')
    typo['train']['gan_opt']['gan_tipe'] = 'vanilla'
    check_options(typo, True, problems)
    assert [p.place for p in problems] == ['train.net_d_iter', 'train.gan_opt.gan_tipe']


@pytest.mark.parametrize(
    'section,value,place,text',
    [
        (('logger', 'wandb'), {'projekt': 'x'}, 'logger.wandb.projekt', 'did you mean project?'),
        (('logger', 'wandb'), {'project': 3}, 'logger.wandb.project', 'needed text or ~'),
        (('dist_params',), {'backnd': 'nccl'}, 'dist_params.backnd', 'did you mean backend?'),
        (('dist_params',), {'port': 'x'}, 'dist_params.port', 'needed a whole number'),
        (
            ('datasets', 'train', 'io_backend'),
            {'typ': 'disk'},
            'datasets.train.io_backend.type',
            'found None; known: disk, memcached, lmdb',
        ),
        (
            ('datasets', 'train', 'io_backend'),
            {'type': 'dsik'},
            'datasets.train.io_backend.type',
            'did you mean disk?',
        ),
        (
            ('datasets', 'val', 'io_backend'),
            {'type': 'lmdb', 'readahed': True},
            'datasets.val.io_backend.readahed',
            'did you mean readahead?',
        ),
        (('train', 'pixel_opt'), {'typ': 'L1Loss'}, 'train.pixel_opt', 'needed "type: NAME"'),
        (
            ('path', 'ignore_resume_networks'),
            ['network_x'],
            'path.ignore_resume_networks',
            'did you mean network_g?',
        ),
    ],
)
def test_check_options__nested_mappings(section, value, place, text):
    import jsonschema

    from liif_arch.config.check import Problems, check_options
    from liif_arch.config.schema import schema_for_editors

    problems, opt = Problems(), json.loads(json.dumps(gan_options()))
    *outer, key = section
    where = opt
    for name in outer:
        where = where[name]
    where[key] = value
    check_options(opt, True, problems)
    assert [p.place for p in problems] == [place] and text in problems[0].text, problems
    if key != 'ignore_resume_networks':  # whose names are those of the file at hand
        assert list(jsonschema.Draft7Validator(schema_for_editors()).iter_errors(opt))


def test_suggest__a_key_of_two_tables_once():
    from liif_arch.errors import suggest

    assert suggest('xyz', ['metrics', 'pbar', 'metrics']) == 'known: metrics, pbar.'


def test_user_error__of_a_key_inside_a_place_and_of_a_file():
    wrong = UserError('found 3.', ['a.png'], key='lq_size').within('datasets.train')
    assert (
        str(wrong) == 'datasets.train.lq_size: found 3.' and wrong.key == 'datasets.train.lq_size'
    )
    assert wrong.paths == ['a.png']
    assert (
        str(UserError('a.png: broken').within('datasets.train')) == 'datasets.train: a.png: broken'
    )
