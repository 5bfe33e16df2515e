"""LIIF with given weights against what the reference implementation made of them."""

import numpy as np
import pytest
import torch
from parameters import GOLDEN

from liif_arch import LIIF, EDSREncoder, RDNEncoder


@pytest.mark.parametrize(
    'case', [f'ensemble{e}_unfold{u}_cell{c}' for e in (0, 1) for u in (0, 1) for c in (0, 1)]
)
def test_golden__flags(golden, case):
    arrays = np.load(GOLDEN / 'liif_flags.npz')
    net = LIIF(
        {'type': 'EDSREncoder', 'num_feat': 12, 'num_block': 2},
        [32, 24],
        local_ensemble='ensemble1' in case,
        feat_unfold='unfold1' in case,
        cell_decode='cell1' in case,
    )
    net.load_state_dict(golden(f'liif_flags/{case}'))
    lq, coord, cell = (torch.from_numpy(arrays[k]) for k in ('lq', 'coord', 'cell'))
    with torch.no_grad():
        for colours in (net(lq, coord, cell), net.query_plain(net.encode(lq), coord, cell)):
            np.testing.assert_allclose(colours, arrays[case], rtol=0, atol=1e-5)


@pytest.mark.parametrize('size', [(19, 31), (14, 18), (64, 50)])
def test_golden__whole_images(golden, size):
    arrays = np.load(GOLDEN / 'liif_flags.npz')
    net = LIIF({'type': 'EDSREncoder', 'num_feat': 12, 'num_block': 2}, [32, 24])
    net.load_state_dict(golden('liif_flags/image'))
    with torch.no_grad():
        image = net(torch.from_numpy(arrays['lq']), size=size)
    np.testing.assert_allclose(image, arrays['image_{}x{}'.format(*size)], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    'name,encoder', [('edsr_baseline_liif', EDSREncoder), ('rdn_liif', RDNEncoder)]
)
def test_golden__full_size_networks(golden, name, encoder):
    arrays = np.load(GOLDEN / 'networks.npz')
    net = LIIF(encoder())  # the defaults are the paper's
    net.load_state_dict(golden(f'networks/{name}'))
    with torch.no_grad():
        feat = net.encode(torch.from_numpy(arrays['lq']))
        colours = net.query(
            feat, torch.from_numpy(arrays['coord']), torch.from_numpy(arrays['cell'])
        )
    np.testing.assert_allclose(feat, arrays[f'{name}_feat'], rtol=0, atol=1e-5)
    np.testing.assert_allclose(colours, arrays[name], rtol=0, atol=1e-5)


def test_golden__free_size_crops_of_published_weights(shared):
    from liif_arch import load_network, read_image

    net = load_network(shared / 'checkpoints/edsr-baseline-liif.pth')
    crops = np.load(shared / 'fixtures/set5_crops.npz')
    assert len(crops.files) == 3
    for name in crops.files:
        image, size, y, x = name.replace('_to_', ' ').replace('_at_', ' ').replace('_', ' ').split()
        y, x, size = int(y), int(x), tuple(map(int, size.split('x')))
        lq = read_image(shared / f'data/benchmark/Set5/LR_bicubic/X4/{image}.png')
        lq = torch.from_numpy(lq).permute(2, 0, 1)[None] / 255
        with torch.no_grad():
            crop = net(lq, size=size)[0, :, y : y + 48, x : x + 48]
        np.testing.assert_allclose(crop, crops[name], rtol=0, atol=1e-4)
