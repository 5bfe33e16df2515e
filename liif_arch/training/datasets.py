"""BasicSR's datasets: what their options name is looked at before they are built."""

import difflib
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from basicsr.data import data_util

from liif_arch.errors import UserError, missing_path

ROOTS = ('dataroot_gt', 'dataroot_lq', 'dataroot_flow')


def check_sources(cls: type, opt: Mapping, place: str) -> None:
    """Raise UserError where a dataset's options name what is not there, or do not fit together.

    Args:
        cls: The dataset's class.
        opt: Its options.
        place: Where they stand in the option file, for instance `datasets.train`.
    """
    for key in (*ROOTS, 'meta_info_file'):
        path = opt.get(key)
        is_path = isinstance(path, str) and '{' not in path and ':' not in path
        if is_path and not os.path.exists(path):
            raise UserError(f'{path[:300]} {missing_path(path)}.', key=f'{place}.{key}')
    if hasattr(cls, 'own_options'):
        return  # these find out themselves
    _check_backend(opt, place)
    _check_crop(cls, opt, place)


def _check_backend(opt: Mapping, place: str) -> None:
    """An LMDB is read by the backend `lmdb`, and a folder of files by another."""
    backend = opt.get('io_backend')
    kind = backend.get('type') if isinstance(backend, Mapping) else None
    for key in ROOTS:
        root = opt.get(key)
        if not isinstance(root, str) or not os.path.isdir(root):
            continue
        is_lmdb = root.rstrip('/').endswith('.lmdb') or Path(root, 'data.mdb').is_file()
        if is_lmdb and kind == 'disk':
            raise UserError(
                f'{root} is an LMDB, and io_backend reads files; set io_backend: {{type: lmdb}}.',
                key=f'{place}.{key}',
            )
        if not is_lmdb and kind == 'lmdb':
            raise UserError(
                f'{root} is a folder of files, and io_backend reads an LMDB; set '
                'io_backend: {type: disk}, or build one with `basicsr lmdb`.',
                key=f'{place}.{key}',
            )


def _check_crop(cls: type, opt: Mapping, place: str) -> None:
    """BasicSR's `paired_random_crop` takes gt_size // scale pixels of the low-resolution image."""
    crops_pairs = hasattr(sys.modules.get(cls.__module__), 'paired_random_crop')
    size, scale = opt.get('gt_size'), opt.get('scale')
    if opt.get('phase') != 'train' or not crops_pairs or not isinstance(size, int):
        return
    if isinstance(scale, int) and scale > 0 and size % scale:
        near = max(scale, size // scale * scale)
        raise UserError(
            f'found {size}, which is no multiple of scale {scale}: a low-resolution '
            f'crop would not match it; set {near} or {near + scale}, or another scale.',
            key=f'{place}.gt_size',
        )


def paired_paths_from_folder(
    folders: list[str], keys: list[str], filename_tmpl: str
) -> list[dict[str, str]]:
    """`basicsr.data.data_util.paired_paths_from_folder`, whose errors name options and files.

    Args:
        folders: The low-resolution images' folder, and the ground truth's.
        keys: What these are called, `lq` and `gt`.
        filename_tmpl: A low-resolution image's name for its ground truth's, without extension.

    Returns:
        `{lq_path, gt_path}` of each pair, sorted by the ground truth's name.

    Raises:
        UserError: The template is none, or an image is without its partner.
    """
    (lq_folder, gt_folder), (lq_key, gt_key) = folders, keys
    lq_names = list(data_util.scandir(lq_folder))
    pairs = {}
    for gt_name in data_util.scandir(gt_folder):
        stem, extension = os.path.splitext(os.path.basename(gt_name))
        pairs[gt_name] = fill_template(filename_tmpl, stem) + extension
    _require_partners(pairs, lq_names, lq_folder, gt_folder, filename_tmpl)
    return [
        {
            f'{lq_key}_path': os.path.join(lq_folder, lq_name),
            f'{gt_key}_path': os.path.join(gt_folder, gt_name),
        }
        for gt_name, lq_name in pairs.items()
    ]


def fill_template(template: str, name: str) -> str:
    """The name of a low-resolution image.

    Args:
        template: The option `filename_tmpl`, for instance `{}x4`.
        name: Of its ground truth, without extension.

    Raises:
        UserError: The template has no place for the name, or one for something else.
    """
    try:
        filled = template.format(name)
    except (AttributeError, IndexError, KeyError, ValueError):
        filled = ''
    if name not in filled:
        raise UserError(
            f'found {template!r}; needed {{}} where the name of the ground truth '
            'stands, and no other braces.',
            key='filename_tmpl',
        )
    return filled


def nearest(name: str, names: list[str]) -> str:
    """The nearest of the names that are there, in words."""
    if not names:
        return 'nothing is there'
    near = max(sorted(names), key=lambda other: difflib.SequenceMatcher(None, other, name).ratio())
    return f'the nearest there is "{near}"'


def _require_partners(
    pairs: dict[str, str], lq_names: list[str], lq_folder: str, gt_folder: str, template: str
) -> None:
    there = set(lq_names)
    missing = [gt_name for gt_name, lq_name in pairs.items() if lq_name not in there]
    if missing:
        wanted = pairs[missing[0]]
        raise UserError(
            f'found {template!r}, by which {lq_folder} should hold "{wanted}" for '
            f'{os.path.join(gt_folder, missing[0])}; {nearest(wanted, lq_names)} '
            f'({len(missing)} of {len(pairs)} images are without a partner).',
            key='filename_tmpl',
        )
    extra = sorted(there - set(pairs.values()))
    if extra:
        raise UserError(
            f'{lq_folder} holds {len(extra)} images that no ground truth in '
            f'{gt_folder} has by filename_tmpl {template!r}, for instance '
            f'"{extra[0]}"; remove these, or add the ground truth.',
            key='dataroot_lq',
        )
