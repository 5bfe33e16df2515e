"""Films: frames, times, sound and colours before and after."""

from fractions import Fraction

import cv2
import numpy as np
import pytest
from PIL import Image

av = pytest.importorskip('av')

from films import double, frames_of, make_film, repeated, sound_of  # noqa: E402
from helpers import run_here  # noqa: E402

from liif_arch import load_network, upscale  # noqa: E402
from liif_arch.errors import UserError  # noqa: E402
from liif_arch.films import video  # noqa: E402
from liif_arch.films.colour import as_pixels, frame_colour  # noqa: E402
from liif_arch.films.video import enlarge_film  # noqa: E402

KINDS = {
    'telephone': ('.mp4', {}),
    'deep': ('.mkv', {'pixels': 'yuv420p10le', 'codec': 'libx265'}),
    'deep and wide': ('.mov', {'pixels': 'yuv422p10le'}),
    'all colours': ('.mkv', {'pixels': 'yuv444p'}),
    'web': ('.webm', {'codec': 'libvpx-vp9', 'sound': 'libopus'}),
    'full range': ('.mkv', {'pixels': 'yuvj420p', 'codec': 'mjpeg'}),
    'BT.709': ('.mp4', {'marks': {'colorspace': 1, 'color_primaries': 1, 'color_trc': 1}}),
    'RGB': ('.mkv', {'pixels': 'bgr0', 'codec': 'ffv1', 'sound': None}),
    'uneven times': ('.mp4', {'times': [k + k // 3 for k in range(30)]}),
}


@pytest.mark.parametrize('kind', KINDS)
def test_film__keeps_frames_times_sound_and_colours(tmp_path, kind):
    suffix, options = KINDS[kind]
    source, result = tmp_path / f'a{suffix}', tmp_path / f'b{suffix}'
    make_film(source, **options)
    done = double(source, result, quality=95)
    assert (done.source, done.result, done.frames) == ((36, 64), (72, 128), 30)
    before, after = frames_of(source), frames_of(result)
    assert [frame.time for frame in after] == [frame.time for frame in before]
    first, colour = before[0], frame_colour(before[0])
    assert after[0].format.name == colour.written.replace(
        'yuv420p', 'yuvj420p' if colour.full_range else 'yuv420p', 1
    )
    assert after[0].colorspace == (first.colorspace if kind == 'BT.709' else 6)
    assert (after[0].color_range == 2) == (first.color_range == 2 or kind == 'full range')
    for old, new in zip(before, after, strict=True):
        expected = repeated((72, 128))(as_pixels(old, colour)).astype(float)
        found = as_pixels(new, frame_colour(new)).astype(float)
        top = 65535 if colour.depth == 10 else 255
        assert np.abs(found - expected).mean() < 0.02 * top
        assert abs((found - expected).mean()) < 0.004 * top  # no shift of brightness
    if options.get('sound', 'aac') is not None:
        assert sound_of(result) == sound_of(source)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([source.name, result.name])


def test_film__without_loss_the_frames_are_the_networks(tmp_path, weights):
    """Frame k of the film is `upscale` of frame k."""
    source, result = tmp_path / 'a.mkv', tmp_path / 'b.mkv'
    make_film(source, frames=5, pixels='yuv444p')
    net = load_network(weights)

    def enlarge(size):
        return lambda frame: upscale(net, frame, size=size)

    enlarge_film(source, result, lambda size: (54, 96), enlarge, quality=100)
    colour = frame_colour(frames_of(source)[0])
    for old, new in zip(frames_of(source), frames_of(result), strict=True):
        expected = upscale(net, as_pixels(old, colour), size=(54, 96))
        difference = np.abs(as_pixels(new, colour).astype(int) - expected)
        assert difference.max() <= 3  # YUV of 8 bits and back


def test_film__a_telephones_is_upright(tmp_path):
    make_film(tmp_path / 'a.mp4', frames=3, rotation=90)
    first = frames_of(tmp_path / 'a.mp4')[0]
    assert first.rotation == 90 and first.width == 64
    done = double(tmp_path / 'a.mp4', tmp_path / 'b.mp4')
    assert (done.source, done.result) == ((64, 36), (128, 72))
    after = frames_of(tmp_path / 'b.mp4')[0]
    assert (after.width, after.height, after.rotation) == (72, 128, 0)
    film = cv2.VideoCapture(str(tmp_path / 'a.mp4'))  # which turns frames as players do
    _, shown = film.read()
    larger = repeated((128, 72))(shown[..., ::-1])
    found = as_pixels(after, frame_colour(after)).astype(int)
    assert np.abs(found - larger).mean() < 20 < np.abs(found - larger[::-1, ::-1]).mean()


def test_film__sizes_are_what_its_colours_can_have(tmp_path):
    make_film(tmp_path / 'a.mp4', frames=2)
    size = {}
    for name in ('b.mp4', 'c.mkv'):
        done = enlarge_film(tmp_path / 'a.mp4', tmp_path / name, lambda s: (55, 97), repeated)
        size[name] = done.result
    assert size == {'b.mp4': (56, 96), 'c.mkv': (56, 96)}


@pytest.mark.parametrize(
    'content,part',
    [(b'', 'Invalid data'), (b'no film' * 99, 'Invalid data')],
)
def test_film__that_is_none(tmp_path, content, part):
    (tmp_path / 'a.mp4').write_bytes(content)
    with pytest.raises(UserError, match=rf'a\.mp4: {part}'):
        double(tmp_path / 'a.mp4', tmp_path / 'b.mp4')
    assert len(list(tmp_path.iterdir())) == 1


def test_film__without_a_picture(tmp_path):
    with av.open(str(tmp_path / 'a.mp4'), 'w') as file:
        stream = file.add_stream('aac', rate=48000)
        stream.layout = 'stereo'
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 2048), np.int16), format='s16', layout='stereo'
        )
        frame.sample_rate = 48000
        file.mux([*stream.encode(frame), *stream.encode(None)])
    with pytest.raises(UserError, match='found no picture track'):
        double(tmp_path / 'a.mp4', tmp_path / 'b.mp4')


