"""What an option file may tell LIIFModel, and which of it cannot be followed together."""

import torch

from liif_arch.archs.self_ensemble import SIZES
from liif_arch.config.fragments import (
    A_LOSS,
    FLAG,
    LIST,
    OBJECT,
    TEXT,
    WHOLE,
    closed,
    maybe,
    short,
)
from liif_arch.coordinates import as_scale
from liif_arch.errors import UserError
from liif_arch.losses import ImageLoss
from liif_arch.metrics.perceptual import METRICS, require_pyiqa
from liif_arch.precision import PRECISIONS, resolve

RULE = {  # of `train.param_groups`; what else it holds is the optimiser's
    'type': 'object',
    'required': ['names'],
    'properties': {
        'names': {'type': ['string', 'array'], 'items': TEXT},
        'frozen_until': {'type': 'number', 'minimum': 1},
        'lr': {'type': 'number', 'minimum': 0},
        'weight_decay': {'type': 'number', 'minimum': 0},
        'use_muon': FLAG,
    },
}
DISTILLATION = closed({'colours': A_LOSS, 'features': A_LOSS, 'cache': maybe(TEXT)})
OWN_OPTIONS = {  # beside BasicSR's common ones, see `config.registries`
    'path': {'pretrain_encoder': maybe(TEXT), 'pretrain_network_t': maybe(TEXT)},
    'train': {
        'optim_g': OBJECT,
        'pixel_opt': OBJECT,
        'fft_opt': maybe(OBJECT),
        'gradient_opt': maybe(OBJECT),
        'ssim_opt': maybe(OBJECT),
        'perceptual_opt': maybe(OBJECT),
        'dists_opt': maybe(OBJECT),
        'consistency_opt': maybe(OBJECT),
        'distill_opt': maybe(DISTILLATION),
        'ema_decay': {'type': 'number', 'minimum': 0, 'maximum': 1},
        'precision': {'enum': list(PRECISIONS)},
        'compile': FLAG,
        'cuda_graph': FLAG,
        'variation_weight': {'type': 'number', 'minimum': 0},
        'max_grad_norm': {'type': 'number', 'minimum': 0},
        'accumulate': WHOLE,
        'ema_warmup': FLAG,
        'ema_switch_iter': maybe(WHOLE),
        'param_groups': maybe({'type': 'array', 'items': RULE}),
    },
    'val': {
        'metrics': maybe({'type': 'array', 'items': {'enum': list(METRICS)}}),
        'bicubic': FLAG,
        'ensemble': {'enum': [None, *SIZES]},
        'panel': maybe(LIST),
    },
}


def require_consistent(opt: dict) -> None:
    """Raise UserError for options that contradict each other, or that this machine cannot follow.

    Args:
        opt: All options of a run, as BasicSR has read them.
    """
    val = opt.get('val') or {}
    require_pyiqa(val.get('metrics') or [])
    _require_panel(val.get('panel'), opt['datasets'])
    if not opt['is_train']:
        if not opt['path'].get('pretrain_network_g'):
            raise UserError('path.pretrain_network_g: missing; a test needs trained weights.')
        return
    if opt['path'].get('pretrain_encoder'):
        _require_one_start(opt)
    if opt['train'].get('variation_weight') and opt['network_g']['type'] != 'Thera':
        raise UserError(
            f'found a {opt["network_g"]["type"]}, which has no field; remove it, or use Thera.',
            key='train.variation_weight',
        )
    if opt['train'].get('cuda_graph'):
        _require_recordable(opt)
    _require_average(opt['train'])
    _require_patches(opt)
    require_teacher(opt)
    _require_enlargement(opt['train'].get('consistency_opt'))
    _require_losses_of_colours(opt['train'])
    _require_reductions(opt['train'])
    if not opt['train'].get('pixel_opt'):
        raise UserError('train.pixel_opt: missing; LIIFModel trains with a pixel loss.')
    device = 'cpu'
    if opt['num_gpu'] != 0 and torch.cuda.is_available():
        device = 'cuda'
    resolve(opt['train'].get('precision', 'float32'), device, 'train.precision')
    if opt.get('deterministic') and device == 'cuda' and opt['train'].get('consistency_opt'):
        raise UserError(
            'its reduction has no deterministic gradient on GPUs; remove it, or set deterministic: '
            'false.',
            key='train.consistency_opt',
        )


def _require_recordable(opt: dict) -> None:
    """Raise UserError where a step holds more than a recording of the network does."""
    train, reason = opt['train'], ''
    encoder = (opt['network_g'].get('encoder') or {}).get('type')
    version = tuple(map(int, torch.__version__.split('.')[:2]))
    if version < (2, 11) and encoder not in ('EDSREncoder', 'RDNEncoder'):
        raise UserError(
            f'found it with PyTorch {torch.__version__} and {encoder}; needed PyTorch 2.11 or '
            'later: those before record without a word what an encoder copies from the host, which '
            'is then gone. Set it to false.',
            key='train.cuda_graph',
        )
    if opt.get('dist'):
        reason = 'several processes, which exchange gradients within the step'
    elif train.get('compile'):
        reason = 'compile'
    elif train.get('variation_weight'):
        reason = 'variation_weight'
    elif (train.get('distill_opt') or {}).get('features'):
        reason = 'distill_opt.features'
    if reason:
        raise UserError(
            f'found it beside {reason}, of which a CUDA graph knows nothing; needed one of the '
            'two. Set it to false.',
            key='train.cuda_graph',
        )


