"""Small ICC profiles, written from the specification (ICC.1:2001-04), for tests of colour."""

import struct
from itertools import product

import numpy as np

_D50 = (0.9642, 1.0, 0.8249)


def adobe_rgb() -> bytes:
    """Of the primaries and the gamma of Adobe RGB (1998), adapted to D50."""
    primaries = {
        b'rXYZ': (0.60974, 0.31111, 0.01947),
        b'gXYZ': (0.20528, 0.62567, 0.06087),
        b'bXYZ': (0.14919, 0.06322, 0.74457),
    }
    tags = {name: _xyz(*values) for name, values in primaries.items()}
    return _profile(
        b'mntr',
        b'RGB ',
        b'XYZ ',
        tags | dict.fromkeys((b'rTRC', b'gTRC', b'bTRC'), _gamma(563 / 256)),
    )


def gray(gamma: float = 1.8) -> bytes:
    """Of gray of some gamma."""
    return _profile(b'mntr', b'GRAY', b'XYZ ', {b'kTRC': _gamma(gamma)})


def cmyk() -> bytes:
    """Of inks: a table of their 2 x 2 x 2 x 2 mixtures, with a magenta that is bluish."""
    corners = {
        (0, 0, 0): (100, 0, 0),
        (1, 0, 0): (55, -37, -50),
        (0, 1, 0): (48, 60, -30),
        (0, 0, 1): (89, -5, 93),
        (1, 1, 0): (24, 22, -46),
        (1, 0, 1): (50, -68, 33),
        (0, 1, 1): (47, 68, 48),
        (1, 1, 1): (23, 0, 0),
    }
    table = bytearray()
    for *inks, black in product((0, 1), repeat=4):
        lightness, a, b = np.array(corners[tuple(inks)]) * (0.1 if black else 1)
        table += bytes([round(lightness * 2.55), round(a + 128), round(b + 128)])
    ramp = bytes(range(256))
    identity = struct.pack('>9i', *(65536 * (i % 4 == 0) for i in range(9)))
    lut = b'mft1' + bytes(4) + bytes([4, 3, 2, 0]) + identity + 4 * ramp + bytes(table) + 3 * ramp
    return _profile(b'prtr', b'CMYK', b'Lab ', {b'A2B0': lut})


def _xyz(*values: float) -> bytes:
    return b'XYZ ' + bytes(4) + struct.pack('>3i', *(round(v * 65536) for v in values))


def _gamma(value: float) -> bytes:
    return b'curv' + bytes(4) + struct.pack('>IH', 1, round(value * 256))


def _profile(kind: bytes, space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    name = b'test\0'
    description = b'desc' + bytes(4) + struct.pack('>I', len(name)) + name + bytes(78)
    tags = {
        b'desc': description,
        b'cprt': b'text' + bytes(4) + b'none\0',
        b'wtpt': _xyz(*_D50),
        **tags,
    }
    body, index, at = b'', b'', 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        index += struct.pack('>4sII', name, at + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    header = struct.pack(
        '>I4sI4s4s4s6H4s',
        at + len(body),
        bytes(4),
        0x02400000,
        kind,
        space,
        connection,
        2020,
        1,
        1,
        0,
        0,
        0,
        b'acsp',
    )
    header = header.ljust(68, b'\0') + struct.pack('>3i', *(round(v * 65536) for v in _D50))
    return header.ljust(128, b'\0') + struct.pack('>I', len(tags)) + index + body
