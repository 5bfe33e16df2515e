"""Published archives: downloaded with resume and checksum, unpacked whole or not at all."""

import hashlib
import shutil
import tarfile
import zipfile
from pathlib import Path

import requests

from liif_arch.errors import UserError
from liif_arch.progress import progress_bar

_BLOCK = 2**16


def fetch(source: str, folder: Path, sha256: str | None = None) -> Path:
    """A local archive, or one downloaded into `folder`.

    A download goes to NAME.part, which a later call goes on from, and is renamed when it is whole.

    Args:
        source: Path or http(s) URL.
        folder: Where a download is kept.
        sha256: Expected checksum; optional.

    Returns:
        Path of the archive.

    Raises:
        UserError: Nothing there, the connection ended early (says how to go on), or another
            checksum.
    """
    if not source.startswith(('http://', 'https://')):
        path = Path(source).expanduser()
        if not path.is_file():
            raise UserError(f'{source}: there is no such archive.')
    else:
        path = folder / source.rstrip('/').rpartition('/')[2]
        if not path.is_file():
            _download(source, path)
    if sha256 and (found := _sha256(path)) != sha256.lower():
        raise UserError(
            f'{path}: its SHA-256 is {found}, expected {sha256}; remove it and fetch it again.'
        )
    return path


def _download(url: str, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + '.part')
    done = 0
    headers = {}
    if partial.exists() and partial.stat().st_size:
        done = partial.stat().st_size
        headers = {'Range': f'bytes={done}-'}
    mode = 'ab'
    try:
        with requests.get(url, headers=headers, stream=True, timeout=60) as response:
            if response.status_code == 416:  # everything was there already
                partial.rename(path)
                return
            response.raise_for_status()
            if response.status_code != 206:  # the server does not resume
                done = 0
                mode = 'wb'
            total = done + int(response.headers.get('Content-Length', 0)) or None
            with (
                open(partial, mode) as file,
                progress_bar(
                    total=total, initial=done, unit='B', unit_scale=True, desc=path.name
                ) as bar,
            ):
                for block in response.iter_content(_BLOCK):
                    file.write(block)
                    bar.update(len(block))
    except requests.RequestException as error:
        raise UserError(
            f'{url}: the download stopped ({type(error).__name__}); run the same command to go on '
            f'from what is in {partial}.'
        ) from None
    except OSError as error:
        raise UserError(f'{partial}: cannot write here ({error.strerror}).') from None
    if total and partial.stat().st_size < total:
        raise UserError(
            f'{url}: the download ended after {partial.stat().st_size} of {total} bytes; run the '
            'same '
            'command to go on.'
        )
    partial.rename(path)


def _sha256(path: Path) -> str:
    """SHA-256 of a file of any size, in hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def unpack(archive: Path, target: Path, strip: str = '') -> None:
    """Unpack a zip or tar archive so that `target` appears when all of it is there.

    Args:
        archive: The archive.
        target: Folder to make.
        strip: Folder inside the archive that becomes `target`; '' for its root.

    Raises:
        UserError: The target exists, the archive is cut short or damaged, or lacks `strip`.
    """
    if target.exists():
        raise UserError(f'{target}: exists; remove it to unpack {archive.name} again.')
    partial = target.with_name(f'.{target.name}.part')
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        _extract(archive, partial)
        inner = partial / strip
        if not inner.is_dir() or not any(inner.iterdir()):
            held = ', '.join(sorted(p.name for p in partial.iterdir())[:5]) or 'nothing'
            raise UserError(f'{archive}: has no {strip or "files"}; it holds {held}.')
        inner.rename(target)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
        raise UserError(f'{archive}: cut short or damaged ({error}); fetch it again.') from None
    except OSError as error:
        raise UserError(f'{target}: cannot write here ({error.strerror or error}).') from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _extract(archive: Path, folder: Path) -> None:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as content:
            for member in progress_bar(content.infolist(), unit='file', desc=archive.name):
                content.extract(member, folder)  # checks the CRC, and keeps names inside the folder
    elif tarfile.is_tarfile(archive):
        with tarfile.open(archive) as content:
            for member in progress_bar(content, unit='file', desc=archive.name):
                content.extract(member, folder, filter='data')
    else:
        raise UserError(
            f'{archive}: neither a zip nor a tar archive, or cut short; fetch it again.'
        )
