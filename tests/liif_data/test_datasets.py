"""Datasets: samples that are what they say, addressed randomness, scale sets, and errors."""

import pickle

import numpy as np
import pytest
import torch
from helpers import photo, write_photos
from PIL import Image
from torch.utils.data import DataLoader

from liif_arch.coordinates import nearest_index
from liif_arch.crop_batches import make_batch
from liif_arch.errors import UserError
from liif_arch.files.images import write_image
from liif_arch.training.addressed import AddressedSampler, SampleIndex
from liif_data.lmdb_writer import create_lmdb
from liif_data.random_scale_dataset import RandomScalePairedDataset
from liif_data.store import LmdbStore

TRAIN = {
    'name': 't',
    'type': 'RandomScalePairedDataset',
    'lq_size': 12,
    'scale_range': [1, 4],
    'num_samples': 50,
    'seed': 7,
}


def train_set(root, **options) -> RandomScalePairedDataset:
    return RandomScalePairedDataset({**TRAIN, 'dataroot_gt': str(root), **options})


def epoch_samples(dataset, epoch: int, workers: int) -> list[dict]:
    sampler = AddressedSampler(dataset, 1, 0, ratio=3)
    sampler.set_epoch(epoch)
    return list(DataLoader(dataset, batch_size=4, sampler=sampler, num_workers=workers))


def equal(a: list[dict], b: list[dict]) -> bool:
    return len(a) == len(b) and all(
        torch.equal(x[k], y[k])
        for x, y in zip(a, b, strict=True)
        for k in ('lq', 'gt', 'coord', 'cell')
    )


def test_sample__shapes_ranges_and_paths(photos):
    sample = train_set(photos)[1]
    assert {k: tuple(v.shape) for k, v in sample.items() if torch.is_tensor(v)} == {
        'lq': (3, 12, 12),
        'gt': (50, 3),
        'coord': (50, 2),
        'cell': (50, 2),
    }
    assert all(v.dtype == torch.float32 for v in sample.values() if torch.is_tensor(v))
    assert 0 <= sample['lq'].min() and sample['lq'].max() <= 1 and sample['coord'].abs().max() < 1
    assert sample['gt_path'] == sample['lq_path'] == str(photos / 'im01.png')


def test_sample__colours_are_those_of_the_ground_truth(tmp_path):
    """A picture whose colour is its position: the crop's affine map to coordinates must hold for
    every query.
    """
    y, x = np.mgrid[:100, :100].astype(np.uint8)
    write_image(tmp_path / 'd/a.png', np.dstack([y, x, y]))
    sample = train_set(tmp_path / 'd', use_hflip=False, use_rot=False, num_samples=144)[0]
    values = sample['gt'][:, :2].numpy() * 255
    side = round(2 / sample['cell'][0, 0].item())
    position = np.stack([nearest_index(sample['coord'][:, i], side).numpy() for i in (0, 1)], 1)
    origin = values - position
    assert np.ptp(origin, axis=0).max() < 1e-3 and 12 <= side <= 48


def test_sample__lq_shows_what_the_queries_ask(photos):
    """At scale 1 the low-resolution crop is the ground truth itself, whatever the augmentation."""
    dataset = train_set(photos, scale_range=[1, 1], num_samples=None)
    for epoch in range(8):
        sample = dataset[SampleIndex(2, epoch)]
        assert torch.equal(sample['gt'].T.reshape(3, 12, 12), sample['lq'])


@pytest.mark.parametrize('color', ['rgb', 'unchanged'])
def test_samples__folder_and_lmdb_and_workers_agree_and_epochs_differ(photos, color):
    databases = [photos.parent / f'{encoding}.lmdb' for encoding in ('file', 'raw')]
    for database in databases:
        create_lmdb(photos, database, encoding=database.stem)
    reference = epoch_samples(train_set(photos, color=color), 0, 0)
    for root in (photos, *databases):
        for cache in (False, True):
            dataset = train_set(root, color=color, cache=cache)
            for workers in (0, 2):
                assert equal(epoch_samples(dataset, 0, workers), reference)
    for workers in (0, 2):
        first, second = (
            epoch_samples(train_set(databases[1], color=color), e, workers) for e in (1, 2)
        )
        assert not equal(first, reference) and not equal(first, second)
    assert not equal(epoch_samples(train_set(photos, color=color, seed=8), 0, 0), reference)


def made_on_device(batches: list[dict], dataset: RandomScalePairedDataset) -> list[dict]:
    return [
        make_batch(b['crop'], b['size'], b['seed'], dataset.lq_size, dataset.num_samples)
        for b in batches
    ]


