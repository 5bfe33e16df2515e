"""Parameters of the golden networks, made from names and shapes as tests/golden/README.md says."""

import json
import math
import zlib
from pathlib import Path

import numpy as np
import torch

GOLDEN = Path(__file__).parents[1] / 'golden'
BIAS_DEVIATION = 0.1
WEIGHT_VARIANCE_TIMES_FAN_IN = 0.5


def make_parameter(name: str, shape: list[int]) -> torch.Tensor:
    """Make one parameter.

    Args:
        name: Its name in the reference implementation, which alone seeds the random numbers.
        shape: Its shape: one dimension for a bias, otherwise outputs come first.

    Returns:
        Normal random numbers of that shape in float32.
    """
    if len(shape) == 1:
        deviation = BIAS_DEVIATION
    else:
        deviation = math.sqrt(WEIGHT_VARIANCE_TIMES_FAN_IN / math.prod(shape[1:]))
    generator = np.random.RandomState(zlib.crc32(name.encode('utf-8')))
    values = generator.normal(size=shape) * deviation
    return torch.from_numpy(values.astype(np.float32))


def load_parameters(shapes_file: str, case: str | None = None) -> dict[str, torch.Tensor]:
    """Make every parameter of a golden network.

    Args:
        shapes_file: A file of names and shapes in tests/golden.
        case: The network in that file; None where the file describes one network.

    Returns:
        The parameters by their reference names. The reference's fixed layers that subtract and add
        the mean colour are left out: this project has no such layers.
    """
    shapes = json.loads((GOLDEN / shapes_file).read_text())
    if case is not None:
        shapes = shapes[case]
    parameters = {}
    for name, shape in shapes.items():
        if '_mean.' not in name:
            parameters[name] = make_parameter(name, shape)
    return parameters
