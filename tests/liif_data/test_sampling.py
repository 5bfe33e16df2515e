"""Sampling functions against analytic values."""
import numpy as np
import pytest
from helpers import photo
from PIL import Image

from liif_arch.coordinates import make_cell, make_coord
from liif_data import sampling


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_query_samples__all_pixels_are_the_grid():
    gt = photo(6, 9)
    coord, cell, colours = sampling.query_samples(rng(), gt, None)
    np.testing.assert_allclose(coord, make_coord((6, 9)).view(-1, 2), atol=1e-7)
    np.testing.assert_allclose(cell, make_cell((6, 9)).expand(54, 2), atol=1e-7)
    assert np.array_equal(colours, gt.reshape(-1, 3)) and coord.dtype == cell.dtype == np.float32


def test_query_samples__without_replacement_and_where_they_say():
    gt = np.arange(7 * 5 * 3, dtype=np.uint8).reshape(7, 5, 3)
    coord, _, colours = sampling.query_samples(rng(), gt, 35)
    assert len({tuple(c) for c in colours}) == 35
    rows, cols = (np.rint(((coord[:, i] + 1) * n - 1) / 2).astype(int) for i, n in ((0, 7), (1, 5)))
    assert np.array_equal(gt[rows, cols], colours)
    assert len(sampling.query_samples(rng(), gt, 8)[0]) == 8


def test_random_scale_pair__crop_and_its_pillow_reduction():
    gt, sides = photo(100, 120), []
    for seed in range(200):
        lq, crop = sampling.random_scale_pair(rng(seed), gt, 12, (1, 4))
        side = crop.shape[0]
        assert crop.shape == (side, side, 3) and lq.shape == (12, 12, 3)
        assert np.array_equal(lq, np.asarray(Image.fromarray(crop).resize((12, 12), Image.Resampling.BICUBIC)))
        sides.append(side)
    assert min(sides) < 15 and max(sides) > 45 and 12 <= min(sides) and max(sides) <= 48
    assert np.mean(sides) == pytest.approx(30, abs=2)  # uniform scales


def test_random_window__reaches_every_border():
    windows = [sampling.random_window(rng(s), (10, 12), (8, 8)) for s in range(200)]
    assert {w[0].start for w in windows} == {0, 1, 2} and {w[1].start for w in windows} == {0, 1, 2, 3, 4}
    assert sampling.random_window(rng(), (8, 8), (8, 8)) == (slice(0, 8), slice(0, 8))


def test_paired_crop__is_aligned():
    gt = photo(40, 44)
    lq = gt[::2, ::2]
    small, large = sampling.paired_crop(rng(3), lq, gt, 7, 2)
    assert small.shape == (7, 7, 3) and np.array_equal(large[::2, ::2], small)


def test_augment__eight_orientations_alike_for_all_images():
    image, seen = photo(5, 5), set()
    for seed in range(200):
        a, b = sampling.augment(rng(seed), [image, image * 2], True, True)
        assert np.array_equal(a * 2, b)
        seen.add(a.tobytes())
    assert len(seen) == 8
    only_h = {sampling.augment(rng(s), [image], True, False)[0].tobytes() for s in range(50)}
    assert only_h == {image.tobytes(), image[:, ::-1].tobytes()}
    assert all(sampling.augment(rng(s), [image], False, False)[0] is image for s in range(20))
