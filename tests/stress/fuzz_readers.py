"""Mutated weights, training states, LMDBs and images: each is read, or refused in one line that
names it.

    python tests/stress/fuzz_readers.py                  # 500 of each kind, a minute or two
    python tests/stress/fuzz_readers.py --count 40 --seed 7

Mutations of valid files: bits flipped, bytes overwritten, pieces cut out, doubled or moved, ends
cut off, numbers in text changed. Anything but a result or a `UserError`, or more than ten seconds
for a file, is a failure; exit status 1.
"""

import argparse
import random
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from liif_arch.progress import progress_bar

LIMIT = 10  # seconds for a file


def mutate(rng: random.Random, data: bytes) -> bytes:
    """Some bytes like `data`."""
    out = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 4, 16])):
        if not out:
            break
        near_start = rng.random() < 0.5  # where headers are
        at = rng.randrange(min(len(out), 200) if near_start else len(out))
        length = rng.choice([1, 2, 4, 8, 100, 1000])
        kind = rng.choice(['flip', 'flip', 'write', 'cut', 'double', 'end', 'digits'])
        if kind == 'flip':
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 'write':
            out[at : at + length] = rng.choice(
                [bytes(length), b'\xff' * length, rng.randbytes(length)]
            )[: len(out) - at]
        elif kind == 'cut':
            del out[at : at + length]
        elif kind == 'double':
            out[at:at] = out[at : at + length]
        elif kind == 'end':
            del out[rng.randrange(len(out)) :]
        else:
            digits = [i for i, c in enumerate(out[:4000]) if 48 <= c <= 57]
            if digits:
                out[rng.choice(digits)] = rng.choice(b'0123456789-,.e ')
    return bytes(out)


def image_cases(folder: Path) -> list[tuple[str, bytes, Callable]]:
    """Images of every format, with all that stands beside pixels, and how they are read."""
    from liif_arch.files.images import read_image, read_picture

    cases = []
    for suffix, data in image_files(folder).items():
        cases += [
            (suffix, data, lambda path, color=color: read_image(path, color))
            for color in ('rgb', 'unchanged')
        ]
        cases.append((suffix, data, read_picture))
        cases.append((suffix, data, lambda path: read_picture(path, strict=False)))
    return cases


def image_files(folder: Path) -> dict[str, bytes]:
    """Image files by extension, with EXIF, resolution and what passes for a colour profile."""
    from PIL import Image
    from pillow_heif import register_heif_opener

    from liif_arch.files.formats import FORMATS
    from liif_arch.files.images import Metadata, write_image

    register_heif_opener()
    image = np.random.default_rng(0).integers(256, size=(24, 31, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x010F], exif[0x8769] = 'Maker', {0x9003: '2024:05:06 07:08:09', 0xA002: 31, 0xA003: 24}
    text = ((b'tEXt', b'Title\0a'),)
    colours, grays = (
        Metadata(bytes(16) + space + bytes(200), exif.tobytes()[6:], (300, 300), text)
        for space in (b'RGB ', b'GRAY')
    )
    files = {}
    for suffix, able in FORMATS.items():
        path = folder / f'valid{suffix}'
        if able.linear:
            write_image(path, (image / 255).astype(np.float32))
        elif 3 in able.channels:
            write_image(path, image, colours)
        elif able.dtypes:
            write_image(path, image[..., :1], grays)
        else:  # read only
            source = Image.fromarray(image)
            if suffix == '.pbm':
                source = source.convert('1')
            source.save(path, **({'format': 'JPEG'} if suffix == '.mpo' else {}))
        files[suffix] = path.read_bytes()
    return files


def checkpoint_cases(folder: Path) -> list[tuple[str, bytes, Callable]]:
    """A network's weights."""
    from liif_arch import LIIF, load_network
    from liif_arch.training.checkpoints import save_file

    network = {
        'type': 'LIIF',
        'encoder': {'type': 'EDSREncoder', 'num_feat': 4, 'num_block': 1},
        'hidden_list': [8],
    }
    net = LIIF(network['encoder'], [8])
    save_file({'params': net.state_dict(), 'network_g': network}, folder / 'valid.pth')
    return [('.pth', (folder / 'valid.pth').read_bytes(), load_network)]


def state_cases(folder: Path) -> list[tuple[str, bytes, Callable]]:
    """A training state, loaded and put back into an optimiser and the generators."""
    from liif_arch.training import randomness
    from liif_arch.training.checkpoints import load_state, save_file
    from liif_arch.training.supervisor import restored

    net = torch.nn.Linear(3, 4)
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.rand(2, 3)).sum().backward()
    optimizer.step()
    (folder / 'models').mkdir(exist_ok=True)
    opt = {'path': {'models': str(folder / 'models')}}
    save_file(
        {
            'iter': 4,
            'epoch': 0,
            'optimizers': [optimizer.state_dict()],
            'schedulers': [],
            'consumed': 8,
            'random': [randomness.capture()],
            'best_metric_results': {},
            'validated': True,
        },
        folder / 'valid.state',
    )

    def read(path: Path) -> None:
        state = load_state(path, opt)
        with randomness.preserved():
            restored(
                state, lambda: optimizer.load_state_dict(state['optimizers'][0]), 0, 1, str(path)
            )

    return [('.state', (folder / 'valid.state').read_bytes(), read)]


