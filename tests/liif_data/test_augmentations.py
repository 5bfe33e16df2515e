"""Crops that are mixed, recoloured, chosen and drawn from several folders, in whole samples too."""

import zlib

import numpy as np
import pytest
from helpers import photo, write_photos

from liif_arch.config.read import merge
from liif_arch.errors import UserError
from liif_arch.files.images import write_image
from liif_arch.training.addressed import SampleIndex, SampleSet
from liif_data.augmentations import Augmentations, blend, cutmix, mixup
from liif_data.mixed_store import MixedStore
from liif_data.random_scale_dataset import RandomScalePairedDataset
from liif_data.repeats import fingerprint
from liif_data.store import open_store

OPTIONS = {
    'name': 't',
    'lq_size': 12,
    'scale_range': [2, 2],
    'num_samples': 50,
    'seed': 7,
    'use_hflip': False,
    'use_rot': False,
}


def train_set(root, **options) -> RandomScalePairedDataset:
    return RandomScalePairedDataset({**OPTIONS, 'dataroot_gt': root, **options})


def flat(folder, *values: int):
    """Images of one colour each, 40x40."""
    for value in values:
        write_image(folder / f'{value:03}.png', np.full((40, 40, 3), value, np.uint8))
    return str(folder)


# ---------------------------------------------------------------------------------- on two images


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
def test_mixup__a_rounded_mean(dtype):
    a, b = np.full((2, 3, 3), 10, dtype), np.full((2, 3, 3), 21, dtype)
    assert (mixup(a, b, 0.25) == 18).all() and mixup(a, b, 0.25).dtype == dtype
    assert np.array_equal(mixup(a, b, 1), a) and np.array_equal(mixup(a, b, 0), b)


def test_cutmix__a_rectangle_of_every_size_anywhere():
    a, b = np.zeros((20, 30, 3), np.uint8), np.ones((20, 30, 3), np.uint8)
    rng, masks = np.random.default_rng(0), []
    for _ in range(400):
        mask = cutmix(rng, a, b)[..., 0].astype(bool)
        rows, cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if len(rows):
            assert mask[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1].all()
            assert mask.sum() == len(rows) * len(cols)
        masks.append(mask)
    shares = np.array([mask.mean() for mask in masks])
    assert shares.min() < 0.02 and shares.max() > 0.8 and np.mean(masks, 0).min() > 0.05


def test_blend__towards_a_colour():
    image = np.full((2, 2, 3), 100, np.uint8)
    assert blend(image, np.array([0, 0.5, 1]), 0.6)[0, 0].tolist() == [60, 111, 162]


def test_recolor__images_of_one_sample_alike():
    augment = Augmentations({'channel_shuffle': 1, 'color_blend': 1})
    image, rng, orders = photo(8, 9), np.random.default_rng(1), set()
    for _ in range(40):
        large, small = augment.recolor(rng, [image, image[:4]])
        assert np.array_equal(large[:4], small)
    shuffle = Augmentations({'channel_shuffle': 1})
    for _ in range(40):
        [shuffled] = shuffle.recolor(rng, [image])
        assert np.array_equal(np.sort(shuffled, 2), np.sort(image, 2))
        orders.add(shuffled[0, 0].tobytes())
    assert len(orders) == 6


# -------------------------------------------------------------------------------------- in samples


def test_mixed_samples__inputs_show_what_the_ground_truth_is(tmp_path):
    """Of flat images the input has the colours of the mixture, whatever is mixed."""
    root = flat(tmp_path / 'd', 0, 80, 160, 240)
    dataset = train_set(root, mixup=1, color_blend=1)
    for epoch in range(6):
        sample = dataset[SampleIndex(1, epoch)]
        assert np.ptp(sample['gt'].numpy(), 0).max() == 0
        assert np.abs(sample['lq'].numpy().mean((1, 2)) - sample['gt'][0].numpy()).max() < 1e-6


def test_mixed_samples__as_often_as_asked(tmp_path):
    root = flat(tmp_path / 'd', *range(0, 250, 10))
    mixed = [0, 0]
    for i, options in enumerate(({'mixup': 0.3}, {'cutmix': 0.3})):
        dataset = train_set(root, **options)
        for epoch in range(400):
            gt = dataset.pair(SampleIndex(3, epoch)).gt
            mixed[i] += int((gt != 30).any())
    assert all(80 < count < 160 for count in mixed)


