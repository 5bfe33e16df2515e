"""What happens to photographs on their way: step by step, and addressed."""

import io

import numpy as np
import pytest
from helpers import photo
from PIL import Image

from liif_arch.errors import UserError
from liif_arch.files.images import resize_bicubic
from liif_data.dataset_options import to_tensor
from liif_data.degradations import PRESETS, SIMPLE, Degradation
from liif_data.random_scale_dataset import RandomScalePairedDataset
from liif_data.scale_set_dataset import ScaleSetDataset
from liif_data.size_varied_dataset import SizeVariedDataset
from liif_data.store import open_store

TRAIN = {
    'name': 't',
    'dataroot_gt': 'builtin:photos/train',
    'lq_size': 12,
    'scale_range': [1, 4],
    'num_samples': 16,
}


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def cat() -> np.ndarray:
    return open_store('builtin:photos/heldout').read('chelsea')[96:192, 96:192]


@pytest.mark.parametrize('option', [*PRESETS, *({name: 1} for name in SIMPLE)], ids=str)
@pytest.mark.parametrize('channels', [1, 3])
@pytest.mark.parametrize('side', [24, 25, 77, 96])
def test_degradation__ends_at_the_size_and_depends_on_the_seed_alone(option, channels, side):
    degrade, gt = Degradation(option), photo(side, side)[..., :channels]
    before = gt.copy()
    for seed in range(8):
        np.random.seed(seed)  # is of no account
        first = degrade(gt, (24, 24), rng(seed))
        state = np.random.get_state()[1].copy()
        assert first.shape == (24, 24, channels) and first.dtype == np.uint8
        np.testing.assert_array_equal(degrade(gt, (24, 24), rng(seed)), first)
        np.testing.assert_array_equal(np.random.get_state()[1], state)  # and is not drawn from
    np.testing.assert_array_equal(gt, before)


def test_degradation__of_no_step_is_the_bicubic_reduction():
    gt = cat()
    never = Degradation([{'p': 0, 'jpeg': 1}])
    np.testing.assert_array_equal(never(gt, (24, 24), rng()), resize_bicubic(gt, (24, 24)))


def test_degradation__jpeg_of_a_whole_image_is_the_file_that_is_written():
    """By another library: quantised alike, rounded by a step or two."""
    gt = cat()
    found = Degradation({'jpeg': 50})(gt, (48, 48), rng(), whole=True)
    file = io.BytesIO()
    Image.fromarray(resize_bicubic(gt, (48, 48))).save(file, 'JPEG', quality=50, subsampling=2)
    expected = np.asarray(Image.open(file)).astype(int)
    assert abs(found - expected).mean() < 1.5
    assert abs(resize_bicubic(gt, (48, 48)) - expected).mean() > 3


@pytest.mark.parametrize('name,weak,strong', [('jpeg', 95, 20), ('noise', 2, 20), ('blur', 0.3, 2)])
def test_degradation__more_of_it_is_further_from_the_image(name, weak, strong):
    gt = cat()
    clean = resize_bicubic(gt, (32, 32)).astype(int)
    errors = []
    for value in (weak, strong):
        found = [Degradation({name: value})(gt, (32, 32), rng(seed)) for seed in range(4)]
        errors.append(np.mean([abs(image - clean).mean() for image in found]))
    assert 0 < 2 * errors[0] < errors[1]


def test_degradation__noise_has_the_deviation_that_is_named():
    gt = np.full((200, 200, 3), 128, np.uint8)
    for seed in range(3):
        found = Degradation({'noise': 10})(gt, (200, 200), rng(seed))
        assert abs(found.astype(float).std() - 10) < 0.5


def test_degradation__blur_is_counted_in_pixels_of_the_result():
    """Before or after the reduction: about the same."""
    gt = np.zeros((96, 96, 1), np.uint8)
    gt[:, 48:] = 255
    before = Degradation([{'blur': 1.0}, {'reduce': 'bicubic'}])
    after = Degradation([{'reduce': 'bicubic'}, {'blur': 1.0}])
    slopes = []
    for degrade in (before, after):
        images = [degrade(gt, (24, 24), rng(seed)).astype(int) for seed in range(30)]
        slopes.append(np.mean([abs(np.diff(image, axis=1)).max() for image in images]))
    assert 0.7 < slopes[0] / slopes[1] < 1.4 and max(slopes) < 160


@pytest.mark.parametrize(
    'option,message',
    [
        ('foto', "^degradation: found 'foto'; did you mean photo"),
        ({'jpg': 75}, r"^degradation\[0\]: found 'jpg'; did you mean jpeg"),
        ({'jpeg': 0}, r'^degradation\[0\].jpeg: found 0; needed a number from 1 to 100'),
        ({'jpeg': [90, 30]}, r'jpeg: found \[90, 30\]; needed lowest <= highest'),
        ({'jpeg': True}, 'jpeg: found True; needed a number'),
        ({'jpeg': [1, 2, 3]}, 'needed a number, or .lowest, highest.'),
        ([{'p': 2, 'jpeg': 75}], r'^degradation\[0\].p: found 2; needed a number from 0 to 1'),
        ([{'jpeg': 75, 'noise': 3}], r'degradation\[0\]: found .*; needed one of blur'),
        ([], r'^degradation: found \[\]; needed photo or wild'),
        ([{'one_of': [{'jpeg': 5}, {'nois': 3}]}], r"\[0\].one_of\[1\]: found 'nois'; did you"),
        ([{'one_of': [{'weight': 0, 'jpeg': 5}]}], r'one_of\[0\].weight: found 0'),
        ([{'reduce': ['cubic']}], r"reduce: found 'cubic'; did you mean bicubic"),
        ([75], r'degradation\[0\]: found 75; needed one of'),
    ],
)
def test_degradation__refuses(option, message):
    with pytest.raises(UserError, match=message):
        Degradation(option)


