"""Weights of a tiny network, untrained, for tests of the command."""

from pathlib import Path

import pytest
import torch

from liif_arch import LIIF, EDSREncoder
from liif_arch.training.checkpoints import save_file


@pytest.fixture
def weights(tmp_path) -> Path:
    torch.manual_seed(0)
    network = {
        'type': 'LIIF',
        'encoder': {'type': 'EDSREncoder', 'num_feat': 8, 'num_block': 1},
        'hidden_list': [16],
    }
    net = LIIF(EDSREncoder(num_feat=8, num_block=1), [16])
    save_file({'params': net.state_dict(), 'network_g': network}, tmp_path / 'w.pth')
    return tmp_path / 'w.pth'