def test_options_that_are_not_set_draw_nothing(photos):
    plain = train_set(str(photos), scale_range=[1, 4])
    named = train_set(
        str(photos),
        scale_range=[1, 4],
        mixup=0,
        cutmix=0,
        channel_shuffle=0,
        color_blend=0,
        crop_candidates=1,
        scale_distribution='uniform',
        scale_per_axis=False,
    )
    for index in range(3):
        assert np.array_equal(plain[index]['gt'], named[index]['gt'])


def test_crop_candidates__harder_ones_oftener(tmp_path):
    """Of an image half of which is flat."""
    image = np.full((40, 400, 3), 128, np.uint8)
    image[:, :200] = photo(40, 200)
    write_image(tmp_path / 'd/a.png', image)
    shares = []
    for candidates in (1, 4):
        dataset = train_set(str(tmp_path / 'd'), crop_candidates=candidates)
        crops = [dataset.pair(SampleIndex(0, epoch)).gt for epoch in range(200)]
        shares.append(np.mean([np.ptp(crop) > 0 for crop in crops]))
    assert 0.4 < shares[0] < 0.65 and shares[1] > 0.85


def test_crop_candidates__of_pairs(tmp_path):
    write_photos(tmp_path / 'gt', [(40, 44)])
    write_photos(tmp_path / 'lq', [(20, 22)])
    dataset = train_set(
        str(tmp_path / 'gt'), dataroot_lq=str(tmp_path / 'lq'), scale_range=None, crop_candidates=3
    )
    crops = {dataset.pair(SampleIndex(0, epoch)).lq.tobytes() for epoch in range(8)}
    assert len(crops) > 3


# --------------------------------------------------------------------------------- several folders


