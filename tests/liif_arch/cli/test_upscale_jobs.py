"""Which images are done, where results go, and what is said about the rest."""

import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
from helpers import write_photos
from PIL import Image

from liif_arch.cli.upscale_jobs import plan
from liif_arch.errors import UserError


@pytest.fixture
def tree(tmp_path, monkeypatch) -> Path:
    """in/{a,b}.png, in/x/{a,c}.png, in/x/y/d.png, and files of other kinds."""
    for folder, names in (('in', 'ab'), ('in/x', 'ac'), ('in/x/y', 'd')):
        write_photos(tmp_path / folder, [(4, 4)] * len(names), list(names))
    for name in ('notes.txt', '.hidden', 'x/clip.doc'):
        (tmp_path / 'in' / name).write_text('')
    monkeypatch.chdir(tmp_path)
    return tmp_path


def targets(*arguments, **flags) -> list[str]:
    return [str(job.result) for job in plan(*arguments, **flags).jobs]


def test_plan__says_what_it_leaves_out(tree):
    found = plan(['in'], 'out/')
    assert [str(job.source) for job in found.jobs] == ['in/a.png', 'in/b.png']
    assert found.notes == [
        'in: 1 subfolder not entered; --recursive does.',
        'in: 1 file left out, of a kind that is not read here: notes.txt.',
    ]


def test_plan__recursive_keeps_the_tree(tree):
    assert sorted(targets(['in'], 'out/', recursive=True)) == [
        'out/a.png',
        'out/b.png',
        'out/x/a.png',
        'out/x/c.png',
        'out/x/y/d.png',
    ]
    assert sorted(targets(['in'], None, '_x2', recursive=True)) == [
        'a_x2.png',
        'b_x2.png',
        'x/a_x2.png',
        'x/c_x2.png',
        'x/y/d_x2.png',
    ]
    assert plan(['in'], 'out/', recursive=True).notes == [
        'in: 2 files left out, of a kind that is not read here: notes.txt, x/clip.doc.'
    ]


def test_plan__recursive_does_not_read_its_own_results(tree):
    write_photos(tree / 'in/out', [(4, 4)], ['a'])
    assert 'in/out/a.png' not in [
        str(job.source) for job in plan(['in'], 'in/out', recursive=True, overwrite=True).jobs
    ]


def test_plan__recursive_follows_links_once(tree):
    (tree / 'in/x/loop').symlink_to(tree / 'in')
    write_photos(tree / 'far', [(4, 4)], ['e'])
    (tree / 'in/link').symlink_to(tree / 'far')
    assert sorted(targets(['in'], 'out', recursive=True)) == [
        'out/a.png',
        'out/b.png',
        'out/link/e.png',
        'out/x/a.png',
        'out/x/c.png',
        'out/x/y/d.png',
    ]


def test_plan__a_stopped_batch_goes_on(tree):
    write_photos(tree / 'out', [(4, 4)], ['a'])
    found = plan(['in'], 'out')
    assert [str(job.result) for job in found.jobs] == ['out/b.png']
    assert [str(job.result) for job in found.done] == ['out/a.png']
    assert (
        found.notes[-1]
        == '1 of 2 results exist and were skipped (out/a.png); --overwrite replaces them.'
    )
    assert targets(['in'], 'out', overwrite=True) == ['out/a.png', 'out/b.png']


@pytest.mark.parametrize('output', ['out/a.png', 'out', 'out/', None])
def test_plan__a_single_result_that_exists_is_refused(tree, output):
    write_photos(tree / 'out', [(4, 4)], ['a'])
    write_photos(tree, [(4, 4)], ['a_x2'])
    with pytest.raises(UserError, match=r'-o: .*a(_x2)?.png exists; .*--overwrite'):
        plan(['in/a.png'], output, '_x2')
    assert len(plan(['in/a.png'], output, '_x2', overwrite=True).jobs) == 1


@pytest.mark.parametrize(
    'inputs,output,part',
    [
        (['in/a.png', 'in/x/a.png'], 'out', 'would both become out/a_png.png'),
        (['in/a.png'], 'in/a.png', 'is the input itself'),
        (['in'], 'in', 'is the input itself'),
        (['in/a.png'], 'nowhere', 'no such folder, and an image file ends with.*write nowhere/'),
        (['in/a.png'], 'new.png/', 'named like one; a name that ends with /'),
        (['in'], 'c.png', 'named like one; several images need'),
        (['inn'], 'out', 'did you mean in'),
        (['in/aa.png'], 'out', r'did you mean a.png'),
        (['in/x/y/z'], 'out', 'does not exist'),
    ],
)
def test_plan__refuses(tree, inputs, output, part):
    with pytest.raises(UserError, match=part):
        plan(inputs, output, overwrite=True)


