"""The network of the tests of upscaling, where they bring no other."""

import pytest
import torch

from liif_arch import LIIF


@pytest.fixture
def net() -> LIIF:
    torch.manual_seed(0)
    return LIIF({'type': 'EDSREncoder', 'num_feat': 8, 'num_block': 1}, [16, 16])