@pytest.mark.parametrize(
    'options',
    [
        {},
        {'color': 'gray'},
        {'scale_range': [0.5, 4], 'num_samples': 36},
        {'lq_size': 13, 'use_rot': False},
        {'reduce_gt': [0.7, 1, 2]},
        {'scale_per_axis': True},
        {'scale_per_axis': True, 'reduce_gt': [0.7, 1, 2], 'scale_distribution': 'log'},
        {'crop_candidates': 3, 'scale_distribution': 'reciprocal'},
        {'mixup': 0.5, 'cutmix': 0.5, 'channel_shuffle': 0.5, 'color_blend': 0.5},
    ],
)
def test_samples__degraded_by_loader_and_device_agree(photos, options):
    create_lmdb(photos, photos.parent / 'raw.lmdb', encoding='raw')
    for root, epoch, workers in ((photos, 3, 0), (photos.parent / 'raw.lmdb', 0, 2)):
        loader, device = (
            train_set(root, degrade=degrade, **options) for degrade in ('loader', 'device')
        )
        reference, crops = (epoch_samples(dataset, epoch, workers) for dataset in (loader, device))
        assert equal(made_on_device(crops, device), reference)
        assert [b['gt_path'] for b in crops] == [b['lq_path'] for b in reference]


def test_degrade_device__a_sample_is_a_padded_crop(photos):
    dataset = train_set(photos, degrade='device', use_hflip=False, use_rot=False)
    sample, image = dataset[2], photo(71, 60, 2)
    (side, width), crop = sample['size'].tolist(), sample['crop'].numpy()
    assert (
        set(sample) == {'crop', 'size', 'seed', 'lq_path', 'gt_path'}
        and side == width
        and 0 <= sample['seed'] < 2**32
    )
    assert (
        crop.shape == (48, 48, 3)
        and crop.dtype == np.uint8
        and not crop[side:].any()
        and not crop[:, side:].any()
    )
    windows = np.lib.stride_tricks.sliding_window_view(image, (side, side), (0, 1))
    assert (windows == crop[:side, :side].transpose(2, 0, 1)).all((2, 3, 4)).sum() == 1


def test_degrade_device__refuses_16_bits(tmp_path):
    write_image(tmp_path / 'd/a.png', photo(64, 64).astype(np.uint16) * 257)
    with pytest.raises(UserError, match='found a uint16 image'):
        train_set(tmp_path / 'd', degrade='device', color='unchanged')[0]


def test_sample__reads_its_crop_and_no_more(photos, monkeypatch):
    create_lmdb(photos, photos.parent / 'raw.lmdb', encoding='raw')
    dataset, windows = train_set(photos.parent / 'raw.lmdb'), []

    def read_window(self, key, rows, cols, color):
        windows.append((rows.stop - rows.start, cols.stop - cols.start))
        return original(self, key, rows, cols, color)

    original = LmdbStore.read_window
    monkeypatch.setattr(LmdbStore, 'read_window', read_window)
    side = round(2 / dataset[0]['cell'][0, 0].item())
    assert windows == [(side, side)]


def test_samples__persistent_workers_move_on_with_the_epoch(photos):
    dataset = train_set(photos)
    sampler = AddressedSampler(dataset, 1, 0, ratio=3)
    loader = DataLoader(
        dataset, batch_size=4, sampler=sampler, num_workers=2, persistent_workers=True
    )
    for epoch in range(3):
        sampler.set_epoch(epoch)
        assert equal(list(loader), epoch_samples(dataset, epoch, 0))


def test_samples__ranks_share_an_epoch_out(photos):
    dataset = train_set(photos)
    parts = []
    for rank in range(2):
        sampler = AddressedSampler(dataset, 2, rank, ratio=3)
        sampler.set_epoch(5)
        parts += [(int(i), i.epoch, i.repeat) for i in sampler]
    assert sorted(parts) == [(i, 5, r) for i in range(4) for r in range(3)]


def test_sample_index__survives_the_way_to_a_worker():
    index = pickle.loads(pickle.dumps(SampleIndex(3, 5, 2)))
    assert (index, index.epoch, index.repeat) == (3, 5, 2) and [10, 20, 30, 40][index] == 40


def test_sampler__keeps_basicsrs_order(photos):
    from basicsr.data.data_sampler import EnlargedSampler

    dataset = train_set(photos)
    ours, theirs = AddressedSampler(dataset, 2, 1, 3), EnlargedSampler(dataset, 2, 1, 3)
    for epoch in (0, 4):
        ours.set_epoch(epoch)
        theirs.set_epoch(epoch)
        assert list(ours) == list(theirs)