def test_film__sound_that_the_result_cannot_hold(tmp_path):
    make_film(tmp_path / 'a.mp4', frames=3)
    with pytest.raises(UserError, match=r'cannot hold the audio track 1 \(aac\); use \.mkv'):
        double(tmp_path / 'a.mp4', tmp_path / 'b.webm')
    assert [path.name for path in tmp_path.iterdir()] == ['a.mp4']


def test_film__without_pyav_names_it(tmp_path, monkeypatch):
    make_film(tmp_path / 'a.mp4', frames=3)
    monkeypatch.setitem(__import__('sys').modules, 'av', None)
    with pytest.raises(UserError, match=r"pip install 'basicsr-liif\[video\]'"):
        double(tmp_path / 'a.mp4', tmp_path / 'b.mp4')


def test_film__a_colon_in_a_name_is_no_protocol(tmp_path, monkeypatch, weights):
    make_film(tmp_path / '10:30.mp4', frames=3)
    monkeypatch.chdir(tmp_path)
    flags = ('--weights', weights, '--scale', 1.5)
    assert run_here(monkeypatch, tmp_path, 'upscale', '10:30.mp4', *flags) == 0
    assert len(frames_of(tmp_path / '10:30_x1.5.mp4')) == 3


@pytest.mark.parametrize('source', ['.mp4', '.mkv'])
@pytest.mark.parametrize('result', ['.mp4', '.mkv', '.webm'])
def test_film__says_its_rate(tmp_path, source, result):
    make_film(tmp_path / f'a{source}', sound=None)
    double(tmp_path / f'a{source}', tmp_path / f'b{result}')
    with av.open(str(tmp_path / f'b{result}')) as film:
        assert film.streams.video[0].average_rate == 25
    again = double(tmp_path / f'b{result}', tmp_path / f'c{result}')
    assert again.frames == 30 and again.notes == ()


