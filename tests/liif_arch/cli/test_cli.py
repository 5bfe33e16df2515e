"""The command as a user meets it: help, listing, unknown words, upscaling."""

import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import (
    assert_one_line,
    paired_options,
    photo,
    run_basicsr,
    run_here,
    tiny_train,
    write_options,
    write_photos,
)

from liif_arch import LIIF, EDSREncoder, read_image, upscale, write_image
from liif_arch.cli.options import listing
from liif_arch.cli.train import scale_to_try
from liif_arch.config.files import shipped_options
from liif_arch.errors import exit_status
from liif_arch.training.checkpoints import load_file, save_file


@pytest.mark.parametrize(
    'arguments',
    [
        ['--help'],
        ['train', '--help'],
        ['upscale', '--help'],
        ['options'],
        ['lmdb', '--help'],
        ['convert', '--help'],
    ],
)
def test_help__answers_without_torch(tmp_path, arguments):
    code = (
        'import sys; from liif_arch.cli import main; sys.argv = ["basicsr", *sys.argv[1:]]\n'
        'try: main()\nexcept SystemExit: pass\n'
        'sys.exit("torch" in sys.modules or "numpy" in sys.modules)'
    )
    times = []
    for _ in range(3):
        start = time.perf_counter()
        result = subprocess.run(
            [sys.executable, '-c', code, *arguments], cwd=tmp_path, capture_output=True, text=True
        )
        times.append(time.perf_counter() - start)
        assert result.returncode == 0, result.stderr
        assert 'basicsr' in result.stdout or 'quickstart' in result.stdout
    assert min(times) < 0.5


def test_command__unknown_and_none(monkeypatch, tmp_path, capsys):
    assert run_here(monkeypatch, tmp_path, 'trian') == 2
    assert 'did you mean train?' in capsys.readouterr().err
    assert run_here(monkeypatch, tmp_path) == 0 and 'upscale' in capsys.readouterr().out
    assert (
        run_here(monkeypatch, tmp_path, '--version') == 0
        and 'basicsr-liif 0.' in capsys.readouterr().out
    )


def test_options__list_print_copy(monkeypatch, tmp_path, capsys):
    assert run_here(monkeypatch, tmp_path, 'options') == 0
    listing = capsys.readouterr().out
    assert all(name in listing for name in shipped_options())
    assert run_here(monkeypatch, tmp_path, 'options', 'quickstart') == 0
    assert capsys.readouterr().out == shipped_options()['quickstart'].read_text()
    assert run_here(monkeypatch, tmp_path, 'options', 'quickstart', '--copy') == 0
    assert (tmp_path / 'options/quickstart.yml').read_text() == shipped_options()[
        'quickstart'
    ].read_text()
    assert run_here(monkeypatch, tmp_path, 'options', 'quickstart', '--copy') == 2
    assert 'exists' in capsys.readouterr().err


def test_options__listing_in_groups_and_in_a_terminals_width(monkeypatch, tmp_path, capsys):
    assert run_here(monkeypatch, tmp_path, 'options') == 0
    lines = capsys.readouterr().out.splitlines()
    heads = [line for line in lines if line.endswith(':')]
    assert heads[:3] == ['To start with:', 'Trainings:', 'Tests:']
    assert [line.split()[0] for line in lines[1:3]] == ['quickstart', 'train_own']
    titles = [line for line in lines if line.startswith('  ')]
    assert len(titles) == len(shipped_options()) and all(title.endswith('.') for title in titles)
    narrow = listing(shipped_options(), 60).splitlines()
    assert max(map(len, narrow[:-1])) == 60 and narrow[1].endswith('...')
    assert run_here(monkeypatch, tmp_path, 'options', '--copy') == 2
    assert '--copy: needs the name' in capsys.readouterr().err


@pytest.mark.parametrize('unbuffered', ['', '1'])
@pytest.mark.parametrize(
    'arguments', ['options', '--help', 'options quickstart', 'complexity --weights small']
)
def test_output_that_nobody_reads__is_no_traceback(tmp_path, arguments, unbuffered):
    """As of `basicsr options | head -0`."""
    reading, writing = os.pipe()
    os.close(reading)
    result = subprocess.run(
        [sys.executable, '-W', 'ignore', '-m', 'liif_arch.cli', *arguments.split()],
        cwd=tmp_path,
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, 'PYTHONUNBUFFERED': unbuffered},
    )
    os.close(writing)
    assert (result.returncode, result.stderr) == (141, '')


