"""Pages of a TIFF file, each as a file of its own."""

import struct
from io import BytesIO
from pathlib import Path

import tifffile

from liif_arch.files.damage import damage_named
from liif_arch.files.tiff_reading import is_picture, is_tiff

_DESCRIPTION = 270


def picture_pages(path: str | Path) -> list[int]:
    """The numbers of a TIFF file's pages, from 0, without smaller copies and masks of others.

    One page, 0, of any other file, and of one that is damaged, which reading it says.
    """
    try:
        with open(path, 'rb') as head:
            if not is_tiff(head.read(4)):
                return [0]
        with tifffile.TiffFile(path) as file:
            pages = [number for number, page in enumerate(file.pages) if is_picture(page)]
    except Exception:  # damaged files make tifffile raise anything
        return [0]
    return pages or [0]


def only_page(data: bytes, number: int, name: str) -> bytes:
    """A TIFF file's content with one of its pages as the first and last one.

    Args:
        data: Contents of the file.
        number: Of the page, from 0.
        name: What an error message calls the file.

    Raises:
        UserError: The file is damaged.
    """
    with damage_named(name), tifffile.TiffFile(BytesIO(data)) as file:
        page, form = file.pages[number], file.tiff
        changed = bytearray(data)
        offset = struct.Struct(form.offsetformat)
        count = struct.unpack_from(form.tagnoformat, data, page.offset)[0]
        after = page.offset + form.tagnosize + count * form.tagsize
        # Behind the header's mark (and BigTIFF's two numbers) stands the first page's place.
        offset.pack_into(changed, 8 if file.is_bigtiff else 4, page.offset)
        offset.pack_into(changed, after, 0)  # no page follows
        description = page.tags.get(_DESCRIPTION)
        if description is not None and str(description.value).startswith('ImageJ='):
            changed[description.valueoffset] = ord('i')  # which counts the pages of the whole file
        return bytes(changed)
