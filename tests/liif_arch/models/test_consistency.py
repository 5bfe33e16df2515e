"""`consistency_opt`: the enlargement, reduced again, against the input."""

import copy

import numpy as np
import pytest
import torch
from helpers import run_here, tiny_train, write_options
from torch.nn import functional

from liif_arch.archs.edsr_encoder_arch import EDSREncoder
from liif_arch.archs.liif_arch import LIIF
from liif_arch.errors import UserError
from liif_arch.files.images import resize_bicubic
from liif_arch.models.consistency import Consistency
from liif_arch.models.distillation import Batch
from liif_arch.models.liif_model import LIIFModel
from liif_data.random_scale_dataset import RandomScalePairedDataset

FIELD = {
    'type': 'Thera',
    'encoder': {'type': 'EDSREncoder', 'num_feat': 8, 'num_block': 1},
    'hidden_dim': 8,
    'skip': 'bilinear',
    'local_ensemble': True,
}


def model_with(photos, tmp_path, **changes) -> LIIFModel:
    """The model as a run builds it, with a batch of four samples."""
    options = tiny_train(photos, **changes)
    options.update(is_train=True, dist=False, rank=0, world_size=1)
    options['path'].update(models=str(tmp_path), training_states=str(tmp_path))
    options['datasets']['train'].update(seed=0, phase='train')
    torch.manual_seed(0)
    model = LIIFModel(copy.deepcopy(options))
    dataset = RandomScalePairedDataset(options['datasets']['train'])
    model.feed_data(torch.utils.data.default_collate([dataset[index] for index in range(4)]))
    return model


def test_reduction__is_pillows():
    """What is predicted are the pixels of an image, whose reduction Pillow makes."""
    torch.manual_seed(0)
    net = LIIF(EDSREncoder(num_feat=8, num_block=1), [8])
    image = np.random.default_rng(0).integers(0, 256, (20, 36, 3), dtype=np.uint8)
    image = resize_bicubic(image, (27, 30))  # (9, 10) times (3, 3)
    reduced = resize_bicubic(image, (9, 10)).astype(np.float32) / 255
    lq = torch.from_numpy(reduced).permute(2, 0, 1)[None]
    colours = torch.from_numpy(image.astype(np.float32) / 255).flatten(0, 1)[None]
    loss = Consistency({'type': 'L1Loss', 'scale': 3}, net)
    assert float(loss.loss(colours, lq)) < 0.5 / 255  # Pillow rounds twice, and clips
    assert float(loss.loss(colours.flip(1), lq)) > 0.05


@pytest.mark.parametrize('network', [None, FIELD])
@pytest.mark.parametrize('scale', [2, 2.5, [1.5, 3]])
def test_loss__is_that_of_the_rendered_image(photos, tmp_path, network, scale):
    changes = {} if network is None else {'network_g': copy.deepcopy(network)}
    options = {'type': 'L1Loss', 'loss_weight': 0.5, 'scale': scale}
    model = model_with(photos, tmp_path, train__consistency_opt=options, **changes)
    net = copy.deepcopy(model.net_g)
    sy, sx = scale if isinstance(scale, list) else (scale, scale)
    image = net(model.lq, size=(round(8 * sy), round(8 * sx)))
    reduced = functional.interpolate(image, (8, 8), mode='bicubic', antialias=True)
    pixels = (net(model.lq, model.coord, model.cell) - model.gt).abs().mean()
    consistency = 0.5 * (reduced - model.lq).abs().mean()
    (pixels + consistency).backward()
    model.optimize_parameters(1)
    torch.testing.assert_close(model.log_dict['l_consistency'], consistency.detach())
    torch.testing.assert_close(model.log_dict['l_pix'], pixels.detach())
    for own, expected in zip(model.net_g.parameters(), net.parameters(), strict=True):
        torch.testing.assert_close(own.grad, expected.grad, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize('reduction', ['mean', 'sum'])
def test_accumulate__is_the_whole_batch(photos, tmp_path, reduction):
    options = {'type': 'MSELoss', 'reduction': reduction, 'scale': 2}
    found = []
    for count in (1, 2):
        model = model_with(
            photos, tmp_path, train__consistency_opt=options, train__accumulate=count
        )
        model.optimize_parameters(1)
        found.append([model.log_dict['l_consistency'], *(p.grad for p in model._trained())])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5 * float(one.abs().max() + 1e-6))


def test_image__stands_behind_the_batchs_own_queries():
    net = LIIF(EDSREncoder(num_feat=8, num_block=1), [8])
    batch = Batch(torch.rand(2, 3, 4, 5), torch.rand(2, 7, 2), torch.rand(2, 7, 2), None)
    shown = Consistency({'type': 'L1Loss'}, net).with_image(batch)
    assert shown.coord.shape == shown.cell.shape == (2, 7 + 8 * 10, 2)
    assert torch.equal(shown.coord[:, :7], batch.coord)
    assert shown.coord[0, 7].tolist() == pytest.approx([-7 / 8, -9 / 10])
    assert shown.cell[0, 7].tolist() == pytest.approx([2 / 8, 2 / 10])


def test_network__whose_colours_are_no_inputs():
    net = LIIF(EDSREncoder(num_feat=8, num_block=1), [8], num_out_ch=1)
    with pytest.raises(UserError, match='of 3 channels .num_in_ch. that predicts 1'):
        Consistency({'type': 'L1Loss'}, net)


@pytest.mark.parametrize(
    'options,text',
    [
        ({'type': 'L1Loss', 'scale': 0.5}, 'train.consistency_opt.scale: found 0.5; needed'),
        ({'type': 'L1Loss', 'scale': [2, 0.9]}, 'train.consistency_opt.scale: found [2, 0.9]'),
        ({'type': 'L1Loss', 'scale': 'two'}, 'train.consistency_opt: scale: found'),
        ({'type': 'L1Loss', 'scal': 2}, 'train.consistency_opt: found scal, which is no option'),
        ({'scale': 2}, 'train.consistency_opt: found {\'scale\': 2}; needed "type: NAME"'),
    ],
)
def test_options__that_are_wrong(monkeypatch, tmp_path, photos, capsys, options, text):
    write_options(tmp_path / 'o.yml', tiny_train(photos, train__consistency_opt=options))
    assert run_here(monkeypatch, tmp_path, 'train', '-opt', 'o.yml') == 2
    assert text in capsys.readouterr().err
    assert not (tmp_path / 'experiments').exists()


def test_consistency__with_deterministic_operations_is_refused_on_a_gpu(
    monkeypatch, tmp_path, photos
):
    monkeypatch.setattr('torch.cuda.is_available', lambda: True)
    options = tiny_train(
        photos, deterministic=True, num_gpu=1, train__consistency_opt={'type': 'L1Loss'}
    )
    options.update(is_train=True)
    with pytest.raises(UserError, match='no deterministic gradient on GPUs'):
        LIIFModel.check_options(options)
