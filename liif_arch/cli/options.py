"""`basicsr options`: list the shipped option files, print one, or copy it here."""

import argparse
import shutil
import sys
from pathlib import Path

from liif_arch.arguments import CommandParser

START = ('quickstart', 'train_own')  # what a newcomer runs first


def build_parser() -> argparse.ArgumentParser:
    """The command's flags."""
    parser = CommandParser(
        prog='basicsr options',
        description='Option files that come with the package and with installed plugins.',
    )
    parser.add_argument(
        'name', nargs='?', metavar='NAME', help='print this one; without it, list them all'
    )
    parser.add_argument(
        '--copy', action='store_true', help='write it to ./options/NAME.yml instead of printing it'
    )
    parser.add_argument(
        '--schema',
        action='store_true',
        help='print the JSON schema for editors, with what installed plugins bring',
    )
    return parser


def main() -> int:
    """List, print or copy shipped option files."""
    from liif_arch.config.files import find_option_file, shipped_options
    from liif_arch.errors import UserError

    args = build_parser().parse_args()
    if args.schema:
        from liif_arch.config.schema import text_for_editors

        print(text_for_editors(), end='')
        return 0
    if args.name is None:
        if args.copy:
            raise UserError(
                '--copy: needs the name of an option file; `basicsr options` lists them.'
            )
        print(
            listing(
                shipped_options(),
                shutil.get_terminal_size().columns if sys.stdout.isatty() else None,
            )
        )
        return 0
    source = find_option_file(args.name, key='NAME')
    if not args.copy:
        print(source.read_text(encoding='utf-8'), end='')
        return 0
    target = Path('options', source.name)
    if target.exists():
        raise UserError(f'{target} exists; rename or remove it first.')
    target.parent.mkdir(exist_ok=True)
    shutil.copyfile(source, target)
    print(target)
    return 0


def listing(options: dict[str, Path], columns: int | None) -> str:
    """The names of option files and what each one says of itself in its first line, in groups.

    Args:
        options: Paths by name.
        columns: Width of the terminal, where longer lines are cut; None: nothing is cut.
    """
    from liif_arch.config.plugins import yaml_files

    own = yaml_files('liif_arch.options')
    titles = {
        'start': 'To start with:',
        'train': 'Trainings:',
        'test': 'Tests:',
        'plugins': 'Of other plugins:',
    }
    groups: dict[str, list[str]] = {group: [] for group in titles}
    for name in options:
        groups[_group(name, own)].append(name)
    width = max(map(len, options))
    lines = []
    for group, names in groups.items():
        if names:
            entries = [_shortened(_entry(name, options[name], width), columns) for name in names]
            lines += [titles[group], *entries, '']
    lines.append(
        'basicsr train -opt NAME (of a test: basicsr test) runs one; '
        'basicsr options NAME --copy writes it to options/NAME.yml here.'
    )
    return '\n'.join(lines)


def _group(name: str, own: dict[str, Path]) -> str:
    if name in START:
        return 'start'
    if name not in own:
        return 'plugins'
    return 'test' if name.startswith('test_') else 'train'


def _shortened(line: str, columns: int | None) -> str:
    return line if columns is None or len(line) <= columns else f'{line[: columns - 3]}...'


def _entry(name: str, path: Path, width: int) -> str:
    title = path.read_text(encoding='utf-8').partition('\n')[0].lstrip('# ')
    return f'  {name:<{width}}  {title}'
