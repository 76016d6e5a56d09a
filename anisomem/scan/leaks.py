"""What generated pictures are like among the training pictures, and which of these leak most.

Both come from one pass over the folder, whose numbers are kept; the search is
:mod:`anisomem.measures.nearest`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from anisomem.console import progress
from anisomem.datasets.training_folder import Picture, TrainingFolder
from anisomem.errors import UserError
from anisomem.measures.base import Array, Vectors
from anisomem.measures.nearest import NONE, Nearest, nearest
from anisomem.scan import pictures
from anisomem.scan.training import measure_of, node_of
from anisomem.storage import atomic

if TYPE_CHECKING:
    from anisomem.scan.found import Found
    from anisomem.scan.scan import Scan

FILE = "nearest.npz"
BLOCK = 64  # training pictures that are held at once
NAMED = 10  # of the nearest ones, for each prompt


@dataclass(frozen=True)
class Leaks:
    """Training pictures beside generated ones.

    Attributes:
        folder: The training pictures, ``n``.
        measure: What compares them.
        rows: The distinct prompts with generated pictures, ``P``.
        each: How many are generated for a prompt.
        found: What is nearest to what, the some being the prompts' pictures.
        unread: Why some of them cannot be read, by their index.
    """

    folder: TrainingFolder
    measure: Vectors
    rows: Sequence[int]
    each: int
    found: Nearest
    unread: Mapping[int, str]

    @property
    def order(self) -> list[int]:
        """The training pictures that were read, those that leak most first."""
        read = np.flatnonzero(np.isfinite(self.found.closest))
        return [int(i) for i in read[np.argsort(self.found.closest[read], kind="stable")]]

    @property
    def closest(self) -> Array:
        """How near each training picture is to the nearest generated one, as is said; ``[n]``."""
        return self.measure.said(self.found.closest.astype(np.float64))

    @property
    def distances(self) -> Array:
        """How near the nearest are to each prompt's pictures, as is said; ``[P, k]``."""
        return self.measure.said(self.found.distances.astype(np.float64))

    def nearest_of(self, prompt: int) -> list[int]:
        """The training pictures nearest to a prompt's, nearest first.

        Arguments:
            prompt: Its place in ``rows``.
        """
        return [int(i) for i in self.found.places[prompt] if i != NONE]


def prompt_of(leaked: Leaks, picture: int) -> tuple[int, int] | None:
    """The distinct prompt, and which of its pictures, that is nearest to a training picture."""
    nearest_to = int(leaked.found.of[picture])
    if nearest_to == NONE:
        return None
    prompt, generated = divmod(nearest_to, leaked.each)
    return leaked.rows[prompt], generated


def same(caption: str, prompt: str) -> bool:
    """Whether a caption is a prompt; blanks and capitals do not count."""
    return " ".join(caption.split()).casefold() == " ".join(prompt.split()).casefold()


def kept(scan: Scan) -> bool:
    """Whether a comparison is kept, be it of these pictures or of others."""
    return os.path.lexists(scan.folder / FILE)


def require_readable(folder: TrainingFolder) -> None:
    """Checks before anything is recorded that some training picture can be read.

    Raises:
        UserError: None can; why the first cannot.
    """
    first = ""
    for name in folder.names:
        try:
            folder.read(name)
        except UserError as error:
            first = first or str(error)
        else:
            return
    raise UserError(
        f"none of the {len(folder.names):,} files in pictures={folder.place} can be read, first "
        f"{first}"
    )


def find(found: Found, measure: Vectors) -> None:
    """Compares all training pictures with what is generated, and keeps what is nearest to what."""
    folder, generated = found.scan.training, pictures.read(found)
    assert folder and generated  # asked for, and made before
    unread: dict[int, str] = {}
    threads = found.scan.config.workers or os.cpu_count() or 1
    with (
        progress.bar(
            f"{found.scan.name}: training pictures", len(folder.names), "picture", leave=True
        ) as bar,
        ThreadPoolExecutor(threads) as pool,
    ):
        blocks = _blocks(folder, pool, unread, bar)
        result = nearest(generated.pictures, blocks, len(folder.names), measure, NAMED)
    content: dict[str, Any] = {one.name: getattr(result, one.name) for one in fields(Nearest)}
    content |= {"plan": json.dumps(_plan(found)), "unread": json.dumps(list(unread.items()))}
    atomic.write_arrays(found.scan.folder / FILE, content)


def read(found: Found) -> Leaks | None:
    """What is kept, where it is what is asked for; None else."""
    folder, generated = found.scan.training, pictures.read(found)
    if folder is None or generated is None or not kept(found.scan):
        return None
    try:
        stored = atomic.read_arrays(found.scan.folder / FILE)
        if json.loads(str(stored["plan"])) != _plan(found):
            return None
        result = Nearest(**{one.name: stored[one.name] for one in fields(Nearest)})
        unread = {int(i): str(why) for i, why in json.loads(str(stored["unread"]))}
    except (UserError, ValueError, TypeError, KeyError, RecursionError):
        return None  # they are compared anew
    each = generated.pictures.shape[1]
    if not _is_whole(result, len(folder.names), len(generated.rows), each):
        return None
    measure = measure_of(found.scan.config)
    return Leaks(folder, measure, generated.rows, each, result, unread)


def _blocks(
    folder: TrainingFolder, pool: ThreadPoolExecutor, unread: dict[int, str], bar: progress.Bar
) -> Iterator[Sequence[Picture | None]]:
    """The pictures, some at a time; why one cannot be read is noted."""
    for begin in range(0, len(folder.names), BLOCK):
        names = folder.names[begin : begin + BLOCK]
        block: list[Picture | None] = []
        for i, one in enumerate(pool.map(partial(_read, folder), names)):
            if isinstance(one, str):
                unread[begin + i] = one
            block.append(None if isinstance(one, str) else one)
        yield block
        bar.update(len(block))


def _read(folder: TrainingFolder, name: str) -> Picture | str:
    """A picture, or why it cannot be read."""
    try:
        return folder.read(name)
    except UserError as error:
        return str(error)


def _plan(found: Found) -> dict[str, Any]:
    """What is compared by what; another plan asks for another comparison."""
    assert found.scan.training
    name, node = node_of(found.scan.config)
    where = ("weights",) if "sha256" in node else ()  # the sha256 says what they are
    return {
        "generated": pictures.plan(found),
        "files": found.scan.training.digest,
        "measure": {"name": name, **{k: v for k, v in node.items() if k not in where}},
        "named": NAMED,
    }


def _is_whole(result: Nearest, count: int, prompts: int, each: int) -> bool:
    """Whether stored numbers are of as many pictures, and name those that there are."""
    some = prompts * each
    shapes = [(prompts, NAMED)] * 3 + [(count,)] * 3
    arrays = [getattr(result, one.name) for one in fields(Nearest)]
    if [one.shape for one in arrays] != shapes or any(
        one.dtype.kind not in "if" for one in arrays
    ):
        return False
    of_pictures = ((result.places, count), (result.by, each), (result.of, some))
    return all(
        one.dtype.kind == "i" and bool(((one >= NONE) & (one < most)).all())
        for one, most in of_pictures
    )
