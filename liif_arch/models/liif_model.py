"""BasicSR's SRModel for networks that predict colours at coordinates: training on samples,
validation at any scale.
"""

from collections import OrderedDict
from pathlib import Path
from typing import ClassVar

import torch
from basicsr.models.sr_model import SRModel
from basicsr.utils import get_root_logger
from basicsr.utils.dist_util import get_dist_info
from basicsr.utils.registry import MODEL_REGISTRY
from torch import Tensor
from torch.nn.utils import clip_grad_norm_
from torch.optim.swa_utils import get_ema_multi_avg_fn

from liif_arch.config.fragments import FLAG, LIST, OBJECT, TEXT, maybe
from liif_arch.coordinates import as_scale, scale_label, scaled_size
from liif_arch.degradation import make_batch
from liif_arch.devices import from_host
from liif_arch.errors import UserError
from liif_arch.files.images import resize_bicubic, to_uint8, write_image
from liif_arch.metrics.fidelity import FIDELITY
from liif_arch.metrics.panel import Row, write_panel
from liif_arch.metrics.perceptual import METRICS, require_pyiqa
from liif_arch.metrics.report import format_table, summarize, write_report
from liif_arch.precision import PRECISIONS, autocast, resolve
from liif_arch.progress import progress_bar
from liif_arch.training.processes import gather
from liif_arch.training.progress import log_apart
from liif_arch.weights.networks import load_encoder


