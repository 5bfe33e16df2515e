"""The check of a file's keys and values, on a training that uses nearly all of them."""

import json

import jsonschema
import pytest

from liif_arch.config.check import Problems, check_option_file
from liif_arch.config.schema import schema_for_editors


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
    problems = Problems()
    check_option_file({**gan_options(), **change}, True, problems)
    assert problems == []
    typo = gan_options()
    typo['train']['net_d_iter'] = typo['train'].pop('net_d_iters')
    typo['train']['gan_opt']['gan_tipe'] = 'vanilla'
    check_option_file(typo, True, problems)
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
    problems, opt = Problems(), json.loads(json.dumps(gan_options()))
    *outer, key = section
    where = opt
    for name in outer:
        where = where[name]
    where[key] = value
    check_option_file(opt, True, problems)
    assert [p.place for p in problems] == [place] and text in problems[0].text, problems
    if key != 'ignore_resume_networks':  # whose names are those of the file at hand
        assert list(jsonschema.Draft7Validator(schema_for_editors()).iter_errors(opt))