def _require_patches(opt: dict) -> None:
    """Raise UserError where losses of images would see scattered pixels."""
    if opt['datasets']['train'].get('patch'):
        return
    for name in ('fft', 'gradient', 'ssim', 'dists', 'perceptual'):
        if opt['train'].get(f'{name}_opt'):
            raise UserError(
                'it compares images, and samples are scattered pixels; set datasets.train.patch: '
                'true, for squares of sqrt(num_samples) pixels, or remove it.',
                key=f'train.{name}_opt',
            )


def _require_losses_of_colours(train: dict) -> None:
    """Raise UserError where a loss of images would be shown the colours of scattered pixels."""
    of_images = {loss.__name__ for loss in ImageLoss.__subclasses__()} | {'PerceptualLoss'}
    taught = (train.get('distill_opt') or {}).get('colours')
    for key, found in (('pixel_opt', train.get('pixel_opt')), ('distill_opt.colours', taught)):
        if isinstance(found, dict) and found.get('type') in of_images:
            raise UserError(
                f'found {found["type"]}, which compares images, and not colours at coordinates; '
                'needed such as L1Loss. Losses of images have keys of their own: fft_opt, ...',
                key=f'train.{key}.type',
            )


def _require_reductions(train: dict) -> None:
    """Raise UserError for a loss that is no number."""
    found = {key: value for key, value in train.items() if key.endswith('_opt')}
    for name, value in (train.get('distill_opt') or {}).items():
        found[f'distill_opt.{name}'] = value
    for key, value in found.items():
        if isinstance(value, dict) and value.get('reduction', 'mean') not in ('mean', 'sum'):
            raise UserError(
                f'found {value["reduction"]}; needed mean or sum, a number to train by.',
                key=f'train.{key}.reduction',
            )


def _require_enlargement(found: dict | None) -> None:
    """Raise UserError where inputs would be compared with something smaller than they are."""
    if not found or 'scale' not in found:
        return
    key = 'train.consistency_opt.scale'
    if min(as_scale(found['scale'], key)) < 1:
        raise UserError(
            f'found {found["scale"]}; needed a number of at least 1, or a pair of them.', key=key
        )


def require_teacher(opt: dict) -> None:
    """Raise UserError where a teacher is missing, or has nothing to teach, or cannot be cached."""
    found, weights = opt['train'].get('distill_opt'), opt['path'].get('pretrain_network_t')
    if not found:
        if weights or opt.get('network_t'):
            raise UserError(
                'found a teacher, and nothing is learnt from it; set train.distill_opt: {colours: '
                '{type: L1Loss}}, or remove it.',
                key='path.pretrain_network_t' if weights else 'network_t',
            )
        return
    if not weights:
        raise UserError(
            'missing; train.distill_opt needs a trained teacher: the name of weights that ship '
            '(edsr), a file, or hf:OWNER/NAME.',
            key='path.pretrain_network_t',
        )
    if not (found.get('colours') or found.get('features')):
        raise UserError(
            f'found {short(found)}; needed colours, features, or both, each "type: NAME" of a loss '
            'and its options.',
            key='train.distill_opt',
        )
    if found.get('cache'):
        _require_repetition(opt, found)


def _require_repetition(opt: dict, found: dict) -> None:
    """Raise UserError where a cache of a teacher's colours would never be read."""
    key = 'train.distill_opt.cache'
    if not found.get('colours'):
        raise UserError('it keeps colours, which are not compared; set colours.', key=key)
    dataset = opt['datasets']['train']
    if dataset.get('type') != 'RandomScalePairedDataset':
        raise UserError(
            f'found it beside a {dataset.get("type")}; needed a RandomScalePairedDataset, whose '
            'samples can come again (repeat_epochs). Remove it.',
            key=key,
        )
    if not dataset.get('repeat_epochs'):
        raise UserError(
            'random crops are seen once, and nothing would be read from it; set '
            'datasets.train.repeat_epochs, for instance to 4, or remove it.',
            key=key,
        )
    if opt.get('manual_seed_drawn'):
        raise UserError(
            'every run draws other samples, and its colours would be of no use to the next; set '
            'manual_seed to a number.',
            key=key,
        )


def _require_average(train: dict) -> None:
    """Raise UserError for options of an average that is not there, or is the optimiser's own."""
    decay = train.get('ema_decay', 0)
    kind = (train.get('optim_g') or {}).get('type', '')
    if str(kind).startswith('ScheduleFree') and decay:
        raise UserError(
            f'found {decay} beside {kind}, which keeps an average of its own; set it to 0.',
            key='train.ema_decay',
        )
    for key in ('ema_warmup', 'ema_switch_iter'):
        if train.get(key) and not decay:
            raise UserError(
                'there is no average; set ema_decay, for instance to 0.999.', key=f'train.{key}'
            )


def _require_panel(panel: object, datasets: dict[str, dict]) -> None:
    """Raise UserError for a scale of `val.panel` that no data set is validated at."""
    if not isinstance(panel, list):
        return
    validated = []
    for dataset in datasets.values():
        if isinstance(dataset.get('scales'), list):
            validated += dataset['scales']
    for scale in panel:
        as_scale(scale, 'val.panel')
        if scale not in validated:
            raise UserError(f"val.panel: found {scale}, which is in no dataset's scales.")


def _require_one_start(opt: dict) -> None:
    """Raise UserError where an option beside `path.pretrain_encoder` sets the encoder's weights."""
    path = opt['path']
    if path.get('pretrain_network_g') and not path.get('resume_state'):
        raise UserError(
            'path.pretrain_encoder: pretrain_network_g is given too, which has an encoder; remove '
            'one.'
        )
    network = opt['network_g']
    if network.get('bilinear_start') and network['type'] == 'LIIF':  # others leave the encoder
        raise UserError(
            'path.pretrain_encoder: its weights would replace those of network_g.bilinear_start; '
            'remove one.'
        )
