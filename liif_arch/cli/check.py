"""`basicsr check -opt FILE`: everything that would stop a run, and every image of its datasets,
without a run.
"""

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from liif_arch.arguments import CommandParser

if TYPE_CHECKING:  # --help answers without what reads images
    from liif_data.store import ImageStore


def build_parser() -> argparse.ArgumentParser:
    """The command's flags."""
    parser = CommandParser(
        prog='basicsr check',
        description='Check an option file, and decode every image of its datasets. Nothing is '
        'created or moved. Exit status 0: a run would start; 2: see what is printed.',
    )
    parser.add_argument(
        '-opt', required=True, metavar='FILE', help='option file, or the name of a shipped one'
    )
    parser.add_argument(
        '--force_yml',
        nargs='+',
        default=[],
        metavar='KEY:KEY=VALUE',
        help='as `basicsr train` has it',
    )
    parser.add_argument('--options_only', action='store_true', help='do not decode all images')
    parser.add_argument(
        '--fix-list', metavar='OUT', help='write the paths of faulty images, a line each'
    )
    parser.add_argument(
        '--show',
        type=int,
        metavar='N',
        help='also draw N samples of each dataset, inputs beside ground truths, into '
        'NAME_DATASET.png here',
    )
    return parser


def main() -> int:
    """Print the problems of the options, then a line a dataset and one a faulty image."""
    args = build_parser().parse_args()
    from liif_arch.errors import UserError

    if args.show is not None and args.show < 1:
        raise UserError(f'--show: found {args.show}; needed a number of samples, at least 1.')
    from liif_arch.config.files import require_option_file
    from liif_arch.config.read import load_options

    is_train = 'train' in (load_options(require_option_file(args.opt)).get('datasets') or {})

    from liif_arch.config.plugins import load_plugins
    from liif_arch.errors import UserError
    from liif_arch.training import basicsr_patches

    if args.fix_list is not None and not Path(args.fix_list).absolute().parent.is_dir():
        raise UserError(f'--fix-list: {args.fix_list} cannot be written; there is no such folder.')

    with basicsr_patches.installed():
        load_plugins()
        return _check(args, is_train)


def _check(args: argparse.Namespace, is_train: bool) -> int:
    """`main`, once BasicSR is mended and plugins are there."""
    from liif_arch.config import parse
    from liif_arch.config.check import Problems
    from liif_arch.errors import UserError
    from liif_arch.training import preflight

    sys.argv = [sys.argv[0], '-opt', args.opt]
    if args.force_yml:
        sys.argv += ['--force_yml', *args.force_yml]
    problems, failure = Problems(), None
    opt, _ = parse.parse_options(os.getcwd(), is_train, problems)
    sound = [phase for phase in opt['datasets'] if not problems.at(f'datasets.{phase}')]
    try:
        preflight.check(opt, problems)
    except UserError as error:
        failure = error
    faulty: list[str] = []
    if not args.options_only:
        for phase in sound:
            faulty += walk(phase, opt['datasets'][phase])
    if args.show is not None:
        for phase in sound:
            show(opt['name'], phase, opt['datasets'][phase], args.show)
    if args.fix_list is not None:
        Path(args.fix_list).write_text(''.join(f'{path}\n' for path in faulty), encoding='utf-8')
    if failure is not None:
        raise failure
    if faulty:
        listed = ''
        if args.fix_list:
            listed = f'; {args.fix_list} lists them'
        raise UserError(f'{len(faulty)} images are faulty, see above{listed}.')
    print(f'{args.opt}: nothing is wrong.')
    return 0


def walk(phase: str, dataset_opt: dict) -> list[str]:
    """Decode every image of a dataset; prints what it holds and what is faulty, and returns the
    faulty ones' paths.
    """
    from basicsr.utils.registry import DATASET_REGISTRY

    from liif_arch.config.registries import registered
    from liif_arch.errors import UserError
    from liif_arch.progress import progress_bar, write_line

    faulty, shapes = [], []
    try:
        dataset = registered(DATASET_REGISTRY)[dataset_opt['type']](dataset_opt)
        images = list(images_of(dataset, dataset_opt))
    except UserError as error:  # often one image of many: the others are looked at all the same
        print(f'datasets.{phase}: {error}')
        faulty += error.paths
        images = list(images_of_folders(dataset_opt))
    for path, read in progress_bar(images, unit='image', desc=f'datasets.{phase}'):
        try:
            shapes.append(read())
        except UserError as error:
            if path not in faulty:
                faulty.append(path)
            write_line(f'datasets.{phase}: {error}')
    print(
        f'datasets.{phase}: {len(images)} images{describe([s for s in shapes if s])}, '
        f'{len(faulty)} faulty.'
    )
    return faulty


def show(name: str, phase: str, dataset_opt: dict, count: int) -> None:
    """Draw some samples of a dataset, evenly spread over it, into a file here."""
    from basicsr.utils.registry import DATASET_REGISTRY

    from liif_arch.config.registries import registered
    from liif_arch.errors import UserError
    from liif_arch.metrics.contact_sheet import write_contact_sheet
    from liif_arch.training.addressed import SampleIndex

    dataset_type = registered(DATASET_REGISTRY)[dataset_opt['type']]
    if not hasattr(dataset_type, 'pair'):
        print(f'datasets.{phase}: {dataset_opt["type"]} has no pairs to show.')
        return
    try:
        dataset, pairs = dataset_type(dataset_opt), []
        for i in range(count):
            # Of a dataset of few images, several draws of each.
            pairs.append(dataset.pair(SampleIndex(i * len(dataset) // count, repeat=i)))
    except UserError as error:
        print(f'datasets.{phase}: {error}')
        return
    path = Path(f'{name}_{phase}.png')
    write_contact_sheet(pairs, path)
    print(f'datasets.{phase}: {count} samples in {path}')


def images_of(dataset, dataset_opt: dict) -> Iterator[tuple]:
    """Path and reading function of each image; of a stranger's dataset, of each sample."""
    from liif_arch.training.addressed import SampleSet, name_of

    if hasattr(dataset, 'stores'):
        for store in dataset.stores():
            yield from images_of_store(store)
        return
    samples = SampleSet(dataset, {**dataset_opt, 'on_bad_sample': 'raise'})
    for index in range(len(samples)):
        yield name_of(dataset, index), lambda index=index: samples[index] and None


def images_of_folders(dataset_opt: dict) -> Iterator[tuple]:
    """Path and reading function of each image that a dataset's options name."""
    from liif_arch.errors import UserError
    from liif_data.store import open_store

    for option in ('dataroot_gt', 'dataroot_lq'):
        try:
            store = open_store(dataset_opt.get(option), option)
        except UserError:  # it is not given, or is what the dataset has named
            continue
        yield from images_of_store(store)


def images_of_store(store: 'ImageStore') -> Iterator[tuple]:
    """Path and reading function of each image of a store."""
    for key in store.keys:
        yield store.path(key), lambda key=key: store.read(key, 'unchanged').shape


def describe(shapes: list[tuple[int, int, int]]) -> str:
    """Sizes and channels of images, in words."""
    if not shapes:
        return ''
    heights, widths, channels = zip(*shapes, strict=True)
    sizes = f'{min(widths)}x{min(heights)}'
    largest = f'{max(widths)}x{max(heights)}'
    if sizes != largest:
        sizes = f'{sizes} to {largest}'
    channels = ' and '.join(map(str, sorted(set(channels))))
    return f' of {sizes} pixels (width x height), {channels} channels'
