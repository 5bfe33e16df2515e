"""The option files that `scripts/reproduce.py` trains and tests with."""

import argparse
from collections import OrderedDict
from collections.abc import Mapping

from reproduce_runs import Run

from liif_arch.config.files import shipped_options
from liif_arch.config.read import load_options, merge
from liif_data.store import open_store

SMALL_ENCODER = {'type': 'EDSREncoder', 'num_feat': 32, 'num_block': 8}
COSINE = {'type': 'CosineAnnealingRestartLR', 'restart_weights': [1], 'eta_min': 1e-6}


def training_options(
    run: Run, args: argparse.Namespace, iterations: int, seed: int = 0
) -> OrderedDict:
    """A shipped option file with the command line's data, network size and schedule.

    Args:
        run: The training.
        args: The command line's.
        iterations: Of the run.
        seed: Of its start and its samples.
    """
    opt = load_options(shipped_options()[run.option])
    opt['name'] = run.name(seed)
    opt['manual_seed'] = seed
    train = opt['datasets']['train']
    if 'scale_range' in train:
        train.update(dataroot_gt=args.train, cache=args.train.startswith('builtin:') or args.cache)
        train.pop('dataroot_lq', None)
    else:  # faces: inputs and ground truth of every size are made from one folder
        train.update(dataroot_gt=str(args.out / f'faces/train/{train["gt_size_range"][1]}'))
        train.pop('dataroot_lq')
    train.update(num_worker_per_gpu=args.workers, persistent_workers=args.workers > 0)
    opt['datasets'] = OrderedDict(train=train)
    if args.network == 'small':
        _make_small(opt)
        schedule = {**COSINE, 'periods': [iterations]}
    else:
        old = opt['train']
        schedule = stretched(old['scheduler'], old['total_iter'], iterations)
    opt['train'].update(precision=args.precision, total_iter=iterations, scheduler=schedule)
    pixels = train['num_samples']
    merge(opt, run.changes)
    if train['num_samples'] < 1:
        train['num_samples'] = int(train['num_samples'] * pixels)
    if args.network == 'small':  # the papers' rates are for hundreds of times as many iterations
        for rate in {'lr', 'adamw_lr'} & opt['train']['optim_g'].keys():
            opt['train']['optim_g'][rate] *= 10
    images = len(open_store(train['dataroot_gt'], '--train'))
    train['dataset_enlarge_ratio'] = max(1, 1000 * train['batch_size_per_gpu'] // images)
    opt['val'] = None
    opt['logger'].update(
        print_freq=max(1, min(100, iterations // 20)),
        use_tb_logger=False,
        save_checkpoint_freq=max(1, min(5000, iterations // 4)),
    )
    return opt


def _make_small(opt: OrderedDict) -> None:
    """Give an option file a network, inputs and batches for a processor."""
    network, train = opt['network_g'], opt['datasets']['train']
    network['encoder'] = dict(SMALL_ENCODER)
    if network['type'] == 'LIIF':
        network['hidden_list'] = [128] * (len(network['hidden_list']) - 1)
    if network['type'] == 'LTE':
        network.update(hidden_dim=128, hidden_list=[128, 128])
    if 'scale_range' in train:
        train.update(lq_size=24, num_samples=576)
    else:  # whole faces: at a small budget more steps teach more than larger ones
        train.update(batch_size_per_gpu=4)


def stretched(scheduler: dict, old: int, new: int) -> dict:
    """A schedule on another number of iterations, its steps or periods at the same shares."""
    lengths = {
        key: [max(1, length * new // old) for length in scheduler[key]]
        for key in ('milestones', 'periods')
        if key in scheduler
    }
    return {**scheduler, **lengths}


def test_options(run: Run, trained: dict, args: argparse.Namespace, seed: int = 0) -> OrderedDict:
    """Options that test a run's weights at its scales."""
    if 'scale_range' in trained['datasets']['train']:
        dataset = {
            'name': args.test_name,
            'type': 'ScaleSetDataset',
            'dataroot_gt': args.test,
            'scales': [s for s in args.scales if run.scales is None or s in run.scales],
        }
        if args.test_lq:
            dataset['dataroot_lq'] = args.test_lq
    else:
        side = trained['datasets']['train']['gt_size_range'][1]
        dataset = {
            'name': f'faces_{side}',
            'type': 'ScaleSetDataset',
            'scales': run.scales,
            'dataroot_gt': str(args.out / f'faces/heldout/{side}'),
        }
    weights = args.folder / f'experiments/{run.name(seed)}/models/net_g_latest.pth'
    path = {'pretrain_network_g': str(weights.absolute())}
    if averages(trained['train']):
        path['param_key_g'] = 'params_ema'
    return OrderedDict(
        name=run.name(seed),
        model_type='LIIFModel',
        num_gpu='auto',
        datasets={'test': dataset},
        network_g=trained['network_g'],
        path=path,
        val={'save_img': False, 'bicubic': True},
    )


def averages(train: Mapping) -> bool:
    """Whether a training keeps an average of the parameters, which is what is tested then."""
    return bool(train.get('ema_decay')) or train['optim_g']['type'].startswith('ScheduleFree')
