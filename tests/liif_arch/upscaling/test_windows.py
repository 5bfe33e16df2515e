"""How an axis is cut into windows. That these equal the whole: `test_upscaling.py`."""

from liif_arch.upscaling import windows


def test_axis_windows__begin_at_a_multiple():
    plain = list(windows.axis_windows(200, 90, 20, 7))
    aligned = list(windows.axis_windows(200, 90, 20, 7, multiple=8))
    assert [w[:2] for w in plain] == [w[:2] for w in aligned] and len(plain) > 3
    for w, v in zip(plain, aligned, strict=True):
        assert v.first % 8 == 0 and 0 <= w.first - v.first < 8 and v.last == w.last
