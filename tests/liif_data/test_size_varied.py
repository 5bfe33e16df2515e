"""Ground truth of many sizes: a size fixed per sample, inputs given or made."""

import numpy as np
import pytest
from helpers import photo, write_photos

from liif_arch.errors import UserError
from liif_arch.files.images import resize_bicubic, write_image
from liif_arch.training.addressed import SampleIndex
from liif_data.lmdb_writer import create_lmdb
from liif_data.size_varied_dataset import SizeVariedDataset


@pytest.fixture
def faces(tmp_path):
    return write_photos(tmp_path / 'faces', [(64, 64)] * 5)


def dataset(root, **options) -> SizeVariedDataset:
    return SizeVariedDataset(
        {
            'name': 'f',
            'dataroot_gt': str(root),
            'lq_size': 16,
            'gt_size_range': [16, 64],
            'num_samples': 100,
            'seed': 1,
            **options,
        }
    )


def test_sizes__from_smallest_to_largest_the_same_every_epoch(faces):
    data = dataset(faces)
    assert [data.gt_side(i) for i in range(5)] == [16, 28, 40, 52, 64]
    for epoch in (0, 3):
        sample = data[SampleIndex(2, epoch)]
        assert sample['cell'][0].tolist() == pytest.approx([2 / 40, 2 / 40])
    assert not np.array_equal(data[SampleIndex(2, 0)]['coord'], data[SampleIndex(2, 1)]['coord'])


def test_sample__is_the_resized_image(faces):
    data = dataset(faces, use_hflip=False)
    sample = data[3]
    image = photo(64, 64, 3)
    np.testing.assert_allclose(
        sample['lq'].permute(1, 2, 0) * 255, resize_bicubic(image, (16, 16)), atol=1e-3
    )
    gt = resize_bicubic(image, (52, 52))
    index = np.rint(((sample['coord'].numpy() + 1) * 52 - 1) / 2).astype(int)
    np.testing.assert_allclose(sample['gt'] * 255, gt[index[:, 0], index[:, 1]], atol=1e-3)


def test_gt_resize__loses_the_detail_of_the_smaller_size(faces):
    sample = dataset(faces, use_hflip=False, gt_resize=64)[0]
    gt = resize_bicubic(resize_bicubic(photo(64, 64, 0), (16, 16)), (64, 64))
    index = np.rint(((sample['coord'].numpy() + 1) * 64 - 1) / 2).astype(int)
    np.testing.assert_allclose(sample['gt'] * 255, gt[index[:, 0], index[:, 1]], atol=1e-3)
    assert sample['cell'][0, 0].item() == pytest.approx(2 / 64)


def test_given_inputs__from_lmdbs(faces):
    for path in faces.iterdir():
        write_image(faces.parent / 'small' / path.name, np.full((16, 16, 3), 7, np.uint8))
    for name in ('faces', 'small'):
        create_lmdb(faces.parent / name, faces.parent / f'{name}.lmdb')
    sample = dataset(faces.parent / 'faces.lmdb', dataroot_lq=str(faces.parent / 'small.lmdb'))[1]
    assert (sample['lq'] * 255 == 7).all() and sample['lq_path'].endswith('small.lmdb/im01')


@pytest.mark.parametrize(
    'options,message',
    [
        ({'gt_size_range': [64, 16]}, 'gt_size_range'),
        ({'gt_size_range': [16, 128]}, 'at least 128 pixels'),
        ({'num_samples': 300}, 'num_samples: found 300'),
        ({'lq_size': None}, 'lq_size'),
        ({'color': 'x'}, 'color'),
    ],
)
def test_refuses(faces, options, message):
    with pytest.raises(UserError, match=message):
        dataset(faces, **options)


def test_refuses__inputs_of_other_sizes_or_names(faces):
    with pytest.raises(UserError, match=r'needed 16x16 \(lq_size\)'):
        dataset(faces, dataroot_lq=str(faces))
    (faces.parent / 'few').mkdir()
    write_image(faces.parent / 'few/im00.png', photo(16, 16))
    with pytest.raises(UserError, match='has no "im01"'):
        dataset(faces, dataroot_lq=str(faces.parent / 'few'))
    write_image(faces / 'wide.png', photo(64, 70))
    with pytest.raises(UserError, match='is 70x64'):
        dataset(faces)
