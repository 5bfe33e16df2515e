"""Every name of BasicSR that is replaced while it runs, in one table, and the one place that does.

BasicSR's code looks these names up when it runs. What breaks without each of them, and the test
that shows it: docs/basicsr.md. Two more are replaced for a moment, where they are: in `processes`,
the function by which a validation computes figures, and in `preflight`, BasicSR's record of which
loggers are set up.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import basicsr.data.data_util
import basicsr.data.paired_image_dataset
import basicsr.data.realesrgan_paired_dataset
import basicsr.models.hifacegan_model
import basicsr.models.sr_model
import basicsr.models.video_base_model
import basicsr.models.video_recurrent_model
import basicsr.test
import basicsr.train
from basicsr.data.prefetch_dataloader import CPUPrefetcher, CUDAPrefetcher, PrefetchGenerator
from basicsr.models.base_model import BaseModel
from basicsr.models.sr_model import SRModel
from basicsr.utils import dist_util
from basicsr.utils.file_client import FileClient

from liif_arch.progress import progress_bar
from liif_arch.training import checkpoints, datasets, processes, remedies, schedules, workers
from liif_arch.training.addressed import AddressedSampler
from liif_arch.training.patching import Patch, replaced
from liif_arch.training.progress import MessageLogger
from liif_arch.weights import networks

RESUMES = 'a run goes on bit for bit from where it was saved'
NAMES_PAIRS = 'errors name the option and the file that is without a partner'
BARS = 'bars of validations would fill a log without a terminal'

ALWAYS = (
    # -- training
    Patch(basicsr.train, 'EnlargedSampler', AddressedSampler, RESUMES),
    Patch(basicsr.train, 'MessageLogger', MessageLogger, 'the remaining time ended at -1 second'),
    Patch(
        basicsr.train,
        'copy_opt_file',
        remedies.copy_opt_file,
        'the copy of a file with a _base_ would not say what ran',
    ),
    Patch(
        basicsr.train,
        'make_exp_dirs',
        remedies.make_exp_dirs,
        'it would make a folder of path.pretrain_encoder',
    ),
    # -- models
    Patch(BaseModel, 'load_network', remedies.load_network, 'loading executed what the file holds'),
    Patch(
        BaseModel, 'save_network', checkpoints.save_network, 'a failed save destroyed the last one'
    ),
    Patch(BaseModel, 'save_training_state', checkpoints.save_training_state, RESUMES),
    Patch(
        BaseModel,
        'model_to_device',
        remedies.model_to_device,
        'several processes needed GPUs',
    ),
    Patch(BaseModel, 'get_optimizer', remedies.get_optimizer, 'optimisers of torch were refused'),
    Patch(BaseModel, 'setup_schedulers', schedules.setup_schedulers, 'there was none of one cycle'),
    Patch(
        SRModel,
        'dist_validation',
        processes.dist_validation,
        'one process validated, and the others timed out',
    ),
    # -- processes
    Patch(
        dist_util,
        '_init_dist_pytorch',
        remedies.init_dist_pytorch,
        'torchrun without a GPU divided by zero',
    ),
    Patch(dist_util, '_init_dist_slurm', remedies.init_dist_slurm, 'Slurm without a GPU likewise'),
    # -- data
    Patch(
        basicsr.data.data_util,
        'scandir',
        remedies.scandir,
        'file systems list folders in any order',
    ),
    Patch(
        basicsr.data.data_util,
        'paired_paths_from_folder',
        datasets.paired_paths_from_folder,
        NAMES_PAIRS,
    ),
    Patch(
        basicsr.data.paired_image_dataset,
        'paired_paths_from_folder',
        datasets.paired_paths_from_folder,
        NAMES_PAIRS,
    ),
    Patch(
        basicsr.data.realesrgan_paired_dataset,
        'paired_paths_from_folder',
        datasets.paired_paths_from_folder,
        NAMES_PAIRS,
    ),
    Patch(
        FileClient._backends,
        'lmdb',
        remedies.LmdbBackend,
        'a process could not open the same LMDB twice',
    ),
    Patch(CUDAPrefetcher, 'preload', remedies.preload, 'samples that a GPU still reads changed'),
    Patch(CPUPrefetcher, '__init__', workers.prefetch_later, 'two threads began the same epoch'),
    Patch(
        PrefetchGenerator, 'run', workers.prefetch, 'at an error it ended, and the run never did'
    ),
    Patch(
        PrefetchGenerator, '__next__', workers.next_prefetched, 'what the thread raised was lost'
    ),
    # -- validations of BasicSR's models
    Patch(basicsr.models.sr_model, 'tqdm', progress_bar, BARS),
    Patch(basicsr.models.hifacegan_model, 'tqdm', progress_bar, BARS),
    Patch(basicsr.models.video_base_model, 'tqdm', progress_bar, BARS),
    Patch(basicsr.models.video_recurrent_model, 'tqdm', progress_bar, BARS),
)

# Functions that one training, or one test, brings itself: methods of these names.
OF_A_TRAINING = {
    'parse_options': 'option files are read safely, and checked before anything is moved',
    'load_resume_state': 'states of other machines, and past files that a crash cut short',
    'build_dataset': 'samples are drawn by address, and those that are bad are named',
    'create_train_val_dataloader': RESUMES,
    'init_tb_loggers': 'a run that stops closes what it logs to',
    'build_model': 'a run stops between iterations, and refuses to go on from a loss that is none',
}
OF_A_TEST = {key: OF_A_TRAINING[key] for key in ('parse_options', 'build_dataset')}


def table(training: object = None, test: object = None) -> list[Patch]:
    """All rows for one training (see `run.Run`), one test (see `launch.Evaluation`), or neither."""
    rows = list(ALWAYS)
    if training is not None:
        for name, why in OF_A_TRAINING.items():
            rows.append(Patch(basicsr.train, name, getattr(training, name), why))
    if test is not None:
        for name, why in OF_A_TEST.items():
            rows.append(Patch(basicsr.test, name, getattr(test, name), why))
    return rows


@contextmanager
def installed(training: object = None, test: object = None) -> Iterator[None]:
    """Run a block with all of `table` in place."""
    with warnings.catch_warnings(), replaced(table(training, test)):
        warnings.filterwarnings('ignore', networks.MESHGRID)
        yield
