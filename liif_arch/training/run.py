"""One training's loaders, model and resumed state, where BasicSR's `train_pipeline` asks for them.

The model that it gets is supervised, see `supervisor`.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import basicsr.train
import torch

from liif_arch.errors import MachineError
from liif_arch.training import changes, checkpoints
from liif_arch.training.addressed import SampleSet
from liif_arch.training.supervisor import Supervisor
from liif_arch.training.workers import Workers

if TYPE_CHECKING:
    from liif_arch.training.launch import CheckedOptions

_create_loaders = basicsr.train.create_train_val_dataloader
_init_tb_loggers = basicsr.train.init_tb_loggers
_build_dataset, _build_model = basicsr.train.build_dataset, basicsr.train.build_model


class Run:
    """One training's loaders, model and resumed state, as `train_pipeline` asks for them one after
    another.

    Args:
        options: Of the run, once they are parsed.
    """

    def __init__(self, options: 'CheckedOptions') -> None:
        self.parse_options = options.parse
        self.checked = options
        self.state: dict | None = None
        self.supervisor: Supervisor | None = None
        self.workers = Workers()

    @contextmanager
    def lasting(self) -> Iterator[None]:
        """Run a block, and end workers and put signals back afterwards.

        Raises:
            MachineError: A data worker was ended from outside.
        """
        try:
            yield
        except Exception as error:  # PyTorch raises anywhere that a worker is gone
            killed = self.workers.killed()
            if not killed:
                raise
            raise MachineError(
                f'data worker {", ".join(killed)} was ended from outside this run. If memory ran '
                'out, lower datasets.train.num_worker_per_gpu.'
            ) from error
        finally:
            try:
                self.workers.end()
            finally:
                if self.supervisor is not None:
                    self.supervisor.close()

    def load_resume_state(self, opt: dict) -> dict | None:
        """`basicsr.train.load_resume_state`; see `checkpoints.load_resume_state`."""
        if opt['rank'] == 0:
            checkpoints.remove_partial_files(opt['path'])
        self.state = checkpoints.load_resume_state(opt)
        self.options = changes.check(self.state, opt, self.checked.networks)
        return self.state

    def build_dataset(self, opt: dict) -> torch.utils.data.Dataset:
        """BasicSR's, as a `SampleSet`."""
        return SampleSet(_build_dataset(opt), opt)

    def create_train_val_dataloader(self, opt: dict, logger: logging.Logger) -> tuple:
        """BasicSR's loaders, which draw nothing from the global generators, from the place where
        the run was saved.
        """
        loader, sampler, val_loaders, _, total = _create_loaders(opt, logger)
        for each in (loader, *val_loaders):
            # Of the workers' base seed.
            each.generator = torch.Generator().manual_seed(opt['manual_seed'])
        self.workers.watch(loader)
        if self.state is not None:
            sampler.start_at(self.state['iter'], self.state['epoch'], self.state.get('consumed', 0))
        self.sampler, self.val_loaders = sampler, val_loaders
        self.batch = loader.batch_size * opt['world_size']
        # BasicSR starts workers for one epoch more than that.
        last_epoch, _ = sampler.position(total, self.batch)
        return loader, sampler, val_loaders, last_epoch, total

    def init_tb_loggers(self, opt: dict) -> object:
        """BasicSR's tensorboard and wandb."""
        self.tb_logger = _init_tb_loggers(opt)
        return self.tb_logger

    def build_model(self, opt: dict) -> Supervisor:
        """BasicSR's model, supervised."""
        if opt.get('deterministic', False):
            torch.backends.cudnn.benchmark = False  # the pipeline has switched it on
        self.supervisor = Supervisor(_build_model(opt), opt, self)
        return self.supervisor
