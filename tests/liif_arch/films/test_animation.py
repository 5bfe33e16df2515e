"""Animations: frames, their times and rounds, transparency, colour profile."""

import numpy as np
import profiles
import pytest
from helpers import photo, run_here
from PIL import ExifTags, Image

from liif_arch.errors import UserError
from liif_arch.films import animation
from liif_arch.films.animation import enlarge_animation
from liif_arch.films.kinds import is_animation

TIMES = [40, 120, 80]


def blocks(frame: np.ndarray) -> np.ndarray:
    return frame.repeat(2, 0).repeat(2, 1)


def save(path, mode: str = 'RGB', **options) -> list[Image.Image]:
    pictures = [np.roll(photo(20, 24), 3 * k, 1) for k in range(3)]
    frames = [Image.fromarray(picture).convert(mode) for picture in pictures]
    if mode == 'RGBA':
        for frame in frames:
            frame.putalpha(
                Image.fromarray(np.kron([[0, 255], [255, 255]], np.ones((10, 12))).astype('u1'))
            )
    if path.suffix == '.webp':
        options = {'lossless': True, 'exact': True, **options}
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=TIMES, loop=4, **options)
    return frames


def shown(path) -> tuple[list[np.ndarray], list[int], int]:
    """A file's frames as RGBA, their times, and how often it is shown."""
    frames, times = [], []
    with Image.open(path) as image:
        for number in range(image.n_frames):
            image.seek(number)
            frames.append(np.asarray(image.convert('RGBA')))
            times.append(round(image.info['duration']))
        # GIF counts the repetitions, the others the rounds.
        return frames, times, image.info['loop'] + (image.format == 'GIF')


@pytest.mark.parametrize('result', ['.png', '.webp', '.gif'])
@pytest.mark.parametrize('source', ['.png', '.webp', '.gif'])
@pytest.mark.parametrize('mode', ['RGB', 'RGBA'])
def test_animation__keeps_frames_and_times(tmp_path, source, result, mode):
    save(tmp_path / f'a{source}', mode)
    told = []
    done = enlarge_animation(
        tmp_path / f'a{source}',
        tmp_path / f'b{result}',
        blocks,
        progress=lambda *figures: told.append(figures),
    )
    assert (done.source, done.result, done.frames) == ((20, 24), (40, 48), 3)
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]
    before, after = shown(tmp_path / f'a{source}'), shown(tmp_path / f'b{result}')
    assert after[1:] == before[1:] and after[1] == TIMES
    for old, new in zip(before[0], after[0], strict=True):
        expected = blocks(old)
        visible = expected[..., 3] > 0
        assert np.array_equal(new[..., 3] > 0, visible)
        difference = np.abs(new.astype(int) - expected)[visible]
        if result == '.gif':
            assert difference.mean() < 20  # 256 colours
        else:
            assert not difference.any()


def test_animation__keeps_its_profile(tmp_path):
    save(tmp_path / 'a.webp', icc_profile=profiles.adobe_rgb())
    enlarge_animation(tmp_path / 'a.webp', tmp_path / 'b.png', blocks)
    with Image.open(tmp_path / 'b.png') as image:
        assert image.info['icc_profile'] == profiles.adobe_rgb()


@pytest.mark.parametrize('result', ['.png', '.webp', '.gif'])
def test_animation__is_upright_and_keeps_what_it_says(tmp_path, result):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.Artist] = 'Zoe'
    exif[ExifTags.Base.XResolution] = exif[ExifTags.Base.YResolution] = 300
    save(tmp_path / 'a.webp', exif=exif)
    done = enlarge_animation(tmp_path / 'a.webp', tmp_path / f'b{result}', blocks)
    assert (done.source, done.result) == ((24, 20), (48, 40))
    before, after = shown(tmp_path / 'a.webp')[0], shown(tmp_path / f'b{result}')[0]
    if result == '.gif':
        assert done.notes == ('not kept: EXIF, dpi',)
        return
    assert np.array_equal(after[1], blocks(np.rot90(before[1], -1))) and done.notes == ()
    with Image.open(tmp_path / f'b{result}') as image:
        kept = image.getexif()
    assert kept[ExifTags.Base.Artist] == 'Zoe' and ExifTags.Base.Orientation not in kept
    assert kept[ExifTags.Base.XResolution] == 300


def test_animation__gif_keeps_what_is_more_than_half_opaque(tmp_path):
    alpha = np.tile(np.arange(0, 256, 8, dtype=np.uint8), (8, 1))
    frames = [Image.fromarray(np.dstack([photo(8, 32, k), alpha])) for k in range(2)]
    options = {'lossless': True, 'exact': True, 'save_all': True}
    frames[0].save(tmp_path / 'a.webp', append_images=frames[1:], **options)
    enlarge_animation(tmp_path / 'a.webp', tmp_path / 'b.gif', blocks)
    for frame in shown(tmp_path / 'b.gif')[0]:
        assert np.array_equal(frame[..., 3] > 0, blocks(alpha[..., None])[..., 0] >= 128)


def test_animation__of_16_bits_says_what_it_lost(tmp_path):
    save(tmp_path / 'a.png')
    data = bytearray((tmp_path / 'a.png').read_bytes())
    assert enlarge_animation(tmp_path / 'a.png', tmp_path / 'b.png', blocks).notes == ()
    with Image.open(tmp_path / 'a.png') as image:
        data[24] = 16
        assert animation._said(image, bytes(data))[1].notes == ('16 bits became 8',)


