"""Where BasicSR comes from, and that it is what it says it is.

BasicSR's own package builds on Python 3.10 to 3.12. On later ones its setup.py fails, and nobody
maintains it. There this package requires `my-basicsr` 1.4.2 of PyPI, a wheel of BasicSR's last
state that somebody outside BasicSR has uploaded. So that nobody has to trust a stranger, every file
of it is compared with BasicSR's repository, before anything of it is imported:
`my_basicsr_1.4.2.sha256` lists the digests of the files at commit 8d56e3a (May 2024), line endings
aside. `basicsr/version.py`, which BasicSR's setup.py writes, is the wheel's own.
"""

import hashlib
import sys
from collections.abc import Sequence
from importlib import metadata
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import ModuleType

from liif_arch.errors import UserError

DISTRIBUTION = 'my-basicsr'
PINNED = Path(__file__).with_name('my_basicsr_1.4.2.sha256')


def install() -> None:
    """Verify BasicSR when it is imported, unless it has been; see `verify`."""
    is_guarded = any(isinstance(finder, _Guard) for finder in sys.meta_path)
    if 'basicsr' not in sys.modules and not is_guarded:
        sys.meta_path.insert(0, _Guard())


class _Guard(MetaPathFinder):
    """Looks at BasicSR once, in front of the finders that find it."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> None:
        """Find nothing; verify `basicsr` before another finder does."""
        if name == 'basicsr':
            sys.meta_path.remove(self)
            try:
                verify()
            except BaseException:
                sys.meta_path.insert(0, self)  # whoever tries again is refused again
                raise


def verify() -> None:
    """Compare an installed `my-basicsr` with the pinned digests; BasicSR's own package is not
    looked at.

    Raises:
        UserError: A file differs, is missing, or is not BasicSR's; it names the files.
    """
    try:
        distribution = metadata.distribution(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return
    found, pinned = installed_digests(distribution), pinned_digests()
    # A pair of path and digest that only one of the two has: the path is wrong.
    wrong = sorted(dict(found.items() ^ pinned.items()))
    if wrong:
        named = ', '.join(wrong[:3])
        if len(wrong) > 3:
            named += f' and {len(wrong) - 3} more'
        raise UserError(
            f'{DISTRIBUTION} {distribution.version} in {distribution.locate_file("")} is not '
            f'BasicSR as this package knows it: {named} differ. Nothing of it has been imported. '
            'Install the known one anew (pip install --force-reinstall --no-deps '
            f'{DISTRIBUTION}==1.4.2), and remove any other package that brings a basicsr.'
        )


def pinned_digests() -> dict[str, str]:
    """SHA-256 digests of BasicSR's files, by their path in the package."""
    digests = {}
    for line in PINNED.read_text(encoding='ascii').splitlines():
        digest, name = line.split('  ')
        digests[name] = digest
    return digests


def installed_digests(distribution: metadata.Distribution) -> dict[str, str]:
    """SHA-256 digests of what a distribution has installed, its own records and compiled files left
    out.

    A file that is listed and not there has the digest ''. Installers list what they compile without
    a digest, so a compiled file that came with the distribution is not left out.
    """
    digests = {}
    for file in distribution.files or []:
        is_record = file.parts[0].endswith('.dist-info')
        is_compiled_here = file.suffix == '.pyc' and file.hash is None
        if not is_record and not is_compiled_here:
            digests[file.as_posix()] = _digest(Path(str(distribution.locate_file(file))))
    return digests


def _digest(path: Path) -> str:
    """SHA-256 of a file with Unix line endings; '' where there is none."""
    if not path.is_file():
        return ''
    return hashlib.sha256(path.read_bytes().replace(b'\r\n', b'\n')).hexdigest()
