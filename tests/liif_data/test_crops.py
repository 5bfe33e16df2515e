"""Crops and the pixels drawn from them, against analytic values."""

import numpy as np
import pytest
from helpers import photo

from liif_arch.coordinates import make_cell, make_coord
from liif_data import crops


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_query_samples__all_pixels_are_the_grid():
    gt = photo(6, 9)
    coord, cell, colours = crops.query_samples(gt, None, 0)
    np.testing.assert_allclose(coord, make_coord((6, 9)).view(-1, 2), atol=1e-7)
    np.testing.assert_allclose(cell, make_cell((6, 9)).expand(54, 2), atol=1e-7)
    assert np.array_equal(colours, gt.reshape(-1, 3)) and coord.dtype == cell.dtype == np.float32


def test_query_samples__without_replacement_and_where_they_say():
    gt = np.arange(7 * 5 * 3, dtype=np.uint8).reshape(7, 5, 3)
    coord, _, colours = crops.query_samples(gt, 35, 0)
    assert len({tuple(c) for c in colours}) == 35
    rows, cols = (np.rint(((coord[:, i] + 1) * n - 1) / 2).astype(int) for i, n in ((0, 7), (1, 5)))
    assert np.array_equal(gt[rows, cols], colours)
    assert len(crops.query_samples(gt, 8, 0)[0]) == 8


@pytest.mark.parametrize(
    'count,num_samples', [(36864, 2304), (5, 5), (1, 1), (1000, 3), (257, 256)]
)
def test_draw_indices__are_those_of_the_smallest_hashes(count, num_samples):
    for seed in (0, 1, 2**32 - 1):
        hashes = [scramble(scramble(i) ^ seed) for i in range(count)]
        expected = sorted(range(count), key=lambda i: (hashes[i], i))[:num_samples]
        assert crops.draw_indices(count, num_samples, seed).tolist() == expected


def scramble(x: int) -> int:
    """`liif_arch.crop_batches.hash32`, on one Python number."""
    x = (x ^ (x >> 16)) * 0x7FEB352D % 2**32
    x = (x ^ (x >> 15)) * 0x846CA68B % 2**32
    return x ^ (x >> 16)


def test_draw_indices__uniform_and_independent_of_near_seeds():
    """Every index as often as another, and two seeds share what chance lets them share."""
    draws = np.zeros((1000, 400), bool)
    for seed in range(1000):
        draws[seed, crops.draw_indices(400, 100, seed)] = True
    counts = draws.sum(0)
    assert abs(counts.mean() - 250) < 1e-9 and counts.std() == pytest.approx(
        np.sqrt(1000 * 0.25 * 0.75), rel=0.15
    )
    shared = (draws[:-1] & draws[1:]).sum(1)
    assert shared.mean() == pytest.approx(25, abs=1) and shared.max() < 50
    neighbours = (draws[:, :-1] & draws[:, 1:]).sum(1)
    assert neighbours.mean() == pytest.approx(399 * 0.25 * 99 / 399, rel=0.03)


def test_draw_indices__where_the_threshold_leaves_too_few(monkeypatch):
    expected = crops.draw_indices(500, 100, 3)
    monkeypatch.setattr(
        crops.math, 'sqrt', lambda _: -10
    )  # a tenth of what is needed lies below it
    assert np.array_equal(crops.draw_indices(500, 100, 3), expected)


@pytest.mark.parametrize(
    'distribution,transform',
    [('uniform', lambda s: s), ('log', np.log), ('reciprocal', lambda s: 1 / s)],
)
def test_random_scale__what_is_uniform_in_the_range(distribution, transform):
    source = rng()
    scales = [crops.random_scale(source, (0.5, 4), distribution) for _ in range(4000)]
    assert 0.5 <= min(scales) and max(scales) <= 4
    low, high = sorted(transform(np.array([0.5, 4])))
    counts, _ = np.histogram(transform(np.array(scales)), 8, (low, high))
    assert counts.sum() == 4000 and counts.min() > 420 and counts.max() < 580


@pytest.mark.parametrize('distribution', crops.SCALE_DISTRIBUTIONS)
def test_random_scale__never_leaves_the_range(distribution):
    for scale in np.arange(1, 4, 0.01):
        assert crops.random_scale(rng(), (scale, scale), distribution) == scale