def test_plan__a_target_that_is_another_input(monkeypatch, tmp_path):
    write_photos(tmp_path, [(4, 4)] * 2, ['a', 'a_x2'])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        UserError, match=r'a_x2.png is an input, and the target of a.png.*-o FOLDER/'
    ):
        plan(['.'], None, '_x2', overwrite=True)


def test_plan__a_folder_that_holds_its_own_results_goes_on(monkeypatch, tmp_path):
    write_photos(tmp_path, [(4, 4)] * 3, ['a', 'b', 'a_x2'])
    (tmp_path / 'b.jpg').write_bytes((tmp_path / 'b.png').read_bytes())
    monkeypatch.chdir(tmp_path)
    found = plan(['.'], None, '_x2')
    assert [str(job.result) for job in found.jobs] == ['b_x2_jpg.png', 'b_x2_png.png']
    assert found.notes == [
        '1 images of these folders are results of others and were left alone (a_x2.png).',
        '1 of 3 results exist and were skipped (a_x2.png); --overwrite replaces them.',
    ]
    for job in found.jobs:
        write_photos(tmp_path, [(4, 4)], [job.result.stem])
    assert plan(['.'], None, '_x2').jobs == []
    with pytest.raises(UserError, match=r'a_x2.png is an input, and the target of a.png'):
        plan(['a.png', 'a_x2.png'], None, '_x2')  # both are meant


def test_plan__names_that_no_file_can_have(tree):
    name = f'{"ä" * 120}.png'  # 244 bytes
    write_photos(tree, [(4, 4)], [name[:-4]])
    assert targets([name], None, '_x2') == [f'{"ä" * 120}_x2.png']
    with pytest.raises(UserError, match='a name of 256 bytes; 255 are allowed'):
        plan([name], None, '_longest2048')


def test_plan__links_to_nothing_are_left_out(tree):
    (tree / 'in/gone.png').symlink_to(tree / 'nowhere.png')
    found = plan(['in'], 'out/')
    assert [job.source.name for job in found.jobs] == ['a.png', 'b.png']
    assert 'in: 1 name left out, behind which is no file: gone.png.' in found.notes
    with pytest.raises(UserError, match='gone.png does not exist'):
        plan(['in/gone.png'], 'out/')


def test_plan__a_pipe_is_refused(tree):
    os.mkfifo(tree / 'pipe')
    with pytest.raises(UserError, match='pipe: is no file or folder; - reads standard input'):
        plan(['pipe'], 'out/')


def test_plan__a_folder_without_images_names_its_subfolders(tmp_path):
    write_photos(tmp_path / 'in/x', [(4, 4)], ['a'])
    with pytest.raises(
        UserError, match=r'no images in this folder .*1 subfolder not entered; --recursive'
    ):
        plan([str(tmp_path / 'in')], None)


def test_plan__a_single_result_that_exists_is_skipped_when_asked(tree):
    write_photos(tree / 'out', [(4, 4)], ['a'])
    found = plan(['in/a.png'], 'out/a.png', skip_existing=True)
    assert not found.jobs and str(found.done[0].result) == 'out/a.png'


def test_plan__names_and_formats_are_as_asked(tree):
    assert targets(['in'], None, '_x2') == ['a_x2.png', 'b_x2.png']
    assert targets(['in'], None, '_x2', suffix='_big') == ['a_big.png', 'b_big.png']
    assert targets(['in'], 'out', '_x2', suffix='_big') == ['out/a_big.png', 'out/b_big.png']
    assert targets(['in'], 'out', kind='JPG') == ['out/a.jpg', 'out/b.jpg']
    assert targets(['in/a.png'], None, '_x2', suffix='', kind='.webp') == ['a.webp']


