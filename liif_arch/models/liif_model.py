"""BasicSR's SRModel for networks that predict colours at coordinates: training on samples,
validation at any scale.
"""

from contextlib import AbstractContextManager, nullcontext
from operator import itemgetter
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from basicsr.utils import get_root_logger
from basicsr.utils.dist_util import get_dist_info
from basicsr.utils.registry import MODEL_REGISTRY
from torch import Tensor, nn
from torch.utils.data import DataLoader

from liif_arch.coordinates import as_scale, scale_label, scaled_size
from liif_arch.crop_batches import batch_of_crops
from liif_arch.devices import from_host, set_to
from liif_arch.errors import UserError
from liif_arch.files.images import resize_bicubic, to_uint8, write_image
from liif_arch.metrics.fidelity import FIDELITY
from liif_arch.metrics.panel import Row, write_panel
from liif_arch.metrics.perceptual import METRICS
from liif_arch.metrics.report import (
    format_table,
    log_scalars,
    main_metric,
    summarize,
    write_report,
)
from liif_arch.models.liif_options import OWN_OPTIONS, require_consistent
from liif_arch.models.training_step import TrainingStep
from liif_arch.progress import progress_bar
from liif_arch.training.processes import gather
from liif_arch.training.progress import log_apart
from liif_arch.upscaling.upscale import enlarged
from liif_arch.weights.networks import load_encoder


