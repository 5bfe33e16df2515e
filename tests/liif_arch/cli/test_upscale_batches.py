"""`basicsr upscale` on folders and on several images, and what it refuses."""

import numpy as np
import pytest
import torch
from helpers import (
    photo,
    run_here,
    write_photos,
)

from liif_arch import LIIF, read_image, write_image


def test_upscale__folder_of_every_kind(monkeypatch, tmp_path, weights):
    rng = np.random.default_rng(0)
    kinds = {
        'gray.png': ((9, 8, 1), np.uint8),
        'alpha.png': ((9, 8, 4), np.uint8),
        'deep.png': ((9, 8, 3), np.uint16),
    }
    for name, (shape, dtype) in kinds.items():
        write_image(tmp_path / 'in' / name, rng.integers(0, np.iinfo(dtype).max, shape, dtype))
    write_image(tmp_path / 'in/photo.jpg', photo(9, 8))
    assert (
        run_here(
            monkeypatch,
            tmp_path,
            'upscale',
            'in',
            '--weights',
            weights,
            '--scale',
            '2',
            '-o',
            'out/',
        )
        == 0
    )
    assert sorted(p.name for p in (tmp_path / 'out').iterdir()) == [
        'alpha.png',
        'deep.png',
        'gray.png',
        'photo.png',
    ]
    for name, (shape, dtype) in kinds.items():
        image = read_image(tmp_path / 'out' / name)
        assert image.shape == (18, 16, shape[2]) and image.dtype == dtype


@pytest.mark.parametrize(
    'arguments,part',
    [
        (['nowhere.png', '--scale', '2'], 'nowhere.png does not exist'),
        (['a.png', '--scale', '0'], '--scale: found 0'),
        (['a.png', '--scale', 'x'], '--scale: found x'),
        (['a.png', '--size', '5'], '--size: found 5'),
        (['a.png', '--scale', '-2'], '--scale: found -2'),
        (['broken.png', '--scale', '2'], 'broken.png: not a readable'),
        (['empty', '--scale', '2'], 'no images'),
        (['a.png', '--scale', '2', '--weights', 'a.png'], 'not a checkpoint'),
        (['a.png', '--scale', '2', '--weights', 'none.pth'], 'none.pth: cannot read'),
        (['a.png', '--scale', '2', '-o', 'a.png'], 'is the input itself'),
        (['a.png', '--scale', '2', '-o', 'b'], 'ends with'),
        (['a.png', '--scale', '2', '--device', 'cuda:7'], '--device'),
        (['a.png', '--scale', '2', '-opt', 'no'], '-opt'),
    ],
)
def test_upscale__bad_input_is_one_line(monkeypatch, tmp_path, weights, capsys, arguments, part):
    write_image(tmp_path / 'a.png', photo(6, 6))
    (tmp_path / 'broken.png').write_bytes(b'x')
    (tmp_path / 'empty').mkdir()
    before = sorted(p.name for p in tmp_path.iterdir())
    arguments += ['-o', 'b.png'] if '-o' not in arguments else []
    arguments += ['--weights', weights] if '--weights' not in arguments else []
    if '-2' in arguments:
        arguments[arguments.index('--scale') : arguments.index('-2') + 1] = ['--scale=-2']
    assert run_here(monkeypatch, tmp_path, 'upscale', *arguments) == 2
    lines = [
        line
        for line in capsys.readouterr().err.splitlines()
        if line.startswith('basicsr upscale: ')
    ]
    assert len(lines) == 1 and part in lines[0]
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_upscale__a_broken_image_does_not_stop_the_others(monkeypatch, tmp_path, weights, capsys):
    write_photos(tmp_path / 'in', [(6, 6)] * 3)
    (tmp_path / 'in/im01.png').write_bytes(b'broken')
    assert (
        run_here(
            monkeypatch,
            tmp_path,
            'upscale',
            'in',
            '--weights',
            weights,
            '--scale',
            '2',
            '-o',
            'out',
        )
        == 2
    )
    err = capsys.readouterr().err
    assert 'im01.png: not a readable image' in err and '1 of 3 images were left out' in err
    assert sorted(p.name for p in (tmp_path / 'out').iterdir()) == ['im00.png', 'im02.png']


