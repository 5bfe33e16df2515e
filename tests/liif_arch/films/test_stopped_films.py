"""Films that were stopped: what goes on, what is used again, what is left."""

import numpy as np
import pytest

av = pytest.importorskip('av')

from films import double, frames_of, make_film, repeated, sound_of  # noqa: E402
from helpers import run_here  # noqa: E402
from tiny_weights import write_tiny  # noqa: E402

from liif_arch.films import video  # noqa: E402
from liif_arch.films.frames import Done  # noqa: E402
from liif_arch.films.video import enlarge_film  # noqa: E402


def test_film__that_was_stopped_goes_on(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(video, 'PART_SECONDS', 0.4)  # 10 frames and one
    source, result = tmp_path / 'a.mp4', tmp_path / 'b.mp4'
    make_film(source, frames=50, times=[k + k // 7 for k in range(50)])
    double(source, tmp_path / 'whole.mp4')
    whole = frames_of(tmp_path / 'whole.mp4')
    enlarged = []

    def stops_after(count):
        def enlarge_to(size):
            def enlarge(frame):
                enlarged.append(1)
                if len(enlarged) > count:
                    raise KeyboardInterrupt
                return repeated(size)(frame)

            return enlarge

        return enlarge_to

    larger = (source, result, lambda s: (72, 128))
    with pytest.raises(KeyboardInterrupt):
        enlarge_film(*larger, stops_after(3))
    assert not result.exists() and len(list(tmp_path.iterdir())) == 2  # nothing was worth keeping
    enlarged.clear()
    with pytest.raises(KeyboardInterrupt):
        enlarge_film(*larger, stops_after(33))
    kept = int(capsys.readouterr().err.split('b.mp4: ')[1].split()[0])
    assert 20 <= kept <= 33 and not result.exists()
    enlarged.clear()
    told = []
    done = enlarge_film(*larger, stops_after(100), progress=lambda *figures: told.append(figures))
    assert done.frames == 50 and len(enlarged) == done.made == 50 - kept
    assert told[0] == (kept, 50) and told[-1] == (50, 50)
    after = frames_of(result)
    assert [frame.time for frame in after] == [frame.time for frame in whole]
    for one, other in zip(whole, after, strict=True):
        assert np.array_equal(one.to_ndarray(), other.to_ndarray())
    assert sound_of(result) == sound_of(source)
    assert not list(tmp_path.glob('.*'))


def test_film__parts_of_other_settings_are_not_used(tmp_path, monkeypatch):
    monkeypatch.setattr(video, 'PART_SECONDS', 0.2)
    make_film(tmp_path / 'a.mp4')
    frames = []

    def stop(size):
        def enlarge(frame):
            frames.append(1)
            if len(frames) == 20:
                raise KeyboardInterrupt
            return repeated(size)(frame)

        return enlarge

    with pytest.raises(KeyboardInterrupt):
        enlarge_film(tmp_path / 'a.mp4', tmp_path / 'b.mp4', lambda s: (72, 128), stop, 'fast')
    told = []
    double(
        tmp_path / 'a.mp4', tmp_path / 'b.mp4', settings='photo', progress=lambda *f: told.append(f)
    )
    assert told[0] == (0, 30)


def test_film__parts_of_other_weights_in_the_same_file_are_not_used(tmp_path, monkeypatch):
    """The film would be of two networks."""
    kept = []
    monkeypatch.setattr(
        'liif_arch.films.video.enlarge_film',
        lambda source, result, size_of, enlarge_to, settings, *more: (
            kept.append(settings) or Done((1, 1), (1, 1), 0, 0)
        ),
    )
    make_film(tmp_path / 'a.mp4', frames=3)
    for seed in (0, 0, 1):
        write_tiny(tmp_path / 'w.pth', seed=seed)
        flags = ('--weights', 'w.pth', '--scale', 2, '--overwrite')
        assert run_here(monkeypatch, tmp_path, 'upscale', 'a.mp4', *flags) == 0
    assert kept[0] == kept[1] != kept[2]


@pytest.mark.parametrize(
    'suffix,codec,options',
    [
        ('.ts', 'libx264', {'bf': '3'}),
        ('.avi', 'mpeg4', {'bf': '2'}),
        ('.mpg', 'mpeg2video', {'bf': '2'}),
        ('.mp4', 'libx264', {'bf': '3', 'x264-params': 'open-gop=1:keyint=8'}),
    ],
)
def test_film__stopped_goes_on_with_every_frame(tmp_path, monkeypatch, suffix, codec, options):
    """In formats in which a jump finds other frames than one asked for."""
    monkeypatch.setattr(video, 'PART_SECONDS', 0.3)
    source, result = tmp_path / f'a{suffix}', tmp_path / 'b.mkv'
    make_film(source, frames=40, codec=codec, sound='mp2', options=options)
    double(source, tmp_path / 'whole.mkv')
    frames = []

    def stop(size):
        def enlarge(frame):
            frames.append(1)
            if len(frames) == 25:
                raise KeyboardInterrupt
            return repeated(size)(frame)

        return enlarge

    with pytest.raises(KeyboardInterrupt):
        enlarge_film(source, result, lambda s: (2 * s[0], 2 * s[1]), stop)
    done = double(source, result)
    whole, after = frames_of(tmp_path / 'whole.mkv'), frames_of(result)
    assert done.frames == len(whole) == len(after) == 40
    assert [frame.time for frame in after] == [frame.time for frame in whole]
    assert all(
        np.array_equal(one.to_ndarray(), other.to_ndarray())
        for one, other in zip(whole, after, strict=True)
    )


def test_film__parts_of_other_settings_go_in_the_end(tmp_path, monkeypatch):
    make_film(tmp_path / 'a.mp4', frames=5)
    (tmp_path / '.b.mp4.0123456789ab.parts').mkdir()
    double(tmp_path / 'a.mp4', tmp_path / 'b.mp4')
    assert sorted(path.name for path in tmp_path.iterdir()) == ['a.mp4', 'b.mp4']


def test_film__a_stop_at_the_very_end_leaves_nothing_beside(tmp_path, monkeypatch, capsys):
    """Between the result and the end of the command."""
    make_film(tmp_path / 'a.mp4', frames=5)

    def late(*arguments):
        join(*arguments)
        raise KeyboardInterrupt

    join = video.join
    monkeypatch.setattr(video, 'join', late)
    with pytest.raises(KeyboardInterrupt):
        double(tmp_path / 'a.mp4', tmp_path / 'b.mp4')
    assert sorted(path.name for path in tmp_path.iterdir()) == ['a.mp4', 'b.mp4']
    assert 'goes on' not in capsys.readouterr().err
