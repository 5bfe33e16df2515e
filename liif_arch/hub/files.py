"""Files on the Hugging Face hub: `hf:owner/name` wherever weights are named."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from liif_arch.errors import UserError
from liif_arch.weights import FOLDER_FILE

try:
    from huggingface_hub import HfApi, get_token, hf_hub_download, snapshot_download
    from huggingface_hub import errors as hub_errors
except ImportError:
    raise UserError(
        "the Hugging Face hub needs its package; pip install 'basicsr-liif[hub]'."
    ) from None

SUFFIXES = ('.safetensors', '.pth')
NAME = re.compile(r'hf:([^/@\s]+/[^/@\s]+)(?:@([^/\s]+))?(?:/(.+))?')


def hub_file(name: str, **options: Any) -> Path:
    """The file that a name on the hub stands for; it is downloaded unless it is there already.

    Args:
        name: `hf:owner/name`, for its model.safetensors or else its only file of weights;
            `hf:owner/name/folder/file.pth` for another one; `hf:owner/name@revision` for a branch,
            a tag or a commit.
        options: Of `huggingface_hub.hf_hub_download`: revision, token, cache_dir, ...

    Raises:
        UserError: No such name, repository or file, no right to it, or no way to the hub.
    """
    match = NAME.fullmatch(name)
    if match is None:
        raise UserError(
            f'{name}: needed hf:owner/name, hf:owner/name@revision or hf:owner/name/file.'
        )
    repository, revision, file = match.groups()
    if revision is not None:
        options['revision'] = revision
    with explained(name):
        if file is None:
            try:
                return Path(hf_hub_download(repository, FOLDER_FILE, **options))
            except hub_errors.RemoteEntryNotFoundError:
                api = HfApi(token=options.get('token'))
                files = api.list_repo_files(repository, revision=options.get('revision'))
            except hub_errors.LocalEntryNotFoundError:  # offline
                files = _files_here(repository, options)
            file = _only_weights(name, files)
        return Path(hf_hub_download(repository, file, **options))


def _files_here(repository: str, options: Mapping) -> list[str]:
    """The files of a repository that were downloaded before."""
    known = {key: options[key] for key in ('revision', 'cache_dir') if key in options}
    folder = Path(snapshot_download(repository, local_files_only=True, **known))
    return [path.relative_to(folder).as_posix() for path in folder.rglob('*') if path.is_file()]


def require_name(repository: str) -> None:
    """Raise UserError for what is not `owner/name`."""
    if not re.fullmatch(r'[^/@\s]+/[^/@\s]+', repository):
        raise UserError(f'{repository}: no such folder; a repository is called owner/name.')


def _only_weights(name: str, files: list[str]) -> str:
    """The one file of weights in a repository that has no model.safetensors."""
    found = sorted(file for file in files if file.endswith(SUFFIXES))
    if not found:
        raise UserError(f'{name}: holds no weights ({" or ".join(SUFFIXES)}).')
    if len(found) > 1:
        raise UserError(f'{name}: holds {", ".join(found)}; name one, as in {name}/{found[0]}.')
    return found[0]


@contextmanager
def explained(name: str) -> Iterator[None]:
    """Within it, what goes wrong on the way to the hub is a UserError.

    Args:
        name: What was asked for.
    """
    try:
        yield
    except UserError:
        raise
    except (OSError, ValueError, hub_errors.HTTPError) as error:
        raise UserError(f'{name}: {_reason(error)}.') from None


def _reason(error: Exception) -> str:
    """What to do about an error of the hub's package; else its first line."""
    if isinstance(error, hub_errors.GatedRepoError):
        return 'its owner grants access on its page; ask there, then run `hf auth login`'
    if isinstance(error, hub_errors.RepositoryNotFoundError):
        return 'no such repository, or one that is not yours to see (`hf auth login`)'
    if isinstance(error, hub_errors.RevisionNotFoundError):
        return 'no such branch, tag or commit'
    if isinstance(error, hub_errors.RemoteEntryNotFoundError):
        return 'no such file in this repository'
    if isinstance(error, hub_errors.LocalEntryNotFoundError):
        return 'not on this machine yet, and the hub cannot be reached'
    if isinstance(error, hub_errors.HfHubHTTPError) and error.response.status_code in (401, 403):
        if get_token() is None:
            return 'the hub does not know you; run `hf auth login` first'
        return 'the hub refuses it; `hf auth login` with a token that may write there'
    lines = str(error).strip() or type(error).__name__
    answered = (hub_errors.HfHubHTTPError, ValueError)
    if isinstance(error, ValueError):
        line = ' '.join(lines.split()).rstrip('.')  # what is wrong with a name, or a card
    else:
        line = lines.splitlines()[0].rstrip('.')
    if isinstance(error, answered) or getattr(error, 'errno', None) is not None:  # a full disk, say
        return line
    return f'the hub cannot be reached ({line})'