def test_broken_pipe__of_something_else_is_raised(capsys):
    def main() -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        exit_status(main)


def test_option_file__that_ships_is_named_where_a_path_was_given(
    monkeypatch, tmp_path, photos, capsys
):
    assert run_here(monkeypatch, tmp_path, 'complexity', '-opt', 'options/quickstart.yml') == 0
    line = f'-opt options/quickstart.yml: not here; using the one that ships ({shipped_options()["quickstart"]})\n'
    assert capsys.readouterr().err == line
    assert run_here(monkeypatch, tmp_path, 'complexity', '-opt', 'quickstart') == 0
    assert capsys.readouterr().err == ''
    assert (
        run_here(monkeypatch, tmp_path, 'check', '--options_only', '-opt', 'options/quickstart.yml')
        == 0
    )
    assert capsys.readouterr().err.count(line) == 1


def test_lmdb__builds_then_says_what_it_finds(monkeypatch, tmp_path, photos, capsys):
    assert (
        run_here(
            monkeypatch, tmp_path, 'lmdb', 'gt', 'raw.lmdb', '--encoding', 'raw', '--workers', 1
        )
        == 0
    )
    assert capsys.readouterr() == ('raw.lmdb: 4 images, each read back and compared\n', '')
    assert '.raw (60,72,3) uint8' in (tmp_path / 'raw.lmdb/meta_info.txt').read_text()
    for arguments, part in (
        (('gt', 'raw.lmdb'), 'basicsr lmdb: raw.lmdb: exists and holds the same 4 image names'),
        (('gt', 'a.lmdb', '--encoding', 'row'), "encoding: found 'row'; did you mean raw?"),
        (('gt', 'a.lmdb', '--workers', '0'), '--workers: found 0; needed a whole number'),
    ):
        assert run_here(monkeypatch, tmp_path, 'lmdb', *arguments) == 2
        assert part in capsys.readouterr().err


def test_convert__both_ways(monkeypatch, tmp_path, weights, capsys):
    assert run_here(monkeypatch, tmp_path, 'convert', 'w.pth', 'theirs.pth') == 0
    assert 'theirs.pth: for the reference implementation' in capsys.readouterr().out
    assert run_here(monkeypatch, tmp_path, 'convert', 'theirs.pth', 'back.pth') == 0
    ours, back = (load_file(tmp_path / name)['params'] for name in ('w.pth', 'back.pth'))
    assert all(torch.equal(value, back[name]) for name, value in ours.items())
    assert run_here(monkeypatch, tmp_path, 'convert', 'w.pth', 'back.pth') == 2
    assert 'back.pth exists; remove it first.' in capsys.readouterr().err


def test_train__names_what_it_wrote_and_how_to_try_it(monkeypatch, tmp_path, photos, capsys):
    """The command that is printed works; a network for one scale has none, a sub-pixel tail its own scale."""
    write_options(tmp_path / 'o.yml', tiny_train(photos, name='my run', train__total_iter=1))
    assert run_here(monkeypatch, tmp_path, 'train', '-opt', 'o.yml') == 0
    *_, weights, command = capsys.readouterr().out.splitlines()
    assert weights == 'Weights: experiments/my run/models/net_g_latest.pth'
    assert (
        command
        == f"basicsr upscale photo.jpg --weights '{weights.removeprefix('Weights: ')}' --scale 4"
    )
    write_image(tmp_path / 'photo.jpg', photo(9, 8))
    assert run_here(monkeypatch, tmp_path, *shlex.split(command)[1:]) == 0
    assert read_image(tmp_path / 'photo_x4.png').shape == (36, 32, 3)
    assert scale_to_try({'type': 'MSRResNet'}) is None
    assert (
        scale_to_try({'type': 'SubPixelSR', 'scale': 3}) == 3 and scale_to_try({'type': 'LTE'}) == 4
    )


@pytest.fixture
def weights(tmp_path) -> Path:
    torch.manual_seed(0)
    network = {
        'type': 'LIIF',
        'encoder': {'type': 'EDSREncoder', 'num_feat': 8, 'num_block': 1},
        'hidden_list': [16],
    }
    net = LIIF(EDSREncoder(num_feat=8, num_block=1), [16])
    save_file({'params': net.state_dict(), 'network_g': network}, tmp_path / 'w.pth')
    return tmp_path / 'w.pth'


