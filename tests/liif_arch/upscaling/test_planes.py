"""What the network is shown of an image, and what of it comes back exactly."""

import numpy as np
import pytest
import torch
from helpers import photo

from liif_arch import LIIF, load_network, upscale
from liif_arch.errors import UserError
from liif_arch.files.images import resize_bicubic
from liif_arch.upscaling import windows
from liif_arch.upscaling.planes import AlphaBounds, Plane, fill_hidden, planes_of, require_channels


@pytest.fixture(scope='module')
def net():
    """Weights that ship: what an untrained network makes of a picture says nothing."""
    return load_network('small')


@pytest.fixture
def small_windows(net, monkeypatch):
    """Windows much smaller than the images here; the list says what was encoded."""
    monkeypatch.setattr(windows, 'MIN_WINDOW', 16)
    encoded, encode = [], net.encode
    monkeypatch.setattr(net, 'encode', lambda x: encoded.append(x.shape) or encode(x))
    return encoded


def disc(side: int, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Alpha (side, side, 1) of an antialiased disc, and each pixel's distance from its middle."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    distance = np.hypot(y, x)
    return np.rint(np.clip(radius - distance, 0, 1) * 255).astype(np.uint8)[..., None], distance


def cutout(hidden: int, gray: bool = False, scale: int = 3) -> tuple[np.ndarray, ...]:
    """A photograph cut out by a disc: low resolution with a hidden colour, truth, distances."""
    from skimage import data

    colours = data.astronaut()[:240, 60:300, : 1 if gray else 3]
    alpha, distance = disc(240, 90)
    small, thin = (resize_bicubic(image, (240 // scale,) * 2) for image in (colours, alpha))
    small[thin[..., 0] == 0] = hidden
    return np.dstack([small, thin]), np.dstack([colours, alpha]), distance


def over(image: np.ndarray, background: int) -> np.ndarray:
    alpha = image[..., -1:] / 255
    return image[..., :-1] * alpha + background * (1 - alpha)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return 10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2))


@pytest.mark.parametrize('gray', [False, True])
@pytest.mark.parametrize('background', [0, 255])
def test_alpha__what_it_hides_does_not_show(net, gray, background):
    results = []
    for hidden in (0, 255, 90):
        lq, gt, _ = cutout(hidden, gray)
        results.append(upscale(net, lq, scale=3))
    assert all(np.array_equal(results[0], other) for other in results[1:])
    # About as good as with the true colours there, which hidden black misses by a decibel.
    truth = lq.copy()
    colours = gt[..., :-1].copy()
    truth[..., :-1] = resize_bicubic(colours, lq.shape[:2])
    best = psnr(
        over(np.dstack([upscale(net, truth[..., :-1], scale=3), results[0][..., -1:]]), background),
        over(gt, background),
    )
    assert psnr(over(results[0], background), over(gt, background)) > best - 0.3


def test_alpha__in_windows_equals_at_once(net, small_windows):
    lq = cutout(0)[0]
    whole = upscale(net, lq, scale=3)
    count = len(small_windows)
    pieces = upscale(net, lq, scale=3, memory=4)
    assert len(small_windows) - count >= 8
    assert np.abs(pieces.astype(int) - whole).max() <= 1


def test_alpha__far_from_edges_is_exact(net):
    lq, _, distance = cutout(0)
    alpha = upscale(net, lq, scale=3)[..., 3]
    assert (alpha[distance < 78] == 255).all() and (alpha[distance > 102] == 0).all()
    assert len(np.unique(alpha)) > 20


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16, np.float32, np.float64])
@pytest.mark.parametrize('share', [1, 0, 0.3])
@pytest.mark.parametrize('channels', [2, 4])
def test_alpha__that_is_constant_stays_so_and_costs_nothing(
    net, small_windows, dtype, share, channels
):
    full = 1 if np.dtype(dtype).kind == 'f' else np.iinfo(dtype).max
    value = dtype(share * full)
    image = (photo(20, 22)[..., : channels - 1] / 255 * full).astype(dtype)
    image = np.dstack([image, np.full((20, 22), value)])
    result = upscale(net, image, scale=2.5)
    assert (result[..., -1] == value).all() and result.dtype == dtype
    assert len(small_windows) == 1


