"""Distillation: a network learns from another one, its teacher, on the same samples.

The teacher (Hinton et al., arXiv 1503.02531) is frozen, and no part of what a training saves. The
student's colours are compared with the teacher's, and its features with the teacher's (Romero et
al., arXiv 1412.6550), through a learned convolution where they have another number of channels.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from basicsr.archs import build_network
from basicsr.losses import build_loss
from torch import Tensor, nn

from liif_arch.archs.latent_network import LatentNetwork
from liif_arch.devices import from_host
from liif_arch.errors import UserError
from liif_arch.models.teacher_cache import TeacherCache, options_of_samples
from liif_arch.precision import autocast
from liif_arch.training import randomness
from liif_arch.weights.networks import load_into, load_network

WEIGHTS = 'path.pretrain_network_t'


class Batch(NamedTuple):
    """What a network is shown, of a batch or of a part of it.

    Attributes:
        lq: Images in [0, 1], (B, C, h, w).
        coord: Query pixel centres, (B, Q, 2), (y, x) in [-1, 1].
        cell: Sizes of the query pixels, (B, Q, 2).
        draw: The number of each sample, and the fingerprint of the images, (B, 2), int64; None
            where samples do not come again.
    """

    lq: Tensor
    coord: Tensor
    cell: Tensor
    draw: Tensor | None


class Distillation:
    """A teacher, and the losses of a student that learns from it.

    Args:
        opt: Options of the run, see `LIIFModel`: `train.distill_opt`, `path.pretrain_network_t`.
        student: The network that learns.
        dtype: Of the teacher's matrix products; the training's.
        device: Of the student.

    Attributes:
        projection: Makes as many channels of the student's features as the teacher has; None where
            there is no need. It is trained with the student, and moved to the device.
        summed: Names of the losses that are sums, not means.

    Raises:
        UserError: The weights are no network's that predicts colours at coordinates, or of other
            images.
    """

    def __init__(
        self, opt: Mapping, student: LatentNetwork, dtype: torch.dtype, device: torch.device
    ) -> None:
        self.options, self.dtype, self.device = opt['train']['distill_opt'], dtype, device
        with randomness.preserved():  # a training without a teacher draws the same numbers
            self.teacher = load_teacher(opt).to(device)
        self.teacher.precision = str(dtype).removeprefix('torch.')
        _require_channels(self.teacher, student)
        self.criteria: dict[str, nn.Module] = {}
        for name in ('colours', 'features'):
            if self.options.get(name):
                self.criteria[name] = build_loss(self.options[name]).to(device)
        self.projection: nn.Module | None = None
        self._features: dict[str, Tensor] = {}
        if 'features' in self.criteria:
            for name, net in (('student', student), ('teacher', self.teacher)):
                net.encoder.register_forward_hook(partial(self._keep, name))
            own, wide = student.encoder.num_out_feat, self.teacher.encoder.num_out_feat
            if own != wide:
                self.projection = nn.Conv2d(own, wide, 1)
        self.summed = set()
        for name, criterion in self.criteria.items():
            if is_sum(criterion):
                self.summed.add(_in_log(name))
        self.cache = None
        if self.options.get('cache'):
            self.cache = self._cache(opt)

    def _cache(self, opt: Mapping) -> TeacherCache:
        made_of = {
            'network_t': self.teacher.digest(),
            'train': {'precision': self.teacher.precision},
            'datasets': {'train': options_of_samples(opt['datasets']['train'])},
        }
        rehearsed = opt.get('is_rehearsed', False)
        return TeacherCache(self.options['cache'], made_of, rehearsed)

    def _keep(self, name: str, encoder: nn.Module, images: Any, features: Tensor) -> None:
        """Hold on to what an encoder has made of a batch; `losses` takes it."""
        self._features[name] = features

    def losses(self, colours: Tensor, batch: Batch) -> dict[str, Tensor]:
        """The losses of a student that has just predicted a batch, numbers (), by what they are
        called in the log.

        Args:
            colours: What it predicted, (B, Q, C), float32.
            batch: What it was shown.
        """
        found, codes = {}, None
        if 'features' in self.criteria:
            codes = self._encode(batch.lq)
            own, wanted = self._features.pop('student'), self._features.pop('teacher')
            found[_in_log('features')] = self._feature_loss(own.float(), wanted.float())
        taught = self._colours(batch, codes)
        if taught is not None:
            found[_in_log('colours')] = self.criteria['colours'](colours, taught)
        return found

    def _feature_loss(self, own: Tensor, wanted: Tensor) -> Tensor:
        """The loss of a student's features, (B, F, h, w), against its teacher's."""
        if wanted.shape[-2:] != own.shape[-2:]:
            raise UserError(
                f'train.distill_opt.features: found features of {_size(own)} pixels, and the '
                f"teacher's are of {_size(wanted)} (height x width); needed the same. Remove it, "
                'or name another teacher (path.pretrain_network_t).'
            )
        if self.projection is not None:
            own = self.projection(own)
        return self.criteria['features'](own, wanted)

    def _colours(self, batch: Batch, codes: Tensor | None) -> Tensor | None:
        """The teacher's colours, (B, Q, C), float32; None where they are not compared.

        Args:
            batch: What it is shown.
            codes: What it encodes that to, where it has been done already.
        """
        if 'colours' not in self.criteria:
            return None
        if self.cache is None:
            return self._teach(batch.lq, batch.coord, batch.cell, codes)
        return self._cached(self.cache, batch)

    @torch.no_grad()
    def _encode(self, lq: Tensor) -> Tensor:
        """The teacher's codes of images, (B, code_channels, h, w)."""
        with autocast(self.device, self.dtype):
            return self.teacher.encode(lq)

    @torch.no_grad()
    def _teach(
        self, lq: Tensor, coord: Tensor, cell: Tensor, codes: Tensor | None = None
    ) -> Tensor:
        """The teacher's colours of images, (B, Q, C), float32; with its codes, where they are
        there.
        """
        if codes is None:
            codes = self._encode(lq)
        with autocast(self.device, self.dtype):
            return self.teacher.query(codes, coord, cell).float()

    def _cached(self, cache: TeacherCache, batch: Batch) -> Tensor:
        """`_teach`, to float16, from the cache; what is missing there is made, and kept.

        What is made is rounded too, so that a run does not depend on what was there.
        """
        assert batch.draw is not None
        draws = batch.draw.tolist()
        cache.open(draws[0][1], (batch.coord.shape[1], self.teacher.num_out_ch))
        found, missing = {}, []
        for place, (number, _) in enumerate(draws):
            kept = cache.read(number)
            if kept is None:
                missing.append(place)
            else:
                found[place] = kept
        if missing:
            made = self._teach(batch.lq[missing], batch.coord[missing], batch.cell[missing])
            for place, colours in zip(missing, made.half().cpu().numpy(), strict=True):
                cache.write(draws[place][0], colours)
                found[place] = colours
        colours = np.stack([found[place] for place in range(len(draws))])
        return from_host(torch.from_numpy(colours), self.device).float()