def test_random_size__an_axis_alone_or_both_alike():
    alike = [crops.random_size(rng(seed), 12, (1, 4)) for seed in range(50)]
    apart = [crops.random_size(rng(seed), 12, (1, 4), per_axis=True) for seed in range(400)]
    assert all(h == w for h, w in alike)
    heights, widths = np.array(apart).T
    assert abs(np.corrcoef(heights, widths)[0, 1]) < 0.15
    assert min(heights) < 15 and max(widths) > 45


def test_mean_gradient__of_a_ramp():
    y, x = np.mgrid[:9, :7]
    ramp = np.dstack([3 * y + 2 * x] * 3).astype(np.uint8)
    assert crops.mean_gradient(ramp) == pytest.approx(5)
    assert crops.mean_gradient(ramp[:1, :1]) == 0


def test_random_size__uniform_scales():
    sides = [crops.random_size(rng(seed), 12, (1, 4))[0] for seed in range(200)]
    assert min(sides) < 15 and max(sides) > 45 and 12 <= min(sides) and max(sides) <= 48
    assert np.mean(sides) == pytest.approx(30, abs=2)


def test_enlarged_size__as_often_and_as_far_as_asked():
    sides = [
        crops.enlarged_size(rng(seed), (20, 20), (100, 110), 0.5, 1, 2)[0] for seed in range(400)
    ]
    enlarged = [side for side in sides if side > 20]
    assert 150 < len(enlarged) < 230  # a factor near 1 rounds to 20
    assert max(enlarged) in (39, 40) and np.mean(enlarged) == pytest.approx(30.4, abs=1)
    for image, probability, size in [
        ((30, 22), 1, (22, 22)),
        ((22, 30), 1, (22, 22)),
        ((99, 99), 0, (20, 20)),
    ]:
        for seed in range(9):
            found = crops.enlarged_size(rng(seed), (20, 20), image, probability, 2, 2)
            assert found == size
    assert crops.enlarged_size(rng(), (20, 10), (30, 99), 1, 2, 2) == (30, 15)  # its shape stays


def test_random_window__reaches_every_border():
    windows = [crops.random_window(rng(s), (10, 12), (8, 8)) for s in range(200)]
    assert {w[0].start for w in windows} == {0, 1, 2} and {w[1].start for w in windows} == {
        0,
        1,
        2,
        3,
        4,
    }
    assert crops.random_window(rng(), (8, 8), (8, 8)) == (slice(0, 8), slice(0, 8))


def test_scaled_window__shows_the_same():
    gt = photo(40, 44)
    window = crops.random_window(rng(3), (20, 22), (7, 7))
    assert np.array_equal(gt[crops.scaled_window(window, 2)][::2, ::2], gt[::2, ::2][window])


@pytest.mark.parametrize('channels', [1, 3, 4])
@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
def test_augment__equals_array_slices(channels, dtype):
    image = rng().integers(0, 256, (8, 9, channels)).astype(dtype)[1:7, 2:7]
    for seed in range(30):
        hflip, vflip, transpose = rng(seed).random(3) < 0.5
        expected = image[:: -1 if vflip else 1, :: -1 if hflip else 1]
        expected = expected.transpose(1, 0, 2) if transpose else expected
        (found,) = crops.augment(rng(seed), [image], True, True)
        assert np.array_equal(found, expected) and found.dtype == dtype


def test_augment__eight_orientations_alike_for_all_images():
    image, seen = photo(5, 5), set()
    for seed in range(200):
        a, b = crops.augment(rng(seed), [image, image * 2], True, True)
        assert np.array_equal(a * 2, b)
        seen.add(a.tobytes())
    assert len(seen) == 8
    only_h = {crops.augment(rng(s), [image], True, False)[0].tobytes() for s in range(50)}
    assert only_h == {image.tobytes(), image[:, ::-1].tobytes()}
    assert all(
        np.array_equal(crops.augment(rng(s), [image], False, False)[0], image) for s in range(20)
    )


def test_pad_square__top_left():
    padded = crops.pad_square(photo(3, 4), 6)
    assert padded.shape == (6, 6, 3) and np.array_equal(padded[:3, :4], photo(3, 4))
    assert not padded[3:].any() and not padded[:, 4:].any()