def test_degradation__refuses_16_bits():
    with pytest.raises(UserError, match='16'):
        Degradation('photo')(np.zeros((24, 24, 3), np.uint16), (12, 12), rng())


@pytest.mark.parametrize('preset', PRESETS)
@pytest.mark.parametrize('degrade', ['loader', 'device'])
def test_training__only_inputs_are_degraded(preset, degrade):
    """Ground truth and the pixels drawn of it are those of the clean sample."""
    clean = RandomScalePairedDataset({**TRAIN, 'degrade': degrade})
    dirty = RandomScalePairedDataset({**TRAIN, 'degrade': degrade, 'degradation': preset})
    changed = 0
    for i in range(len(clean)):
        ours, plain = dirty[i], clean[i]
        for key in plain.keys() - {'lq'}:
            assert np.array_equal(ours[key], plain[key]), key
        assert ours['lq'].shape == (3, 12, 12)
        if degrade == 'loader':
            changed += not np.array_equal(ours['lq'], plain['lq'])
    assert degrade == 'device' or changed >= len(clean) // 2


def test_training__loader_and_device_give_the_same_batch():
    import torch

    from liif_arch.crop_batches import batch_of_crops

    opt = {**TRAIN, 'degradation': 'photo'}
    loader = RandomScalePairedDataset(opt)
    device = RandomScalePairedDataset({**opt, 'degrade': 'device'})
    data = torch.utils.data.default_collate([device[i] for i in range(4)])
    batch = batch_of_crops(data, opt, torch.device('cpu'))
    for i in range(4):
        for key, value in batch.items():
            torch.testing.assert_close(value[i], loader[i][key], atol=0, rtol=0)


@pytest.mark.parametrize(
    'changes,message',
    [
        ({'color': 'unchanged'}, '^color: found unchanged; a degradation needs'),
        ({'dataroot_lq': 'builtin:photos/train'}, '^degradation: found both it and dataroot_lq'),
    ],
)
def test_training__refuses(changes, message):
    opt = {**TRAIN, 'degradation': 'photo', **changes}
    if 'dataroot_lq' in changes:
        del opt['scale_range']
    with pytest.raises(UserError, match=message):
        RandomScalePairedDataset(opt)


def test_validation__named_degradations_are_fixed(tmp_path):
    opt = {'name': 'v', 'dataroot_gt': 'builtin:photos/heldout', 'scales': [4]}
    clean, dirty = (ScaleSetDataset({**opt, **more})[0] for more in ({}, {'degradation': TWO}))
    again = ScaleSetDataset({**opt, 'degradation': TWO})[0]
    assert np.array_equal(dirty['lq'], again['lq']) and np.array_equal(dirty['gt'], clean['gt'])
    assert 0.005 < abs(dirty['lq'] - clean['lq']).mean() < 0.1


TWO = {'noise': 5, 'jpeg': 60}


def test_validation__refuses_a_step_that_ignores_the_given_inputs(tmp_path):
    from liif_arch import write_image

    for name, side in (('gt', 24), ('X2', 12)):
        (tmp_path / name).mkdir()
        write_image(tmp_path / name / 'a.png', photo(side, side))
    opt = {
        'name': 'v',
        'dataroot_gt': str(tmp_path / 'gt'),
        'dataroot_lq': str(tmp_path / 'X{scale}'),
        'filename_tmpl': '{}',
        'scales': [2],
    }
    assert ScaleSetDataset({**opt, 'degradation': {'jpeg': 60}})[0]['lq'].shape == (3, 12, 12)
    with pytest.raises(UserError, match='^degradation: found a step that makes an input of the gr'):
        ScaleSetDataset({**opt, 'degradation': [{'reduce': 'box'}]})


def test_pairs__are_what_the_samples_are_made_of():
    """Of all three datasets, what `basicsr check --show` draws is what a run gets."""
    opt = {**TRAIN, 'degradation': 'photo'}
    dataset = RandomScalePairedDataset(opt)
    lq, gt = dataset.pair(3)
    assert np.array_equal(to_tensor(lq), dataset[3]['lq']) and len(gt) >= 12
    dataset = ScaleSetDataset(
        {'name': 'v', 'dataroot_gt': 'builtin:photos/heldout', 'scales': [3], 'degradation': TWO}
    )
    for image, key in zip(dataset.pair(1), ('lq', 'gt'), strict=True):
        assert np.array_equal(to_tensor(image), dataset[1][key])


def test_pairs__of_the_size_varied_dataset(tmp_path):
    from liif_arch import write_image

    write_image(tmp_path / 'a.png', photo(32, 32))
    dataset = SizeVariedDataset(
        {
            'name': 't',
            'dataroot_gt': str(tmp_path),
            'lq_size': 8,
            'gt_size_range': [16, 32],
            'num_samples': 64,
        }
    )
    lq, gt = dataset.pair(0)
    assert np.array_equal(to_tensor(lq), dataset[0]['lq']) and gt.shape == (16, 16, 3)
