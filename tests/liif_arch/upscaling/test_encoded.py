"""An image that is encoded once: each area is that part of the whole result."""

import numpy as np
import pytest
import torch
from helpers import photo

from liif_arch import LIIF, LTE, MetaSR, Thera, upscale
from liif_arch.errors import UserError
from liif_arch.upscaling.encoded import EncodedImage
from liif_arch.upscaling.windows import Area

ENCODER = {'type': 'EDSREncoder', 'num_feat': 8, 'num_block': 1}
NETWORKS = {
    'LIIF': lambda: LIIF(ENCODER, [16, 16]),
    'LTE': lambda: LTE(ENCODER, hidden_dim=16, hidden_list=[16]),
    'MetaSR': lambda: MetaSR(ENCODER),
    'Thera': lambda: Thera(ENCODER, hidden_dim=8, local_ensemble=True),
}
SIZE = (130, 171)
AREAS = [Area(0, 130, 0, 171), Area(0, 5, 0, 7), Area(63, 64, 170, 171), Area(40, 100, 11, 95)]


def pictures() -> dict[str, np.ndarray]:
    colours = photo(30, 41)
    alpha = np.full((30, 41, 1), 255, np.uint8)
    alpha[5:20, 3:30] = 0
    return {
        'RGB': colours,
        'gray': colours[..., :1],
        'RGBA': np.concatenate([colours, alpha], 2),
        'opaque': np.concatenate([colours, np.full_like(alpha, 255)], 2),
        '16 bits': colours.astype(np.uint16) * 257,
        'float': (colours / 255).astype(np.float32),
    }


@pytest.mark.parametrize('kind', pictures())
@pytest.mark.parametrize('memory', [1536, 0.01], ids=['kept', 'encoded again'])
def test_area__of_every_kind_of_image(kind, memory):
    torch.manual_seed(0)
    net, image = NETWORKS['LIIF'](), pictures()[kind]
    encoded = EncodedImage(net, image, memory)
    assert encoded.kept == (memory > 1)
    whole = upscale(net, image, size=SIZE)
    for area in AREAS:
        found = encoded.area(SIZE, area)
        expected = whole[area.top : area.bottom, area.left : area.right]
        assert found.dtype == image.dtype and found.shape == expected.shape
        step = 1 if image.dtype.kind == 'u' else 1e-5
        assert np.abs(found.astype(float) - expected).max() <= step


@pytest.mark.parametrize('name', NETWORKS)
def test_area__of_every_decoder(name):
    torch.manual_seed(0)
    net, image = NETWORKS[name]().eval(), photo(30, 41)
    whole, encoded = upscale(net, image, size=SIZE), EncodedImage(net, image)
    for area in AREAS:
        expected = whole[area.top : area.bottom, area.left : area.right]
        assert np.abs(encoded.area(SIZE, area).astype(int) - expected).max() <= 1


def test_area__encodes_once(monkeypatch):
    net, count = NETWORKS['Thera'](), []
    encode = net.encode
    monkeypatch.setattr(net, 'encode', lambda x: count.append(1) or encode(x))
    encoded = EncodedImage(net, photo(30, 41))
    for area in AREAS:
        encoded.area(SIZE, area)
    assert len(count) == 1


@pytest.mark.parametrize(
    'size,area',
    [(SIZE, (0, 131, 0, 5)), (SIZE, (5, 5, 0, 5)), (SIZE, (-1, 5, 0, 5)), ((29, 41), (0, 5, 0, 5))],
)
def test_area__refuses(size, area):
    with pytest.raises(UserError, match='area: found'):
        EncodedImage(NETWORKS['LIIF'](), photo(30, 41)).area(size, Area(*area))


def test_encode__in_windows_where_the_encoder_needs_more_than_its_codes():
    """An encoder holds several times its features; the codes are those of the whole image."""
    torch.manual_seed(0)
    net, image = NETWORKS['Thera']().eval(), photo(150, 170)
    shapes, encode = [], net.encode

    def watched(lq):
        shapes.append(tuple(lq.shape[-2:]))
        return encode(lq)

    net.encode = watched
    whole = EncodedImage(net, image)
    whole.encode()
    assert shapes == [(150, 170)]
    parts = EncodedImage(net, image, memory=1.5)
    parts.encode()
    assert parts.kept and len(shapes) > 3 and max(h * w for h, w in shapes[1:]) < 150 * 170
    torch.testing.assert_close(parts.feats[0], whole.feats[0], rtol=0, atol=1e-5)
