"""Small networks of one scale, of BasicSR's own architectures, for tests of encoders."""

import torch
from basicsr.archs import build_network
from torch import nn

SWINIR = {
    'type': 'SwinIR',
    'img_size': 16,
    'embed_dim': 12,
    'depths': [2, 2],
    'num_heads': [2, 2],
    'window_size': 4,
    'upscale': 4,
    'upsampler': 'pixelshuffle',
    'img_range': 1.0,
}
NETWORKS = {
    'SwinIR': SWINIR,
    'RCAN': {'type': 'RCAN', 'num_feat': 16, 'num_group': 1, 'num_block': 2},
    'RRDBNet': {'type': 'RRDBNet', 'num_feat': 8, 'num_block': 1, 'num_grow_ch': 4},
    'MSRResNet': {'type': 'MSRResNet', 'num_feat': 8, 'num_block': 2},
    'EDSR': {'type': 'EDSR', 'num_feat': 8, 'num_block': 2},
}
CHANNELS = {'num_in_ch': 3, 'num_out_ch': 3}


def build(name: str) -> nn.Module:
    torch.manual_seed(0)
    net = build_network({**({} if name == 'SwinIR' else CHANNELS), **NETWORKS[name]}).eval()
    for module in net.modules():  # initial biases are 0
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.bias, std=0.1)
    return net
