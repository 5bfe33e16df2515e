"""What tests of the hub share: one that knows us, and a tiny network that is brought there."""

from pathlib import Path

import pytest
import torch
from helpers import photo
from hub_server import TOKEN, HubServer
from torch import nn

from liif_arch import LIIF, upscale

ENCODER = {'type': 'EDSREncoder', 'num_feat': 8, 'num_block': 1}
IMAGE = photo(12, 14)
RESULTS = {
    'Set5': {
        'x2': {'psnr': 35.012, 'bicubic': {'psnr': 31.79}, 'images': {}},
        'x3': {'psnr': 31.5, 'bicubic': {'psnr': 28.63}, 'images': {}},
    }
}  # as metrics.json holds them


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub that knows us, and a cache of its own."""
    constants = pytest.importorskip('huggingface_hub.constants')
    server = HubServer()
    monkeypatch.setattr(constants, 'ENDPOINT', server.address)
    template = f'{server.address}/{{repo_id}}/resolve/{{revision}}/{{filename}}'
    monkeypatch.setattr(constants, 'HUGGINGFACE_CO_URL_TEMPLATE', template)
    monkeypatch.setattr(constants, 'HF_HUB_CACHE', str(tmp_path / 'cache'))
    monkeypatch.setenv('HF_TOKEN', TOKEN)
    yield server
    server.close()


@pytest.fixture
def net():
    torch.manual_seed(0)
    return LIIF(ENCODER, hidden_list=[16]).eval()


def same(found: nn.Module, expected: nn.Module) -> bool:
    """Whether two networks draw the same picture."""
    return (upscale(found, IMAGE, scale=2.5) == upscale(expected, IMAGE, scale=2.5)).all()


def files(net: LIIF, folder: Path) -> dict[str, bytes]:
    """What `save_pretrained` writes."""
    net.save_pretrained(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}
