"""Pictures from elsewhere, opened within bounds and in few formats.

Where they come from is for ``pictures`` and ``files``.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

from anisomem.errors import UserError

#: What is opened: other formats of Pillow start programs (EPS) or are no photographs.
FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
PIXELS = 80_000_000  # of a picture
LIMIT = 64 << 20  # bytes of an encoded picture
KINDS = "PNG, JPEG, WebP or GIF"


def decoded(content: bytes, name: str, mode: str = "RGB") -> Image.Image:
    """An encoded picture; of a moving one the first frame.

    Arguments:
        content: The bytes as they came.
        name: The name of the picture, for messages.
        mode: Pillow's; in RGB transparency is dropped.

    Raises:
        UserError: It is in no format that is opened, damaged, or too large.
    """
    with _opened(content, name) as image:
        return image.convert(mode)


def require_picture(content: bytes, name: str) -> None:
    """Checks a picture by its first bytes, which takes no time.

    Raises:
        UserError: What :func:`decoded` refuses, but for what only the rest of the file shows.
    """
    with _opened(content, name):
        pass


@contextmanager
def _opened(content: bytes, name: str) -> Iterator[Image.Image]:
    if len(content) > LIMIT:
        raise UserError(f"{name}: larger than {LIMIT >> 20} MiB")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata, which nobody reads
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                width, height = image.size
                if width * height > PIXELS:
                    raise UserError(f"{name}: {width}×{height} pixels, more than {PIXELS:,}")
                yield image
    except UserError:
        raise
    except Exception:  # Pillow's decoders raise anything on bytes that are not theirs
        raise UserError(
            f"{name}: {len(content)} bytes that Pillow cannot read as {KINDS}"
        ) from None