def test_pairs__given_low_resolution_images(photos):
    for path in photos.iterdir():
        image = np.asarray(Image.open(path))
        h, w = (n // 2 for n in image.shape[:2])
        write_image(photos.parent / f'lq/{path.stem}x2.png', image[: h * 2 : 2, : w * 2 : 2])
    options = {'filename_tmpl': '{}x2', 'scale_range': None, 'num_samples': None}
    dataset = train_set(
        photos, dataroot_lq=str(photos.parent / 'lq'), use_hflip=False, use_rot=False, **options
    )
    sample = dataset[2]
    gt = sample['gt'].T.reshape(3, 24, 24)
    assert torch.equal(gt[:, ::2, ::2], sample['lq']) and sample['lq_path'].endswith('im02x2.png')
    reference = epoch_samples(
        train_set(photos, dataroot_lq=str(photos.parent / 'lq'), **options), 0, 0
    )
    for encoding in ('file', 'raw'):
        gt, lq = (photos.parent / f'{name}_{encoding}.lmdb' for name in ('gt', 'lq'))
        create_lmdb(photos, gt, encoding=encoding)
        create_lmdb(photos.parent / 'lq', lq, encoding=encoding)
        for cache in (False, True):
            assert equal(
                epoch_samples(train_set(gt, dataroot_lq=str(lq), cache=cache, **options), 0, 0),
                reference,
            )


def test_pairs__are_not_degraded_by_the_device(photos):
    write_photos(photos.parent / 'lq', [(30, 36), (32, 32), (35, 30), (40, 33)])
    with pytest.raises(UserError, match='^degrade: found device, which .* remove dataroot_lq'):
        train_set(photos, dataroot_lq=str(photos.parent / 'lq'), degrade='device', scale_range=None)


def test_pairs__missing_or_of_another_size(photos):
    with pytest.raises(UserError, match='has no "im00x2"'):
        train_set(photos, dataroot_lq=str(photos), filename_tmpl='{}x2', scale_range=None)
    write_photos(photos.parent / 'lq', [(30, 36), (32, 32), (35, 30), (40, 20)])
    with pytest.raises(UserError, match='im03.png is 66x80 and its low-resolution image 20x40'):
        train_set(photos, dataroot_lq=str(photos.parent / 'lq'), scale_range=None)


@pytest.mark.parametrize(
    'options,message',
    [
        ({'scale_range': [4, 1]}, r'scale_range: found \[4, 1\]; needed 0 < lowest <= highest'),
        ({'scale_range': [0, 4]}, 'scale_range'),
        ({'scale_range': 4}, r'needed \[lowest, highest\]'),
        ({'scale_range': [1, float('inf')]}, 'scale_range'),
        ({'use_hflp': True}, 'did you mean use_hflip'),
        ({'lq_size': 0}, 'lq_size'),
        ({'lq_size': None}, 'lq_size'),
        ({'num_samples': 145}, 'num_samples: found 145'),
        ({'num_samples': None}, 'num_samples: found null'),
        ({'degrade': 'gpu'}, "^degrade: found 'gpu'; needed loader or"),
        (
            {'degrade': 'device', 'scale_range': [2, 2], 'num_samples': None},
            '^degrade: found device, which .*num_samples',
        ),
        ({'reduce_gt': [2, 1, 2]}, r'^reduce_gt: found \[2, 1, 2\]; needed a probability'),
        ({'reduce_gt': [0.5, 2, 1]}, '^reduce_gt: .*1 <= lowest <= highest'),
        ({'reduce_gt': [0.5, 2]}, '^reduce_gt: .*for instance'),
        ({'degrad': 'device'}, 'did you mean degrade'),
        ({'color': 'bgr'}, 'color'),
        (
            {'lq_size': 20},
            r'im00\.png: this image is 72x60 .*, and 3 more are smaller than the 80-pixel crop',
        ),
        ({'dataroot_gt': 'nowhere'}, 'dataroot_gt: nowhere does not exist'),
    ],
)
def test_random_scale__refuses(photos, options, message):
    with pytest.raises(UserError, match=message):
        train_set(options.pop('dataroot_gt', photos), **options)


@pytest.mark.parametrize('color,channels', [('gray', 1), ('rgb', 3), ('unchanged', 3)])
def test_random_scale__channels(photos, color, channels):
    sample = train_set(photos, color=color, cache=True)[0]
    assert sample['lq'].shape[0] == channels == sample['gt'].shape[1]
