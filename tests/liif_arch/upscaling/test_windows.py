"""How an axis is cut into windows. That these equal the whole: `test_upscaling.py`."""

from liif_arch.upscaling import windows


def test_axis_windows__begin_at_a_multiple():
    plain = list(windows.axis_windows(200, 90, 20, 7))
    aligned = list(windows.axis_windows(200, 90, 20, 7, multiple=8))
    assert [w[:2] for w in plain] == [w[:2] for w in aligned] and len(plain) > 3
    for w, v in zip(plain, aligned, strict=True):
        assert v.first % 8 == 0 and 0 <= w.first - v.first < 8 and v.last == w.last


def test_axis_windows__cover_the_output_and_hold_what_they_need():
    from liif_arch.coordinates import grid_lookup

    for n_out, n in [(100, 40), (13, 57), (400, 11)]:
        cut = list(windows.axis_windows(n_out, n, length=8, margin=3))
        assert [w.start for w in cut] == [0, *[w.stop for w in cut[:-1]]] and cut[-1].stop == n_out
        index = grid_lookup(n_out, n, True).index
        for w in cut:
            low, high = index[:, w.start : w.stop].min(), index[:, w.start : w.stop].max()
            assert w.first == max(0, low - 3) and w.last == min(n, high + 1 + 3)


def test_axis_windows__of_a_part_with_few_outputs():
    cut = list(windows.axis_windows(100, 40, 8, 1, start=33, stop=71, most=5))
    assert [w.start for w in cut] == [33, *[w.stop for w in cut[:-1]]] and cut[-1].stop == 71
    assert max(w.stop - w.start for w in cut) == 5


def test_window_lengths__whole_image_when_it_fits_else_least_work_within_the_budget():
    assert windows.window_lengths((300, 400), margin=36, fits=lambda h, w: h * w <= 300 * 400) == (
        300,
        400,
    )

    def fits(h, w):
        return h * w <= 200_000

    for size, margin in [((2000, 3000), 36), ((1000, 100), 133), ((3456, 4608), 133)]:
        y, x = windows.window_lengths(size, margin, fits)
        assert fits(*(min(n, length + 2 * margin) for n, length in zip(size, (y, x), strict=True)))
        assert min(y, x) >= windows.MIN_WINDOW
    assert windows.window_lengths((1000, 100), 133, fits)[1] == 100  # strips of a narrow image
    assert (
        windows.window_lengths((2000, 3000), 133, lambda h, w: False) == (windows.MIN_WINDOW,) * 2
    )  # the smallest
