"""Weights of measures, verified before anything reads them.

Weights of diffusion models are loaded in :mod:`anisomem.models`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from anisomem.datasets import cards, fetch, web
from anisomem.errors import UserError

SCHEMES = ("https://",)
Content = bytes  # the class has a field of that name


@dataclass(frozen=True)
class WeightsFile:
    """A file with a known sha256, on this machine or on another.

    Arguments:
        url: A path, or an ``https://`` address; downloaded once, to the user's cache.
        sha256: The sha256 of the content, 64 hexadecimal digits.

    Raises:
        UserError: No sha256, or an address that is not https.
    """

    url: str
    sha256: str
    bytes: int | None = None  # of a download; nobody says

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[0-9a-f]{64}", str(self.sha256)):
            raise UserError(
                f"the sha256 of {self.url} must be 64 hexadecimal digits, got {self.sha256!r}"
            )
        if "://" in self.url and not self._remote:
            raise UserError(f"weights are downloaded over https alone, got {self.url!r}")

    @property
    def _remote(self) -> bool:
        return self.url.startswith(SCHEMES)

    @property
    def place(self) -> Path:
        """Where the file lies, or will."""
        if not self._remote:
            return Path(self.url)
        name = f"{self.sha256[:16]}-{Path(self.url).name}"
        return cards.folder(None) / "weights" / name

    def has(self, content: Content) -> bool:
        """Whether this is its content."""
        return sha256(content).hexdigest() == self.sha256

    def read(self) -> Content:
        """The content that the sha256 names, and no other.

        Raises:
            UserError: No such file or host, or another content.
        """
        if self._remote and not self.place.exists():
            with web.session() as session:
                fetch.download(self, self.place, session)
        try:
            content = self.place.read_bytes()
        except OSError as error:
            raise UserError(f"cannot read the weights {self.place}: {error.strerror}") from None
        if not self.has(content):
            raise UserError(f"{self.place}: {fetch.difference(self, content)}")
        return content


def device(name: str) -> str:
    """A device by name; ``auto`` is CUDA if there is one.

    Convolutions there are in float32, as those of diffusion models are.
    """
    import torch

    torch.backends.cudnn.allow_tf32 = False
    if name != "auto":
        return name
    return "cuda" if torch.cuda.is_available() else "cpu"
