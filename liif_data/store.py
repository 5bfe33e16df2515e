"""Where images lie: a folder, a BasicSR-format LMDB, or the photographs inside scikit-image, behind
one interface.
"""

import math
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import lmdb
import numpy as np

from liif_arch.errors import UserError, missing_path
from liif_arch.files.decoding import header_size
from liif_arch.files.formats import is_image_file
from liif_arch.files.images import convert_color, decode_image, require_unit_range
from liif_arch.files.lmdb_environments import current_root, environment
from liif_arch.progress import progress_bar

# Colour photographs that scikit-image's wheel carries (a dependency of basicsr); no download.
BUILTIN_PHOTOS = {
    'train': (
        'astronaut.png',
        'hubble_deep_field.jpg',
        'ihc.png',
        'motorcycle_left.png',
        'retina.jpg',
        'rocket.jpg',
    ),
    'heldout': ('chelsea.png', 'coffee.png'),
}
BUILTIN_NAMES = tuple(f'builtin:photos/{split}' for split in BUILTIN_PHOTOS)

RAW_DTYPES = ('uint8', 'uint16')  # of decoded pixels in an LMDB


class ImageStore(ABC):
    """A sorted set of named images.

    Attributes:
        root: What the option file calls it; names it in errors.
        keys: Names without extension, sorted.
        shares: How often a sample is of each of several folders, which make 1; None: it is one.
    """

    root: str
    keys: list[str]
    shares: Sequence[float] | None = None
    most_verified = 1000  # images that are decoded before a run; of more, evenly spaced ones

    @abstractmethod
    def path(self, key: str) -> str:
        """What to call an image in logs, results and errors."""

    @abstractmethod
    def read_bytes(self, key: str) -> bytes:
        """The encoded image file."""

    @abstractmethod
    def size(self, key: str) -> tuple[int, int]:
        """Height and width, without decoding the image."""

    def read(self, key: str, color: str = 'rgb') -> np.ndarray:
        """The decoded image, (H, W, C), RGB; see `liif_arch.files.images.decode_image`.

        Raises:
            UserError: It does not decode, or has float values that are not in [0, 1].
        """
        image = decode_image(self.read_bytes(key), self.path(key), color)
        require_unit_range(image, self.path(key))
        return image

    def read_window(self, key: str, rows: slice, cols: slice, color: str = 'rgb') -> np.ndarray:
        """A part of an image, (rows, cols, C), RGB, as a slice of `read` would be.

        Raises:
            UserError: The window leaves the image, whose `size` was another.
        """
        image = self.read(key, color)
        if rows.stop > image.shape[0] or cols.stop > image.shape[1]:
            height, width = self.size(key)
            raise UserError(
                f'{self.path(key)}: this image is {image.shape[1]}x{image.shape[0]} (width x '
                f'height), and not {width}x{height} as it was listed; replace or remove it.'
            )
        return image[rows, cols]

    def key_of(self, index: int, rng: np.random.Generator) -> str:
        """The key of the image that a sample is of.

        Args:
            index: Of the sample.
            rng: Of the sample, for stores whose images are drawn.
        """
        return self.keys[index]

    def draw(self, rng: np.random.Generator) -> str:
        """The key of an image, each as likely as another."""
        return self.keys[rng.integers(len(self.keys))]

    def verify(self, color: str = 'rgb') -> None:
        """Decode the images once (of a large store, evenly spaced ones), so that a broken one is
        named at once.

        Raises:
            UserError: An image does not decode.
        """
        keys = self.keys[:: -(-len(self.keys) // self.most_verified)]
        with ThreadPoolExecutor() as pool:  # OpenCV decodes without the interpreter's lock
            try:
                decoded = pool.map(lambda key: self.read(key, color).shape, keys)
                for _ in progress_bar(
                    decoded, total=len(keys), unit='image', desc=f'check {self.root}', delay=2
                ):
                    pass
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise

    def __len__(self) -> int:
        return len(self.keys)


class FolderStore(ImageStore):
    """The image files of one folder (not of its subfolders), or a chosen few of them."""

    def __init__(
        self, root: str | Path, names: tuple[str, ...] | None = None, label: str | None = None
    ) -> None:
        self.root = label or str(root)
        folder = Path(root)
        if names is None:
            names = tuple(p.name for p in folder.iterdir() if is_image_file(p) and p.is_file())
        self._paths: dict[str, Path] = {}
        self._sizes: dict[str, tuple[int, int]] = {}
        for name in sorted(names):
            path = folder / name
            if path.stem in self._paths:
                raise UserError(
                    f'{self.root}: {name} and {self._paths[path.stem].name} have one name; rename '
                    'one.'
                )
            self._paths[path.stem] = path
        self.keys = sorted(self._paths)

    def path(self, key: str) -> str:
        return str(self._paths[key])

    def read_bytes(self, key: str) -> bytes:
        try:
            return self._paths[key].read_bytes()
        except OSError as error:
            raise UserError(
                f'{self._paths[key]}: cannot read this image ({error.strerror}).'
            ) from None

    def size(self, key: str) -> tuple[int, int]:
        if key not in self._sizes:
            self._sizes[key] = header_size(self._paths[key]) or self.read(key).shape[:2]
        return self._sizes[key]


class LmdbRecord(NamedTuple):
    """What meta_info.txt says of an image.

    Attributes:
        shape: (h, w, c).
        dtype: Of decoded pixels, one of `RAW_DTYPES`, h*w*c of them in C order; None: an encoded
            image file.
    """

    shape: tuple[int, int, int]
    dtype: str | None

    @classmethod
    def parse(cls, line: str) -> tuple[str, 'LmdbRecord']:
        """Key and record of a line `key.png (h,w,c) level`, or `key.raw (h,w,c) dtype` for decoded
        pixels.

        Raises:
            ValueError: Another line.
        """
        name, shape, last = line.rsplit(' ', 2)
        h, w, c = (int(n) for n in shape.strip('()').split(','))
        key, _, extension = name.partition('.')
        if extension == 'raw' and last not in RAW_DTYPES:
            raise UserError(
                f'found {last!r} for the decoded image "{key}"; needed {" or ".join(RAW_DTYPES)}'
            )
        if extension != 'raw':
            return key, cls((h, w, c), None)
        return key, cls((h, w, c), last)

    def line(self, key: str) -> str:
        """The line of meta_info.txt; an encoded file is called .png, level 1, as BasicSR does."""
        h, w, c = self.shape
        if self.dtype is None:
            return f'{key}.png ({h},{w},{c}) 1\n'
        return f'{key}.raw ({h},{w},{c}) {self.dtype}\n'


class LmdbStore(ImageStore):
    """A BasicSR-format LMDB: `meta_info.txt` lists `key.png (h,w,c) level`, the values are encoded
    image files.

    Or, of our own, `key.raw (h,w,c) dtype`: the values are decoded pixels, of which a window is
    read without the rest.
    """

    most_verified = 100  # `create_lmdb` has decoded all

    def __init__(self, root: str | Path) -> None:
        self.root = str(root)
        self._real_root = current_root(root)
        self._records: dict[str, LmdbRecord] = {}
        try:
            lines = (Path(root) / 'meta_info.txt').read_text(encoding='ascii').splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(
                f'{root}/meta_info.txt: cannot be read ({error}). Build the LMDB again with '
                '`basicsr lmdb`.'
            ) from None
        for line in lines:
            try:
                key, record = LmdbRecord.parse(line)
            except UserError as error:
                raise UserError(
                    f'{root}/meta_info.txt: {error}. Build the LMDB again with '
                    '`basicsr lmdb --encoding raw`.'
                ) from None
            except ValueError:
                raise UserError(
                    f'{root}/meta_info.txt: found the line {line[:60]!r}; needed "name.png (h,w,c) '
                    '1". '
                    'Build the LMDB again with `basicsr lmdb`.'
                ) from None
            self._records[key] = record
        self.keys = sorted(self._records)

    def path(self, key: str) -> str:
        return f'{self.root}/{key}'

    @contextmanager
    def _value(self, key: str) -> Iterator[memoryview]:
        """The value of a key where it lies in the map, for as long as the block lasts."""
        try:
            with environment(self._real_root, self.root).begin(buffers=True) as transaction:
                value = transaction.get(key.encode())
                if value is None:
                    raise UserError(
                        f'{self.root}: key "{key}" is in meta_info.txt and not in the database; '
                        'build it again with `basicsr lmdb`.'
                    )
                yield value
        except lmdb.Error as error:
            raise UserError(f'{self.root}: cannot read key "{key}" ({error}).') from None

    def read_bytes(self, key: str) -> bytes:
        with self._value(key) as value:
            return bytes(value)

    def read(self, key: str, color: str = 'rgb') -> np.ndarray:
        if self._records[key].dtype is None:
            return super().read(key, color)
        return self.read_window(key, slice(None), slice(None), color)

    def read_window(self, key: str, rows: slice, cols: slice, color: str = 'rgb') -> np.ndarray:
        record = self._records[key]
        if record.dtype is None:
            return super().read_window(key, rows, cols, color)
        with self._value(key) as value:
            needed = math.prod(record.shape) * np.dtype(record.dtype).itemsize
            if len(value) != needed:
                raise UserError(
                    f'{self.root}: key "{key}" holds {len(value)} bytes, and its shape in '
                    'meta_info.txt '
                    f'needs {needed}; build it again with `basicsr lmdb --encoding raw`.'
                )
            pixels = np.frombuffer(value, record.dtype).reshape(record.shape)
            window = pixels[rows, cols].copy()  # the value ends with the block
        return convert_color(window, color)

    def size(self, key: str) -> tuple[int, int]:
        return self._records[key].shape[:2]


def open_store(root: object, option: str = 'dataroot_gt') -> ImageStore:
    """The images at `root`: a folder, a folder named *.lmdb, or `builtin:photos/{train,heldout}`.

    Raises:
        UserError: Nothing there, or no image in it; names `option`, the key to change.
    """
    if not isinstance(root, str) or not root:
        raise UserError(
            f'found {root!r}; needed a folder, a .lmdb, or {" or ".join(BUILTIN_NAMES)}.',
            key=option,
        )
    if root.startswith('builtin:'):
        return _open_builtin(root, option)
    path = Path(root).expanduser()
    if not os.path.isdir(path):
        problem = 'is not a folder' if os.path.exists(path) else missing_path(path)
        raise UserError(f'{root} {problem}.', key=option)
    if path.suffix == '.lmdb':
        if not (path / 'meta_info.txt').is_file() or not (path / 'data.mdb').is_file():
            raise UserError(
                f'{root} holds no BasicSR-format LMDB (meta_info.txt and data.mdb); '
                'build it with `basicsr lmdb`.',
                key=option,
            )
        store: ImageStore = LmdbStore(path)
    else:
        store = FolderStore(path)
    if not store.keys:
        raise UserError(f'{root} holds no images.', key=option)
    return store


def _open_builtin(root: str, option: str) -> FolderStore:
    if root not in BUILTIN_NAMES:
        raise UserError(f'found {root}; needed {" or ".join(BUILTIN_NAMES)}.', key=option)
    import skimage

    folder = Path(skimage.__file__).parent / 'data'
    names = BUILTIN_PHOTOS[root.rpartition('/')[2]]
    missing = [n for n in names if not (folder / n).is_file()]
    if missing:
        raise UserError(
            f'this scikit-image ({metadata.version("scikit-image")}) does not carry '
            f'{", ".join(missing)}; install scikit-image 0.26, or name a folder of '
            'photographs.',
            key=option,
        )
    return FolderStore(folder, names, label=root)
