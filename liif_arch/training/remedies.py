"""Small functions that take the place of BasicSR's, each named after the one that it mends.

Where they are put in place: `basicsr_patches`. Larger ones have a file named after their question:
`addressed`, `checkpoints`, `datasets`, `processes`, `progress`, `workers`.
"""

import os
import subprocess
from pathlib import Path
from typing import Any

import basicsr.data.data_util
import basicsr.models.base_model
import basicsr.utils.dist_util
import basicsr.utils.file_client
import torch
from basicsr.data.prefetch_dataloader import CUDAPrefetcher
from torch.nn.parallel import DistributedDataParallel

from liif_arch import deferred_imports
from liif_arch.config import read
from liif_arch.config.optimizers import build_optimizer
from liif_arch.config.registries import unsaved_networks
from liif_arch.errors import UserError
from liif_arch.files.lmdb_environments import current_root, environment
from liif_arch.training.checkpoints import listed
from liif_arch.weights import networks

basicsr_make_exp_dirs = basicsr.utils.make_exp_dirs
basicsr_scandir = basicsr.data.data_util.scandir
basicsr_init_dist_slurm = basicsr.utils.dist_util._init_dist_slurm
basicsr_preload = CUDAPrefetcher.preload
basicsr_model_to_device = basicsr.models.base_model.BaseModel.model_to_device


def load_network(
    self,
    net: torch.nn.Module,
    load_path: str,
    strict: bool = True,
    param_key: str | None = 'params',
) -> None:
    """`BaseModel.load_network` that executes nothing in the file, and says in one line what does
    not fit.
    """
    from basicsr.utils import get_root_logger

    get_root_logger().info(
        f'Loading {type(net).__name__} from {load_path}, parameters "{param_key}".'
    )
    loaded = networks.load_into(self.get_bare_model(net), load_path, strict, param_key)
    if param_key == 'params' and not self.is_train and loaded.has_average:
        get_root_logger().warning(
            f'{load_path} also holds averaged parameters, which `basicsr upscale` uses; '
            'path.param_key_g: params_ema measures those.'
        )
    if loaded.left_out:
        get_root_logger().warning(f'strict_load is false: {loaded.left_out}')


def copy_opt_file(opt_file: str, experiments_root: str) -> None:
    """`basicsr.train.copy_opt_file`; of an option file with a `_base_`, the copy is what both say
    together.
    """
    import json
    from tempfile import TemporaryDirectory

    import yaml
    from basicsr.utils.options import copy_opt_file as copy

    if '_base_' not in read.read_yaml(Path(opt_file).read_text(encoding='utf-8'), opt_file):
        return copy(opt_file, experiments_root)
    with TemporaryDirectory() as folder:
        whole = Path(folder, Path(opt_file).name)
        merged = json.loads(json.dumps(read.load_options(Path(opt_file))))
        whole.write_text(yaml.safe_dump(merged, sort_keys=False), encoding='utf-8')
        return copy(str(whole), experiments_root)


def make_exp_dirs(opt: dict) -> None:
    """`basicsr.utils.make_exp_dirs`, which would make a folder of `path.pretrain_encoder`."""
    path = dict(opt['path'])
    for key in opt['path']:
        if key.startswith('pretrain_'):
            del path[key]
    basicsr_make_exp_dirs({**opt, 'path': path})


def check_resume(opt: dict, resume_iter: int) -> None:
    """`basicsr.utils.check_resume`; networks that no run saves keep the weights that the options
    name.
    """
    from basicsr.utils import check_resume as check

    unsaved, kept = unsaved_networks(opt), {}
    for network in unsaved:
        key = f'param_key_{network.removeprefix("network_")}'
        if key in opt['path']:
            kept[key] = opt['path'].pop(key)
    check({key: value for key, value in opt.items() if key not in unsaved}, resume_iter)
    opt['path'].update(kept)


def init_dist_pytorch(backend: str, **kwargs) -> None:
    """`basicsr.utils.dist_util._init_dist_pytorch` for any machine: gloo where there is no GPU."""
    cuda = torch.cuda.is_available() and backend != 'gloo'
    if cuda:
        torch.cuda.set_device(int(os.environ.get('LOCAL_RANK', 0)) % torch.cuda.device_count())
    store, rank, world_size = next(torch.distributed.rendezvous('env://'))
    # torchrun keeps one store for all its attempts; a restarted run must not read the addresses of
    # those that died.
    store = torch.distributed.PrefixStore(
        f'attempt {os.environ.get("TORCHELASTIC_RESTART_COUNT", 0)}', store
    )
    torch.distributed.init_process_group(
        backend if cuda else 'gloo', store=store, rank=rank, world_size=world_size, **kwargs
    )


