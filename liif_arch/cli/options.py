"""`basicsr options`: list the shipped option files, print one, or copy it here."""
import argparse
import shutil
from importlib.resources import files
from pathlib import Path


def main() -> int:
    """List, print or copy shipped option files."""
    from liif_arch.bridge.options import find_option_file, shipped_options
    from liif_arch.errors import UserError
    parser = argparse.ArgumentParser(prog='basicsr options', description='Option files that come with the package.')
    parser.add_argument('name', nargs='?', help='print this one')
    parser.add_argument('--copy', action='store_true', help='write it to ./options/NAME.yml instead of printing it')
    parser.add_argument('--schema', action='store_true', help='print where the JSON schema for editors lies')
    args = parser.parse_args()
    if args.schema:
        print(files('liif_arch.options') / 'schema.json')
        return 0
    if args.name is None:
        for name, path in shipped_options().items():
            print(f'{name:<20} {path.read_text(encoding="utf-8").splitlines()[0].lstrip("# ")}')
        return 0
    source = find_option_file(args.name)
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