@pytest.mark.parametrize(
    'flags,part',
    [
        ({'kind': 'xcf'}, '--format: found xcf; needed one of png, jpg'),
        ({'kind': 'heic'}, '--format: found heic'),
        ({'suffix': 'a/b'}, '--suffix: found'),
    ],
)
def test_plan__refuses_names(tree, flags, part):
    with pytest.raises(UserError, match=part):
        plan(['in'], 'out', **flags)


def test_plan__content_names_the_result(tree):
    """Not the name of the source."""
    (tree / 'scan.jpg').write_bytes(b'II*\0' + bytes(20))
    (tree / 'photo.tif').write_bytes((tree / 'in/a.png').read_bytes())
    assert targets(['scan.jpg', 'photo.tif'], 'out') == ['out/scan.tif', 'out/photo.png']


def test_plan__pages_are_results_of_their_own(tree):
    with tifffile.TiffWriter(tree / 'scan.tif') as file:
        for _ in range(10):
            file.write(np.zeros((4, 5), np.uint8), metadata=None)
    found = plan(['scan.tif'], None, '_x2')
    assert [job.page for job in found.jobs] == list(range(10))
    assert [str(job.result) for job in found.jobs][::9] == ['scan_x2_01.tif', 'scan_x2_10.tif']
    (tree / 'scan_x2_03.tif').write_text('')
    assert len(plan(['scan.tif'], None, '_x2').jobs) == 9  # a stopped one goes on
    with pytest.raises(UserError, match=r'has 10 pages.*name a folder \(-o big/\)'):
        plan(['scan.tif'], 'big.tif')


def test_plan__standard_input_and_output(tree):
    assert targets(['-'], None) == targets(['in/a.png'], '-') == ['-']
    assert targets(['-'], 'out/') == ['out/stdin.png']
    for inputs in (['in'], ['in/a.png', 'in/b.png']):
        with pytest.raises(UserError, match='-o: found - for more than one picture'):
            plan(inputs, '-')
    with pytest.raises(UserError, match='--suffix: found it beside -o -'):
        plan(['in/a.png'], '-', suffix='_large')


def test_plan__films_and_animations(tree):
    frames = [Image.fromarray(np.full((8, 9), k, np.uint8)) for k in (0, 99)]
    frames[0].save(tree / 'a.gif', save_all=True, append_images=frames[1:])
    frames[0].save(tree / 'still.gif')
    for name in ('clip.mp4', 'old.avi'):
        (tree / name).write_text('')
    found = plan(['a.gif', 'still.gif', 'clip.mp4', 'old.avi'], None, '_x2')
    assert [(str(job.result), job.moves) for job in found.jobs] == [
        ('a_x2.png', True),
        ('still_x2.png', False),
        ('clip_x2.mp4', True),
        ('old_x2.mp4', True),
    ]
    assert targets(['clip.mp4'], 'b.webm') == ['b.webm']
    with pytest.raises(UserError, match=r'a film or animation ends with one of \.mp4'):
        plan(['clip.mp4'], 'b.tif')
    with pytest.raises(UserError, match='an image file ends with one of'):
        plan(['still.gif'], 'b.mp4')


def test_plan__one_name_in_two_formats(tree):
    (tree / 'in/a.jpg').write_bytes((tree / 'in/a.png').read_bytes())
    assert targets(['in'], 'out') == ['out/a_jpg.png', 'out/a_png.png', 'out/b.png']


def test_plan__a_name_says_all(tree):
    for flags, flag in (({'kind': 'png'}, '--format'), ({'suffix': '_x'}, '--suffix')):
        with pytest.raises(UserError, match=f'{flag}: found it beside -o c.png'):
            plan(['in/a.png'], 'c.png', **flags)


def test_plan__a_format_that_cannot_hold_all_is_told(tree):
    frames = [Image.fromarray(np.full((8, 9), k, np.uint8)) for k in (0, 99)]
    frames[0].save(tree / 'in/m.webp', save_all=True, append_images=frames[1:])
    found = plan(['in'], 'out', kind='jpg')
    assert [str(job.result) for job in found.jobs] == ['out/a.jpg', 'out/b.jpg', 'out/m.png']
    assert '--format: .jpg cannot hold 1 of 3 results' in found.notes[-1]


def test_plan__a_film_is_one_by_its_content_too(tree):
    (tree / 'clip.mp4').write_bytes((tree / 'in/a.png').read_bytes())
    [job] = plan(['clip.mp4'], None).jobs
    assert not job.moves and str(job.result) == 'clip.png'