@pytest.mark.parametrize('scale', [3, (0.5, 2), 0.4])
def test_gray__saved_as_colours_stays_gray(net, scale):
    gray = photo(40, 50)[..., :1]
    expected = upscale(net, gray, scale=scale)
    for channels in (3, 4):
        image = np.repeat(gray, channels, axis=2)
        if channels == 4:
            image[..., 3] = 255
            image[:5, :, 3] = 0
            image[:3, :, 1] = 77  # hidden, and not gray
        result = upscale(net, image, scale=scale)
        for channel in range(3):
            assert np.array_equal(result[..., channel], result[..., 0])
        if channels == 3:
            assert np.array_equal(result[..., :1], expected)


def test_gray__one_coloured_pixel_is_a_colour_image(net):
    image = np.repeat(photo(20, 22)[..., :1], 3, axis=2)
    image[4, 5] = 255, 0, 0
    assert np.ptp(upscale(net, image, scale=2).astype(int), axis=2).max() > 50


def test_fill_hidden__takes_the_nearest_visible_colour():
    image = np.zeros((7, 9, 4), np.uint8)
    image[..., :3] = 200  # hidden
    image[3, 2], image[3, 6] = (10, 20, 30, 1), (40, 50, 60, 255)
    before = image.copy()
    filled = fill_hidden(image)
    assert (filled[:, :4, :3] == (10, 20, 30)).all() and (filled[:, 5:, :3] == (40, 50, 60)).all()
    assert np.array_equal(filled[..., 3], before[..., 3]) and np.array_equal(image, before)


@pytest.mark.parametrize('alpha', [0, 1, 255])
def test_fill_hidden__leaves_what_is_all_hidden_or_all_visible(alpha):
    image = np.dstack([photo(5, 6), np.full((5, 6), alpha, np.uint8)])
    assert fill_hidden(image) is image


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16, np.float32, np.float64])
def test_alpha_bounds__by_their_definition(dtype):
    top = 1 if np.dtype(dtype).kind == 'f' else np.iinfo(dtype).max
    rng = np.random.default_rng(0)
    alpha = (rng.choice([0, 0.4, 1], (12, 9), p=[0.7, 0.2, 0.1]) * top).astype(dtype)
    bounds = AlphaBounds(alpha, (12, 9))
    for value in (0, top):
        result = bounds.clip(np.full((12, 9, 1), value, dtype), slice(0, 12), slice(0, 9))[..., 0]
        for y in range(12):
            for x in range(9):
                around = alpha[max(0, y - 2) : y + 3, max(0, x - 2) : x + 3].astype(float)
                low, high = around.min(), around.max()
                expected = np.clip(value, max(0, 2 * low - high), min(top, 2 * high - low))
                assert result[y, x] == pytest.approx(expected)


@pytest.mark.parametrize(
    'image_ch,num_in_ch,expected',
    [
        (1, 3, [Plane([0], [0])]),
        (2, 3, [Plane([0], [0]), Plane([1], [1], True)]),
        (3, 3, [Plane([0, 1, 2], [0, 1, 2])]),
        (4, 3, [Plane([0, 1, 2], [0, 1, 2]), Plane([3], [3], True)]),
        (4, 4, [Plane([0, 1, 2, 3], [0, 1, 2, 3])]),
        (2, 2, [Plane([0, 1], [0, 1])]),
        (5, 5, [Plane([0, 1, 2, 3, 4], [0, 1, 2, 3, 4])]),
        (3, 1, [Plane([i], [i]) for i in range(3)]),
        (2, 1, [Plane([0], [0]), Plane([1], [1], True)]),
    ],
)
def test_planes__of_images_and_networks(image_ch, num_in_ch, expected):
    require_channels(image_ch, num_in_ch)
    assert planes_of(np.random.default_rng(0).random((4, 5, image_ch)), num_in_ch) == expected


@pytest.mark.parametrize('image_ch,num_in_ch', [(5, 3), (3, 4), (1, 4), (4, 2)])
def test_planes__refused(image_ch, num_in_ch):
    with pytest.raises(
        UserError, match=f'has {image_ch} channels and the network takes {num_in_ch}'
    ):
        require_channels(image_ch, num_in_ch)


@pytest.mark.parametrize('channels', [1, 4])
def test_upscale__networks_of_other_channels(channels):
    torch.manual_seed(0)
    encoder = {'type': 'EDSREncoder', 'num_feat': 4, 'num_block': 1, 'num_in_ch': channels}
    net = LIIF(encoder, [8], num_in_ch=channels, num_out_ch=channels)
    image = np.random.default_rng(0).integers(0, 255, (6, 7, 4), np.uint8)
    assert upscale(net, image, scale=2).shape == (12, 14, 4)
