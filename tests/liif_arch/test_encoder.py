"""What encoders tell, and what is taken for granted where a module does not tell it."""

import pytest
import torch
from torch import nn

from liif_arch import LIIF, EDSREncoder, RDNEncoder
from liif_arch.archs.encoder import OPTIONAL, Encoder, complete, named_network
from liif_arch.archs.tapped_encoder import TappedEncoder


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
