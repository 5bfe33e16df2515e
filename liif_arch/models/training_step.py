"""The step of a training: parts of a batch, groups of parameters, their average."""

import math
from collections import OrderedDict
from contextlib import ExitStack
from typing import Any, NamedTuple

import torch
from basicsr.archs import build_network
from basicsr.losses import build_loss
from basicsr.models.sr_model import SRModel
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim.swa_utils import get_ema_multi_avg_fn

from liif_arch.config.optimizers import build_optimizer, parameter_groups, values_of
from liif_arch.errors import UserError
from liif_arch.models import cuda_graph
from liif_arch.models.consistency import Consistency
from liif_arch.models.distillation import Batch, Distillation, is_sum
from liif_arch.precision import autocast, resolve

PATCH_LOSSES = ('fft', 'gradient', 'ssim', 'dists')  # `train.fft_opt`, ...: of square samples
WARM, WARMED = 1, 10  # of the average's decay in its first iterations: (1 + t) / (10 + t)


class Predicted(NamedTuple):
    """What the network makes of a batch.

    Attributes:
        colours: At the queries, (B, Q, C), float32.
        variation: A field's total variation, where it is asked for, a number ().
        image: The pixels of the whole enlargement, (B, H * W, C), float32; none where its
            consistency is no loss.
    """

    colours: Tensor
    variation: Tensor | None
    image: Tensor