@MODEL_REGISTRY.register()
class LIIFModel(SRModel):
    """Trains on (lq, coord, cell, gt) samples, validates and tests whole images at a set of scales.

    Options beside SRModel's (under `train`):
        precision: Of the matrix products in training: float32 (default), bfloat16, or auto
            (bfloat16 where the device has it). Parameters, coordinates and loss are float32.
        compile: torch.compile the encoder. Default false.
        variation_weight: Of Thera's total variation in the loss, beside pixel_opt; published: 1e-4.
            Default 0.

        max_grad_norm: Gradients of a greater norm are scaled to it. Default 0: never.

    Under `path`:
        pretrain_encoder: Weights for the encoder alone: of the network of one scale that it is, or
            of another network's encoder. They are read before training, unless it goes on from a
            state.

    And under `val`:
        metrics: Which of psnr, psnr_y, psnr_div2k, ssim, the default, and lpips, dists, niqe, which
            need pyiqa (see `liif_arch.metrics`).
        bicubic: Also measure Pillow's bicubic upscaling of the same input. Default false.
        panel: Scales to draw in `comparison.png` (bicubic, network, original), for instance [4, 8].
        pbar: Show progress. Default true.
    """

    own_options: ClassVar = {  # beside BasicSR's common ones, see `config.registries`
        'path': {'pretrain_encoder': maybe(TEXT)},
        'train': {
            'optim_g': OBJECT,
            'pixel_opt': OBJECT,
            'ema_decay': {'type': 'number', 'minimum': 0, 'maximum': 1},
            'precision': {'enum': list(PRECISIONS)},
            'compile': FLAG,
            'variation_weight': {'type': 'number', 'minimum': 0},
            'max_grad_norm': {'type': 'number', 'minimum': 0},
        },
        'val': {
            'metrics': maybe({'type': 'array', 'items': {'enum': list(METRICS)}}),
            'bicubic': FLAG,
            'panel': maybe(LIST),
        },
    }

    @staticmethod
    def check_options(opt: dict) -> None:
        """Raise UserError for options that this model cannot follow; called before a run creates
        anything.
        """
        val = opt.get('val') or {}
        require_pyiqa(val.get('metrics') or [])
        lists = [d.get('scales') for d in opt['datasets'].values()]
        validated = [s for scales in lists if isinstance(scales, list) for s in scales]
        for scale in val['panel'] if isinstance(val.get('panel'), list) else []:
            as_scale(scale, 'val.panel')
            if scale not in validated:
                raise UserError(f"val.panel: found {scale}, which is in no dataset's scales.")
        if opt['is_train']:
            path = opt['path']
            if (
                path.get('pretrain_encoder')
                and path.get('pretrain_network_g')
                and not path.get('resume_state')
            ):
                raise UserError(
                    'path.pretrain_encoder: pretrain_network_g is given too, which has an encoder; '
                    'remove '
                    'one.'
                )
            if path.get('pretrain_encoder') and _starts_encoder(opt['network_g']):
                raise UserError(
                    'path.pretrain_encoder: its weights would replace those of '
                    'network_g.bilinear_start; remove one.'
                )
            if opt['train'].get('variation_weight') and opt['network_g']['type'] != 'Thera':
                raise UserError(
                    f'train.variation_weight: found a {opt["network_g"]["type"]}, which has no '
                    'field; remove it, or use Thera.'
                )
            if not opt['train'].get('pixel_opt'):
                raise UserError('train.pixel_opt: missing; LIIFModel trains with a pixel loss.')
            device = 'cuda' if opt['num_gpu'] != 0 and torch.cuda.is_available() else 'cpu'
            resolve(opt['train'].get('precision', 'float32'), device, 'train.precision')
        elif not opt['path'].get('pretrain_network_g'):
            raise UserError('path.pretrain_network_g: missing; a test needs trained weights.')

    def __init__(self, opt: dict) -> None:
        self.check_options(opt)
        val = opt.get('val') or {}
        self.metrics = list(val.get('metrics') or FIDELITY)
        self.panel_scales = [as_scale(s) for s in val.get('panel') or []]
        self.results: dict[str, dict] = {}
        self.best_metric_results: dict[str, dict] = {}  # BasicSR's form
        super().__init__(opt)

    # ------------------------------------------------------------------------------------- training

    def init_training_settings(self) -> None:
        """SRModel's, the encoder's own weights, and the precision and compilation of the step."""
        if self.opt['path'].get('pretrain_encoder') and not self.opt['path'].get('resume_state'):
            self._load_encoder(self.opt['path']['pretrain_encoder'])
        super().init_training_settings()
        self.dtype = resolve(
            self.opt['train'].get('precision', 'float32'), self.device, 'train.precision'
        )
        if self.opt['train'].get('compile', False):
            self.get_bare_model(self.net_g).encoder.compile()

    def _load_encoder(self, path: str) -> None:
        try:
            get_root_logger().info(
                f'path.pretrain_encoder: {load_encoder(self.get_bare_model(self.net_g), path)}'
            )
        except UserError as error:
            raise UserError(f'path.pretrain_encoder: {error}') from None

    def feed_data(self, data: dict) -> None:
        """Keep a batch: lq (B, C, h, w) with gt (B, Q, C), coord, cell (B, Q, 2) in training.

        Of crops (a dataset's `degrade: device`) these are made here, on the device.
        """
        if 'crop' in data:
            data = self._degrade(data)
        # SRModel's own copies would wait for the device.
        keys = [key for key in ('lq', 'gt', 'coord', 'cell') if key in data]
        tensors = {key: from_host(data[key], self.device) for key in keys}
        super().feed_data(tensors)
        self.coord, self.cell = tensors.get('coord'), tensors.get('cell')

    def _degrade(self, data: dict) -> dict[str, Tensor]:
        options = self.opt['datasets']['train']
        crop, side, seed = (from_host(data[key], self.device) for key in ('crop', 'side', 'seed'))
        return make_batch(
            crop,
            side,
            seed,
            options['lq_size'],
            options['num_samples'],
            options.get('patch', False),
        )

    def optimize_parameters(self, current_iter: int) -> None:
        """One step on the batch (SRModel's step, with queries)."""
        self.optimizer_g.zero_grad()
        loss = self._loss()
        loss.backward()
        if self.opt['train'].get('max_grad_norm'):
            clip_grad_norm_(self.net_g.parameters(), self.opt['train']['max_grad_norm'])
        self.optimizer_g.step()
        if self.ema_decay > 0:
            self.model_ema(decay=self.ema_decay)

    def _loss(self) -> Tensor:
        """The batch's loss, a number (), and its parts in `log_dict`."""
        weight = self.opt['train'].get('variation_weight', 0)
        with autocast(self.device, self.dtype):
            if weight:
                self.output, variation = self.net_g(
                    self.lq, self.coord, self.cell, with_variation=True
                )
            else:
                self.output = self.net_g(self.lq, self.coord, self.cell)
        loss = self.cri_pix(self.output.float(), self.gt)
        self.log_dict = OrderedDict(l_pix=loss.detach())
        if weight:
            self.log_dict['l_variation'] = variation.detach() * weight
            loss = loss + variation * weight
        return loss

    def get_current_log(self) -> dict[str, float]:
        """The last losses, averaged over the processes; only here the step waits for the device."""
        return self.reduce_loss_dict(self.log_dict)

    def model_ema(self, decay: float = 0.999) -> None:
        """SRModel's moving average of the parameters, all in one go."""
        average, current = (
            list(net.parameters()) for net in (self.net_g_ema, self.get_bare_model(self.net_g))
        )
        get_ema_multi_avg_fn(decay)(average, current, None)

    # ----------------------------------------------------------------------------------- validation

    def dist_validation(self, dataloader, current_iter, tb_logger, save_img: bool) -> None:
        """Validate with the images shared out among the processes."""
        self.nondist_validation(dataloader, current_iter, tb_logger, save_img)

    @torch.no_grad()
    def nondist_validation(self, dataloader, current_iter, tb_logger, save_img: bool) -> None:
        """Render every item, measure it, and report per scale: log, tensorboard, tables,
        pictures.
        """
        rank, world_size = get_dist_info()
        dataset, name = dataloader.dataset, dataloader.dataset.opt['name']
        net = self.net_g_ema if hasattr(self, 'net_g_ema') else self.get_bare_model(self.net_g)
        net.eval()
        records = []
        mine = range(rank, len(dataset), world_size)
        show = self.opt['val'].get('pbar', True) and rank == 0
        for index in progress_bar(mine, unit='image', desc=f'validate {name}', disable=not show):
            records.append(
                self._validate_item(net, dataset[index], name, index, current_iter, save_img)
            )
        net.train(not hasattr(self, 'net_g_ema'))
        gathered = [r for part in gather(records) for r in part]
        gathered = [r for r in sorted(gathered, key=lambda r: r['index']) if r['figures']]
        if rank == 0 and gathered:
            self.results[name] = summarize(gathered)
            self._report(name, current_iter, tb_logger, [r['row'] for r in gathered if r['row']])

    def _validate_item(
        self, net, data: dict, dataset: str, index: int, current_iter, save_img: bool
    ) -> dict:
        """Render and measure one item of a dataset; figures are empty where it has no ground
        truth.
        """
        lq = data['lq'][None].to(self.device)
        gt = data['gt'] if 'gt' in data else None
        scale, size = self._target(data, tuple(lq.shape[-2:]), gt)
        sr = net(lq, size=size)[0].clamp_(0, 1).cpu()
        label, image = scale_label(scale), Path(data.get('gt_path', data['lq_path'])).stem
        record = {
            'index': index,
            'scale': label,
            'image': image,
            'figures': {},
            'bicubic': {},
            'row': None,
        }
        if save_img:
            self._save_image(sr, dataset, image, label, current_iter)
        if gt is None:
            return record
        record['figures'] = {m: METRICS[m](sr, gt, scale) for m in self.metrics}
        draw = scale in self.panel_scales
        if self.opt['val'].get('bicubic', False) or draw:
            bicubic = resize_bicubic(_to_array(data['lq']), size)
            if self.opt['val'].get('bicubic', False):
                upscaled = torch.from_numpy(bicubic).permute(2, 0, 1) / 255
                record['bicubic'] = {m: METRICS[m](upscaled, gt, scale) for m in self.metrics}
            if draw:
                name = type(net).__name__
                methods = {'bicubic': bicubic, name: _to_array(sr), 'original': _to_array(gt)}
                record['row'] = Row(image, label, methods)
        return record

    def _target(
        self, data: dict, lq_size: tuple[int, int], gt: Tensor | None
    ) -> tuple[tuple[float, float], tuple[int, int]]:
        """Scale and output size (H, W) of an item: the item's own, the ground truth's, or the
        option file's scale.
        """
        if gt is not None:
            size = tuple(gt.shape[-2:])
            own = (
                data['scale'].tolist()
                if 'scale' in data
                else [H / h for H, h in zip(size, lq_size, strict=True)]
            )
            return as_scale(own), size
        if self.opt.get('scale') is None:
            raise UserError(
                'scale: missing; images without ground truth need it (or use `basicsr upscale`).'
            )
        scale = as_scale(self.opt['scale'])
        return scale, scaled_size(lq_size, scale)

    def _save_image(self, sr: Tensor, dataset: str, image: str, label: str, current_iter) -> None:
        suffix = f'_{current_iter}' if self.opt['is_train'] else ''
        if not self.opt['is_train'] and self.opt['val'].get('suffix'):
            suffix = f'_{self.opt["val"]["suffix"]}'
        folder = Path(self.opt['path']['visualization'], dataset, label)
        write_image(folder / f'{image}_{label}{suffix}.png', _to_array(sr))

    def _report(self, dataset: str, current_iter, tb_logger, panel: list[Row]) -> None:
        """Log the table of one dataset, and write all results so far.

        The last tables of a run are for its log file alone: the command ends with them.
        """
        scales = self.results[dataset]
        is_last = not self.opt['is_train'] or current_iter >= self.opt['train']['total_iter']
        lines = [
            f'Validation {dataset}, iteration {current_iter}'
            if self.opt['is_train']
            else f'Test {dataset}'
        ]
        table = format_table({dataset: scales})
        lines.append(table)
        main = next((m for m in ('psnr', 'psnr_y', 'psnr_div2k') if m in self.metrics), None)
        values = [entry[main] for entry in scales.values() if main and entry[main] is not None]
        if self.opt['is_train'] and values:
            mean = sum(values) / len(values)
            best = self.best_metric_results.setdefault(dataset, {})
            best.setdefault(main, {'better': 'higher', 'val': mean, 'iter': current_iter})
            self._update_best_metric_result(dataset, main, mean, current_iter)
            lines.append(
                f'mean {main} over the scales: {mean:.4f} dB; '
                f'best {best[main]["val"]:.4f} dB @ {best[main]["iter"]} iter'
            )
        text = '\n'.join(lines)
        log_apart(text, '; '.join(line for line in lines if line is not table) if is_last else text)
        if tb_logger:
            for label, entry in scales.items():
                for metric in self.metrics:
                    if entry[metric] is not None:
                        tb_logger.add_scalar(
                            f'metrics/{dataset}/{label}/{metric}', entry[metric], current_iter
                        )
        folder = Path(
            self.opt['path']['experiments_root' if self.opt['is_train'] else 'results_root']
        )
        write_report(self.results, folder)
        if panel:
            write_panel(panel, folder / f'comparison_{dataset}.png')


def _starts_encoder(network: dict) -> bool:
    """Whether the initial values of a network's options are the encoder's too."""
    return bool(network.get('bilinear_start')) and network['type'] == 'LIIF'


def _to_array(image: Tensor):
    """(C, H, W) in [0, 1] -> (H, W, C) uint8."""
    return to_uint8(image.permute(1, 2, 0).numpy())