def test_animation__gif_times_are_hundredths_that_do_not_drift(tmp_path):
    frames = [Image.fromarray(np.roll(photo(8, 8), k, 1)) for k in range(9)]
    options = {'duration': [33] * 9, 'save_all': True, 'lossless': True}
    frames[0].save(tmp_path / 'a.webp', append_images=frames[1:], **options)
    enlarge_animation(tmp_path / 'a.webp', tmp_path / 'b.gif', blocks)
    _, times, _ = shown(tmp_path / 'b.gif')
    assert sum(times) == 300 and set(times) == {30, 40}


def test_animation__quality(tmp_path):
    save(tmp_path / 'a.png')
    sizes = []
    for quality in (5, 95):
        enlarge_animation(tmp_path / 'a.png', tmp_path / 'b.webp', blocks, quality)
        sizes.append((tmp_path / 'b.webp').stat().st_size)
    assert sizes[0] < sizes[1]
    with pytest.raises(UserError, match=r'quality is of \.webp'):
        enlarge_animation(tmp_path / 'a.png', tmp_path / 'c.gif', blocks, 50)
    assert not (tmp_path / 'c.gif').exists()


def test_animation__damaged(tmp_path):
    save(tmp_path / 'a.gif')
    whole = (tmp_path / 'a.gif').read_bytes()
    (tmp_path / 'a.gif').write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r'a\.gif: not a readable image'):
        enlarge_animation(tmp_path / 'a.gif', tmp_path / 'b.png', blocks)
    assert not (tmp_path / 'b.png').exists()


def test_is_animation__several_frames_make_one(tmp_path):
    for suffix in ('.png', '.webp', '.gif'):
        save(tmp_path / f'a{suffix}')
        Image.fromarray(photo(8, 8)).save(tmp_path / f'still{suffix}')
        assert is_animation(tmp_path / f'a{suffix}') and not is_animation(
            tmp_path / f'still{suffix}'
        )
    (tmp_path / 'no.gif').write_bytes(b'GIF89a')
    assert not is_animation(tmp_path / 'no.gif') and not is_animation(tmp_path / 'missing.png')


def test_animation__at_the_command(monkeypatch, tmp_path, weights, capsys):
    save(tmp_path / 'a.gif')
    flags = ('--weights', weights, '--scale', 2)
    assert run_here(monkeypatch, tmp_path, 'upscale', 'a.gif', *flags) == 0
    assert capsys.readouterr().out.startswith(
        'a_x2.png  24x20 -> 48x40 (width x height); 3 frame(s)'
    )
    frames, times, rounds = shown(tmp_path / 'a_x2.png')
    assert len(frames) == 3 and frames[0].shape[:2] == (40, 48) and (times, rounds) == (TIMES, 5)


@pytest.mark.parametrize('result', ['.png', '.webp', '.gif'])
def test_animation__that_is_shown_once(tmp_path, result):
    """A GIF that does not say how often."""
    frames = [Image.fromarray(photo(8, 8)), Image.fromarray(photo(8, 8)[::-1])]
    frames[0].save(tmp_path / 'a.gif', save_all=True, append_images=frames[1:], duration=50)
    enlarge_animation(tmp_path / 'a.gif', tmp_path / f'b{result}', blocks)
    with Image.open(tmp_path / f'b{result}') as image:
        assert image.info.get('loop') == (None if result == '.gif' else 1)


def test_animation__a_still_for_other_programs_is_no_frame(tmp_path):
    frames = [Image.fromarray(np.full((8, 8, 3), k, np.uint8)) for k in (9, 50, 100, 150)]
    options = {'default_image': True, 'duration': [50] * 3}
    frames[0].save(tmp_path / 'a.png', save_all=True, append_images=frames[1:], **options)
    done = enlarge_animation(tmp_path / 'a.png', tmp_path / 'b.png', blocks)
    assert done.frames == 3
    with Image.open(tmp_path / 'b.png') as image:
        assert image.n_frames == 3 and image.convert('RGB').getpixel((0, 0)) == (50, 50, 50)


def test_animation__times_do_not_drift(tmp_path):
    frames = [Image.fromarray(np.full((4, 4, 3), k, np.uint8)) for k in range(61)]
    options = {'duration': [100 / 3] * 61, 'save_all': True}
    frames[0].save(tmp_path / 'a.png', append_images=frames[1:], **options)
    enlarge_animation(tmp_path / 'a.png', tmp_path / 'b.png', blocks)
    lengths = []
    for name in 'ab':
        with Image.open(tmp_path / f'{name}.png') as image:
            times = []
            for number in range(61):
                image.seek(number)
                times.append(image.info['duration'])
            lengths.append(sum(times))
    assert lengths[1] == pytest.approx(lengths[0], abs=1)


def test_animation__what_the_network_raises_is_no_damage(tmp_path):
    save(tmp_path / 'a.gif')

    def fail(frame):
        raise RuntimeError('a fault')

    with pytest.raises(RuntimeError, match='a fault'):
        enlarge_animation(tmp_path / 'a.gif', tmp_path / 'b.png', fail)


def test_animation__quality_is_refused_before_the_work(tmp_path):
    save(tmp_path / 'a.png')
    with pytest.raises(UserError, match='quality'):
        enlarge_animation(tmp_path / 'a.png', tmp_path / 'b.gif', None, 50)