def test_several_folders__by_their_weights(tmp_path):
    roots = {flat(tmp_path / 'a', 10, 20): 3, flat(tmp_path / 'b', 110, 120, 130, 140): 1}
    dataset = train_set(roots)
    assert len(dataset) == 6
    paths = [dataset[SampleIndex(i % 6, i // 6)]['gt_path'] for i in range(600)]
    share = np.mean([path.startswith(str(tmp_path / 'a')) for path in paths])
    assert share == pytest.approx(0.75, abs=0.06) and len(set(paths)) == 6
    sample = dataset[4]
    assert round(sample['gt'][0, 0].item() * 255) == int(sample['gt_path'][-7:-4])


def test_several_folders__what_is_mixed_in_is_of_them_by_weight(tmp_path):
    roots = {flat(tmp_path / 'a', *range(0, 100, 10)): 1, flat(tmp_path / 'b', 200): 9}
    dataset = train_set(roots, cutmix=1)
    found = [dataset.pair(SampleIndex(0, epoch)).gt for epoch in range(200)]
    share = np.mean([(crop == 200).mean() for crop in found])
    assert share == pytest.approx(0.9, abs=0.05)


def test_several_folders__a_child_names_its_own(tmp_path):
    """Folders are not merged with those of the file that it is based on."""
    base = {'dataroot_gt': {'a': 1, 'b': 2}, 'lq_size': 3}
    assert merge(base, {'dataroot_gt': {'a': 5}}) == {'dataroot_gt': {'a': 5}, 'lq_size': 3}


def test_several_folders__one_bad_file_is_one_fault(tmp_path, caplog):
    root = flat(tmp_path / 'a', *range(0, 100, 10))
    flat(tmp_path / 'b', 200)
    options = {**OPTIONS, 'dataroot_gt': {root: 1, str(tmp_path / 'b'): 1}, 'phase': 'train'}
    samples = SampleSet(RandomScalePairedDataset(options), {**options, 'on_bad_sample': 'skip'})
    (tmp_path / 'b/200.png').write_bytes(b'none')
    for index in range(11):
        assert 'gt' in samples[SampleIndex(index)]
    assert samples.bad.sum() == 1


def test_samples__stay_what_they_were(tmp_path):
    """A seed means the same samples in every version."""
    write_photos(tmp_path / 'd', [(71, 60), (64, 80)])
    found = []
    for options in (
        {'scale_range': [1, 4]},
        {'scale_range': [1.5, 3], 'reduce_gt': [0.7, 1, 2], 'patch': True, 'num_samples': 64},
    ):
        dataset = train_set(str(tmp_path / 'd'), **options, use_hflip=True, use_rot=True)
        for address in (SampleIndex(0), SampleIndex(1, 3, 2)):
            sample = dataset[address]
            found.append(
                zlib.crc32(sample['gt'].numpy().tobytes() + sample['lq'].numpy().tobytes())
            )
    assert found == [4022705983, 79244623, 2950382522, 830605033]


def test_several_folders__weights_tell_one_set_of_samples_from_another(tmp_path):
    """A cache of a teacher's colours is of samples that are drawn alike."""
    a, b = flat(tmp_path / 'a', 10), flat(tmp_path / 'b', 20)
    found = {fingerprint([MixedStore({a: weight, b: 1})]) for weight in (1, 2, 2.0)}
    assert len(found) == 2


def test_fingerprint__tells_pictures_from_others_of_their_names_and_sizes(tmp_path):
    """Inputs that were reduced in two ways are called alike."""
    folders = [flat(tmp_path / name, 10, 20) for name in 'abc']
    write_image(tmp_path / 'b/020.png', np.full((40, 40, 3), 21, np.uint8))
    found = [fingerprint([open_store(folder, 'dataroot_lq')]) for folder in folders]
    assert found[0] == found[2] != found[1]


def test_several_folders__one_interface(tmp_path):
    write_photos(tmp_path / 'a', [(20, 30)])
    write_photos(tmp_path / 'b', [(40, 24)])
    store = MixedStore({str(tmp_path / 'a'): 1, str(tmp_path / 'b'): 1.5})
    key = next(key for key in store.keys if key.startswith('1/'))
    assert store.size(key) == (40, 24) and store.read(key).shape == (40, 24, 3)
    window = store.read_window(key, slice(3, 9), slice(2, 6))
    assert np.array_equal(window, store.read(key)[3:9, 2:6])
    assert store.read_bytes(key)[1:4] == b'PNG'
    store.verify()
    (tmp_path / 'b/im00.png').write_bytes(b'none')
    with pytest.raises(UserError, match='im00'):
        store.verify()


@pytest.mark.parametrize(
    'options,key',
    [
        ({'mixup': 1.5}, 'mixup'),
        ({'cutmix': True}, 'cutmix'),
        ({'channel_shuffle': 0.5, 'color': 'gray'}, 'channel_shuffle'),
        ({'color_blend': 0.5, 'color': 'unchanged'}, 'color'),
        ({'crop_candidates': 0}, 'crop_candidates'),
        ({'scale_distribution': 'reciprocl'}, 'scale_distribution'),
        ({'dataroot_gt': {}}, 'dataroot_gt'),
        ({'dataroot_gt': {'nowhere': 1}}, 'dataroot_gt'),
        ({'dataroot_gt': {'builtin:photos/train': 0}}, 'dataroot_gt'),
        ({'dataroot_gt': {'builtin:photos/train': 'often'}}, 'dataroot_gt'),
        ({'dataroot_gt': {'builtin:photos/train': True}}, 'dataroot_gt'),
        ({'mixup': 0.5, 'dataroot_lq': 'builtin:photos/train'}, 'mixup'),
        ({'scale_range': [1, 4], 'dataroot_lq': 'builtin:photos/train'}, 'scale_range'),
        (
            {'scale_per_axis': True, 'scale_range': None, 'dataroot_lq': 'builtin:photos/train'},
            'scale_per_axis',
        ),
        (
            {'dataroot_gt': {'builtin:photos/train': 1}, 'dataroot_lq': 'builtin:photos/train'},
            'dataroot_gt',
        ),
    ],
)
def test_refused__names_its_key(photos, options, key):
    with pytest.raises(UserError) as raised:
        train_set(**{'root': str(photos), **options}) if 'dataroot_gt' not in options else (
            RandomScalePairedDataset({**OPTIONS, **options})
        )
    assert raised.value.key == key
