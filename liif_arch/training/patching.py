"""Names of other packages that are replaced for a while, and put back exactly."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple


class Patch(NamedTuple):
    """Something that takes the place of another package's.

    Attributes:
        owner: The module, class or object that has the name, or the dictionary that has the key.
        name: The name, or the key.
        by: What takes its place.
        why: In a sentence.
    """

    owner: object
    name: str
    by: object
    why: str


@contextmanager
def replaced(patches: Iterable[Patch]) -> Iterator[None]:
    """Put patches in place for a block; afterwards every name has the object that it had before."""
    before = []
    try:
        for patch in patches:
            names = _names_of(patch.owner)
            before.append((patch, patch.name in names, names.get(patch.name)))
            _set(patch.owner, patch.name, patch.by)
        yield
    finally:
        for patch, existed, value in reversed(before):
            if existed:
                _set(patch.owner, patch.name, value)
            else:  # there was none, or it was inherited
                _remove(patch.owner, patch.name)


def _names_of(owner: object) -> dict:
    """The names that an owner itself has."""
    if isinstance(owner, dict):
        return owner
    return vars(owner)


def _set(owner: object, name: str, value: object) -> None:
    if isinstance(owner, dict):
        owner[name] = value
    else:
        setattr(owner, name, value)


def _remove(owner: object, name: str) -> None:
    if isinstance(owner, dict):
        del owner[name]
    else:
        delattr(owner, name)
