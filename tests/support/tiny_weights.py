"""Weights of a tiny network, untrained, for tests of the command."""

from pathlib import Path

import pytest
import torch

from liif_arch import LIIF, EDSREncoder
from liif_arch.training.checkpoints import save_file


def tiny_network(num_feat: int = 8) -> dict:
    """The option of a LIIF on an encoder of so many features."""
    return {
        'type': 'LIIF',
        'encoder': {'type': 'EDSREncoder', 'num_feat': num_feat, 'num_block': 1},
        'hidden_list': [16],
    }


def write_tiny(path: Path, num_feat: int = 8, seed: int = 0) -> Path:
    """Weights of such a network in a file."""
    torch.manual_seed(seed)
    net = LIIF(EDSREncoder(num_feat=num_feat, num_block=1), [16])
    save_file({'params': net.state_dict(), 'network_g': tiny_network(num_feat)}, path)
    return path


@pytest.fixture
def weights(tmp_path) -> Path:
    return write_tiny(tmp_path / 'w.pth')
