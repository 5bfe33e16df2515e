"""The section `data` of `scripts/benchmark.py`: samples a second, beside reference sampling in Python."""

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from benchmark_report import show
from torch import Tensor

from liif_arch.coordinates import make_coord


def data(args: argparse.Namespace, device: torch.device) -> list[dict]:
    """Samples a second of one worker, from 480-pixel images: PNG with reference sampling, LMDBs,
    `degrade: device`.

    `no worker`: made by the process itself, which `prefetch_mode: cpu` and num_worker_per_gpu 0 do
    in a thread.
    """
    from torch.utils.data import DataLoader

    from liif_data.lmdb_writer import create_lmdb
    from liif_data.random_scale_dataset import RandomScalePairedDataset

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for side in (480, 960):
            write_images(root / str(side), side, 24)
            create_lmdb(root / str(side), root / f'{side}.lmdb', 1, encoding='raw')
        create_lmdb(root / '480', root / '480_file.lmdb', 1)
        options = {
            'name': 'benchmark',
            'type': 'RandomScalePairedDataset',
            'lq_size': 48,
            'scale_range': [1, 4],
            'num_samples': 2304,
            'phase': 'train',
        }

        def samples(where: str, **more: object) -> RandomScalePairedDataset:
            return RandomScalePairedDataset({**options, 'dataroot_gt': str(root / where), **more})

        sets = {
            'plain: PNG, reference sampling': PlainSamples(root / '480'),
            'PNG folder': samples('480'),
            'LMDB of PNG': samples('480_file.lmdb'),
            'raw LMDB': samples('480.lmdb'),
            'raw LMDB of 960-pixel images': samples('960.lmdb'),
            'raw LMDB, degrade: device': samples('480.lmdb', degrade='device'),
        }
        sets['raw LMDB, degrade: device, no worker'] = sets['raw LMDB, degrade: device']
        rates = {}
        for name, dataset in sets.items():
            batches = (4 if 'PNG' in name else 64) * args.repeats
            order = [i % 24 for i in range(16 * (batches + 6))]
            loader = iter(
                DataLoader(
                    dataset, 16, sampler=order, num_workers=0 if name.endswith('no worker') else 1
                )
            )
            [next(loader) for _ in range(6)]  # starts the worker, and takes what it had ready
            rates[name] = 16 * batches / _seconds(loader)
    plain = rates['plain: PNG, reference sampling']
    rows = [
        {'data': name, 'samples/s': rate, 'ms a sample': 1e3 / rate, 'faster': rate / plain}
        for name, rate in rates.items()
    ]
    for row in rows:
        show(row)
    return rows


def _seconds(batches: Iterator) -> float:
    """Time until a loader is empty."""
    start = time.perf_counter()
    for _ in batches:
        pass
    return time.perf_counter() - start


def write_images(folder: Path, side: int, count: int) -> None:
    """Crops of scikit-image's photographs as PNG files, mirrored to the size where they are smaller."""
    from liif_arch.files.images import write_image
    from liif_data.store import open_store

    store = open_store('builtin:photos/train')
    for i in range(count):
        image = store.read(store.keys[i % len(store.keys)])
        pad = [(0, max(0, side + 8 * count - n)) for n in image.shape[:2]]
        image = np.pad(image, [*pad, (0, 0)], mode='symmetric')
        write_image(folder / f'{i:03d}.png', image[8 * i : 8 * i + side, 8 * i : 8 * i + side])


class PlainSamples:
    """Random-scale samples as the reference's loader makes them.

    Decode the file, crop, resize, list all pixels, and draw some of them.
    """

    def __init__(self, folder: Path) -> None:
        self.files = sorted(folder.iterdir())

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        from PIL import Image
        from torchvision import transforms

        rng = np.random.default_rng()
        image = transforms.ToTensor()(Image.open(self.files[index]).convert('RGB'))
        side = round(48 * rng.uniform(1, 4))
        y, x = (int(rng.integers(n - side + 1)) for n in image.shape[1:])
        crop = image[:, y : y + side, x : x + side]
        small = transforms.Resize((48, 48), transforms.InterpolationMode.BICUBIC)(
            transforms.ToPILImage()(crop)
        )
        coord, colours = make_coord((side, side)).view(-1, 2), crop.reshape(3, -1).t()
        drawn = torch.from_numpy(rng.choice(len(coord), 2304, replace=False))
        return {
            'lq': transforms.ToTensor()(small),
            'coord': coord[drawn],
            'gt': colours[drawn],
            'cell': torch.full((2304, 2), 2 / side),
        }
