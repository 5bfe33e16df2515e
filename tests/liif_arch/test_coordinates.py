"""Coordinates, look-ups, scales and sizes against loops and analytic values."""

import math

import numpy as np
import pytest
import torch

from liif_arch import coordinates as c


@pytest.mark.parametrize('n', [1, 2, 7, 480])
def test_pixel_centers__analytic(n):
    expected = [-1 + (2 * i + 1) / n for i in range(n)]
    torch.testing.assert_close(
        c.pixel_centers(n, dtype=torch.float64), torch.tensor(expected, dtype=torch.float64)
    )


def test_make_coord__is_y_then_x():
    coord = c.make_coord((2, 5))
    assert coord.shape == (2, 5, 2)
    assert coord[0, 0].tolist() == pytest.approx([-0.5, -0.8])
    assert coord[1, 0, 0] == 0.5 and coord[0, 4, 1] == pytest.approx(0.8)


def test_make_cell__per_axis():
    assert c.make_cell((4, 10)).tolist() == pytest.approx([0.5, 0.2])


@pytest.mark.parametrize('n', [1, 3, 48, 1020])
def test_nearest_index__is_that_of_grid_sample(n):
    coord = torch.rand(2000, generator=torch.Generator().manual_seed(n)) * 2 - 1
    coord = coord.clamp(-1 + 1e-6, 1 - 1e-6)
    values = torch.arange(n, dtype=torch.float32).view(1, 1, 1, n)
    grid = torch.stack([coord, torch.zeros_like(coord)], -1).view(1, 1, -1, 2)
    picked = torch.nn.functional.grid_sample(
        values, grid, mode='nearest', align_corners=False
    ).flatten()
    assert torch.equal(picked.long(), c.nearest_index(coord, n))


@pytest.mark.parametrize('n_out,n', [(30, 10), (31, 12), (7, 7), (5, 9), (510, 17)])
def test_grid_lookup__loop_from_the_equation(n_out, n):
    lookup = c.grid_lookup(n_out, n, local_ensemble=True)
    centres = np.array([-1 + (2 * i + 1) / n for i in range(n)])
    for row, sign in enumerate((-1, 1)):
        for i in range(n_out):
            x = -1 + (2 * i + 1) / n_out
            shifted = min(max(x + sign / n + 1e-6, -1 + 1e-6), 1 - 1e-6)
            nearest = int(np.abs(centres - shifted).argmin())
            assert lookup.index[row, i] == nearest
            assert lookup.rel[row, i].item() == pytest.approx((x - centres[nearest]) * n, abs=1e-5)


def test_grid_lookup__relative_coordinates_stay_within_two():
    lookup = c.grid_lookup(997, 31, local_ensemble=True)
    assert lookup.rel.abs().max() <= 2


def test_window__shifts_indices():
    lookup = c.grid_lookup(20, 10, True)
    part = lookup.window(8, 12, origin=3)
    assert torch.equal(part.index, lookup.index[:, 8:12] - 3) and torch.equal(
        part.rel, lookup.rel[:, 8:12]
    )


def test_axis_weights__all_to_the_latent_under_the_query():
    assert c.axis_weights(torch.tensor([[0.0], [-2.0]]))[:, 0].tolist() == pytest.approx(
        [1, 0], abs=1e-6
    )


def test_axis_weights__linear_between_two_latents():
    x = 0.3  # position between latents at 0 and 1; relative coordinates are twice the distance
    weights = c.axis_weights(torch.tensor([2 * x, 2 * (x - 1)]))
    assert weights.tolist() == pytest.approx([1 - x, x], abs=1e-6)


def test_axis_weights__limit_where_both_corners_found_the_latent_under_the_query():
    lookup = c.grid_lookup(
        9, 3, local_ensemble=True
    )  # x3: output 7 is the centre of the last latent
    assert lookup.index[:, 7].tolist() == [2, 2] and lookup.rel[:, 7].abs().max() < 1e-6
    assert c.axis_weights(torch.zeros(2, 1))[:, 0].tolist() == [0.5, 0.5]


def test_axis_weights__product_is_the_ratio_of_areas():
    rel_y, rel_x = torch.tensor([0.4, -1.6]), torch.tensor([1.1, -0.9])
    area = (rel_y[:, None] * rel_x[None]).abs()
    product = c.axis_weights(rel_y)[:, None] * c.axis_weights(rel_x)[None]
    torch.testing.assert_close(product, area.flip(0, 1) / area.sum())


@pytest.mark.parametrize(
    'value,expected', [(2, (2, 2)), (2.5, (2.5, 2.5)), ([2, 3], (2, 3)), ((1.5, 4), (1.5, 4))]
)
def test_as_scale__numbers_and_pairs(value, expected):
    assert c.as_scale(value) == expected


@pytest.mark.parametrize('value', [0, -2, [2, 0], 'x2', [1, 2, 3], None, True, math.nan, math.inf])
def test_as_scale__refuses(value):
    with pytest.raises(ValueError, match='val.scales: found'):
        c.as_scale(value, 'val.scales')


def test_scale_label__numbers_fractions_pairs():
    assert [c.scale_label(s) for s in [(2.0, 2.0), (2.5, 2.5), (2.0, 3.0)]] == [
        'x2',
        'x2.5',
        'x2x3',
    ]


def test_sizes__round_up_and_floor_down():
    assert c.scaled_size((11, 7), (2.5, 3)) == (28, 21)
    assert c.reduced_size((339, 510), (4, 4)) == (84, 127)
    assert c.reduced_size((33, 50), (3.3, 2.5)) == (10, 20)  # 33 / 3.3 is 10 but for rounding
    with pytest.raises(ValueError, match='leaves no pixel'):
        c.reduced_size((20, 50), (30, 30))
