"""Nodes for ComfyUI: load a network, upscale by a factor or to a size, or hand it on as an upscale
model.

ComfyUI finds them through a file in its folder `custom_nodes` with one line:

    from liif_arch.comfyui import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS

ComfyUI's own node for upscale models then loads the files of `basicsr convert --scale` too.
"""

from contextlib import suppress

from liif_arch.comfyui.nodes import (
    LIIFAsUpscaleModel,
    LIIFLoader,
    LIIFUpscaleBy,
    LIIFUpscaleTo,
)
from liif_arch.errors import UserError

NODE_CLASS_MAPPINGS = {
    'LIIFLoader': LIIFLoader,
    'LIIFUpscaleBy': LIIFUpscaleBy,
    'LIIFUpscaleTo': LIIFUpscaleTo,
    'LIIFAsUpscaleModel': LIIFAsUpscaleModel,
}
NODE_DISPLAY_NAME_MAPPINGS = {
    'LIIFLoader': 'Load LIIF',
    'LIIFUpscaleBy': 'Upscale by a factor (LIIF)',
    'LIIFUpscaleTo': 'Upscale to a size (LIIF)',
    'LIIFAsUpscaleModel': 'LIIF as an upscale model',
}
with suppress(UserError):  # no spandrel, which ComfyUI has
    from liif_arch.fixed_scale import install

    install()
__all__ = ['NODE_CLASS_MAPPINGS', 'NODE_DISPLAY_NAME_MAPPINGS']
