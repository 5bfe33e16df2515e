"""One refusal for every damaged file, whatever a library makes of it."""

from collections.abc import Iterator
from contextlib import contextmanager

from liif_arch.errors import UserError


@contextmanager
def damage_named(name: str) -> Iterator[None]:
    """Turn whatever a decoder raises for a damaged file into a UserError that names it.

    Args:
        name: What the message calls the file.

    Raises:
        UserError: Anything went wrong within; a UserError passes as it is.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # damaged files make Pillow and tifffile raise anything
        text = (str(error) or type(error).__name__).splitlines()[0][:200]
        raise UserError(f'{name}: not a readable image ({text}); replace or remove it.') from None
