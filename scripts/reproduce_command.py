"""`basicsr` as `scripts/reproduce.py` calls it."""

import json
import subprocess
import sys
from pathlib import Path

import yaml

from liif_arch.errors import UserError


def basicsr(
    command: str, opt: dict, name: str, folder: Path, *flags: str, quiet: bool = False
) -> None:
    """Run `basicsr COMMAND` in a folder, on options that are written there.

    Args:
        command: `train` or `test`.
        opt: Its options.
        name: Of the option file, `options/COMMAND_NAME.yml`.
        folder: Where it runs.
        flags: Of the command.
        quiet: Whether its output is kept back, unless it fails.

    Raises:
        UserError: It failed.
    """
    path = folder / f'options/{command}_{name}.yml'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(json.loads(json.dumps(opt)), sort_keys=False))
    result = subprocess.run(
        [sys.executable, '-m', 'liif_arch.cli', command, '-opt', str(path.absolute()), *flags],
        cwd=folder,
        stdout=subprocess.PIPE if quiet else None,
        stderr=subprocess.STDOUT if quiet else None,
        text=True,
    )
    if result.returncode:
        print((result.stdout or '')[-2000:], file=sys.stderr)
        raise UserError(
            f'basicsr {command} -opt {path} ended with status {result.returncode}; '
            'its output says why.'
        )