def init_dist_slurm(backend: str, port: int | None = None) -> None:
    """`basicsr.utils.dist_util._init_dist_slurm`, on machines without a GPU too."""
    if torch.cuda.is_available() and backend != 'gloo':
        basicsr_init_dist_slurm(backend, port)
        # BasicSR counts GPUs by the number of the task in the whole job, which Slurm may deal out
        # to the machines in turn.
        if 'SLURM_LOCALID' in os.environ:
            os.environ['LOCAL_RANK'] = os.environ['SLURM_LOCALID']
            torch.cuda.set_device(int(os.environ['LOCAL_RANK']) % torch.cuda.device_count())
        return
    found = subprocess.run(
        ['scontrol', 'show', 'hostnames', os.environ['SLURM_NODELIST']],
        capture_output=True,
        text=True,
        check=True,
    )
    os.environ.setdefault('MASTER_PORT', '29500')
    os.environ.update(
        MASTER_ADDR=found.stdout.split()[0],
        WORLD_SIZE=os.environ['SLURM_NTASKS'],
        RANK=os.environ['SLURM_PROCID'],
        LOCAL_RANK=os.environ.get('SLURM_LOCALID', '0'),
    )
    if port is not None:
        os.environ['MASTER_PORT'] = str(port)
    torch.distributed.init_process_group('gloo')


class Distributed(DistributedDataParallel):
    """A network in several processes, which says in a line what an unused parameter does to it."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        with deferred_imports.compiler_with_defaults():
            super().__init__(*arguments, **keywords)

    def forward(self, *inputs: object, **keywords: object) -> object:
        """The network's forward.

        Raises:
            UserError: The step before left parameters without a gradient.
        """
        try:
            return super().forward(*inputs, **keywords)
        except RuntimeError as error:
            if 'Expected to have finished reduction' not in str(error):
                raise
            raise UserError(
                f'some parameters of {type(self.module).__name__} got no gradient in the '
                'last step, and the processes wait for them; set it to true.',
                key='find_unused_parameters',
            ) from None


def model_to_device(self, net: torch.nn.Module) -> torch.nn.Module:
    """`BaseModel.model_to_device`, whose DistributedDataParallel also runs on CPUs."""
    if not self.opt['dist']:
        return basicsr_model_to_device(self, net)
    devices = None
    if self.device.type == 'cuda':
        devices = [torch.cuda.current_device()]
    unused = self.opt.get('find_unused_parameters', False)
    return Distributed(net.to(self.device), device_ids=devices, find_unused_parameters=unused)


def preload(self) -> None:
    """`CUDAPrefetcher.preload` that does not overwrite what the GPU still reads.

    It copies beside the step, into memory of batches that are gone for the host; the GPU may not be
    done with them, where no step waits for it.
    """
    self.stream.wait_stream(torch.cuda.current_stream())
    basicsr_preload(self)


def scandir(path: str, *arguments, **keywords) -> list[str]:
    """`basicsr.utils.scandir`, sorted: file systems list folders in any order."""
    return sorted(basicsr_scandir(path, *arguments, **keywords))


def get_optimizer(
    self, optim_type: str, params: list, lr: float, **keywords
) -> torch.optim.Optimizer:
    """`BaseModel.get_optimizer` for every optimiser of `torch.optim` and pytorch_optimizer.

    Raises:
        UserError: There is none of that name, or it keeps an average that nobody would use.
    """
    built = build_optimizer(optim_type, params, lr=lr, **keywords)
    if callable(getattr(built, 'eval', None)):
        raise UserError(
            f'{optim_type} keeps the average that is to be used, which {type(self).__name__} does '
            'not take from it here; name another one.',
            key=f'train.optim_{"d" if hasattr(self, "optimizer_g") else "g"}.type',
        )
    return built


class LmdbBackend(basicsr.utils.file_client.BaseStorageBackend):
    """`basicsr.utils.LmdbBackend` on environments that a process opens once, for all who read a
    database.
    """

    def __init__(
        self, db_paths: str | list[str], client_keys: str | list[str] = 'default', **_: object
    ) -> None:
        keys, self.db_paths = listed(client_keys), listed(db_paths)
        self._roots = dict(zip(keys, map(current_root, self.db_paths), strict=True))

    def get(self, filepath: str, client_key: str) -> bytes:
        """The value of a key; raises UserError where the database has none."""
        root = self._roots[client_key]
        with environment(root).begin() as transaction:
            value = transaction.get(str(filepath).encode())
        if value is None:
            raise UserError(
                f'{root}: has no key "{filepath}"; build it again with `basicsr lmdb`, or correct '
                'its meta_info.txt.'
            )
        return value

    def get_text(self, filepath: str) -> str:
        """Not for databases of images; raises UserError."""
        raise UserError(f'{filepath}: a database (io_backend: lmdb) holds encoded images, no text.')
