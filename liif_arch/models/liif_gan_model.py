"""Perceptual and adversarial training at random scales, for sharper images than a pixel loss alone
gives.
"""

import math
from collections import OrderedDict
from typing import ClassVar

import torch
from basicsr.models.srgan_model import SRGANModel
from basicsr.utils.registry import MODEL_REGISTRY
from torch import Tensor

from liif_arch.config.fragments import COUNT, OBJECT, WHOLE, maybe
from liif_arch.errors import UserError
from liif_arch.models.liif_model import LIIFModel
from liif_arch.models.training_step import as_patch


@MODEL_REGISTRY.register()
class LIIFGANModel(LIIFModel, SRGANModel):
    """LIIFModel with SRGANModel's losses and discriminator, on square patches of the ground truth.

    The data set's `patch: true` makes a sample's queries a square of sqrt(num_samples) pixels, at a
    scale of its own. Options are LIIFModel's and SRGANModel's: network_d, and under `train`
    gan_opt, optim_d, perceptual_opt, net_d_iters and net_d_init_iters.
    """

    own_options: ClassVar = {
        **LIIFModel.own_options,
        'train': {
            **LIIFModel.own_options['train'],
            'optim_d': OBJECT,
            'gan_opt': OBJECT,
            'perceptual_opt': maybe(OBJECT),
            'net_d_iters': WHOLE,
            'net_d_init_iters': COUNT,
        },
    }

    @staticmethod
    def check_options(opt: dict) -> None:
        """LIIFModel's, and what adversarial training needs."""
        LIIFModel.check_options(opt)
        if not opt['is_train']:
            return
        if not opt.get('network_d'):
            raise UserError(
                'network_d: missing; LIIFGANModel trains against a discriminator '
                '(UNetDiscriminatorSN).'
            )
        for key in ('gan_opt', 'optim_d'):
            if not opt['train'].get(key):
                raise UserError(f'train.{key}: missing; LIIFGANModel needs it, as SRGANModel does.')
        if opt['train'].get('accumulate', 1) > 1:
            raise UserError(
                'found more than one part; LIIFGANModel takes a batch at once. Remove it.',
                key='train.accumulate',
            )
        if not opt['datasets']['train'].get('patch'):
            raise UserError(
                'datasets.train.patch: needed true; a discriminator sees squares, not scattered '
                'pixels.'
            )

    def init_training_settings(self) -> None:
        """LIIFModel's and SRGANModel's."""
        super().init_training_settings()
        self._require_patch()

    def setup_optimizers(self) -> None:
        """LIIFModel's, and SRGANModel's of the discriminator."""
        super().setup_optimizers()
        options = self.opt['train']['optim_d']
        kind = options.pop('type')
        self.optimizer_d = self.get_optimizer(kind, self.net_d.parameters(), **options)
        self.optimizers.append(self.optimizer_d)

    @torch.no_grad()
    def _require_patch(self) -> None:
        """Raise where the discriminator does not take the data set's squares."""
        side = math.isqrt(self.opt['datasets']['train']['num_samples'])
        net = self.get_bare_model(self.net_d).eval()
        channels = self.get_bare_model(self.net_g).num_out_ch
        try:
            net(torch.zeros(2, channels, side, side, device=self.device))
        except (AssertionError, RuntimeError) as error:
            raise UserError(
                f'datasets.train.num_samples: {type(net).__name__} does not take squares of {side} '
                f'pixels ({str(error).splitlines()[0]}); set the square of another side '
                '(UNetDiscriminatorSN: of a multiple of 8).'
            ) from None
        net.train()

    def optimize_parameters(self, current_iter: int) -> None:
        """A step of the generator, every `net_d_iters` after `net_d_init_iters`, and one of the
        discriminator.
        """
        [(batch, gt)] = self._parts(1)
        losses: dict[str, Tensor] = {}
        if current_iter % self.net_d_iters == 0 and current_iter > self.net_d_init_iters:
            for name, loss in self._losses(batch, gt).items():
                losses[f'l_g_{name.removeprefix("l_")}'] = loss
            self._step_generator(losses, current_iter)
        else:
            self.output = self._predict(batch).colours
        self._step_discriminator(as_patch(self.output.detach()), as_patch(gt), losses)
        self.log_dict = OrderedDict()
        for name, loss in losses.items():
            self.log_dict[name] = loss.detach()
        self._follow(current_iter)

    def _step_generator(self, losses: dict[str, Tensor], current_iter: int) -> None:
        """Move the generator by its losses, to which the discriminator's is added."""
        self.net_d.requires_grad_(False)
        fake = as_patch(self.output)
        losses['l_g_gan'] = self.cri_gan(self.net_d(fake), True, is_disc=False)
        self.optimizer_g.zero_grad()
        sum(losses.values(), torch.zeros((), device=self.device)).backward()
        self._update(current_iter)
        self.net_d.requires_grad_(True)

    def _step_discriminator(self, fake: Tensor, real: Tensor, losses: dict[str, Tensor]) -> None:
        self.optimizer_d.zero_grad()
        for name, image, is_real in (('real', real, True), ('fake', fake, False)):
            prediction = self.net_d(image)
            loss = self.cri_gan(prediction, is_real, is_disc=True)
            loss.backward()
            losses[f'l_d_{name}'], losses[f'out_d_{name}'] = loss, prediction.mean()
        self.optimizer_d.step()
