"""The published prompt sets: what each is made of, means and lacks, one card a set.

A card is a YAML file in ``cards/``. The files that it names are downloaded by ``fetch`` and read
by ``published``.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import file_digest, md5, sha256
from pathlib import Path
from typing import Any

import platformdirs
import yaml

from anisomem.datasets import bounded
from anisomem.errors import UserError, one_of

HOST = "https://raw.githubusercontent.com"
HUB = "https://huggingface.co"
FOLDER = Path(__file__).with_name("cards")
Content = bytes  # the sources have a field of that name


@dataclass(frozen=True)
class PublishedFile:
    """A file of a GitHub repository at a commit."""

    role: str
    repository: str
    commit: str
    path: str
    bytes: int
    sha256: str
    rows: int
    licence: str
    schema: str

    @property
    def url(self) -> str:
        """Where it can be downloaded."""
        return f"{HOST}/{self.repository}/{self.commit}/{self.path}"

    def place(self, folder: Path) -> Path:
        """Where ``anisomem fetch`` puts it: laid out as in its repository."""
        return folder / self.repository / self.path

    def has(self, content: Content) -> bool:
        """Whether this is its content."""
        return len(content) == self.bytes and sha256(content).hexdigest() == self.sha256

    def find(self, folder: Path) -> Content | None:
        """Its content, from any file of its name below ``folder`` that is byte for byte it.

        Raises:
            UserError: There are files of its name, and none is it.
        """
        files = [file for file in sorted(folder.rglob(Path(self.path).name)) if file.is_file()]
        for file in files:
            if self.has(content := file.read_bytes()):
                return content
        if files:
            raise UserError(
                f"{files[0]} has another content than its card says ({self.bytes} bytes, sha256 "
                f"{self.sha256[:12]}…); run anisomem fetch for the right one"
            )
        return None


@dataclass(frozen=True)
class UnpinnedFile:
    """A file of a hub dataset that nobody here has seen, so no sha256 of it is known.

    It is read where it is at hand, and is known by its name and by what it must hold.

    Attributes:
        role, repository, path, rows, licence, schema: As of a :class:`PublishedFile`.
        md5: What a third party says it is.
        negatives: How many of its rows are labelled as no memorization.
    """

    role: str
    repository: str
    path: str
    md5: str
    rows: int
    negatives: int
    licence: str
    schema: str

    @property
    def url(self) -> str:
        """Where it can be downloaded, at no certain commit."""
        return f"{HUB}/datasets/{self.repository}/resolve/main/{self.path}"

    def find(self, folder: Path) -> Path | None:
        """The file of its name below a folder; of several the one that the third party has."""
        files = [file for file in sorted(folder.rglob(Path(self.path).name)) if file.is_file()]
        return next(filter(self.is_as_said, files), files[0] if files else None)

    def is_as_said(self, file: Path) -> bool:
        """Whether it is what the third party has."""
        with file.open("rb") as stream:
            return file_digest(stream, _md5).hexdigest() == self.md5


def _md5() -> Any:
    return md5(usedforsecurity=False)


@dataclass(frozen=True)
class Hub:
    """Rows of a dataset in the Hugging Face hub, at a revision."""

    repository: str
    revision: str
    split: str
    column: str
    rows: int
    licence: str


@dataclass(frozen=True)
class Card:
    """A published prompt set.

    Attributes:
        name, title: Of the set.
        memorized, others: How many prompts it has.
        labels: What its labels and kinds mean.
        defects: What is known to be wrong with it.
        variants: Parts of it that can be chosen.
        sources: Its files, each under a role of its own.
        hub: Where its other prompts come from, if that is no file.
        unpinned: Files that a variant needs and that ``fetch`` does not download.
        cautions: What every table on it must say.
    """

    name: str
    title: str
    memorized: int
    others: int
    labels: str
    defects: Sequence[str]
    variants: Sequence[str]
    sources: Sequence[PublishedFile]
    hub: Hub | None = None
    unpinned: Sequence[UnpinnedFile] = ()
    cautions: Sequence[str] = ()


def names() -> list[str]:
    """Every set that has a card."""
    return sorted(file.stem for file in FOLDER.glob("*.yaml"))


def read(name: str) -> Card:
    """The card of a set.

    Raises:
        UserError: No such set.
    """
    one_of("published prompt set", name, names())
    content: dict[str, Any] = yaml.safe_load((FOLDER / f"{name}.yaml").read_text("utf-8"))
    content["sources"] = [PublishedFile(**source) for source in content["sources"]]
    content["unpinned"] = [UnpinnedFile(**source) for source in content.get("unpinned", [])]
    if hub := content.get("hub"):
        content["hub"] = Hub(**hub)
    return Card(name, **content)


def folder(data: str | None) -> Path:
    """Where the files of published sets lie: ``data``, or the user's cache.

    Raises:
        UserError: ``data`` is no folder.
    """
    if data is None:
        return platformdirs.user_cache_path("anisomem")
    if Path(data).exists() and not Path(data).is_dir():
        raise UserError(f"paths.data must be a folder, got {data!r}")
    return Path(data)


class Files:
    """The verified files of a card, by role."""

    def __init__(self, card: Card, folder: Path) -> None:
        self.card, self.folder = card, folder
        self.sources = {source.role: source for source in card.sources}
        self.unpinned = {source.role: source for source in card.unpinned}

    def stem(self, role: str) -> str:
        """The name of a role's file, by which its rows are numbered."""
        return self.stem_of(self.sources[role])

    @staticmethod
    def stem_of(source: PublishedFile | UnpinnedFile) -> str:
        """The same of a source."""
        return Path(source.path).stem

    def text(self, role: str) -> str:
        """The text of a file.

        Raises:
            UserError: It is not below the folder, or no UTF-8.
        """
        source = self.sources[role]
        content = source.find(self.folder)
        if content is None:
            raise UserError(
                f"no {source.path} of {source.repository} below {self.folder}; run anisomem fetch "
                f"{self.card.name}, or point paths.data or ANISOMEM_DATA to it"
            )
        return bounded.decoded(content, source.path)

    def lines(self, role: str) -> list[str]:
        """The lines of a file, as many as its card says."""
        return self._counted(role, self.text(role).removesuffix("\n").split("\n"))

    def objects(self, role: str) -> list[dict[str, str]]:
        """The objects of a JSONL file."""
        return [json.loads(line) for line in self.lines(role)]

    def table(self, role: str, delimiter: str = ";") -> list[dict[str, str]]:
        """The rows of a CSV file with a header."""
        stream = io.StringIO(self.text(role), newline="")
        return self._counted(role, list(csv.DictReader(stream, delimiter=delimiter, strict=True)))

    def _counted(self, role: str, rows: list[Any]) -> list[Any]:
        source = self.sources[role]
        if len(rows) != source.rows:
            raise UserError(f"{source.path} has {len(rows)} rows, its card says {source.rows}")
        return rows