def test_film__its_picture_keeps_its_language_and_longer_sound_is_no_fault(tmp_path):
    make_film(tmp_path / 'a.mkv', language='deu', longer=4.0)
    done = double(tmp_path / 'a.mkv', tmp_path / 'b.mkv')
    assert done.frames == 30 and done.notes == ()
    with av.open(str(tmp_path / 'b.mkv')) as film:
        assert film.streams.video[0].metadata['language'] == 'deu'


def test_film__hdr_says_what_is_not_kept(tmp_path):
    display = 'master-display=G(1,1)B(1,1)R(1,1)WP(1,1)L(10000000,1):max-cll=1000,400'
    options = {'x265-params': f'log-level=none:hdr10=1:{display}'}
    make_film(tmp_path / 'a.mkv', frames=3, pixels='yuv420p10le', codec='libx265', options=options)
    done = double(tmp_path / 'a.mkv', tmp_path / 'b.mkv')
    assert done.notes == ("not kept: HDR's mastering display and light levels",)


def test_film__at_the_command(monkeypatch, tmp_path, weights, capsys):
    make_film(tmp_path / 'a.mp4', frames=4)
    flags = ('--weights', weights, '--scale', 1.5)
    assert run_here(monkeypatch, tmp_path, 'upscale', 'a.mp4', *flags) == 0
    line = capsys.readouterr().out
    assert line.startswith('a_x1.5.mp4  64x36 -> 96x54 (width x height); 4 frame(s), ')
    assert len(frames_of(tmp_path / 'a_x1.5.mp4')) == 4
    assert run_here(monkeypatch, tmp_path, 'upscale', 'a.mp4', *flags, '--crop', '1,1,4,4') == 2
    assert run_here(monkeypatch, tmp_path, 'upscale', 'a.mp4', *flags, '-o', 'b.png') == 2
    assert 'a.mp4 is a film, which is not written as ".png"' in capsys.readouterr().err


def test_film__frames_whose_times_are_wrong_are_all_there(tmp_path):
    """H.264 with frames out of order has no times of its own in AVI."""
    make_film(tmp_path / 'a.avi', frames=40, options={'bf': '3'}, sound=None)
    done = double(tmp_path / 'a.avi', tmp_path / 'b.mkv')
    times = [frame.time for frame in frames_of(tmp_path / 'b.mkv')]
    assert done.frames == len(times) == 40 and times == sorted(set(times))


def test_film__whose_clock_restarts(tmp_path):
    make_film(tmp_path / 'a.ts', frames=50, sound='mp2')
    twice = (tmp_path / 'a.ts').read_bytes() * 2
    (tmp_path / 'twice.ts').write_bytes(twice)
    done = double(tmp_path / 'twice.ts', tmp_path / 'b.mkv')
    times = [frame.time for frame in frames_of(tmp_path / 'b.mkv')]
    assert done.frames == len(times) == 100 and times == sorted(set(times))
    assert times[-1] - times[0] == pytest.approx(99 / 25, abs=0.1)
    assert any('clock jumps back' in note for note in done.notes)
    sound = sound_of(tmp_path / 'b.mkv')
    assert [packet for _, packet in sound] == [p for _, p in sound_of(tmp_path / 'twice.ts')]


def test_film__that_is_damaged_is_made_as_far_as_it_goes(tmp_path):
    make_film(tmp_path / 'a.ts', frames=60, sound='mp2')
    content = bytearray((tmp_path / 'a.ts').read_bytes())
    middle = len(content) // 2
    content[middle : middle + 1500] = np.random.default_rng(0).bytes(1500)
    (tmp_path / 'a.ts').write_bytes(content)
    done = double(tmp_path / 'a.ts', tmp_path / 'b.mkv')
    assert 30 < done.frames <= 60 and len(frames_of(tmp_path / 'b.mkv')) == done.frames


