"""What encoders tell, and what is taken for granted where a module does not tell it."""

import math

import pytest
import torch
from torch import nn

from liif_arch import LIIF, EDSREncoder, RDNEncoder
from liif_arch.archs.encoder import OPTIONAL, Encoder, complete, named_network
from liif_arch.archs.tapped_encoder import TappedEncoder
from liif_arch.precision import autocast


class Foreign(nn.Conv2d):
    """A module of somebody else's with two facts; asking for the radius would take long."""

    num_out_feat = 5

    def __init__(self) -> None:
        super().__init__(3, 5, 3, padding=1)
        self.unit_range = True

    @property
    def receptive_radius(self) -> int:
        """Is not to be asked for before it is needed."""
        raise AssertionError('it was measured')


def test_complete__adds_what_is_missing_and_evaluates_nothing():
    encoder = Foreign()
    keys = list(encoder.state_dict())
    net = LIIF(encoder, [8])
    assert net.encoder is encoder and list(encoder.state_dict()) == keys
    told = {name: getattr(encoder, name) for name in OPTIONAL if name != 'receptive_radius'}
    assert told == {
        'unit_range': True,
        'multiple': 1,
        'removed': (),
        'peak_floats': None,
        'start_as_copy': None,
    }
    with pytest.raises(AssertionError, match='it was measured'):
        encoder.receptive_radius  # noqa: B018


def test_complete__of_a_compiled_encoder_takes_what_the_encoder_says():
    encoder = EDSREncoder(num_feat=4, num_block=1)
    net = LIIF(torch.compile(encoder, backend='eager'), [8])
    assert encoder.receptive_radius == 4 and net.encoder.receptive_radius == 4
    assert net.encoder.peak_floats(2, 3) == encoder.peak_floats(2, 3) > 0


def test_encode__takes_the_range_that_the_encoder_tells():
    encoder, lq = Foreign(), torch.rand(1, 3, 4, 5)
    net = LIIF(encoder, [8])
    torch.testing.assert_close(net.encode(lq), encoder(lq))
    encoder.unit_range = False
    torch.testing.assert_close(net.encode(lq), encoder((lq - 0.5) / 0.5))


@pytest.mark.parametrize('kind', [EDSREncoder, RDNEncoder, TappedEncoder])
def test_encoders__of_the_package_say_what_they_are(kind):
    assert issubclass(kind, Encoder) and kind.peak_floats is not Encoder.peak_floats
    own = EDSREncoder(num_feat=4, num_block=1)
    assert complete(own) is own and named_network(own) is own


@pytest.mark.parametrize(
    'encoder',
    [EDSREncoder(num_feat=8, num_block=2), RDNEncoder(3, 8, 2, 2, 8)],
    ids=['EDSREncoder', 'RDNEncoder'],
)
def test_encoders__receptive_radius_is_exact(encoder):
    """The feature in the middle depends on input pixels up to the radius, and on none beyond."""
    encoder, radius = encoder.double(), encoder.receptive_radius
    side = 2 * radius + 7
    x = torch.rand(1, 3, side, side, dtype=torch.float64, requires_grad=True)
    encoder(x)[0, :, side // 2, side // 2].sum().backward()
    touched = x.grad[0].abs().sum(0).nonzero()
    assert (touched - side // 2).abs().max() <= radius
    reach = (touched - side // 2).abs().max().item()
    assert reach > radius / 2  # ReLUs may close the outermost paths, not most of them


def test_encoders__parameter_counts_of_the_paper():
    count = [sum(p.numel() for p in e.parameters()) for e in (EDSREncoder(), RDNEncoder())]
    assert math.isclose(count[0], 1.22e6, rel_tol=0.01)
    assert math.isclose(count[1], 22.0e6, rel_tol=0.02)


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_encoder__is_compiled_as_one_piece(dtype):
    """What a compiler cannot follow would cut it, and be compiled anew at every step."""
    from torch._dynamo.testing import CompileCounter

    torch.compiler.reset()
    net = LIIF({'type': 'EDSREncoder', 'num_feat': 8, 'num_block': 1}, [8])
    counter = CompileCounter()
    net.encoder.compile(dynamic=False, backend=counter)
    for _ in range(3):
        with autocast(torch.device('cpu'), dtype):
            net(torch.rand(2, 3, 9, 9), torch.rand(2, 5, 2), torch.rand(2, 5, 2)).sum().backward()
    torch.compiler.reset()
    assert counter.frame_count == 1
