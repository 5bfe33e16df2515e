"""The command as a user meets it: help, listing, unknown words, upscaling."""

import os
import resource
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers import (
    paired_options,
    photo,
    run_here,
    tiny_train,
    write_options,
)

from liif_arch import read_image, write_image
from liif_arch.cli.options import listing
from liif_arch.cli.train import scale_to_try
from liif_arch.config.files import shipped_options
from liif_arch.errors import exit_status
from liif_arch.training.checkpoints import load_file


def seconds_of_children() -> float:
    """Time of a processor that this process's children have taken until they ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


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
    times = []  # of the processor: how long it takes depends on what else runs on this machine
    for _ in range(3):
        start = seconds_of_children()
        result = subprocess.run(
            [sys.executable, '-c', code, *arguments], cwd=tmp_path, capture_output=True, text=True
        )
        times.append(seconds_of_children() - start)
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
    shipped = shipped_options()['quickstart']
    line = f'-opt options/quickstart.yml: not here; using the one that ships ({shipped})\n'
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
    """The command that is printed works; a network for one scale has none, a sub-pixel tail its own
    scale.
    """
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


def test_check__a_list_that_cannot_be_written_is_said_before_the_work(
    monkeypatch, tmp_path, photos, capsys
):
    write_options(tmp_path / 'o.yml', tiny_train(photos))
    flags = ('-opt', 'o.yml', '--fix-list', 'no/bad.txt')
    assert run_here(monkeypatch, tmp_path, 'check', *flags) == 2
    captured = capsys.readouterr()
    assert '--fix-list: no/bad.txt cannot be written' in captured.err and not captured.out


def test_check__two_sets_of_one_name(monkeypatch, tmp_path, photos, capsys):
    """The figures of one would replace the other's."""
    options = tiny_train(photos)
    options['datasets']['val_2'] = {**options['datasets']['val'], 'scales': [3]}
    write_options(tmp_path / 'o.yml', options)
    assert run_here(monkeypatch, tmp_path, 'check', '-opt', 'o.yml') == 2
    error = capsys.readouterr().err
    assert 'datasets.val_2.name: found v, the name of datasets.val; needed another' in error


def test_options__an_unknown_name_is_called_so(monkeypatch, tmp_path, capsys):
    assert run_here(monkeypatch, tmp_path, 'options', 'quickstrat') == 2
    assert 'NAME: found quickstrat' in capsys.readouterr().err


def test_convert__a_file_where_a_folder_is_needed(monkeypatch, tmp_path, capsys):
    (tmp_path / 'file').write_text('')
    assert run_here(monkeypatch, tmp_path, 'convert', 'liif', 'file/x.pth') == 2
    assert 'file/x.pth: cannot write here' in capsys.readouterr().err


def test_check__lists_all_images_that_are_too_small(monkeypatch, tmp_path, photos, capsys):
    write_options(tmp_path / 'o.yml', tiny_train(photos, datasets__train__lq_size=16))
    assert run_here(monkeypatch, tmp_path, 'check', '-opt', 'o.yml', '--fix-list', 'bad.txt') == 2
    assert 'this image is 72x60' in capsys.readouterr().err
    assert {Path(p).name for p in (tmp_path / 'bad.txt').read_text().split()} == {
        'im00.png',
        'im02.png',
    }


def test_check__lists_faulty_images_beside_one_that_stops_the_dataset(
    monkeypatch, tmp_path, photos, capsys
):
    write_options(tmp_path / 'o.yml', tiny_train(photos))
    (photos / 'fake.png').write_bytes(b'no')
    (photos / 'im01.png').write_bytes((photos / 'im01.png').read_bytes()[:300])
    assert run_here(monkeypatch, tmp_path, 'check', '-opt', 'o.yml', '--fix-list', 'bad.txt') == 2
    assert 'datasets.train: 5 images' in capsys.readouterr().out
    listed = [Path(p).name for p in (tmp_path / 'bad.txt').read_text().split()]
    assert sorted(set(listed)) == ['fake.png', 'im01.png']


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


def test_check__shows_samples(monkeypatch, tmp_path, photos, capsys):
    opt = tiny_train(photos, datasets__train__degradation='photo')
    write_options(tmp_path / 'o.yml', opt)
    flags = ['--options_only', '--show', '5']
    assert run_here(monkeypatch, tmp_path, 'check', '-opt', 'o.yml', *flags) == 0
    out = capsys.readouterr().out
    for phase in ('train', 'val'):
        assert f'datasets.{phase}: 5 samples in tiny_{phase}.png' in out
        sheet = read_image(tmp_path / f'tiny_{phase}.png')
        assert sheet.shape[1] > 1000 and sheet.std() > 20
    assert run_here(monkeypatch, tmp_path, 'check', '-opt', 'o.yml', '--show', '0') == 2
    assert '--show: found 0; needed a number of samples' in capsys.readouterr().err


def test_check__shows_nothing_of_a_strangers_dataset(monkeypatch, tmp_path, capsys):
    write_options(tmp_path / 'o.yml', paired_options(tmp_path))
    assert run_here(monkeypatch, tmp_path, 'check', '-opt', 'o.yml', '--show', '2') == 0
    assert 'PairedImageDataset has no pairs to show' in capsys.readouterr().out


def test_check__of_a_strangers_dataset(monkeypatch, tmp_path, capsys):
    write_options(tmp_path / 'o.yml', paired_options(tmp_path))
    assert run_here(monkeypatch, tmp_path, 'check', '-opt', 'o.yml') == 0
    assert 'datasets.val: 3 images, 0 faulty.' in capsys.readouterr().out
    (tmp_path / 'plq/im02.png').write_bytes(b'x')
    assert run_here(monkeypatch, tmp_path, 'check', '-opt', 'o.yml') == 2
    assert 'plq/im02.png' in capsys.readouterr().out
