"""`basicsr convert IN OUT`: checkpoints of the reference implementation into ours, or back;
.safetensors files of any, or back; and files of one scale for other programs.
"""

import argparse
from pathlib import Path

from liif_arch.arguments import CommandParser


def build_parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    parser = CommandParser(
        prog='basicsr convert',
        description='Convert LIIF, LTE, MetaSR and EDSR weights of the reference '
        "implementation (yinboc/liif) and Thera's (prs-eth/thera, .pkl) into those of this "
        'package, or the first four back; the direction follows from what IN holds. With an OUT '
        'or IN that ends with .safetensors, the weights alone, into such a file or out of it. '
        'With --scale, a file of that scale alone, for programs that load upscalers through '
        'spandrel.',
    )
    parser.add_argument('source', type=Path, metavar='IN', help='checkpoint to read')
    parser.add_argument('target', type=Path, metavar='OUT', help='checkpoint to write')
    parser.add_argument(
        '--scale', type=int, metavar='S', help='a whole number; OUT is for ComfyUI and others'
    )
    return parser


def main() -> None:
    """Convert one file, and say what was done."""
    args = build_parser().parse_args()
    print(convert(args.source, args.target, args.scale))


def convert(source: Path, target: Path, scale: int | None = None) -> str:
    """Convert one file; returns a line that says what was done.

    Args:
        source, target: The files.
        scale: Of a file for programs that know one scale; None: another kind of file.

    Raises:
        UserError: The target exists, or the file does not fit (with every missing and
            unexpected name).
    """
    from liif_arch.errors import UserError
    from liif_arch.training.checkpoints import load_file, save_file
    from liif_arch.weights import weights_path
    from liif_arch.weights.reference import from_reference, is_reference, to_reference
    from liif_arch.weights.safetensors_files import is_safetensors

    if target.exists():
        raise UserError(f'{target} exists; remove it first.')
    if scale is not None:
        return _at_one_scale(source, target, scale)
    content = load_file(source)
    if is_safetensors(target) or is_safetensors(weights_path(source)):
        whose = 'for this package'
        converted = from_reference(content, source) if is_reference(content) else content
        parameters = converted.get('params_ema') or converted.get('params') or {}
    elif is_reference(content):
        whose, converted = 'for BasicSR', from_reference(content, source)
        parameters = converted['params']
    else:
        whose, converted = 'for the reference implementation', to_reference(content, source)
        parameters = converted['model']['sd']
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        save_file(converted, target)
    except OSError as error:
        raise UserError(f'{target}: cannot write here ({error.strerror or error}).') from None
    count = 0
    for parameter in parameters.values():
        count += parameter.numel()
    return f'{target}: {whose}, {len(parameters)} tensors, {count:,} values'


def _at_one_scale(source: Path, target: Path, scale: int) -> str:
    """Write a file that spandrel loads once `liif_arch.fixed_scale.install` was called."""
    import torch

    from liif_arch.errors import UserError
    from liif_arch.files.atomic import output_file
    from liif_arch.fixed_scale import load_fixed_scale, state_dict_of
    from liif_arch.weights.safetensors_files import is_safetensors

    if target.suffix.lower() not in ('.pth', '.safetensors'):
        raise UserError(
            f'OUT: found {target}; needed a .pth or .safetensors (basicsr export writes ONNX).'
        )
    tensors = state_dict_of(load_fixed_scale(source, scale).model)
    with output_file(target) as file:
        if is_safetensors(target):
            from safetensors.torch import save

            file.write(save(tensors, {'format': 'pt'}))
        else:
            torch.save(tensors, file)
    return (
        f'{target}: at x{scale}, for programs that load it through spandrel once '
        'liif_arch.fixed_scale.install() was called (the ComfyUI nodes do so)'
    )
