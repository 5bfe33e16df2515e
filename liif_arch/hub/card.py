"""The model card of a network on the hub: how to use it, its figures, a picture, what it is."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from huggingface_hub import EvalResult, ModelCardData

from liif_arch.archs.encoder import named_network
from liif_arch.errors import UserError
from liif_arch.files.atomic import output_file
from liif_arch.metrics.report import PSNR_FIRST, TITLES, Results, format_table

if TYPE_CHECKING:
    from liif_arch.archs.latent_network import LatentNetwork

PANEL = 'panel.png'  # the picture's name in the repository
SCALE, DETAIL = 4, 384  # of the picture, and pixels of its detail's side
TASK = 'image-to-image'
TEXT = """# {name}

{network}, {parameters:,} parameters, for super-resolution at any scale: one network enlarges an
image to any size, by whole factors and others. It runs in the Python package `basicsr-liif`, a
plugin of BasicSR.
{picture}
## Use

```bash
pip install 'basicsr-liif[hub]'
basicsr upscale photo.jpg --weights {weights} --scale 3.7
```

```python
from liif_arch import load_network, read_image, upscale

net = load_network('{weights}')
image = upscale(net, read_image('photo.jpg'), scale=3.7)
```
{figures}
## Network

`network_g` of an option file, which trains it further:

```json
{network_g}
```
"""


class Card(NamedTuple):
    """What a model card shows beside the network.

    Attributes:
        name: `owner/name`, or a folder's.
        metrics: A metrics.json that `basicsr test` or a training wrote.
        picture: An image, of which a detail is shown enlarged by bicubic and by the network.
        license: Its identifier on the hub (apache-2.0, cc-by-nc-4.0, other, ...).
    """

    name: str = ''
    metrics: Path | None = None
    picture: Path | None = None
    license: str | None = None

    def draw(self, net: 'LatentNetwork', folder: Path) -> None:
        """Write the picture into a folder, where one is asked for."""
        if self.picture is None:
            return
        from liif_arch.view.pictures import Shown
        from liif_arch.view.still import busiest, panel

        shown = Shown(self.picture, {'this network': lambda: net})
        drawn = panel(shown, SCALE, busiest(shown, DETAIL // SCALE))
        with output_file(folder / PANEL) as file:
            drawn.save(file, 'PNG')

    def text(self, net: 'LatentNetwork', network_g: dict) -> str:
        """The card: what the hub reads of it, in YAML, and what people do, in Markdown.

        Raises:
            UserError: The figures are no metrics.json.
        """
        results = _read_results(self.metrics)
        data = ModelCardData(
            model_name=self.name.rpartition('/')[2] or type(net).__name__,
            license=self.license,
            library_name='basicsr-liif',
            pipeline_tag=TASK,
            tags=['super-resolution', 'arbitrary-scale', 'liif', 'basicsr', 'image-upscaling'],
            eval_results=list(_evaluations(results)) or None,
        )
        encoder = type(named_network(net.encoder)).__name__
        picture = f'\n![Enlarged by bicubic, and by this network]({PANEL})\n'
        figures = f'\n## Figures\n\n{format_table(results)}\n'
        body = TEXT.format(
            name=self.name or type(net).__name__,
            network=f'{type(net).__name__} on {encoder}',
            parameters=sum(parameter.numel() for parameter in net.parameters()),
            weights=f'hf:{self.name}' if '/' in self.name else 'model.safetensors',
            picture=picture if self.picture is not None else '',
            figures=figures if results else '',
            network_g=json.dumps(network_g, indent=2),
        )
        return f'---\n{data.to_yaml()}\n---\n\n{body}'


def _read_results(path: Path | None) -> Results:
    """The figures in a metrics.json; none where there is no such file to read."""
    if path is None:
        return {}
    try:
        results = json.loads(path.read_text(encoding='utf-8'))
        format_table(results)
    except OSError as error:
        raise UserError(f'cannot read {path} ({error.strerror}).', key='metrics') from None
    except (AttributeError, KeyError, TypeError, ValueError):
        raise UserError(
            f'found {path}; needed a metrics.json of `basicsr test` or a training.', key='metrics'
        ) from None
    return results


def _evaluations(results: Results) -> Iterator[EvalResult]:
    """Every figure as the hub lists it."""
    for dataset, scales in results.items():
        for scale, figures in scales.items():
            for metric in (*PSNR_FIRST, 'ssim', 'lpips', 'dists'):
                if isinstance(figures.get(metric), float):
                    yield EvalResult(
                        task_type=TASK,
                        dataset_type=dataset.lower(),
                        dataset_name=f'{dataset} {scale}',
                        dataset_config=scale,  # the hub tells data sets apart by it
                        metric_type=metric,
                        metric_name=TITLES[metric],
                        metric_value=round(figures[metric], 4),
                    )