@pytest.mark.parametrize(
    'target,size',
    [
        (['--scale', '3.7'], (44, 37)),
        (['--scale', '2x3'], (36, 20)),
        (['--size', '100x120'], (120, 100)),
        (['--size', '50x'], (60, 50)),
        (['--size', '100x70', '--stretch'], (70, 100)),
        (['--scale', '0.5'], (6, 5)),
    ],
)
def test_upscale__one_file(monkeypatch, tmp_path, weights, capsys, target, size):
    write_image(tmp_path / 'a.png', photo(12, 10))
    assert (
        run_here(
            monkeypatch,
            tmp_path,
            'upscale',
            'a.png',
            '--weights',
            weights,
            *target,
            '-o',
            'b.png',
            '--precision',
            'float32',
        )
        == 0
    )
    from liif_arch import load_network

    expected = upscale(load_network(weights), photo(12, 10), size=size)
    assert np.array_equal(read_image(tmp_path / 'b.png'), expected)
    assert f'b.png  10x12 -> {size[1]}x{size[0]}' in capsys.readouterr().out


def test_upscale__precision(monkeypatch, tmp_path, weights, capsys):
    """bfloat16 where the processor has it, unless float32 is asked for; 8-bit results differ by a level at most."""
    monkeypatch.setattr('liif_arch.precision.has_bfloat16', lambda device: True)
    write_image(tmp_path / 'a.png', photo(12, 10))
    images = {}
    for precision in ('float32', 'bfloat16', None):
        flags = ['--precision', precision] if precision else []
        assert (
            run_here(
                monkeypatch,
                tmp_path,
                'upscale',
                'a.png',
                '--weights',
                weights,
                '--scale',
                4,
                '-o',
                'b.png',
                '--overwrite',
                *flags,
            )
            == 0
        )
        images[precision] = read_image(tmp_path / 'b.png').astype(int)
    assert np.array_equal(images[None], images['bfloat16'])
    assert 0 < np.abs(images['bfloat16'] - images['float32']).max() <= 2
    monkeypatch.setattr('liif_arch.precision.has_bfloat16', lambda device: False)
    capsys.readouterr()
    for precision, message in (
        ('bfloat16', 'has no instructions for; use float32, or auto'),
        ('half', "--precision: found 'half'"),
    ):
        assert (
            run_here(
                monkeypatch,
                tmp_path,
                'upscale',
                'a.png',
                '--weights',
                weights,
                '--scale',
                4,
                '-o',
                'c.png',
                '--precision',
                precision,
            )
            == 2
        )
        assert message in capsys.readouterr().err


def test_upscale__a_tif_is_streamed(monkeypatch, tmp_path, weights, capsys):
    from liif_arch import load_network
    from liif_arch.upscaling.upscale import upscale as upscaling

    write_image(tmp_path / 'a.png', photo(12, 10))
    expected = upscale(load_network(weights), photo(12, 10), scale=3)
    monkeypatch.setattr(upscaling, 'upscale', None)  # which holds the whole output
    assert (
        run_here(
            monkeypatch,
            tmp_path,
            'upscale',
            'a.png',
            '--weights',
            weights,
            '--scale',
            3,
            '-o',
            'b.tif',
            '--precision',
            'float32',
        )
        == 0
    )
    assert np.array_equal(read_image(tmp_path / 'b.tif'), expected)
    out = capsys.readouterr()
    assert 'b.tif  10x12 -> 30x36' in out.out and out.err == ''  # no terminal, no bar


@pytest.mark.parametrize('name', ['b.tif', 'b.png'])
def test_upscale__ctrl_c_leaves_nothing(monkeypatch, tmp_path, weights, capsys, name):
    def interrupt(*_):
        raise KeyboardInterrupt

    write_image(tmp_path / 'a.png', photo(12, 10))
    before = sorted(p.name for p in tmp_path.iterdir())
    monkeypatch.setattr(LIIF, 'render_window', interrupt)
    assert (
        run_here(
            monkeypatch,
            tmp_path,
            'upscale',
            'a.png',
            '--weights',
            weights,
            '--scale',
            3,
            '-o',
            name,
        )
        == 130
    )
    assert 'basicsr upscale: stopped.' in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == before


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
        (['--scale', '2', '--memory', '-1'], '--memory: found'),
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


