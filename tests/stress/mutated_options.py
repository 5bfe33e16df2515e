"""What `fuzz_options.py` runs: small trainings, and mutations of their option files."""

import copy
import random
from pathlib import Path

import yaml

VALUES = [
    None,
    True,
    False,
    0,
    -1,
    1,
    3.5,
    10**30,
    -1e300,
    float('nan'),
    float('inf'),
    '',
    'text',
    '1e-4',
    [],
    [1, 'a'],
    {},
    {'a': 1},
    [[1, 2], 3],
    'é\u200b',
    'a' * 5000,
    '~',
    '!!float 1',
]
TEXTS = [
    '!!python/object/apply:os.system ["touch executed"]',
    '!!python/name:os.system ""',
    '{unclosed: [',
    '- a\n- b',
    '\tname: x',
    'name: a\nname: b',
    '*nowhere',
    '&a [*a]',
    '\x00',
    '42',
    '',
]


def base_options(folder: Path) -> list[dict]:
    """Three trainings of two iterations on small random images.

    Together they have every nested mapping there is.
    """
    import numpy as np

    from liif_arch.files.images import write_image
    from liif_data.lmdb_writer import create_lmdb

    for name, side in (('gt', 32), ('lq', 16)):
        for i in range(3):
            noise = np.random.default_rng(i).integers(256, size=(side, side, 3), dtype=np.uint8)
            write_image(folder / name / f'im{i}.png', noise)
    train = {
        'total_iter': 2,
        'optim_g': {'type': 'Adam', 'lr': 1e-3, 'betas': [0.9, 0.99]},
        'ema_decay': 0.9,
        'scheduler': {'type': 'MultiStepLR', 'milestones': [1], 'gamma': 0.5},
        'pixel_opt': {'type': 'L1Loss', 'loss_weight': 1.0, 'reduction': 'mean'},
    }
    loader = {'batch_size_per_gpu': 1, 'num_worker_per_gpu': 0, 'use_hflip': True}
    gt, lq = str(folder / 'gt'), str(folder / 'lq')
    liif = {
        'name': 'fuzz',
        'model_type': 'LIIFModel',
        'num_gpu': 0,
        'manual_seed': 0,
        'datasets': {
            'train': {
                'name': 't',
                'type': 'RandomScalePairedDataset',
                'dataroot_gt': gt,
                'lq_size': 8,
                'scale_range': [1, 2.5],
                'num_samples': 20,
                **loader,
            },
            'val': {
                'name': 'v',
                'type': 'ScaleSetDataset',
                'dataroot_gt': gt,
                'scales': [2],
                'first_k': 1,
            },
        },
        'network_g': {
            'type': 'LIIF',
            'encoder': {'type': 'EDSREncoder', 'num_feat': 4, 'num_block': 1},
            'hidden_list': [8],
            'cell_decode': True,
        },
        'path': {
            'pretrain_network_g': None,
            'strict_load_g': False,
            'param_key_g': 'params',
            'ignore_resume_networks': ['network_g'],
        },
        'train': train,
        'val': {'val_freq': 2, 'save_img': False, 'pbar': False, 'metrics': ['psnr']},
        'logger': {
            'print_freq': 1,
            'save_checkpoint_freq': 2,
            'wandb': {'project': None, 'resume_id': None},
        },
        'dist_params': {'backend': 'gloo', 'port': 29500},
        'find_unused_parameters': False,
    }
    pair = {
        'type': 'PairedImageDataset',
        'dataroot_gt': gt,
        'dataroot_lq': lq,
        'io_backend': {'type': 'disk'},
    }
    plain = {
        **copy.deepcopy(liif),
        'model_type': 'SRModel',
        'scale': 2,
        'network_g': {
            'type': 'MSRResNet',
            'num_in_ch': 3,
            'num_out_ch': 3,
            'num_feat': 4,
            'num_block': 1,
            'upscale': 2,
        },
        'datasets': {
            'train': {'name': 't', **pair, 'gt_size': 16, 'use_rot': True, **loader},
            'val': {'name': 'v', **pair},
        },
    }
    plain['val']['metrics'] = {
        'psnr': {'type': 'calculate_psnr', 'crop_border': 2, 'test_y_channel': False}
    }
    database = copy.deepcopy(plain)
    for key, root in (('gt', gt), ('lq', lq)):
        create_lmdb(root, f'{root}.lmdb')
        for dataset in database['datasets'].values():
            dataset[f'dataroot_{key}'] = f'{root}.lmdb'
            dataset['io_backend'] = {
                'type': 'lmdb',
                'readonly': True,
                'lock': False,
                'readahead': False,
            }
    database['train']['scheduler'] = {
        'type': 'CosineAnnealingRestartLR',
        'periods': [2],
        'restart_weights': [1],
        'eta_min': 1e-7,
    }
    return [liif, plain, database]


def places(options: dict, path: tuple = ()) -> list[tuple]:
    """The paths of all keys."""
    found = []
    for key, value in options.items():
        found.append((*path, key))
        if isinstance(value, dict):
            found += places(value, (*path, key))
    return found


def section(options: dict, path: tuple) -> dict:
    """The mapping that holds the last key of a path."""
    for key in path[:-1]:
        options = options[key]
    return options


def misspell(rng: random.Random, key: str) -> str:
    """Another word near a key: a letter lost, doubled, changed, or two exchanged."""
    while True:
        i = rng.randrange(len(key))
        before, letter, after = key[:i], key[i], key[i + 1 :]
        other = rng.choice(
            [
                before + after,
                before + letter + letter + after,
                before + rng.choice('aeiost_') + after,
                before + after[:1] + letter + after[1:],
            ]
        )
        if other and other != key:
            return other


def mutate(rng: random.Random, options: dict) -> tuple[str, str, bool]:
    """A mutated file's text, what was done, and whether a key was misspelt."""
    options, done, typo = copy.deepcopy(options), [], False
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        path = rng.choice(places(options))
        mapping, key = section(options, path), path[-1]
        kind = rng.choice(['drop', 'typo', 'typo', 'value', 'value', 'huge', 'move', 'wrap'])
        if kind == 'drop':
            del mapping[key]
        elif kind == 'typo':
            other = misspell(rng, key)
            if other in mapping or path[:-1] in (
                ('datasets',),
                ('val', 'metrics'),
            ):  # whose keys are names
                continue
            mapping[other], typo = mapping.pop(key), True
        elif kind == 'value':
            mapping[key] = rng.choice(VALUES)
        elif (
            kind == 'huge'
            and isinstance(mapping[key], (int, float))
            and not isinstance(mapping[key], bool)
        ):
            mapping[key] = mapping[key] * rng.choice([-1, 10**9, 10**18, 0.1])
        elif kind == 'move':
            where = section(options, rng.choice(places(options)))
            if key not in where:
                where[key] = mapping.pop(key) if where is not mapping[key] else None
        elif kind == 'wrap':
            mapping[key] = rng.choice([[mapping[key]], {key: mapping[key]}])
        done.append(f'{kind} {".".join(map(str, path))}')
    text = yaml.safe_dump(options, sort_keys=False, allow_unicode=True)
    if rng.random() < 0.1:
        lines = text.splitlines()
        lines[rng.randrange(len(lines))] = rng.choice(
            [rng.choice(TEXTS), 'name: ' + rng.choice(TEXTS)]
        )
        return '\n'.join(lines), 'text', False
    return text, ', '.join(done), typo and len(done) == 1