def is_sum(criterion: nn.Module) -> bool:
    """Whether a loss is a sum, so that those of a batch's parts add up to the whole batch's."""
    return getattr(criterion, 'reduction', 'mean') == 'sum'


def load_teacher(opt: Mapping) -> LatentNetwork:
    """The network that `path.pretrain_network_t` names, frozen, in evaluation mode, on the CPU.

    Args:
        opt: Options of the run. `network_t` describes the network, where its weights do not; then
            `path.strict_load_t` and `path.param_key_t` (params_ema) are BasicSR's.

    Raises:
        UserError: The weights cannot be read, or are of no network that predicts colours at
            coordinates.
    """
    path = opt['path']
    try:
        if opt.get('network_t') is None:
            net = load_network(path['pretrain_network_t'], remedy='describe it in network_t')
        else:
            net = build_network(opt['network_t'])
            strict, key = path.get('strict_load_t', True), path.get('param_key_t', 'params_ema')
            load_into(net, path['pretrain_network_t'], strict, key, 'network_t')
    except UserError as error:
        raise UserError(f'{WEIGHTS}: {error}') from None
    if not isinstance(net, LatentNetwork):
        raise UserError(
            f'{WEIGHTS}: found a {type(net).__name__}, which makes whole images at a scale of its '
            'own; needed a network of this package (Thera, LIIF, LTE, MetaSR, SubPixelSR), which '
            'predicts colours at coordinates. Any network can be the encoder of one.'
        )
    return net.requires_grad_(False).eval()


def _require_channels(teacher: LatentNetwork, student: LatentNetwork) -> None:
    """Raise UserError where a teacher and its student are not of the same kind of images."""
    for key in ('num_in_ch', 'num_out_ch'):
        found, needed = getattr(teacher, key), getattr(student, key)
        if found != needed:
            raise UserError(
                f'{WEIGHTS}: found a network with {key} {found}, and network_g has {needed}; '
                'needed the same. Name another teacher.'
            )


def _in_log(name: str) -> str:
    """What the log calls a loss of the option `distill_opt`."""
    return {'colours': 'l_distill', 'features': 'l_distill_features'}[name]


def _size(features: Tensor) -> str:
    """Height and width of features, (B, F, h, w), in a message."""
    return f'{features.shape[-2]}x{features.shape[-1]}'
