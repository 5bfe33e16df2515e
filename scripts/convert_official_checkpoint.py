"""Convert LIIF checkpoints between the reference implementation's form and this package's.

    python scripts/convert_official_checkpoint.py edsr-baseline-liif.pth liif_edsr.pth      # theirs -> ours
    python scripts/convert_official_checkpoint.py liif_edsr.pth back.pth                    # ours -> theirs

The direction follows from what IN holds. LIIF on EDSR-baseline, EDSR and RDN.
"""
import argparse
import sys
from pathlib import Path

from liif_arch.bridge.checkpoints import load_file, save_file
from liif_arch.bridge.reference_checkpoints import from_reference, is_reference, to_reference
from liif_arch.errors import UserError, exit_status


def convert(source: Path, target: Path) -> str:
    """Convert one file; returns a line that says what was done.

    Raises:
        UserError: The target exists, or the file does not fit (with every missing and unexpected name).
    """
    if target.exists():
        raise UserError(f'{target} exists; remove it first.')
    content = load_file(source)
    theirs = is_reference(content)
    converted = from_reference(content, source) if theirs else to_reference(content, source)
    target.parent.mkdir(parents=True, exist_ok=True)
    save_file(converted, target)
    parameters = converted['params'] if theirs else converted['model']['sd']
    count = sum(p.numel() for p in parameters.values())
    whose = 'for BasicSR' if theirs else 'for the reference implementation'
    return f'{target}: {whose}, {len(parameters)} tensors, {count:,} values'


def main() -> None:
    """Parse the command line and convert."""
    parser = argparse.ArgumentParser(description='Convert LIIF checkpoints from and to the reference implementation.')
    parser.add_argument('IN', type=Path)
    parser.add_argument('OUT', type=Path)
    args = parser.parse_args()
    print(convert(args.IN, args.OUT))


if __name__ == '__main__':
    sys.exit(exit_status(main))
