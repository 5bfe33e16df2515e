"""What BasicSR 1.4.2 needs mended to run well today; each remedy is small and named after what it mends.

Others have a file of their own: `torchvision_alias` (importing BasicSR at all), `options.parse_options` (safe option
files), `sampler` (samples that differ between epochs).
"""
import os
from pathlib import Path

import basicsr.models.base_model
import torch
from torch.nn.parallel import DistributedDataParallel

from liif_arch.bridge import checkpoints, networks, options
from liif_arch.bridge.sampler import AddressedSampler

basicsr_model_to_device = basicsr.models.base_model.BaseModel.model_to_device


def load_network(self, net: torch.nn.Module, load_path: str, strict: bool = True,
                 param_key: str | None = 'params') -> None:
    """`BaseModel.load_network` that executes nothing in the file, and says in one line what does not fit."""
    from basicsr.utils import get_root_logger
    get_root_logger().info(f'Loading {type(net).__name__} from {load_path}, parameters "{param_key}".')
    networks.load_into(self.get_bare_model(net), load_path, strict, param_key)


def copy_opt_file(opt_file: str, experiments_root: str) -> None:
    """`basicsr.train.copy_opt_file`; of an option file with a `_base_`, the copy is what both say together."""
    import json
    from tempfile import TemporaryDirectory

    import yaml
    from basicsr.utils.options import copy_opt_file as copy
    if '_base_' not in options.read_yaml(Path(opt_file).read_text(encoding='utf-8'), opt_file):
        return copy(opt_file, experiments_root)
    with TemporaryDirectory() as folder:
        whole = Path(folder, Path(opt_file).name)
        plain = json.loads(json.dumps(options.load_options(Path(opt_file))))
        whole.write_text(yaml.safe_dump(plain, sort_keys=False), encoding='utf-8')
        return copy(str(whole), experiments_root)


def init_dist_pytorch(backend: str, **kwargs) -> None:
    """`basicsr.utils.dist_util._init_dist_pytorch` for any machine: gloo where there is no GPU."""
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(int(os.environ.get('LOCAL_RANK', 0)) % torch.cuda.device_count())
    torch.distributed.init_process_group(backend if cuda else 'gloo', **kwargs)


def model_to_device(self, net: torch.nn.Module) -> torch.nn.Module:
    """`BaseModel.model_to_device`, whose DistributedDataParallel also runs on CPUs."""
    if not self.opt['dist'] or self.device.type == 'cuda':
        return basicsr_model_to_device(self, net)
    unused = self.opt.get('find_unused_parameters', False)
    return DistributedDataParallel(net.to(self.device), find_unused_parameters=unused)


def apply() -> None:
    """Put the remedies in place. BasicSR's modules look these names up when they run."""
    import basicsr.train
    import basicsr.utils.dist_util
    basicsr.train.EnlargedSampler = AddressedSampler
    basicsr.train.copy_opt_file = copy_opt_file
    basicsr.models.base_model.BaseModel.load_network = load_network
    basicsr.models.base_model.BaseModel.save_network = checkpoints.save_network
    basicsr.models.base_model.BaseModel.save_training_state = checkpoints.save_training_state
    basicsr.models.base_model.BaseModel.model_to_device = model_to_device
    basicsr.utils.dist_util._init_dist_pytorch = init_dist_pytorch
