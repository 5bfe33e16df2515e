"""The trainings that `scripts/reproduce.py` compares, and the figures of the papers."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from reproduce_recipe import CHANGES

UNCHANGED: Mapping[str, Any] = MappingProxyType({})


class Run(NamedTuple):
    """One training.

    Attributes:
        label: What the table calls it.
        option: The option file it starts from.
        scales: Those it is for; None: all.
        paper: The paper's figures in dB by scale, of DIV2K's validation images, or plain PSNR of
            CelebAHQ; None: it has none.
        changes: Options that are laid over the file, a nested mapping.
    """

    label: str
    option: str
    scales: list[int] | None = None
    paper: dict[int, float] | None = None
    changes: Mapping[str, Any] = UNCHANGED

    def name(self, seed: int = 0) -> str:
        """What its files are called, with a seed."""
        name = self.option
        if self.changes:
            name += '_' + re.sub(r'[^a-z0-9]+', '_', self.label.lower()).strip('_')
        return f'{name}_seed{seed}' if seed else name


def _paper(*values: float) -> dict[int, float]:
    return dict(zip((2, 3, 4, 6, 12, 18, 24, 30), values, strict=False))


LIIF = Run(
    'LIIF', 'train_liif_edsr', None, _paper(34.67, 30.96, 29.00, 26.75, 23.71, 22.17, 21.18, 20.48)
)


GROUPS = {
    'decoders': [
        LIIF,
        Run('LIIF, our start', 'train_liif_edsr_start'),
        Run(
            'LTE',
            'train_lte_edsr',
            None,
            _paper(34.72, 31.02, 29.04, 26.81, 23.78, 22.23, 21.24, 20.53),
        ),
        Run(
            'MetaSR',
            'train_metasr_edsr',
            None,
            _paper(34.64, 30.93, 28.92, 26.61, 23.55, 22.03, 21.06, 20.37),
        ),
        Run('Thera', 'train_thera_edsr', None, _paper(34.75, 31.09, 29.10, 26.84, 23.80)),
        Run('heat field, our start', 'train_field_edsr'),
        Run('EDSR x2', 'train_edsr_x2', [2], {2: 34.55}),
        Run('EDSR x3', 'train_edsr_x3', [3], {3: 30.90}),
        Run('EDSR x4', 'train_edsr_x4', [4], {4: 28.94}),
    ],
    'ablations': [
        LIIF,
        Run(
            'LIIF (-c)',
            'train_liif_edsr_no_cell',
            None,
            _paper(34.53, 30.92, 28.97, 26.73, 23.72, 22.19, 21.19, 20.51),
        ),
        Run(
            'LIIF (-u)',
            'train_liif_edsr_no_unfold',
            None,
            _paper(34.64, 30.94, 28.98, 26.73, 23.69, 22.16, 21.17, 20.47),
        ),
        Run(
            'LIIF (-e)',
            'train_liif_edsr_no_ensemble',
            None,
            _paper(34.63, 30.95, 28.97, 26.72, 23.66, 22.13, 21.14, 20.45),
        ),
        Run(
            'LIIF (-d)',
            'train_liif_edsr_shallow',
            None,
            _paper(34.65, 30.94, 28.98, 26.71, 23.64, 22.10, 21.12, 20.42),
        ),
    ],
    'scales': [LIIF, *(Run(f'LIIF, x{s} only', f'train_liif_edsr_x{s}only') for s in (2, 3, 4))],
    'size-varied': [
        Run('64 to 128: LIIF, size-varied', 'train_celebahq_64_128', [2], {2: 35.96}),
        Run('64 to 128: resized ground truth', 'train_celebahq_64_128_resized', [2], {2: 34.78}),
        Run('32 to 256: LIIF, size-varied', 'train_celebahq_32_256', [8], {8: 27.74}),
        Run('32 to 256: resized ground truth', 'train_celebahq_32_256_resized', [8], {8: 27.56}),
    ],
    'recommended': [LIIF, Run('recommended', 'train_recommended_edsr')],
    'recipe': [
        LIIF,
        *(Run(label, LIIF.option, changes=options) for label, options in CHANGES.items()),
    ],
}
