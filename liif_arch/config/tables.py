"""BasicSR's own keys, by section of an option file, and what each may hold.

What models, datasets, networks, losses and metrics read beside them stands with these, see
`sources` and the tables `own_options` of this package's classes.
"""

from liif_arch.config.fragments import (
    ANY,
    COUNT,
    FLAG,
    LIST,
    OBJECT,
    TEXT,
    WHOLE,
    closed,
    maybe,
)

EVERY = {'type': 'number', 'minimum': 1, 'maximum': 10**12}  # iterations; BasicSR takes 5e3 as well
SCALE = {'type': ['number', 'array']}
WANDB = closed({'project': maybe(TEXT), 'resume_id': maybe(TEXT)})
DIST_PARAMS = closed(
    {
        'backend': {'enum': ['nccl', 'gloo', 'mpi']},
        'port': {'type': 'integer', 'minimum': 1, 'maximum': 65535},
    }
)
IO_BACKENDS = {  # what `basicsr.utils.FileClient` and its backends take, by type
    'disk': {},
    'lmdb': {
        'db_paths': {'type': ['string', 'array']},
        'client_keys': {'type': ['string', 'array']},
        'readonly': FLAG,
        'lock': FLAG,
        'readahead': FLAG,
    },
    'memcached': {'server_list_cfg': TEXT, 'client_cfg': TEXT, 'sys_path': maybe(TEXT)},
}
WORKERS = {'type': ['string', 'integer'], 'pattern': '^auto$', 'minimum': 0, 'maximum': 1024}
ROOT = {
    'name': TEXT,
    'model_type': TEXT,
    'scale': maybe(SCALE),
    'num_gpu': {'type': ['integer', 'string']},
    'manual_seed': maybe(COUNT),
    'deterministic': FLAG,
    'path': OBJECT,
    'train': OBJECT,
    'val': maybe(OBJECT),
    'logger': OBJECT,
    'datasets': OBJECT,
    'dist_params': maybe(DIST_PARAMS),
    'find_unused_parameters': FLAG,
}
PATH = {
    'pretrain_network_*': maybe(TEXT),
    'strict_load_*': FLAG,
    'param_key_*': maybe(TEXT),
    'resume_state': maybe(TEXT),
    'ignore_resume_networks': maybe(LIST),
}
TRAIN = {'total_iter': EVERY, 'warmup_iter': {'type': 'number', 'minimum': -1}, 'scheduler': OBJECT}
TRAIN_TYPES = {
    'ema_decay': {'type': 'number', 'minimum': 0, 'maximum': 1},
    'optim_*': OBJECT,
    '*_opt': maybe(OBJECT),
}
LOSSES = ('pixel_opt', 'perceptual_opt', 'gan_opt', 'ldl_opt', 'feature_matching_opt')  # BasicSR's
VAL = {'val_freq': EVERY, 'save_img': FLAG, 'suffix': maybe(TEXT), 'pbar': FLAG, 'metrics': ANY}
LOGGER = {
    'print_freq': EVERY,
    'save_checkpoint_freq': EVERY,
    'use_tb_logger': FLAG,
    'wandb': maybe(WANDB),
    'keep_checkpoints': maybe(WHOLE),
}
LOADER = {
    'name': TEXT,
    'type': TEXT,
    'scale': maybe(SCALE),
    'seed': COUNT,
    'io_backend': OBJECT,
    'batch_size_per_gpu': WHOLE,
    'num_worker_per_gpu': WORKERS,
    'dataset_enlarge_ratio': WHOLE,
    'prefetch_mode': {'enum': [None, 'cpu', 'cuda']},
    'num_prefetch_queue': {**WHOLE, 'maximum': 1024},
    'pin_memory': FLAG,
    'persistent_workers': FLAG,
    'on_bad_sample': {'enum': ['raise', 'skip']},
    'most_bad_samples': COUNT,
    'use_shuffle': FLAG,
}  # the last: in BasicSR's files, though nothing reads it
SKIPPING = ('on_bad_sample', 'most_bad_samples')  # of training alone: figures are of all images
METRIC = {
    'crop_border': COUNT,
    'input_order': {'enum': ['HWC', 'CHW']},
    'test_y_channel': FLAG,
    'better': {'enum': ['higher', 'lower']},
}
DATASET_TYPES = {  # of keys that several datasets read
    'dataroot_gt': TEXT,
    'dataroot_lq': maybe(TEXT),
    'meta_info_file': maybe(TEXT),
    'filename_tmpl': TEXT,
    'gt_size': WHOLE,
    'lq_size': WHOLE,
    'num_samples': maybe(WHOLE),
    'first_k': maybe(WHOLE),
    'cache': FLAG,
    'patch': FLAG,
    'use_hflip': FLAG,
    'use_rot': FLAG,
    'mean': maybe(LIST),
    'std': maybe(LIST),
}
COMMON = {**ROOT, **PATH, **TRAIN, **VAL, **LOGGER, **LOADER}

NEEDED = {
    '': ('name', 'model_type', 'num_gpu', 'datasets', 'network_g', 'path'),
}  # keys by section that BasicSR's pipelines read without a default
NEEDED_TRAIN = {
    '': ('train', 'logger'),
    'train': ('total_iter', 'scheduler'),
    'val': ('save_img', 'val_freq'),
    'logger': ('print_freq', 'save_checkpoint_freq'),
    'datasets': ('train',),
}  # and those that training reads
NEEDED_TEST = {'': ('val',), 'val': ('save_img',)}  # and those that testing reads
PHASES = {
    True: ('train', 'val'),
    False: ('test', 'val'),
    None: ('train', 'val', 'test'),
}  # what datasets are for (`train`, `val_1`, ...), by whether a file is to train (None: either)
SECTIONS = ('path', 'train', 'val', 'logger', 'datasets')  # mappings that are always read
