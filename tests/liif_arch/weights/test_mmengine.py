"""The networks in MMEngine: built from a config, trained by its Runner."""

import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import MODELS

import liif_arch.register  # noqa: F401  as custom_imports does
from liif_data.random_scale_dataset import RandomScalePairedDataset

SMALL = {'type': 'EDSREncoder', 'num_feat': 8, 'num_block': 1}


@pytest.mark.parametrize(
    'config',
    [
        {'type': 'LIIF', 'encoder': SMALL, 'hidden_list': [16]},
        {'type': 'MetaSR', 'encoder': SMALL},
        {'type': 'LTE', 'encoder': SMALL, 'hidden_dim': 16, 'hidden_list': [16]},
        {
            'type': 'LIIF',
            'encoder': {'type': 'MSRResNet', 'num_feat': 8, 'num_block': 1},
            'hidden_list': [16],
        },
    ],
)
@torch.no_grad()
def test_models__are_built_from_a_config(config):
    net = MODELS.build(config)
    assert net(torch.rand(1, 3, 6, 7), size=(11, 15)).shape == (1, 3, 11, 15)


def test_runner__trains_two_iterations(tmp_path, photos):
    runner = pytest.importorskip('mmengine.runner', reason="MMEngine's Runner does not import here")
    from mmengine.model import BaseModel

    class Restorer(BaseModel):
        """What a user writes to train a network under MMEngine."""

        def __init__(self, network: dict) -> None:
            super().__init__()
            self.network = MODELS.build(network)

        def forward(self, mode: str = 'tensor', **batch):
            colours = self.network(batch['lq'], batch['coord'], batch['cell'])
            return {'loss': F.l1_loss(colours, batch['gt'])} if mode == 'loss' else colours

    dataset = RandomScalePairedDataset(
        {
            'name': 't',
            'phase': 'train',
            'type': 'RandomScalePairedDataset',
            'dataroot_gt': str(photos),
            'lq_size': 8,
            'scale_range': [1, 4],
            'num_samples': 32,
        }
    )
    model = Restorer({'type': 'LIIF', 'encoder': SMALL, 'hidden_list': [16]})
    before = [p.detach().clone() for p in model.parameters()]
    run = runner.Runner(
        model,
        str(tmp_path / 'work'),
        train_cfg={'by_epoch': False, 'max_iters': 2},
        experiment_name='liif',
        train_dataloader={
            'dataset': dataset,
            'batch_size': 2,
            'num_workers': 0,
            'sampler': {'type': 'InfiniteSampler'},
            'collate_fn': {'type': 'default_collate'},
        },
        optim_wrapper={'optimizer': {'type': 'Adam', 'lr': 1e-3}},
        default_scope='mmengine',
    )
    run.train()
    assert any(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert run.iter == 2 and list((tmp_path / 'work').glob('*.pth'))