@MODEL_REGISTRY.register()
class LIIFModel(TrainingStep):
    """Trains on (lq, coord, cell, gt) samples, validates and tests whole images at a set of scales.

    Options beside SRModel's (under `train`):
        precision: Of the matrix products in training: float32 (default), bfloat16, or auto
            (bfloat16 where the device has it). Parameters, coordinates and loss are float32.
        compile: torch.compile the encoder. Default false.
        cuda_graph: On a GPU the network's kernels start as one (one process). Default false.
        variation_weight: Of Thera's total variation in the loss, beside pixel_opt; published: 1e-4.
            Default 0.
        fft_opt, gradient_opt, ssim_opt, dists_opt, perceptual_opt: Losses of square samples (a data
            set's `patch: true`), added to pixel_opt: FFTLoss, GradientLoss, MSSSIMLoss, DISTSLoss,
            or others that compare images; and BasicSR's PerceptualLoss, of style too.
        consistency_opt: A loss of inputs against the network's enlargements of them by `scale` (a
            number or a pair (sy, sx), default 2), reduced again by Pillow's bicubic. It needs no
            square samples.
        distill_opt: What is learnt from a teacher (`path.pretrain_network_t`), beside pixel_opt:
            `colours`, a loss of the colours against the teacher's of the same samples; `features`,
            one of the encoders' features, through a learned 1x1 convolution where they have
            another number of channels; and `cache`, a folder that keeps the teacher's colours in
            float16, for a data set with repeat_epochs. Features are not kept. Default: none.
        max_grad_norm: Gradients of a greater norm are scaled to it. Default 0: never.
        accumulate: A batch is worked on in so many parts, one after the other, for less memory; the
            step is that of the whole batch, to rounding. Default 1.
        param_groups: Rules for some of the parameters, of which the first that fits counts: `names`
            (a pattern such as encoder.*, or several), settings of the optimiser (lr, weight_decay,
            ...; of Muon also use_muon, whose false leaves them to AdamW), and `frozen_until`, the
            last iteration that leaves them as they are.
        ema_warmup: The average's decay rises to ema_decay as (1 + t) / (10 + t). Default false.
        ema_switch_iter: Training goes on from the average every so many iterations. Default: never.

    Under `path`:
        pretrain_encoder: Weights for the encoder alone: of the network of one scale that it is, or
            of another network's encoder. They are read before training, unless it goes on from a
            state.
        pretrain_network_t: Weights of the teacher: those that ship by name, a file, or
            hf:OWNER/NAME. The option network_t describes its network where they do not. It is
            frozen, and read again when a run goes on.

    And under `val`:
        metrics: Which of psnr, psnr_y, psnr_div2k, ssim, the default, and lpips, dists, niqe, which
            need pyiqa (see `liif_arch.metrics`).
        bicubic: Also measure Pillow's bicubic upscaling of the same input. Default false.
        ensemble: 4 or 8: the mean over so many flips and rotations of the input. Default: none.
        panel: Scales to draw in `comparison.png` (bicubic, network, original), for instance [4, 8].
        pbar: Show progress. Default true.
    """

    own_options: ClassVar = OWN_OPTIONS
    unsaved_networks = ('network_t',)  # a teacher
    one_gpu_a_process = True  # DataParallel's copies have no parameters to decode with

    @staticmethod
    def check_options(opt: dict) -> None:
        """Raise UserError for options that this model cannot follow; called before a run creates
        anything.
        """
        require_consistent(opt)

    def __init__(self, opt: dict) -> None:
        self.check_options(opt)
        val = opt.get('val') or {}
        self.metrics = list(val.get('metrics') or FIDELITY)
        self.panel_scales = [as_scale(scale) for scale in val.get('panel') or []]
        self.results: dict[str, dict] = {}
        self.best_metric_results: dict[str, dict] = {}  # BasicSR's form
        super().__init__(opt)

    # ------------------------------------------------------------------------------------- training

    def init_training_settings(self) -> None:
        """`TrainingStep`'s, after the encoder's own weights."""
        if self.opt['path'].get('pretrain_encoder') and not self.opt['path'].get('resume_state'):
            self._load_encoder(self.opt['path']['pretrain_encoder'])
        super().init_training_settings()

    def _load_encoder(self, path: str) -> None:
        try:
            used = load_encoder(self.get_bare_model(self.net_g), path)
        except UserError as error:
            raise UserError(f'path.pretrain_encoder: {error}') from None
        get_root_logger().info(f'path.pretrain_encoder: {used}')

    def feed_data(self, data: dict) -> None:
        """Keep a batch: lq (B, C, h, w) with gt (B, Q, C), coord, cell (B, Q, 2) in training.

        With draw, (B, 2), where a dataset's samples come again. Of crops (a dataset's `degrade:
        device`) the others are made here, on the device.
        """
        draw = data.get('draw')
        if 'crop' in data:
            data = batch_of_crops(data, self.opt['datasets']['train'], self.device)
        tensors = {}
        for key in ('lq', 'gt', 'coord', 'cell'):
            if key in data:  # SRModel's own copies would wait for the device
                tensors[key] = from_host(data[key], self.device)
        super().feed_data(tensors)
        self.coord, self.cell, self.draw = tensors.get('coord'), tensors.get('cell'), draw

    def get_current_log(self) -> dict[str, float]:
        """The last losses, averaged over the processes; only here the step waits for the device."""
        return self.reduce_loss_dict(self.log_dict)

    # ----------------------------------------------------------------------------------- validation

    def dist_validation(
        self, dataloader: DataLoader, current_iter: int | str, tb_logger: Any, save_img: bool
    ) -> None:
        """Validate with the images shared out among the processes."""
        self.nondist_validation(dataloader, current_iter, tb_logger, save_img)

    @torch.no_grad()
    def nondist_validation(
        self, dataloader: DataLoader, current_iter: int | str, tb_logger: Any, save_img: bool
    ) -> None:
        """Render every item, measure it, and report per scale: log, tensorboard, tables,
        pictures.

        Args:
            dataloader: Holds the data set, whose items are taken one by one.
            current_iter: Iteration of a training; the name of the run in a test.
            tb_logger: TensorBoard's SummaryWriter, or None.
            save_img: Also write every rendered image.
        """
        self.take_average()
        rank, world_size = get_dist_info()
        dataset: Any = dataloader.dataset
        name = dataset.opt['name']
        net = self.get_bare_model(self.net_g)
        if hasattr(self, 'net_g_ema'):
            net = self.net_g_ema
        net.eval()
        records = []
        mine = range(rank, len(dataset), world_size)
        show = self.opt['val'].get('pbar', True) and rank == 0
        # BasicSR lets cuDNN try all its ways at each new size, and here each image has another.
        with set_to(torch.backends.cudnn, benchmark=False), self._not_compiled():
            for index in progress_bar(
                mine, unit='image', desc=f'validate {name}', disable=not show
            ):
                records.append(
                    self._validate_item(net, dataset[index], name, index, current_iter, save_img)
                )
        net.train(not hasattr(self, 'net_g_ema'))
        measured = []
        for records_of_process in gather(records):
            for record in records_of_process:
                if record['figures']:
                    measured.append(record)
        measured.sort(key=itemgetter('index'))
        if rank == 0 and measured:
            self.results[name] = summarize(measured)
            rows = [record['row'] for record in measured if record['row']]
            self._report(name, current_iter, tb_logger, rows)

    def _not_compiled(self) -> AbstractContextManager:
        """Images have many sizes, for each of which an encoder would be compiled anew."""
        if self.opt['is_train'] and self.opt['train'].get('compile', False):
            return torch.compiler.set_stance('force_eager')
        return nullcontext()

    def _validate_item(
        self,
        net: nn.Module,
        data: dict,
        dataset: str,
        index: int,
        current_iter: int | str,
        save_img: bool,
    ) -> dict:
        """Render and measure one item of a dataset.

        Returns:
            Its index, scale and image; figures, empty where it has no ground truth; bicubic's,
            empty where they are not asked for; and its row of the panel, or None.
        """
        lq = data['lq'][None].to(self.device)
        gt = data.get('gt')
        height, width = lq.shape[-2:]
        scale, size = self._target(data, (height, width), gt)
        sr, is_whole = enlarged(net, lq, size, self.opt['val'].get('ensemble'))
        if not is_whole:
            get_root_logger().warning(
                f'{Path(data["lq_path"]).name}: too large for the memory there is; made in windows.'
            )
        label, image = scale_label(scale), Path(data.get('gt_path', data['lq_path'])).stem
        record: dict[str, Any] = {
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
        record['figures'] = self._measure(sr, gt, scale)
        draw = scale in self.panel_scales
        if self.opt['val'].get('bicubic', False) or draw:
            bicubic = resize_bicubic(_to_array(data['lq']), size)
            if self.opt['val'].get('bicubic', False):
                upscaled = torch.from_numpy(bicubic).permute(2, 0, 1) / 255
                record['bicubic'] = self._measure(upscaled, gt, scale)
            if draw:
                name = type(net).__name__
                methods = {'bicubic': bicubic, name: _to_array(sr), 'original': _to_array(gt)}
                record['row'] = Row(image, label, methods)
        return record

    def _measure(self, sr: Tensor, gt: Tensor, scale: tuple[float, float]) -> dict[str, float]:
        """The metrics that `val.metrics` names, of images (C, H, W) in [0, 1]."""
        return {metric: METRICS[metric](sr, gt, scale) for metric in self.metrics}

    def _target(
        self, data: dict, lq_size: tuple[int, int], gt: Tensor | None
    ) -> tuple[tuple[float, float], tuple[int, int]]:
        """Scale and output size (H, W) of an item: the item's own, the ground truth's, or the
        option file's scale.
        """
        if gt is not None:
            height, width = gt.shape[-2:]
            own = [height / lq_size[0], width / lq_size[1]]
            if 'scale' in data:
                own = data['scale'].tolist()
            return as_scale(own), (height, width)
        if self.opt.get('scale') is None:
            raise UserError(
                'scale: missing; images without ground truth need it (or use `basicsr upscale`).'
            )
        scale = as_scale(self.opt['scale'])
        return scale, scaled_size(lq_size, scale)

    def _save_image(
        self, sr: Tensor, dataset: str, image: str, label: str, current_iter: int | str
    ) -> None:
        """Write one rendered image, (C, H, W), into the folder of its data set and scale."""
        suffix = ''
        if self.opt['is_train']:
            suffix = f'_{current_iter}'
        elif self.opt['val'].get('suffix'):
            suffix = f'_{self.opt["val"]["suffix"]}'
        folder = Path(self.opt['path']['visualization'], dataset, label)
        write_image(folder / f'{image}_{label}{suffix}.png', _to_array(sr))

    def _report(
        self, dataset: str, current_iter: int | str, tb_logger: Any, panel: list[Row]
    ) -> None:
        """Log the table of one dataset, and write all results so far.

        The last tables of a run are for its log file alone: the command ends with them.
        """
        scales = self.results[dataset]
        heading = f'Test {dataset}'
        if self.opt['is_train']:
            heading = f'Validation {dataset}, iteration {current_iter}'
        around = [heading]
        table = format_table({dataset: scales})
        best = self._update_best(dataset, current_iter)
        if best:
            around.append(best)
        text = '\n'.join([heading, table, *around[1:]])
        if self._is_last(current_iter):
            log_apart(text, '; '.join(around))
        else:
            log_apart(text, text)
        if tb_logger:
            log_scalars(tb_logger, dataset, current_iter, scales)
        root = 'results_root'
        if self.opt['is_train']:
            root = 'experiments_root'
        folder = Path(self.opt['path'][root])
        write_report(self.results, folder)
        if panel:
            write_panel(panel, folder / f'comparison_{dataset}.png')

    def _is_last(self, current_iter: Any) -> bool:
        """Whether a run ends with this validation."""
        return not self.opt['is_train'] or current_iter >= self.opt['train']['total_iter']

    def _update_best(self, dataset: str, current_iter: int | str) -> str:
        """Keep the best mean over the scales of the main metric in a training.

        Returns:
            A line that tells this mean and the best one; '' in a test, and where no scale has a
            finite figure.
        """
        main = main_metric(self.metrics)
        if not self.opt['is_train'] or main is None:
            return ''
        means = [entry[main] for entry in self.results[dataset].values()]
        values = [value for value in means if value is not None]
        if not values:
            return ''
        mean = sum(values) / len(values)
        best = self.best_metric_results.setdefault(dataset, {})
        best.setdefault(main, {'better': 'higher', 'val': mean, 'iter': current_iter})
        self._update_best_metric_result(dataset, main, mean, current_iter)
        return (
            f'mean {main} over the scales: {mean:.4f} dB; '
            f'best {best[main]["val"]:.4f} dB @ {best[main]["iter"]} iter'
        )


def _to_array(image: Tensor) -> np.ndarray:
    """(C, H, W) in [0, 1] -> (H, W, C) uint8."""
    return to_uint8(image.permute(1, 2, 0).numpy())
