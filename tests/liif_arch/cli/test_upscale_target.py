"""Sizes, scales and crops are typed as people say them; a picture is stretched only on demand."""

import argparse

import pytest

from liif_arch.cli.upscale_target import Target, add_target, keeps_shape, parse_target
from liif_arch.errors import UserError


def target(*flags: str) -> Target:
    parser = argparse.ArgumentParser()
    add_target(parser)
    return parse_target(parser.parse_args(flags))


@pytest.mark.parametrize(
    'flags,full,scale,size,label',
    [
        ('--scale=3.7', (10, 20), (3.7, 3.7), None, '_x3.7'),
        ('--scale=2x3', (10, 20), (3, 2), None, '_x2x3'),
        ('--scale=2 X 3', (10, 20), (3, 2), None, '_x2x3'),
        ('--scale=.5', (10, 20), (0.5, 0.5), None, '_x.5'),
        ('--size=1920x1080', (540, 960), None, (1080, 1920), '_1920x1080'),
        ('--size=1920×1080', (540, 960), None, (1080, 1920), '_1920x1080'),
        ('--size=1920x', (540, 960), None, (1080, 1920), '_1920x'),
        ('--size=x1080', (540, 960), None, (1080, 1920), '_x1080'),
        ('--size=1x', (10, 300), None, (1, 1), '_1x'),
        ('--longest=2048', (339, 510), None, (1361, 2048), '_longest2048'),
        ('--longest=2048', (510, 339), None, (2048, 1361), '_longest2048'),
        ('--longest=2048', (7, 7), None, (2048, 2048), '_longest2048'),
        ('--longest=5', (1, 9999), None, (1, 5), '_longest5'),
        ('--shortest=1080', (339, 510), None, (1080, 1625), '_shortest1080'),
        ('--shortest=1080', (510, 339), None, (1625, 1080), '_shortest1080'),
        ('--shortest=1', (3, 1), None, (3, 1), '_shortest1'),
        ('--fit=1920x1080', (339, 510), None, (1080, 1625), '_fit1920x1080'),
        ('--fit=1920x1080', (100, 510), None, (376, 1920), '_fit1920x1080'),
        ('--fit=1920x1080', (9, 16), None, (1080, 1920), '_fit1920x1080'),
        ('--fit=10x1', (3000, 2), None, (1, 1), '_fit10x1'),
    ],
)
def test_target__is_width_by_height(flags, full, scale, size, label):
    found = target(flags)
    shape = found.of_image(full, 'a.png')
    assert (shape.scale, shape.size, found.label) == (scale, size, label)


@pytest.mark.parametrize('text', ['0', '-2', 'x', '2x', 'x3', '2x3x4', '1920:1080', 'nan', ''])
def test_scale__refused(text):
    with pytest.raises(UserError, match='--scale: found'):
        target(f'--scale={text}')


@pytest.mark.parametrize('text', ['5', 'x', '0x5', '5x0', '1.5x2', '-3x4', '3x4x5', ''])
@pytest.mark.parametrize('flag', ['--size', '--fit'])
def test_size__refused(flag, text):
    with pytest.raises(UserError, match=f'{flag}: found'):
        target(f'{flag}={text}')


@pytest.mark.parametrize('text', ['1920x', 'x1080'])
def test_fit__needs_both_sides(text):
    with pytest.raises(UserError, match='--fit: found .*; needed width x height'):
        target('--fit', text)


@pytest.mark.parametrize('text', ['0', '-2', '2048x', '20.5', '', 'big'])
@pytest.mark.parametrize('flag', ['--longest', '--shortest'])
def test_side__refused(flag, text):
    with pytest.raises(UserError, match=f'{flag}: found .*; needed a number of pixels'):
        target(f'{flag}={text}')


def test_target__is_one(capsys):
    for flags in ((), ('--scale=2', '--longest=9')):
        with pytest.raises(SystemExit):
            target(*flags)
    assert 'not allowed with' in capsys.readouterr().err


def test_size__that_stretches_names_both_sizes_that_do_not():
    found = target('--size=1920x1080')
    with pytest.raises(
        UserError, match=r'a.png: is 3000x2000.*kept by 1920x1280 \(--size 1920x\) and 1620x1080'
    ):
        found.of_image((2000, 3000), 'a.png')
    stretched = target('--size=1920x1080', '--stretch').of_image((2000, 3000), 'a.png')
    assert stretched.size == (1080, 1920)


@pytest.mark.parametrize(
    'text,expected',
    [
        ('1,2,3,4', (1, 2, 3, 4)),
        ('0.5, .25 ,3.75,4', (0.5, 0.25, 3.75, 4)),
        ('25%,10%,50%,1.5%', (50, 30, 100, 4.5)),
        ('10,10%,5,10%', (10, 30, 5, 30)),
    ],
)
def test_crop__in_pixels_and_percent(text, expected):
    found = target('--scale=2', f'--crop={text}')
    assert found.crop_of((200, 300)) == pytest.approx(expected)
    assert found.label == '_x2_crop' and target('--scale=2').crop_of((2, 3)) is None


@pytest.mark.parametrize('text', ['', '1,2,3', '1,2,3,4,5', 'a,b,c,d', '-1,2,3,4', '1,2,3,4px'])
def test_crop__refused(text):
    with pytest.raises(UserError, match='--crop: found .*; needed top, left, height and width'):
        target('--scale=2', f'--crop={text}')


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