def test_upscale__as_a_user_runs_it(tmp_path, weights):
    """A whole process: exit status, one line of error, no traceback."""
    write_image(tmp_path / 'a.png', photo(6, 6))
    assert_one_line(
        run_basicsr(
            'upscale',
            'a.png',
            '--weights',
            'nowhere.pth',
            '--scale',
            '2',
            '-o',
            'b.png',
            cwd=tmp_path,
        ),
        'nowhere.pth',
        'No such file',
    )


def test_upscale__memory_of_a_510x339_image_at_x4(tmp_path, shared):
    """The published network on a CPU stays below 2.5 GiB of resident memory."""
    write_image(tmp_path / 'a.png', photo(339, 510))
    code = (
        'import resource, sys; from liif_arch.cli import main\n'
        'assert main() == 0\nprint(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)'
    )
    result = subprocess.run(
        [
            sys.executable,
            '-c',
            code,
            'upscale',
            'a.png',
            '--scale',
            '4',
            '-o',
            'b.png',
            '--weights',
            str(shared / 'checkpoints/edsr-baseline-liif.pth'),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert int(result.stdout.split()[-1]) / 2**20 < 2.5, result.stdout  # KiB -> GiB
    assert read_image(tmp_path / 'b.png').shape == (1356, 2040, 3)


def test_check__names_everything_and_creates_nothing(monkeypatch, tmp_path, photos, capsys):
    write_options(tmp_path / 'o.yml', tiny_train(photos))
    before = sorted(p.name for p in tmp_path.iterdir())
    assert run_here(monkeypatch, tmp_path, 'check', '-opt', 'o.yml') == 0
    out = capsys.readouterr().out
    assert (
        'datasets.train: 4 images of 60x60 to 72x80 pixels (width x height), 3 channels, 0 faulty.'
        in out
    )
    for name in ('im01', 'im03'):
        (photos / f'{name}.png').write_bytes((photos / f'{name}.png').read_bytes()[:300])
    assert run_here(monkeypatch, tmp_path, 'check', '-opt', 'o.yml', '--fix-list', 'bad.txt') == 2
    captured = capsys.readouterr()
    assert 'datasets.train: 4 images' in captured.out and '2 faulty.' in captured.out
    assert {Path(p).name for p in (tmp_path / 'bad.txt').read_text().split()} == {
        'im01.png',
        'im03.png',
    }
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([*before, 'bad.txt'])


def test_check__lists_all_images_that_are_too_small(monkeypatch, tmp_path, photos, capsys):
    write_options(tmp_path / 'o.yml', tiny_train(photos, datasets__train__lq_size=16))
    assert run_here(monkeypatch, tmp_path, 'check', '-opt', 'o.yml', '--fix-list', 'bad.txt') == 2
    assert 'this image is 72x60' in capsys.readouterr().err
    assert {Path(p).name for p in (tmp_path / 'bad.txt').read_text().split()} == {
        'im00.png',
        'im02.png',
    }


def test_check__all_problems_in_one_list(monkeypatch, tmp_path, photos, capsys):
    write_options(
        tmp_path / 'o.yml',
        tiny_train(
            photos,
            train__ema_decay=2,
            datasets__train__scale_range=[4, 1],
            network_g__hiden_list=[8],
            logger__print_freq='often',
            datasets__val__dataroot_gt='nowhere',
        ),
    )
    assert run_here(monkeypatch, tmp_path, 'check', '-opt', 'o.yml', '--options_only') == 2
    error = capsys.readouterr().err
    assert 'o.yml: 5 problems:' in error and 'Traceback' not in error
    for part in (
        'train.ema_decay: found 2',
        'datasets.train.scale_range: found [4, 1]',
        'did you mean hidden_list?',
        "logger.print_freq: found 'often'",
        'datasets.val.dataroot_gt: nowhere does not exist',
    ):
        assert part in error, error


def test_check__of_a_strangers_dataset(monkeypatch, tmp_path, capsys):
    write_options(tmp_path / 'o.yml', paired_options(tmp_path))
    assert run_here(monkeypatch, tmp_path, 'check', '-opt', 'o.yml') == 0
    assert 'datasets.val: 3 images, 0 faulty.' in capsys.readouterr().out
    (tmp_path / 'plq/im02.png').write_bytes(b'x')
    assert run_here(monkeypatch, tmp_path, 'check', '-opt', 'o.yml') == 2
    assert 'plq/im02.png' in capsys.readouterr().out