def test_upscale__too_little_memory_for_one_does_not_stop_the_others(
    monkeypatch, tmp_path, weights, capsys
):
    write_photos(tmp_path / 'in', [(6, 6), (9, 9), (7, 7)])
    encode = LIIF.encode

    def refuse(net, lq):
        if lq.shape[-1] == 9:
            raise torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 20 GiB')
        return encode(net, lq)

    monkeypatch.setattr(LIIF, 'encode', refuse)
    flags = ['--weights', weights, '--scale', '2', '-o', 'out']
    assert run_here(monkeypatch, tmp_path, 'upscale', 'in', *flags) == 2
    err = capsys.readouterr().err
    assert (
        'memory: this machine has none left at a budget of 1536 MiB; lower it (--memory 768)' in err
    )
    assert '1 of 3 images were left out' in err
    assert sorted(p.name for p in (tmp_path / 'out').iterdir()) == ['im00.png', 'im02.png']


def test_upscale__a_batch_goes_on(monkeypatch, tmp_path, weights, capsys):
    """What exists stays as it is, and nothing is loaded where nothing is left to do."""
    write_photos(tmp_path / 'in', [(6, 6), (9, 9)])
    write_photos(tmp_path / 'out', [(3, 3)])
    before = (tmp_path / 'out/im00.png').read_bytes()
    flags = ['--weights', weights, '--scale', '2', '-o', 'out']
    assert run_here(monkeypatch, tmp_path, 'upscale', 'in', *flags) == 0
    out = capsys.readouterr()
    assert '1 of 2 results exist and were skipped (out/im00.png)' in out.err
    assert 'im01.png  9x9 -> 18x18' in out.out
    assert (tmp_path / 'out/im00.png').read_bytes() == before
    with monkeypatch.context() as patch:
        patch.setattr('liif_arch.weights.networks.load_network', None)
        assert run_here(patch, tmp_path, 'upscale', 'in', *flags) == 0
    assert run_here(monkeypatch, tmp_path, 'upscale', 'in', *flags, '--overwrite') == 0
    assert read_image(tmp_path / 'out/im00.png').shape == (12, 12, 3)


@pytest.mark.parametrize(
    'flags,part',
    [
        (
            ['--size', '100x70'],
            'a.png: is 10x12, which --size 100x70 (width x height) would stretch; '
            'its shape is kept by 100x120 (--size 100x) and 58x70 (--size x70)',
        ),
        (['--scale', '2', '--threads', '0'], '--threads: found 0'),
        (['--scale', '2', '--memory', '-1'], '--memory: found -1.0; needed a number of MiB'),
        (['--scale', '2', '--memory', 'inf'], '--memory: found inf'),
        (['--scale', '2', '--stretch'], '--stretch: found it without --size'),
    ],
)
def test_upscale__refuses(monkeypatch, tmp_path, weights, capsys, flags, part):
    write_image(tmp_path / 'a.png', photo(12, 10))
    flags = ['--weights', weights, '-o', 'b.png', *flags]
    assert run_here(monkeypatch, tmp_path, 'upscale', 'a.png', *flags) == 2
    assert part in capsys.readouterr().err and not (tmp_path / 'b.png').exists()


@pytest.mark.parametrize(
    'flags,name',
    [
        (['--scale', '2x3'], 'a_x2x3.png'),
        (['--scale', '.5'], 'a_x.5.png'),
        (['--size', '20x24'], 'a_20x24.png'),
        (['--size', 'x24'], 'a_x24.png'),
    ],
)
def test_upscale__results_are_named_as_typed(monkeypatch, tmp_path, weights, flags, name):
    write_image(tmp_path / 'in/a.png', photo(12, 10))
    assert run_here(monkeypatch, tmp_path, 'upscale', 'in/a.png', '--weights', weights, *flags) == 0
    assert (tmp_path / name).is_file()


def test_upscale__targets_are_looked_at_first(monkeypatch, tmp_path, weights, capsys):
    write_photos(tmp_path / 'in', [(6, 6)] * 2)
    (tmp_path / 'file').write_text('')
    deep = np.zeros((4, 4, 3), np.uint16)
    write_image(tmp_path / 'deep.png', deep)
    for source, target, part in [
        ('in/im00.png', 'file/x.png', 'cannot write to file'),
        ('in', 'c.png', 'named like one'),
        ('deep.png', 'deep.jpg', 'cannot hold uint16'),
        ('in/im00.png', 'c.webp', 'holds at most 16383'),
        ('in/im00.png', 'c.png', 'c.png: found 12000000x12000000'),
    ]:
        flags = [
            '--weights',
            weights,
            '--scale',
            '2000000' if target[:2] == 'c.' else '2',
            '-o',
            target,
        ]
        assert run_here(monkeypatch, tmp_path, 'upscale', source, *flags) == 2
        err = capsys.readouterr().err
        assert part in err and '%' not in err
    assert not (tmp_path / 'c.png').exists() and not (tmp_path / 'deep.jpg').exists()
