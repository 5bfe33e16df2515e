"""The nodes. A class says, in ComfyUI's names, what it takes, what it returns and which method
computes it.

An IMAGE is a batch (B, H, W, C), float32 in [0, 1], on the CPU.
"""

from copy import deepcopy
from functools import partial

import numpy as np
import torch
from torch import Tensor

from liif_arch.archs.latent_network import LatentNetwork
from liif_arch.comfyui import host
from liif_arch.errors import UserError
from liif_arch.upscaling.upscale import upscale
from liif_arch.weights import DEFAULT, shipped
from liif_arch.weights.networks import load_network

MOST_SIDE = 65536  # pixels of a result's side
MEMORY = 1536  # MiB for activations; larger images are done in windows, with the same result


class _Node:
    """What all of them have in common."""

    CATEGORY = 'image/upscaling'


class LIIFLoader(_Node):
    """Loads a network: one that ships, a file of ComfyUI's folder upscale_models, or one of the
    Hugging Face hub.
    """

    DESCRIPTION = 'Loads a network that enlarges by any factor.'
    RETURN_TYPES = ('LIIF_MODEL',)
    FUNCTION = 'load'

    @classmethod
    def INPUT_TYPES(cls) -> dict:
        """What it takes."""
        name = {'default': '', 'tooltip': 'owner/name on the Hugging Face hub, in its place'}
        return {
            'required': {'weights': ([*shipped(), *host.files()], {'default': DEFAULT})},
            'optional': {'hub': ('STRING', name)},
        }

    def load(self, weights: str, hub: str = '') -> tuple[LatentNetwork]:
        """The network."""
        if hub.strip():
            found = f'hf:{hub.strip().removeprefix("hf:")}'
        else:
            found = str(host.file_of(weights) or weights)
        net = load_network(found)
        if not isinstance(net, LatentNetwork):
            raise UserError(
                f'{found} is a {type(net).__name__} of one scale; needed LIIF, LTE, MetaSR or a '
                'heat field.'
            )
        net.precision = 'auto'
        return (net,)


class _Upscaler(_Node):
    """A node that enlarges a batch."""

    RETURN_TYPES = ('IMAGE',)
    FUNCTION = 'upscale'

    @staticmethod
    def enlarge(model: LatentNetwork, image: Tensor, **target: object) -> tuple[Tensor]:
        """Images (B, h, w, C), enlarged to a `scale` or a `size` of `upscale`."""
        if not len(image):
            raise UserError('image: found a batch of none; needed one image or more.')
        report = host.progress(len(image))
        weights = sum(parameter.nbytes for parameter in model.parameters())
        host.make_room(weights + MEMORY * 2**20)
        model.to(host.device())
        images = []
        try:
            for number, pixels in enumerate(image):
                pixels = pixels.detach().cpu().float().clamp(0, 1).numpy()
                progress = partial(report, number)
                images.append(upscale(model, pixels, memory=MEMORY, progress=progress, **target))
        finally:
            model.to('cpu')  # the device is for whatever comes next
        return (torch.from_numpy(np.stack(images)).clamp_(0, 1),)


class LIIFUpscaleBy(_Upscaler):
    """Enlarges by a factor, which need not be whole."""

    DESCRIPTION = 'Enlarges images by any factor; below 1 they are reduced.'

    @classmethod
    def INPUT_TYPES(cls) -> dict:
        """What it takes."""
        scale = {'default': 2.0, 'min': 0.01, 'max': 64.0, 'step': 0.01}
        return {
            'required': {
                'model': ('LIIF_MODEL',),
                'image': ('IMAGE',),
                'scale': ('FLOAT', scale),
            }
        }

    def upscale(self, model: LatentNetwork, image: Tensor, scale: float) -> tuple[Tensor]:
        """The images, enlarged."""
        return self.enlarge(model, image, scale=scale)


class LIIFUpscaleTo(_Upscaler):
    """Enlarges to a size; a side that is 0 follows from the other one."""

    DESCRIPTION = 'Enlarges images to a size; a side that is 0 follows from the other one.'

    @classmethod
    def INPUT_TYPES(cls) -> dict:
        """What it takes."""
        side = {'min': 0, 'max': MOST_SIDE, 'step': 1}
        return {
            'required': {
                'model': ('LIIF_MODEL',),
                'image': ('IMAGE',),
                'width': ('INT', {'default': 1920, **side}),
                'height': ('INT', {'default': 0, **side}),
            }
        }

    def upscale(
        self, model: LatentNetwork, image: Tensor, width: int, height: int
    ) -> tuple[Tensor]:
        """The images, enlarged."""
        if not (width or height):
            raise UserError('width, height: found 0 for both; needed one of them at least.')
        shape = image.shape[1:3]
        size = (
            height or max(1, round(shape[0] * width / shape[1])),
            width or max(1, round(shape[1] * height / shape[0])),
        )
        return self.enlarge(model, image, size=size)


class LIIFAsUpscaleModel(_Node):
    """A network at one whole scale, for nodes that take an UPSCALE_MODEL."""

    DESCRIPTION = 'The network at one whole scale, for nodes that take an UPSCALE_MODEL.'
    RETURN_TYPES = ('UPSCALE_MODEL',)
    FUNCTION = 'describe'

    @classmethod
    def INPUT_TYPES(cls) -> dict:
        """What it takes."""
        scale = {'default': 4, 'min': 1, 'max': 16, 'step': 1}
        return {'required': {'model': ('LIIF_MODEL',), 'scale': ('INT', scale)}}

    def describe(self, model: LatentNetwork, scale: int) -> tuple:
        """What spandrel calls an image model."""
        from liif_arch.fixed_scale import FixedScale, describe

        return (describe(FixedScale(deepcopy(model), scale)),)  # who takes it may change its type