def lmdb_cases(folder: Path) -> list[tuple[str, bytes, Callable]]:
    """The list of an LMDB's images, of encoded files and of raw pixels."""
    from liif_arch.files.images import write_image
    from liif_data.lmdb_writer import create_lmdb
    from liif_data.store import open_store

    for i in range(4):
        write_image(folder / 'images' / f'{i}.png', np.full((9, 7 + i, 3), 20 * i, np.uint8))
    cases = []
    for encoding in ('file', 'raw'):
        root = folder / f'{encoding}.lmdb'
        create_lmdb(folder / 'images', root, 1, encoding)
        data = (root / 'meta_info.txt').read_bytes()

        def read(path: Path, root: Path = root) -> None:
            (root / 'meta_info.txt').write_bytes(path.read_bytes())
            store = open_store(str(root))
            for key in store.keys:
                store.size(key)
                store.read(key)
                store.read_window(key, slice(0, 5), slice(0, 5))

        cases.append(('.txt', data, read))
    return cases


KINDS = {
    'weights': checkpoint_cases,
    'states': state_cases,
    'LMDB lists': lmdb_cases,
    'images': image_cases,
}


def _too_long(*_: object) -> None:
    raise TimeoutError(f'more than {LIMIT} seconds')


def fuzz(kind: str, count: int, rng: random.Random, folder: Path) -> tuple[Counter, list[str]]:
    """Read `count` mutated files of a kind.

    Returns:
        What came of them, and a text for each failure.
    """
    from liif_arch.errors import UserError

    outcomes, failures = Counter(), []
    cases = KINDS[kind](folder)
    for number in progress_bar(range(count), unit='file', desc=kind):
        suffix, data, read = rng.choice(cases)
        path = folder / f'mutated{suffix}'
        path.write_bytes(mutate(rng, data))
        signal.alarm(LIMIT)
        try:
            read(path)
            outcomes['read'] += 1
        except UserError as error:
            outcomes['refused'] += 1
            if '\n' in str(error):
                failures.append(f'{kind} {number}: more than a line: {error}')
        except BaseException:
            failures.append(f'{kind} {number}: {traceback.format_exc()}')
        finally:
            signal.alarm(0)
    return outcomes, failures


def _table(rows: list[dict[str, object]]) -> str:
    """Lay rows out as a Markdown table; the first row's keys are its header."""
    from liif_arch.metrics.report import markdown_table

    cells = [list(map(str, row.values())) for row in rows]
    return markdown_table(list(rows[0]), cells)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description='Mutated files are read, or refused in a line.')
    parser.add_argument('--count', type=int, default=500, help='files of each kind (default 500)')
    parser.add_argument('--seed', type=int, default=0, help='of the mutations (default 0)')
    args = parser.parse_args()
    import liif_data.register  # noqa: F401

    signal.signal(signal.SIGALRM, _too_long)
    rows, failures = [], []
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as folder:
            outcomes, faults = fuzz(kind, args.count, random.Random(args.seed), Path(folder))
        rows.append(
            {
                'kind': kind,
                'files': args.count,
                'read': outcomes['read'],
                'refused': outcomes['refused'],
                'failures': len(faults),
            }
        )
        failures += faults
    print('\n'.join(failures))
    print(_table(rows))
    return 1 if failures else 0


if __name__ == '__main__':
    sys.exit(main())
