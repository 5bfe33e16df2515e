"""`ScaleSetDataset`: sizes, published inputs and what is refused."""

import numpy as np
import pytest
from helpers import photo, write_photos
from PIL import Image

from liif_arch.errors import UserError
from liif_data.scale_set_dataset import ScaleSetDataset


def scale_set(root, scales, **options) -> ScaleSetDataset:
    return ScaleSetDataset(
        {
            'name': 'v',
            'type': 'ScaleSetDataset',
            'dataroot_gt': str(root),
            'scales': scales,
            **options,
        }
    )


def test_scale_set__sizes_and_reduction(photos):
    dataset = scale_set(photos, [2, 2.5, [2, 3], 30])
    assert len(dataset) == 16
    item = dataset[4 + 2]  # the third image, 71x60, at x2.5
    assert (
        item['lq'].shape == (3, 28, 24)
        and item['gt'].shape == (3, 70, 60)
        and item['scale'].tolist() == [2.5, 2.5]
    )
    gt = photo(71, 60, 2)[:70]
    assert np.array_equal(item['gt'].numpy().transpose(1, 2, 0), gt.astype(np.float32) / 255)
    lq = np.asarray(Image.fromarray(gt).resize((24, 28), Image.Resampling.BICUBIC))
    assert np.array_equal(np.rint(item['lq'].numpy().transpose(1, 2, 0) * 255), lq)
    assert dataset[8 + 2]['lq'].shape == (3, 35, 20) and dataset[12]['lq'].shape == (3, 2, 2)


def test_scale_set__published_inputs_where_they_exist(photos):
    write_photos(
        photos.parent / 'LR/X2',
        [(30, 36), (32, 32), (35, 30), (40, 33)],
        [f'im0{i}x2' for i in range(4)],
    )
    dataset = scale_set(photos, [2, 3], dataroot_lq=str(photos.parent / 'LR/X{scale}'))
    given, made = dataset[2], dataset[4 + 2]
    assert given['lq_path'].endswith('X2/im02x2.png') and given['gt'].shape == (3, 70, 60)
    assert made['lq_path'] == made['gt_path'] and made['lq'].shape == (3, 23, 20)
    assert np.array_equal(np.rint(given['lq'].numpy().transpose(1, 2, 0) * 255), photo(35, 30, 2))
    (photos.parent / 'LR/X2/im03x2.png').unlink()
    with pytest.raises(UserError, match='has no "im03x2"'):
        scale_set(photos, [2, 3], dataroot_lq=str(photos.parent / 'LR/X{scale}'))


def test_scale_set__inputs_of_another_size(photos):
    write_photos(
        photos.parent / 'LR/X2',
        [(30, 36), (32, 32), (35, 20), (40, 33)],
        [f'im0{i}x2' for i in range(4)],
    )
    with pytest.raises(UserError, match=r'im02x2\.png is 20x35 .* at x2'):
        scale_set(photos, [2], dataroot_lq=str(photos.parent / 'LR/X{scale}'))


@pytest.mark.parametrize('size', [(36, 30), (36, 36), (31, 36)])
def test_scale_set__inputs_that_are_turned_or_larger(photos, size):
    """Of a ground truth of 60x72: turned by a quarter, or with more pixels than it has."""
    sizes = [size, (32, 32), (35, 30), (40, 33)]
    write_photos(photos.parent / 'LR/X2', sizes, [f'im0{i}x2' for i in range(4)])
    text = (
        rf'dataroot_lq: .*im00x2\.png is {size[1]}x{size[0]} .* at x2 {2 * size[1]}x{2 * size[0]}'
    )
    with pytest.raises(UserError, match=text):
        scale_set(photos, [2], dataroot_lq=str(photos.parent / 'LR/X{scale}'))


def test_scale_set__says_of_how_many_ground_truths_a_part_is_left_out(photos, caplog):
    sizes = [(30, 36), (32, 32), (35, 30), (40, 33)]  # the third is of 71 rows
    write_photos(photos.parent / 'LR/X2', sizes, [f'im0{i}x2' for i in range(4)])
    with caplog.at_level('INFO', 'basicsr'):
        scale_set(photos, [2], dataroot_lq=str(photos.parent / 'LR/X{scale}'))
    assert '1 of them have fewer pixels than their ground truths' in caplog.text


def test_scale_set__one_scale_from_a_plain_folder(photos):
    write_photos(photos.parent / 'lr', [(30, 36), (32, 32), (35, 30), (40, 33)])
    item = scale_set(photos, [2], dataroot_lq=str(photos.parent / 'lr'), filename_tmpl='{}')[2]
    assert item['lq_path'].endswith('lr/im02.png') and item['gt'].shape == (3, 70, 60)


def test_scale_set__first_k(photos):
    assert len(scale_set(photos, [2, 3], first_k=2)) == 4


@pytest.mark.parametrize(
    'scales,options,message',
    [
        ([], {}, 'scales: found'),
        (None, {}, 'scales: found'),
        ([2, 0], {}, 'above 0'),
        ([2, 'x'], {}, "found 'x'"),
        ([2, 2.0], {}, 'twice'),
        ([90], {}, 'leaves no pixel'),
        ([2], {'color': 'x'}, 'color'),
        ([2, 3], {'dataroot_lq': 'LR/X2'}, r'needed \{scale\}'),
        ([2], {'dataroot_lq': 'no/LR/X{scale}'}, 'does not exist'),
        ([2], {'dataroot_lq': './X{scale}'}, 'exists for none of the scales x2'),
        ([2], {'scals': [2]}, 'did you mean scales'),
        ([2], {'first_k': 0}, 'first_k'),
    ],
)
def test_scale_set__refuses(photos, scales, options, message):
    with pytest.raises(UserError, match=message):
        scale_set(photos, scales, **options)
