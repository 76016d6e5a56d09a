"""Pictures from elsewhere, opened within bounds and in few formats.

Where they come from is for ``pictures`` and ``files``.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image, ImageOps

from anisomem.errors import UserError

#: What is opened: other formats of Pillow start programs (EPS) or are no photographs.
FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
STILL = FORMATS[:3]  # what pictures are trained on
PIXELS = 80_000_000  # of a picture
LIMIT = 64 << 20  # bytes of an encoded picture
KINDS = "PNG, JPEG, WebP or GIF"
WHITE = (255, 255, 255, 255)


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


def upright(content: bytes, name: str, side: int) -> Image.Image:
    """An encoded still picture in RGB: turned as its EXIF says, what is transparent on white.

    Arguments:
        content: The bytes as they came.
        name: The name of the picture, for messages.
        side: Pixels of the longer side at most; a larger one is made smaller.

    Raises:
        UserError: It is no PNG, JPEG or WebP, damaged, or too large.
    """
    with _opened(content, name, STILL) as image:
        image.draft("RGB", (side, side))  # a JPEG is decoded no larger than needed
        turned = ImageOps.exif_transpose(image)
        if turned.has_transparency_data:
            coloured = turned.convert("RGBA")
            turned = Image.alpha_composite(Image.new("RGBA", coloured.size, WHITE), coloured)
        plain = turned.convert("RGB")
        plain.thumbnail((side, side), Image.Resampling.BICUBIC)
        return plain


def require_picture(content: bytes, name: str) -> None:
    """Checks a picture by its first bytes, which takes no time.

    Raises:
        UserError: What :func:`decoded` refuses, but for what only the rest of the file shows.
    """
    with _opened(content, name):
        pass


@contextmanager
def _opened(
    content: bytes, name: str, formats: tuple[str, ...] = FORMATS
) -> Iterator[Image.Image]:
    if len(content) > LIMIT:
        raise UserError(f"{name}: larger than {LIMIT >> 20} MiB")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata, which nobody reads
            with Image.open(io.BytesIO(content), formats=formats) as image:
                width, height = image.size
                if width * height > PIXELS:
                    raise UserError(f"{name}: {width}×{height} pixels, more than {PIXELS:,}")
                yield image
    except UserError:
        raise
    except Exception:  # Pillow's decoders raise anything on bytes that are not theirs
        raise UserError(
            f"{name}: {len(content)} bytes that Pillow cannot read as "
            f"{KINDS if formats == FORMATS else 'PNG, JPEG or WebP'}"
        ) from None
