"""Heat fields (Thera, Becker et al., arXiv 2311.17643): plain, and as users run them.

Around the centre of every latent the colour is a sum of K waves. Their frequencies are the same for
all latents; what belongs to a latent are each wave's amplitudes (one for each channel) and phase.
With an offset x from the latent's centre in input pixels, and a cell of 2 / s latents at scale s:

    field(x) = sum_k amplitude_k sin(frequency_k . x + phase_k) exp(-kappa |frequency_k|^2 / s^2)

The exponential is the heat equation's: a coarser pixel has seen the finer waves fade. To the field
the input image is added, nearest or bilinear at the query.

`codes` are [features (C), image (out)] of each latent. One matrix makes the latent's parts of them:
[amplitude (K out: the channels of a wave side by side), phase (K), image (out)]. Everything here is
float32 in every precision, but the matrix products of whole images.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from liif_arch.decode.lookup import Lookups
from liif_arch.decode.plain import corners, ensemble, look_up
from liif_arch.precision import autocast


class Waves(NamedTuple):
    """What all latents share.

    Attributes:
        frequency: (2, K), (y, x), in radians per input pixel.
        kappa: How fast waves fade, a number ().
        weight: What makes amplitudes and phases of features, (K out + K, C).
        bias: Is added to them, (K out + K,).
        ensemble: The field is that of the four nearest latents, weighted (LIIF eq. 4); else that of
            the nearest one.
        bilinear: The image is added bilinear at the query; else its nearest pixel.
    """

    frequency: Tensor
    kappa: Tensor
    weight: Tensor
    bias: Tensor
    ensemble: bool
    bilinear: bool

    @property
    def count(self) -> int:
        """K."""
        return self.frequency.shape[1]

    @property
    def channels(self) -> int:
        """Channels of a colour."""
        return len(self.weight) // self.count - 1

    @property
    def corners(self) -> bool:
        """Whether a query needs the four nearest latents."""
        return self.ensemble or self.bilinear

    def fading(self, cell: Tensor) -> Tensor:
        """How much of each wave is left in pixels of a size in latents, (..., 2) -> (..., K).

        The published form, exp(-kappa |frequency|^2 / s^2), with a scale of its own for each axis.
        """
        squared = self.frequency.square()
        exponent = cell[..., :1] ** 2 * squared[0] + cell[..., 1:] ** 2 * squared[1]
        return torch.exp(exponent * (-self.kappa / 4))

    def matrix(self) -> tuple[Tensor, Tensor]:
        """What makes a latent's parts of its codes: (K out + K + out, C + out), and a bias.

        Its last rows copy the image.
        """
        channels = self.channels
        weight = F.pad(self.weight, (0, channels, 0, channels))
        image = torch.eye(channels, dtype=weight.dtype, device=weight.device)
        below = F.pad(image, (weight.shape[1] - channels, 0))
        return torch.cat([weight[:-channels], below]), F.pad(self.bias, (0, channels))

    def parts(self, table: Tensor, dim: int) -> tuple[Tensor, Tensor, Tensor]:
        """Amplitudes (K out), phases (K) and image (out) along a dimension."""
        sizes = [self.count * self.channels, self.count, self.channels]
        return table.split(sizes, dim=dim)


def field_plain(waves: Waves, codes: Tensor, coord: Tensor, cell: Tensor) -> Tensor:
    """Colours at continuous coordinates, step by step.

    Args:
        waves: Waves.
        codes: See above, (B, C + out, h, w).
        coord: Query pixel centres, (B, Q, 2), (y, x) in [-1, 1].
        cell: Height and width of the query pixel in coordinates, (B, Q, 2).

    Returns:
        (B, Q, out), in the image's range.
    """
    size = tuple(codes.shape[-2:])
    features, image = codes[:, : -waves.channels], codes[:, -waves.channels :]
    made = F.conv2d(features, waves.weight[..., None, None], waves.bias)
    amplitude, phase = made.split([waves.count * waves.channels, waves.count], dim=1)
    fading = waves.fading(cell * coord.new_tensor(size))  # (B, Q, K)
    fields, areas = [], []
    for shifted, rel, area in corners(coord, size, waves.ensemble):
        u = rel / 2 @ waves.frequency + look_up(phase, shifted)  # (B, Q, K)
        strength = (torch.sin(u) * fading).unsqueeze(-1)
        amplitudes = look_up(amplitude, shifted).unflatten(-1, (waves.count, -1))
        fields.append((amplitudes * strength).sum(-2))
        areas.append(area)
    skip = F.grid_sample(
        image,
        coord.flip(-1).unsqueeze(1),
        mode='bilinear' if waves.bilinear else 'nearest',
        padding_mode='border',
        align_corners=False,
    )  # (B, out, 1, Q)
    return ensemble(fields, areas) + skip[:, :, 0].transpose(1, 2)


def field_table(waves: Waves, codes: Tensor) -> Tensor:
    """What each latent holds for a query: amplitudes, phases and the image.

    Args:
        waves: Waves.
        codes: See above, (B, C + out, h, w).

    Returns:
        (B, h, w, K out + K + out), at least float32.
    """
    with autocast(codes.device, torch.float32):
        weight, bias = waves.matrix()
        return F.linear(codes.permute(0, 2, 3, 1).to(weight.dtype), weight, bias)


def query_field(waves: Waves, table: Tensor, found: Lookups) -> Tensor:
    """`field_plain`, differentiable.

    Args:
        waves: Waves.
        table: See `field_table`.
        found: Look-ups of N queries: of the four nearest latents where `waves.corners`.

    Returns:
        (N, out), in the image's range, at least float32.
    """
    with autocast(table.device, torch.float32):
        found = found.to(table.dtype)
        index, weight = found.index.t(), found.weight.unsqueeze(-1)
        of_field = (weight if waves.ensemble else nearest_alone(weight)).transpose(0, 1)
        of_image = (weight if waves.bilinear else nearest_alone(weight)).transpose(0, 1)
        amplitude, phase, image = waves.parts(table.flatten(0, 2), dim=-1)
        u = found.rel.transpose(0, 1) / 2 @ waves.frequency.to(table.dtype)  # (N, T, K)
        u = u + F.embedding(index, phase)
        strength = torch.sin(u) * (waves.fading(found.cell).unsqueeze(1) * of_field)
        amplitudes = F.embedding(index, amplitude).flatten(1).unflatten(1, (-1, waves.channels))
        field = torch.bmm(strength.flatten(1).unsqueeze(1), amplitudes).squeeze(1)
        return field + (F.embedding(index, image) * of_image).sum(1)


def nearest_alone(weight: Tensor) -> Tensor:
    """1 for the corner that weighs most, the first of them where several do, and 0 for the others.

    Args:
        weight: Weights of the local ensemble, (T, ...).
    """
    if len(weight) == 1:
        return weight
    return torch.zeros_like(weight).scatter_(0, weight.argmax(0, keepdim=True), 1)


def field_gradient(waves: Waves, table: Tensor, found: Lookups) -> Tensor:
    """How the nearest latent's field changes with the place, before any wave has faded.

    Args:
        waves: Waves.
        table: See `field_table`.
        found: Look-ups of the nearest latents of N queries, (1, N).

    Returns:
        Derivatives by (y, x) per input pixel, (N, out, 2), differentiable.
    """
    with autocast(table.device, torch.float32):
        found = found.to(table.dtype)
        frequency, index = waves.frequency.to(table.dtype), found.index[0]
        amplitude, phase, _ = waves.parts(table.flatten(0, 2), dim=-1)
        u = found.rel[0] / 2 @ frequency + F.embedding(index, phase)  # (N, K)
        amplitudes = F.embedding(index, amplitude).unflatten(1, (-1, waves.channels))
        slope = torch.cos(u).unsqueeze(1) * frequency  # (N, 2, K)
        return torch.bmm(slope, amplitudes).transpose(1, 2)