def test_film__that_begins_late_begins_at_0(tmp_path):
    times = [25 * 36000 + k for k in range(30)]
    make_film(tmp_path / 'a.ts', frames=30, times=times, sound=None)
    assert frames_of(tmp_path / 'a.ts')[0].time > 35000
    double(tmp_path / 'a.ts', tmp_path / 'b.mkv')
    after = [frame.time for frame in frames_of(tmp_path / 'b.mkv')]
    assert after[0] == pytest.approx(0, abs=0.1) and len(after) == 30


def test_film__tracks_keep_what_tells_them_apart(tmp_path):
    make_film(tmp_path / 'a.mkv', frames=10)
    with av.open(str(tmp_path / 'a.mkv')) as plain, av.open(str(tmp_path / 'b.mkv'), 'w') as file:
        streams = {s.index: file.add_stream_from_template(s) for s in plain.streams}
        streams[1].metadata.update({'language': 'deu', 'title': 'Kommentar'})
        streams[1].disposition = av.stream.Disposition.comment
        chapter = {'id': 1, 'start': 100, 'end': 300, 'time_base': Fraction(1, 1000)}
        file.set_chapters([{**chapter, 'metadata': {'title': 'one'}}])
        for packet in plain.demux():
            if packet.size:
                packet.stream = streams[packet.stream.index]
                file.mux(packet)
    double(tmp_path / 'b.mkv', tmp_path / 'c.mkv')
    with av.open(str(tmp_path / 'c.mkv')) as film:
        sound = film.streams.audio[0]
        assert sound.metadata['language'] == 'deu' and sound.metadata['title'] == 'Kommentar'
        assert sound.disposition & av.stream.Disposition.comment
        [found] = film.chapters()
        assert found['metadata']['title'] == 'one'
        assert found['start'] * found['time_base'] == Fraction(1, 10)


def test_film__a_turned_pixel_is_turned(tmp_path):
    marks = {'sample_aspect_ratio': Fraction(4, 3)}
    make_film(tmp_path / 'a.mp4', frames=3, rotation=90, marks=marks)
    double(tmp_path / 'a.mp4', tmp_path / 'b.mp4')
    with av.open(str(tmp_path / 'b.mp4')) as film:
        assert film.streams.video[0].sample_aspect_ratio == Fraction(3, 4)


def test_film__an_animation_that_ffmpeg_does_not_read(monkeypatch, tmp_path, weights, capsys):
    frames = [Image.fromarray(np.full((8, 8, 3), k, np.uint8)) for k in (9, 99)]
    for suffix in ('.webp', '.avif'):
        frames[0].save(tmp_path / f'a{suffix}', save_all=True, append_images=frames[1:])
        flags = ('--scale', 2, '--weights', weights, '-o', 'b.mp4')
        assert run_here(monkeypatch, tmp_path, 'upscale', f'a{suffix}', *flags) == 2
        assert 'is an animation, which is not written as ".mp4"' in capsys.readouterr().err


def test_pyav__calls_no_python_from_its_threads():
    """A log's callback would wait for Python, which waits for the thread, when a film is closed."""
    video.require_pyav('a.mp4')
    assert av.logging.get_level() is None


def test_film__that_is_cut_off_says_so(tmp_path):
    make_film(tmp_path / 'a.mkv', frames=60)
    content = (tmp_path / 'a.mkv').read_bytes()
    (tmp_path / 'a.mkv').write_bytes(content[: len(content) // 2])
    done = double(tmp_path / 'a.mkv', tmp_path / 'b.mkv')
    assert done.frames < 50 and any('and says that it is 2.4 s long' in n for n in done.notes)
