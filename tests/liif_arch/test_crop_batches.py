"""What the device makes of crops, against Pillow, the loader's functions and a plain loop."""

import numpy as np
import pytest
import torch
from PIL import Image

from liif_arch.crop_batches import draw_pixels, hash32, make_batch, reduce_crops, reduction_weights
from liif_arch.files.images import resize_bicubic
from liif_data.crops import pad_square, query_samples


def pictures(side: int, channels: int) -> list[np.ndarray]:
    """Noise, black and white noise, a chequerboard, and stripes (side, side, channels) uint8."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:side, :side]
    extreme = [rng.integers(0, 2, (side, side, channels)) * 255] + [
        np.repeat((pattern % 2 * 255)[..., None], channels, 2) for pattern in (x + y, y // 2)
    ]
    return [
        rng.integers(0, 256, (side, side, channels), dtype=np.uint8),
        *(e.astype(np.uint8) for e in extreme),
    ]


def padded_batch(image: np.ndarray, sides: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Top-left crops of the given sides, padded to the image's, (B, M, M, C), and their sizes."""
    return padded_crops(image, [(side, side) for side in sides])


def padded_crops(
    image: np.ndarray, sizes: list[tuple[int, int]]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Top-left crops of the given heights and widths, padded to the image's side."""
    crops = [pad_square(image[:h, :w], len(image)) for h, w in sizes]
    return torch.from_numpy(np.stack(crops)), torch.tensor(sizes)


@pytest.mark.parametrize('lq_size,channels', [(24, 1), (24, 4), (13, 3), (7, 1), (31, 3), (1, 3)])
def test_reduce_crops__is_pillows_bicubic_to_the_bit(lq_size, channels):
    """Every side from half of lq_size (where Pillow enlarges) to four times it."""
    sides = list(range(max(1, lq_size // 2), 4 * lq_size + 1))
    for image in pictures(4 * lq_size, channels):
        crop, size = padded_batch(image, sides)
        found = reduce_crops(crop, size, lq_size).permute(0, 2, 3, 1).numpy()
        for i, s in enumerate(sides):
            assert np.array_equal(found[i], resize_bicubic(image[:s, :s], (lq_size, lq_size))), s


def test_reduce_crops__the_papers_size():
    image = pictures(192, 3)[0]
    sides = [48, 49, 72, 95, 96, 97, 101, 127, 144, 150, 163, 179, 191, 192]
    crop, size = padded_batch(image, sides)
    found = reduce_crops(crop, size, 48).permute(0, 2, 3, 1).numpy()
    for i, s in enumerate(sides):
        pillow = Image.fromarray(image[:s, :s]).resize((48, 48), Image.Resampling.BICUBIC)
        assert np.array_equal(found[i], np.asarray(pillow))


def test_make_batch__crops_that_are_not_square():
    """What Pillow reduces and the loader draws of them, pixels and squares."""
    image, sizes = pictures(48, 3)[0], [(12, 48), (48, 13), (31, 20), (40, 40)]
    seeds = [0, 3, 2**32 - 1, 77]
    crop, size = padded_crops(image, sizes)
    for patch in (False, True):
        batch = make_batch(crop, size, torch.tensor(seeds), 12, 100, patch)
        for i, (h, w) in enumerate(sizes):
            reduced = resize_bicubic(image[:h, :w], (12, 12)).transpose(2, 0, 1)
            assert np.array_equal((batch['lq'][i] * 255).round().numpy(), reduced)
            coord, cell, colours = query_samples(image[:h, :w], 100, seeds[i], patch)
            assert np.array_equal(batch['coord'][i], coord)
            assert np.array_equal(batch['cell'][i], cell)
            assert np.array_equal((batch['gt'][i] * 255).round().numpy(), colours)


def test_reduction_weights__whole_normalised_and_none_on_padding():
    weights = reduction_weights(torch.tensor([12, 20, 41]), 12, 48)
    assert torch.equal(weights, weights.round()) and weights.dtype == torch.float64
    assert (weights.sum(-1) - 2**22).abs().max() <= 20
    assert not any(weights[i, :, side:].any() for i, side in enumerate((12, 20, 41)))
    assert torch.equal(weights[0, :, :12], torch.eye(12).double() * 2**22)


def test_hash32__the_same_in_every_array_type_and_a_permutation():
    numbers = np.arange(2**16, dtype=np.uint32) * np.uint32(65537)
    hashes = hash32(numbers)
    assert hashes.dtype == np.uint32 and len(np.unique(hashes)) == 2**16
    assert np.array_equal(hash32(torch.from_numpy(numbers.astype(np.int64))).numpy(), hashes)
    assert np.array_equal(hash32(numbers.astype(np.int64)), hashes)


@pytest.mark.parametrize('num_samples', [1, 50, 144])
def test_draw_pixels__equals_the_loaders_draw(num_samples):
    image = pictures(48, 3)[0]
    sides = [12, 13, 29, 48, 48]
    seeds = [0, 1, 2**31, 2**32 - 1, 7]
    crop, size = padded_batch(image, sides)
    coord, cell, colours = draw_pixels(crop, size, torch.tensor(seeds), num_samples)
    assert coord.dtype == cell.dtype == torch.float32 and colours.dtype == torch.uint8
    for i, (s, seed) in enumerate(zip(sides, seeds, strict=True)):
        expected = query_samples(image[:s, :s], num_samples, seed)
        for found, value in zip((coord[i], cell[i], colours[i]), expected, strict=True):
            assert np.array_equal(found.numpy(), value)
        assert len({tuple(c) for c in coord[i].tolist()}) == num_samples
    if num_samples > 1:
        assert not torch.equal(colours[3], colours[4])


def test_make_batch__what_the_model_takes():
    crop, size = padded_batch(pictures(32, 3)[0], [8, 17, 32])
    batch = make_batch(crop, size, torch.tensor([1, 2, 3]), 8, 20)
    assert {k: tuple(v.shape) for k, v in batch.items()} == {
        'lq': (3, 3, 8, 8),
        'gt': (3, 20, 3),
        'coord': (3, 20, 2),
        'cell': (3, 20, 2),
    }
    assert all(v.dtype == torch.float32 for v in batch.values())
    assert torch.equal(
        batch['lq'][0], crop[0, :8, :8].permute(2, 0, 1) / 255
    )  # a side of lq_size stays as it is


@pytest.mark.parametrize(
    'device',
    [
        'meta',
        pytest.param(
            'cuda',
            marks=pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device'),
        ),
    ],
)
def test_make_batch__waits_for_no_device(device):
    """A meta tensor has no values to wait for; on CUDA waiting is an error here, and the bits are
    the CPU's.
    """
    crop, size = padded_batch(pictures(48, 3)[0], [12, 25, 48])
    arguments = (crop, size, torch.tensor([5, 6, 2**32 - 1]))
    moved = [a.to(device) for a in arguments]
    if device == 'meta':
        assert make_batch(*moved, 12, 100)['gt'].shape == (3, 100, 3)
        return
    torch.cuda.set_sync_debug_mode('error')
    try:
        found = make_batch(*moved, 12, 100)
    finally:
        torch.cuda.set_sync_debug_mode('default')
    expected = make_batch(*arguments, 12, 100)
    assert all(torch.equal(found[k].cpu(), expected[k]) for k in expected)
