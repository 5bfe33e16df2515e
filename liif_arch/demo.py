"""A page to try networks on: an image, a scale, and bicubic beside the network with a line to
drag between them.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from liif_arch.coordinates import scaled_size
from liif_arch.errors import UserError
from liif_arch.files.decoding import header_size
from liif_arch.files.encoding import encode_png
from liif_arch.files.images import read_picture
from liif_arch.upscaling.upscale import upscale_to_file
from liif_arch.upscaling.windows import Area
from liif_arch.view.gallery import suited
from liif_arch.view.pictures import Shown
from liif_arch.weights import DEFAULT, PHOTO

os.environ.setdefault('GRADIO_ANALYTICS_ENABLED', 'False')  # nothing is sent anywhere
try:
    import gradio as gr
except ImportError:
    raise UserError("basicsr demo needs gradio; pip install 'basicsr-liif[demo]'.") from None

AUTOMATIC = 'automatic'
MOST_SCALE = 32
MOST_PIXELS = 50 * 10**6  # of a result that a browser is given
KEPT = 3600  # seconds that images stay on the server's disk
PROGRESS = gr.Progress()  # as a default it means: show the bar of this call
HINT = f'{AUTOMATIC}: {PHOTO} for lossy files such as JPEG, {DEFAULT} for others'


def enlarge(
    image: str | Path,
    scale: float,
    net: nn.Module,
    folder: Path,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Path, Path, str]:
    """Enlarge an image by bicubic and by a network.

    Args:
        image: The file; what `upscale` keeps of files is kept.
        scale: At least 1.
        net: The network.
        folder: Where to write.
        progress: See `upscale`.

    Returns:
        Two PNG files of the same size, bicubic's and the network's, and a line that says what was
        done.

    Raises:
        UserError: The image does not decode, or the result would be too large for a browser.
    """
    full = header_size(Path(image))
    if full is not None:
        _require_modest(scaled_size(full, (scale, scale)))  # before it is decoded
    picture = read_picture(image)
    full = picture.pixels.shape[:2]
    size = scaled_size(full, (scale, scale))
    _require_modest(size)
    stem = f'{Path(image).stem}_x{scale:g}'
    bicubic, enlarged = folder / f'{stem}_bicubic.png', folder / f'{stem}.png'
    metadata = picture.metadata._replace(linear=False)
    pixels = Shown(Path(image), {}).area('bicubic', size, Area(0, size[0], 0, size[1]))
    bicubic.write_bytes(encode_png(pixels, metadata, fast=True))  # in the same colours
    start = time.perf_counter()
    upscale_to_file(net, picture.pixels, enlarged, size=size, progress=progress, metadata=metadata)
    seconds = time.perf_counter() - start
    said = f'{full[1]}x{full[0]} to {size[1]}x{size[0]} (width x height) in {seconds:.1f} s'
    return bicubic, enlarged, said


def _require_modest(size: tuple[int, int]) -> None:
    """Raise UserError for a result that is too large for a browser."""
    if size[0] * size[1] > MOST_PIXELS:
        raise UserError(
            f'the result would have {size[1]}x{size[0]} pixels (width x height), which is much for '
            'a browser; lower the scale, or use basicsr upscale.'
        )


def _path_of(payload: Any) -> str | None:
    """The file of an image as it is, whether Pillow reads it or not; gradio's own decodes it."""
    return None if payload is None else payload.path


def page(load: Callable[[str], nn.Module], weights: list[str], folder: Path) -> gr.Blocks:
    """The page.

    Args:
        load: The network of some weights.
        weights: Names of weights to choose among.
        folder: For results; gradio keeps copies of them for `KEPT` seconds.
    """

    def show(image: str | None, scale: float, name: str, progress: gr.Progress = PROGRESS) -> tuple:
        if image is None:
            raise gr.Error('Choose an image first.', print_exception=False)
        if name == AUTOMATIC:
            name = suited(Path(image))
        for earlier in folder.iterdir():  # gradio has copied it; it calls this once at a time
            shutil.rmtree(earlier)
        own = Path(tempfile.mkdtemp(dir=folder))
        try:
            bicubic, enlarged, said = enlarge(
                image, scale, load(name), own, lambda done, total: progress((done, total))
            )
        except UserError as error:
            raise gr.Error(str(error), print_exception=False) from None
        line = f'{said}, weights {name}. Bicubic on the left.'
        return (str(bicubic), str(enlarged)), str(enlarged), line

    with gr.Blocks(title='LIIF', analytics_enabled=False, delete_cache=(KEPT, KEPT)) as blocks:
        gr.Markdown('# An image at any scale')
        with gr.Row():
            with gr.Column(scale=1):
                image = gr.Image(
                    type='filepath',
                    sources=['upload', 'clipboard'],
                    label='Image',
                )
                # Of this one alone: of a class of its own gradio writes a stub beside the source.
                image.preprocess = _path_of
                scale = gr.Slider(1, MOST_SCALE, value=4, step=0.1, label='Scale')
                choices, hint = weights, None
                if {DEFAULT, PHOTO} <= set(weights):
                    choices, hint = [AUTOMATIC, *weights], HINT
                name = gr.Dropdown(choices, value=choices[0], label='Weights', info=hint)
                button = gr.Button('Enlarge', variant='primary')
            with gr.Column(scale=2):
                slider = gr.ImageSlider(
                    type='filepath', label='Bicubic | network', interactive=False, max_height=800
                )
                line = gr.Markdown()
                file = gr.File(label='The enlarged image')
        button.click(show, [image, scale, name], [slider, file, line], api_name='enlarge')
    return blocks
