"""Sizes and scales are typed width first, and a picture is stretched only on demand."""

import pytest

from liif_arch.cli.upscale_target import keeps_shape, parse_target
from liif_arch.errors import UserError


@pytest.mark.parametrize(
    'scale,size,full,expected,label',
    [
        ('3.7', None, (10, 20), (37, 74), '_x3.7'),
        ('2x3', None, (10, 20), (30, 40), '_x2x3'),
        ('2 X 3', None, (10, 20), (30, 40), '_x2x3'),
        ('.5', None, (10, 20), (5, 10), '_x.5'),
        (None, '1920x1080', (540, 960), (1080, 1920), '_1920x1080'),
        (None, '1920×1080', (540, 960), (1080, 1920), '_1920x1080'),
        (None, '1920x', (540, 960), (1080, 1920), '_1920x'),
        (None, 'x1080', (540, 960), (1080, 1920), '_x1080'),
        (None, '1x', (10, 300), (1, 1), '_1x'),
    ],
)
def test_target__is_width_by_height(scale, size, full, expected, label):
    target = parse_target(scale, size, stretch=False)
    assert target.of_image(full, 'a.png') == expected and target.label == label


@pytest.mark.parametrize('text', ['0', '-2', 'x', '2x', 'x3', '2x3x4', '1920:1080', 'nan', ''])
def test_scale__refused(text):
    with pytest.raises(UserError, match='--scale: found'):
        parse_target(text, None, stretch=False)


@pytest.mark.parametrize('text', ['5', 'x', '0x5', '5x0', '1.5x2', '-3x4', '3x4x5', ''])
def test_size__refused(text):
    with pytest.raises(UserError, match='--size: found'):
        parse_target(None, text, stretch=False)


def test_size__that_stretches_names_both_sizes_that_do_not():
    target = parse_target(None, '1920x1080', stretch=False)
    with pytest.raises(
        UserError, match=r'a.png: is 3000x2000.*kept by 1920x1280 \(--size 1920x\) and 1620x1080'
    ):
        target.of_image((2000, 3000), 'a.png')
    assert parse_target(None, '1920x1080', stretch=True).of_image((2000, 3000), 'a.png') == (
        1080,
        1920,
    )


@pytest.mark.parametrize(
    'full,size,kept',
    [
        ((512, 512), (1024, 1024), True),
        ((512, 512), (1024, 1030), False),
        ((67, 100), (4000, 6000), True),
        ((67, 100), (6000, 4000), False),
        ((339, 510), (1356, 2040), True),
        ((339, 510), (665, 1000), True),
        ((339, 510), (664, 1000), True),
        ((339, 510), (660, 1000), False),
        ((2, 3), (1, 1), True),
    ],
)
def test_keeps_shape__up_to_rounding(full, size, kept):
    assert keeps_shape(full, size) == kept