class TrainingStep(SRModel):
    """SRModel's step, on samples (lq, coord, cell, gt).

    Options beside SRModel's (under `train`): see `LIIFModel`.
    """

    coord: Tensor | None
    cell: Tensor | None
    draw: Tensor | None = None  # of samples that come again
    distillation: Distillation | None = None
    consistency: Consistency | None = None
    graphed: cuda_graph.GraphedNetwork | None = None

    def init_training_settings(self) -> None:
        """SRModel's, the precision of the step, a teacher, and a network for what is averaged."""
        train = self.opt['train']
        self.dtype = resolve(train.get('precision', 'float32'), self.device, 'train.precision')
        if train.get('distill_opt'):
            self._find_teacher()
        try:
            super().init_training_settings()
        except OSError as error:  # of the download of VGG's weights
            raise UserError(
                f'cannot fetch the weights of VGG ({error}); put '
                "torchvision's vgg19-dcbb9e9d.pth into experiments/pretrained_models/ here, or set "
                'it to ~.',
                key='train.perceptual_opt',
            ) from None
        self.cri_patch = {}
        for name in PATCH_LOSSES:
            if train.get(f'{name}_opt'):
                self.cri_patch[name] = self._build_loss(f'{name}_opt')
        if train.get('consistency_opt'):
            net = self.get_bare_model(self.net_g)
            self.consistency = Consistency(train['consistency_opt'], net)
        rules = train.get('param_groups') or []
        self.frozen = values_of(self._parameters(), rules, 'frozen_until')
        if train.get('compile', False):
            self.get_bare_model(self.net_g).encoder.compile(dynamic=False)  # batches are alike
        if train.get('cuda_graph', False) and cuda_graph.is_able(self.device):
            self.graphed = cuda_graph.GraphedNetwork(self.net_g, self._query)
        if self._averages_itself():
            self.optimizer_g.train()
            self.net_g_ema = build_network(self.opt['network_g']).to(self.device).eval()

    def _build_loss(self, key: str) -> nn.Module:
        """The loss that a key of `train` describes."""
        try:
            return build_loss(self.opt['train'][key]).to(self.device)
        except UserError as error:
            raise error.within(f'train.{key}') from None

    def _find_teacher(self) -> None:
        """The teacher of `train.distill_opt`, and what is trained beside the network for it."""
        net = self.get_bare_model(self.net_g)
        self.distillation = Distillation(self.opt, net, self.dtype, self.device)
        if self.distillation.projection is not None:
            self.projection = self.model_to_device(self.distillation.projection)
            self.distillation.projection = self.projection

    def _parameters(self) -> list[tuple[str, nn.Parameter]]:
        """The network's parameters by name, whatever wraps it."""
        return list(self.get_bare_model(self.net_g).named_parameters())

    def _trained(self) -> list[nn.Parameter]:
        """The network's parameters, and those that are trained beside it."""
        found = list(self.get_bare_model(self.net_g).parameters())
        if hasattr(self, 'projection'):
            found += self.projection.parameters()
        return found

    def setup_optimizers(self) -> None:
        """SRModel's, with the groups of `train.param_groups`."""
        train = self.opt['train']
        kind = train['optim_g'].pop('type')
        groups = parameter_groups(self._parameters(), train.get('param_groups') or [])
        if hasattr(self, 'projection'):
            groups.append({'params': list(self.projection.parameters())})
        self.optimizer_g: Any = build_optimizer(kind, groups, **train['optim_g'])
        self.optimizers.append(self.optimizer_g)

    # ------------------------------------------------------------------------------------- a step

    def optimize_parameters(self, current_iter: int) -> None:
        """One step on the batch (SRModel's step, with queries), in as many parts as asked for."""
        self.optimizer_g.zero_grad()
        self.log_dict: dict[str, Tensor] = OrderedDict()
        count = min(self.opt['train'].get('accumulate', 1), len(self.lq))
        parts, summed = self._parts(count), self._summed()
        for number, (batch, gt) in enumerate(parts, 1):
            share = len(gt) / len(self.gt)
            with self._unsynchronised(number < len(parts)):
                losses = self._losses(batch, gt)
                for name in summed & losses.keys():
                    losses[name] = losses[name] / share  # sums of parts are the whole's
                torch.stack([loss * share for loss in losses.values()]).sum().backward()
            for name, loss in losses.items():
                part = loss.detach() * share
                self.log_dict[name] = self.log_dict[name] + part if number > 1 else part
        self._update(current_iter)
        self._follow(current_iter)

    def _parts(self, count: int) -> list[tuple[Batch, Tensor]]:
        """The batch in so many parts at most, each with its ground truth."""
        assert self.coord is not None and self.cell is not None
        count = len(self.lq.chunk(count))
        draws = [None] * count if self.draw is None else self.draw.chunk(count)
        inputs = zip(
            *(each.chunk(count) for each in (self.lq, self.coord, self.cell)), draws, strict=True
        )
        return list(zip(map(Batch._make, inputs), self.gt.chunk(count), strict=True))

    def _summed(self) -> set[str]:
        """Names of the losses that are sums, not means."""
        found = set() if self.distillation is None else set(self.distillation.summed)
        if is_sum(self.cri_pix):
            found.add('l_pix')
        if self.consistency is not None and is_sum(self.consistency.criterion):
            found.add('l_consistency')
        for name, criterion in self.cri_patch.items():
            if is_sum(criterion):
                found.add(f'l_{name}')
        return found

    def _unsynchronised(self, is_part: bool) -> ExitStack:
        """Of several processes, gradients are exchanged with the last part alone."""
        stack = ExitStack()
        nets = [self.net_g]
        if hasattr(self, 'projection'):
            nets.append(self.projection)
        for net in nets:
            if is_part and hasattr(net, 'no_sync'):
                stack.enter_context(net.no_sync())
        return stack

    def _predict(self, batch: Batch) -> Predicted:
        """What the network makes of a batch, in the precision of the step.

        A field's variation is also taken at the pixels of the enlargement, where there is one.
        """
        shown = batch if self.consistency is None else self.consistency.with_image(batch)
        asked, variation = (shown.lq, shown.coord, shown.cell), None
        if self.opt['train'].get('variation_weight'):
            with autocast(self.device, self.dtype):
                colours, variation = self.net_g(*asked, with_variation=True)
        else:
            colours = (self.graphed or self._query)(*asked)
        count = batch.coord.shape[1]
        return Predicted(colours[:, :count].float(), variation, colours[:, count:].float())

    def _query(self, lq: Tensor, coord: Tensor, cell: Tensor) -> Tensor:
        """The network's colours at coordinates, (B, Q, C), in the precision of the step."""
        with autocast(self.device, self.dtype):
            return self.net_g(lq, coord, cell)

    def _losses(self, batch: Batch, gt: Tensor) -> dict[str, Tensor]:
        """The losses of a part of the batch, numbers (), by what they are called in the log.

        Args:
            batch: What the network is shown.
            gt: Colours at its queries, (B, Q, C) in [0, 1].
        """
        losses: dict[str, Tensor] = {}
        found = self._predict(batch)
        self.output = colours = found.colours
        if found.variation is not None:
            losses['l_variation'] = found.variation * self.opt['train']['variation_weight']
        losses['l_pix'] = self.cri_pix(colours, gt)
        if self.distillation is not None:
            losses.update(self.distillation.losses(colours, batch))
        if self.consistency is not None:
            losses['l_consistency'] = self.consistency.loss(found.image, batch.lq)
        if not (self.cri_patch or self.cri_perceptual):
            return losses
        fake, real = as_patch(colours), as_patch(gt)
        for name, criterion in self.cri_patch.items():
            losses[f'l_{name}'] = criterion(fake, real)
        if self.cri_perceptual:
            names = ('l_percep', 'l_style')
            for name, value in zip(names, self.cri_perceptual(fake, real), strict=True):
                if value is not None:
                    losses[name] = value
        return losses

    def _update(self, current_iter: int) -> None:
        """Move the parameters by their gradients."""
        train = self.opt['train']
        if self.frozen:
            for name, parameter in self._parameters():
                if current_iter <= self.frozen.get(name, 0):
                    parameter.grad = None
        if train.get('max_grad_norm'):
            clip_grad_norm_(self._trained(), train['max_grad_norm'])
        idle = []
        for group in self.optimizer_g.param_groups:
            if all(parameter.grad is None for parameter in group['params']):
                idle.append((group, dict(group)))
        self.optimizer_g.step()
        for group, before in idle:  # some optimisers count a group's steps, frozen or not
            group.clear()
            group.update(before)

    # ---------------------------------------------------------------------------------- the average

    def _follow(self, current_iter: int) -> None:
        """Move the average, and start anew from it where that is asked for."""
        if self.ema_decay <= 0:
            return
        decay, train = self.ema_decay, self.opt['train']
        if train.get('ema_warmup', False):
            decay = min(decay, (WARM + current_iter) / (WARMED + current_iter))
        self.model_ema(decay=decay)
        every = train.get('ema_switch_iter')
        if every and current_iter % every == 0:
            self._copy(self.net_g_ema, self.get_bare_model(self.net_g))

    def model_ema(self, decay: float = 0.999) -> None:
        """SRModel's moving average of the parameters, all in one go."""
        average = list(self.net_g_ema.parameters())
        current = list(self.get_bare_model(self.net_g).parameters())
        get_ema_multi_avg_fn(decay)(average, current, None)

    def _averages_itself(self) -> bool:
        """Whether the optimiser keeps the average that is to be used (schedule-free ones)."""
        return callable(getattr(self.optimizer_g, 'eval', None))

    @torch.no_grad()
    def take_average(self) -> None:
        """Bring the optimiser's own average into `net_g_ema`; the training is left as it is."""
        if not (self.is_train and self._averages_itself()):
            return
        net = self.get_bare_model(self.net_g)
        current = [parameter.clone() for parameter in self._trained()]
        self.optimizer_g.eval()
        self._copy(net, self.net_g_ema)
        self.optimizer_g.train()  # it computes the parameters back, to rounding
        for parameter, value in zip(self._trained(), current, strict=True):
            parameter.copy_(value)

    @staticmethod
    @torch.no_grad()
    def _copy(source: nn.Module, target: nn.Module) -> None:
        """Parameters and buffers of a network into another one of its kind."""
        target.load_state_dict(source.state_dict())

    def save(self, epoch: int, current_iter: int) -> None:
        """SRModel's, with the optimiser's own average."""
        self.take_average()
        super().save(epoch, current_iter)


def as_patch(colours: Tensor) -> Tensor:
    """Colours of a square in row-major order, (B, P * P, C), as images, (B, C, P, P)."""
    side = math.isqrt(colours.shape[1])
    return colours.transpose(1, 2).unflatten(2, (side, side))
