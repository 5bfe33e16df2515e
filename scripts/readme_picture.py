"""Draw README's picture: photographs enlarged by weights that ship, bicubic and the original.

    python scripts/readme_picture.py .readme/fast.png

Each photograph is cropped to a multiple of the scale, reduced by Pillow's bicubic filter and
enlarged again. The detail shown is the square of 128 pixels with the strongest gradients, so
nobody picks it by hand. The photographs come with scikit-image; the weights have not seen them.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import skimage

from liif_arch import load_network, read_image, upscale
from liif_arch.archs.coordinate_network import CoordinateNetwork
from liif_arch.errors import exit_status
from liif_arch.files.images import resize_bicubic
from liif_arch.metrics.panel import Row, write_panel

PHOTOGRAPHS = Path(skimage.__file__).parent / 'data'
ROWS = (('chelsea', 4), ('coffee', 8))  # name of a photograph, scale


def compare(net: CoordinateNetwork, weights: str, name: str, scale: int) -> Row:
    """One photograph, reduced and enlarged again.

    Args:
        net: The network that enlarges.
        weights: What its column is called.
        name: File name of the photograph, without extension.
        scale: By how much it is reduced, and enlarged again.
    """
    image = read_image(PHOTOGRAPHS / f'{name}.png')
    low_size = (image.shape[0] // scale, image.shape[1] // scale)
    size = (low_size[0] * scale, low_size[1] * scale)
    original = np.ascontiguousarray(image[: size[0], : size[1]])
    reduced = resize_bicubic(original, low_size)
    methods = {
        'bicubic': resize_bicubic(reduced, size),
        weights: upscale(net, reduced, size=size),
        'original': original,
    }
    return Row(name, f'x{scale}', methods)


def main() -> None:
    """Read the arguments, and draw the picture."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('output', type=Path, metavar='PICTURE.png', help='file to write')
    parser.add_argument('--weights', default='fast', help='fast (default), edsr, small, or a file')
    args = parser.parse_args()
    net = load_network(args.weights)
    label = Path(args.weights).stem
    write_panel([compare(net, label, name, scale) for name, scale in ROWS], args.output)


if __name__ == '__main__':
    sys.exit(exit_status(main))
