"""`basicsr upscale`: enlarge image files to any scale or size."""
import argparse
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from liif_arch.weights import DEFAULT, shipped


def build_parser() -> argparse.ArgumentParser:
    """The command's flags."""
    parser = argparse.ArgumentParser(prog='basicsr upscale', description='Enlarge images to any scale or size.')
    parser.add_argument('inputs', nargs='+', metavar='INPUT', help='image files, or folders of them')
    parser.add_argument('--weights', default=DEFAULT, metavar='W',
                        help=f'{", ".join(shipped())} (weights that ship), or a file (.pth); default: {DEFAULT}')
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument('--scale', help='3.7, or 2x3 (height x width)')
    target.add_argument('--size', help='701x1000 (height x width), in pixels')
    parser.add_argument('-o', '--output', metavar='OUT',
                        help='a file, or a folder (for several images, or when it ends with / or exists); a .tif is '
                             'written while it is rendered, so it may be larger than memory (default: NAME_x3.7.png '
                             'here)')
    parser.add_argument('-opt', metavar='FILE', help='option file that describes the network, for weights that do not')
    parser.add_argument('--device', default='auto', help='auto (default), cpu, cuda, cuda:1, ...')
    parser.add_argument('--precision', default='auto', metavar='P',
                        help='float32, bfloat16, or auto (default): bfloat16 where the device has it, about twice as '
                             'fast, within 0.03 dB of float32 on Set5')
    parser.add_argument('--memory', type=float, default=1536, metavar='MIB',
                        help='budget for activations; what needs more is done in windows, with the same result (1536)')
    return parser


def main() -> int:
    """Upscale every input; nothing is overwritten half-way, and an image that cannot be done is named and left out."""
    from liif_arch.bridge.options import network_option
    args = build_parser().parse_args()
    scale, size = _pair(args.scale, '--scale', float), _pair(args.size, '--size', int)
    jobs = plan(args.inputs, args.output, f'_x{args.scale.strip()}' if args.scale else f'_{args.size.strip()}')
    network = network_option(args.opt)

    import torch

    from liif_arch.bridge.networks import load_network
    from liif_arch.bridge.plugins import load_plugins
    from liif_arch.errors import UserError
    from liif_arch.images import read_image
    from liif_arch.precision import resolve
    from liif_arch.upscaling import upscale_to_file
    load_plugins()
    device = args.device if args.device != 'auto' else 'cuda' if torch.cuda.is_available() else 'cpu'
    try:
        resolve(args.precision, device, '--precision')
        net = load_network(args.weights, device, network)
    except RuntimeError as error:
        raise UserError(f'--device: {device}: {str(error).splitlines()[0]}') from None
    net.precision = args.precision
    failed = 0
    for number, (source, target) in enumerate(jobs, 1):
        try:
            image = read_image(source)
            with _progress_bar(f'{source.name} ({number}/{len(jobs)})') as advance:
                height, width = upscale_to_file(net, image, target, scale, size, args.memory, advance)
        except UserError as error:
            if len(jobs) == 1:
                raise
            failed += 1
            print(f'basicsr upscale: {error}', file=sys.stderr)
            continue
        print(f'{target}  {image.shape[1]}x{image.shape[0]} -> {width}x{height} (width x height)')
    if failed:
        raise UserError(f'{failed} of {len(jobs)} images were left out, see above.')
    return 0


@contextmanager
def _progress_bar(label: str) -> Iterator[Callable[[int, int], None]]:
    """A bar that appears with the first call (done, total): an image that is refused before has none."""
    from liif_arch.progress import progress_bar
    bar = None

    def advance(done: int, total: int) -> None:
        nonlocal bar
        if bar is None:
            bar = progress_bar(desc=label, total=total, unit='px', unit_scale=True)
        bar.update(done - bar.n)

    try:
        yield advance
    finally:
        if bar is not None:
            bar.close()


def plan(inputs: list[str], output: str | None, label: str = '') -> list[tuple[Path, Path]]:
    """Source and target of every image.

    Args:
        inputs: Files and folders.
        output: A file or a folder; None: the current folder, with the label behind the names.
        label: What was asked for, such as _x3.7.

    Raises:
        UserError: A missing input, a folder without images, two images with one target, or a target that is a source.
    """
    from liif_arch.errors import UserError, missing_path
    from liif_arch.images import EXTENSIONS, is_image_file
    sources: list[Path] = []
    for name in inputs:
        path = Path(name)
        if path.is_dir():
            found = sorted(p for p in path.iterdir() if is_image_file(p) and p.is_file())
            if not found:
                raise UserError(f'{path}: no images in this folder ({", ".join(EXTENSIONS)}).')
            sources += found
        elif path.is_file():
            sources.append(path)
        else:
            raise UserError(f'{path} {missing_path(path)}.')
    label, output = (label, './') if output is None else ('', output)
    out = Path(output)
    as_folder = len(sources) > 1 or Path(inputs[0]).is_dir() or output.endswith('/') or out.is_dir()
    if as_folder and (out.is_file() or out.suffix.lower() in EXTENSIONS):
        raise UserError(f'-o: {out} is a file, or named like one; several images need a folder.')
    folder = out if as_folder else out.parent
    existing = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise UserError(f'-o: cannot write to {folder}: {existing} is not a folder that can be written to.')
    if not as_folder and out.suffix.lower() not in EXTENSIONS:
        raise UserError(f'-o: {out}: an image file ends with one of {", ".join(EXTENSIONS)}; a folder with /.')
    suffixes = {'.tif': '.tif', '.tiff': '.tif'}  # float images have no other format here
    jobs = [(s, out / f'{s.stem}{label}{suffixes.get(s.suffix.lower(), ".png")}' if as_folder else out)
            for s in sources]
    seen: dict[Path, Path] = {}
    for source, target in jobs:
        if target in seen:
            raise UserError(f'{source} and {seen[target]} would both become {target}; run them apart.')
        seen[target] = source
        for other in (s for s in sources if target.exists() and target.samefile(s)):
            what = 'the input itself' if other is source else f'an input, and the target of {source}'
            raise UserError(f'-o: {target} is {what}; name another.')
    return jobs


def _pair(text: str | None, flag: str, kind: type) -> tuple | None:
    """`3.7` or `2x3` as a pair (height, width); a size needs both."""
    from liif_arch.errors import UserError
    if text is None:
        return None
    number = r'(\d+)' if kind is int else r'(\d+\.?\d*|\.\d+)'
    match = re.fullmatch(rf'{number}x{number}' if kind is int else rf'{number}(?:x{number})?', text.strip())
    values = tuple(kind(v) for v in match.groups() if v is not None) if match else ()
    if not values or min(values) <= 0:
        example = 'two numbers such as 701x1000' if kind is int else 'a number above 0 such as 3.7, or 2x3'
        raise UserError(f'{flag}: found {text}; needed {example} (height x width).')
    return values if len(values) == 2 else (values[0], values[0])
