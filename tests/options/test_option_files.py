"""Option files as data: on stand-in images laid out as each names, it trains two iterations or
tests, with a table.
"""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from basicsr.archs import build_network
from helpers import run_here, write_photos

from liif_arch.config.files import shipped_options
from liif_arch.config.read import load_options
from liif_arch.files.images import read_image, resize_bicubic, write_image
from liif_arch.training.checkpoints import save_file
from liif_arch.weights.networks import load_into
from liif_data.lmdb_writer import create_lmdb

OPTIONS = {name: load_options(path) for name, path in shipped_options().items()}
TRAIN = [n for n, o in OPTIONS.items() if 'train' in o]
TEST = [n for n in OPTIONS if n not in TRAIN]

SMALL = {
    'SwinIR': {
        'type': 'SwinIR',
        'embed_dim': 8,
        'depths': [2],
        'num_heads': [2],
        'window_size': 8,
        'img_size': 16,
        'upsampler': 'pixelshuffle',
    }
}


LARGE = 4 * 48 + 5  # pixels a side: a patch of the paper's size at its highest scale, and a few
SLOW_ENCODERS = ('RDNEncoder', 'SwinIR')  # patches of 48x48 pixels take them ten seconds
SMALL_SIDE = 60  # enough for what is tested at every scale, which costs a large image's time


def lay_out(root, opt: dict) -> None:
    """Two square images where each data set of an option file expects them, with inputs at its
    first scale; those that are trained on are large enough for a patch.
    """
    for phase, dataset in opt['datasets'].items():
        side = LARGE if phase == 'train' else SMALL_SIDE
        gt = dataset['dataroot_gt']
        if gt.startswith('builtin:'):
            continue
        if 'CelebAHQ' in gt:  # .../128.lmdb, and inputs of the same names in .../64.lmdb
            for path in (gt, dataset['dataroot_lq']):
                faces = write_photos(
                    root / path.removesuffix('.lmdb'), [(int(Path(path).stem),) * 2] * 2
                )
                create_lmdb(faces, root / path)
            continue
        folder = write_photos(root / gt.removesuffix('.lmdb'), [(side, side)] * 2, ['0801', '0802'])
        if gt.endswith('.lmdb') and not (root / gt).exists():
            create_lmdb(folder, root / gt)
        if 'dataroot_lq' in dataset:
            s = dataset['scales'][0]
            for path in folder.iterdir():
                lq = resize_bicubic(read_image(path), (side // s, side // s))
                write_image(
                    root / dataset['dataroot_lq'].format(scale=s) / f'{path.stem}x{s}.png', lq
                )


@pytest.mark.parametrize('name', TRAIN)
def test_training_options__two_iterations(monkeypatch, tmp_path, name):
    opt = OPTIONS[name]
    lay_out(tmp_path, opt)
    force = [
        'train:total_iter=2',
        'logger:print_freq=1',
        'datasets:train:batch_size_per_gpu=1',
        'datasets:train:num_worker_per_gpu=0',
        'datasets:train:persistent_workers=false',
    ]
    if 'gan' in name:  # their weights are to be downloaded
        force += ['train:perceptual_opt=~', 'path:pretrain_network_g=~']
    if name == 'quickstart':
        force.append('datasets:val:scales=[4, 8]')
    if opt['network_g'].get('encoder', {}).get('type') in SLOW_ENCODERS:
        assert opt['datasets']['train']['lq_size'] == 48
        force += ['datasets:train:lq_size=16', 'datasets:train:num_samples=256']
    assert run_here(monkeypatch, tmp_path, 'train', '-opt', name, '--force_yml', *force) == 0
    root = tmp_path / 'experiments' / name
    assert (root / 'models/net_g_latest.pth').is_file() and (root / f'{name}.yml').is_file()
    results = json.loads((root / 'metrics.json').read_text())
    scales = opt['datasets']['val']['scales'] if name != 'quickstart' else [4, 8]
    assert list(results[opt['datasets']['val']['name']]) == [f'x{s}' for s in scales]


@pytest.mark.parametrize('name', TEST)
def test_test_options__table_of_every_set_and_scale(monkeypatch, tmp_path, name):
    opt = OPTIONS[name]
    lay_out(tmp_path, opt)
    # The full network would take minutes here; its own test is that it builds with the paper's
    # parameter count, or as the weights that ship need it.
    full = build_network(opt['network_g'])
    if 'release' in name:
        load_into(full, opt['path']['pretrain_network_g'])
    else:
        assert sum(p.numel() for p in full.parameters()) > 1e6
    kind = opt['network_g']['encoder']['type']
    small = {
        **opt['network_g'],
        'encoder': SMALL.get(kind, {'type': kind, 'num_feat': 4, 'num_block': 1}),
    }
    small.update({'hidden_list': [8]} if 'hidden_list' in small else {})
    weights = tmp_path / 'weights' / Path(opt['path']['pretrain_network_g']).name
    weights.parent.mkdir()
    torch.manual_seed(0)
    save_file({'params': build_network(small).state_dict()}, weights)
    force = [f'network_g={json.dumps(small)}', f'path:pretrain_network_g=weights/{weights.name}']
    assert run_here(monkeypatch, tmp_path, 'test', '-opt', name, '--force_yml', *force) == 0
    results = json.loads((tmp_path / 'results' / name / 'metrics.json').read_text())
    assert list(results) == [d['name'] for d in opt['datasets'].values()]
    for dataset in opt['datasets'].values():
        figures = results[dataset['name']]
        assert list(figures) == [f'x{s}' for s in dataset['scales']]
        assert all(np.isfinite(e['psnr']) for e in figures.values())


@pytest.mark.parametrize('name', TRAIN)
def test_training_options__the_papers_settings(name):
    train = OPTIONS[name]['datasets']['train']
    if 'celebahq' in name:
        assert (train['num_samples'], train['batch_size_per_gpu']) == (1024, 16)
        assert train['gt_size_range'][0] == train['lq_size']
    else:
        assert train['num_samples'] == train['lq_size'] ** 2
    if name.startswith('train_') and not any(
        part in name for part in ('celebahq', 'release', 'own', 'distill')
    ):
        assert (train['lq_size'], train['batch_size_per_gpu']) == (48, 16)
        one = re.search(r'_x(\d)(only)?$', name)
        lowest = 1.2 if 'thera' in name else 1
        assert train['scale_range'] == ([int(one[1])] * 2 if one else [lowest, 4])
        if not any(part in name for part in ('gan', 'thera', 'recommended')):
            assert (
                OPTIONS[name]['train']['total_iter']
                == 1000 * 800 * train['dataset_enlarge_ratio'] // 16
            )


def test_schema__every_shipped_file_passes_and_typos_do_not():
    import jsonschema

    from liif_arch.config.schema import schema_for_editors

    schema = schema_for_editors()
    jsonschema.Draft7Validator.check_schema(schema)
    validator = jsonschema.Draft7Validator(schema)
    for name, opt in OPTIONS.items():
        assert not list(validator.iter_errors(json.loads(json.dumps(opt)))), name
    opt = json.loads(json.dumps(OPTIONS['quickstart']))
    opt['train'].update(ema_deca=1, distill_opt={'colors': {'type': 'L1Loss'}})
    opt['datasets']['train'].update(lq_size='a', scle_range=[1, 2])
    found = ' '.join(error.message for error in validator.iter_errors(opt))
    assert "'colors' was unexpected" in found
    assert 'ema_deca' in found and "'a' is not of type 'integer'" in found and 'scle_range' in found
