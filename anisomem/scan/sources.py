"""The prompts that a scan is asked about, and the ordinary ones that it compares them with."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import compress
from typing import TYPE_CHECKING

import numpy as np

from anisomem.config import catalog, compose
from anisomem.config.schema import Config
from anisomem.datasets import unlabelled
from anisomem.datasets.unlabelled import Options, Unlabelled
from anisomem.errors import UserError, concerning
from anisomem.run import labelled, ordinary

if TYPE_CHECKING:
    from anisomem.datasets.prompts import PromptSet

DRAWN = 1000  # ordinary prompts of a public set, where no number is given


@dataclass(frozen=True)
class Scanned:
    """What is scanned.

    Attributes:
        listed: The rows and their texts.
        noise_rows: The place of every text in what the source holds, ``[N]``.
        limited: Texts that a limit leaves out.
    """

    listed: Unlabelled
    noise_rows: Sequence[int]
    limited: int


@dataclass(frozen=True)
class Calibration:
    """Ordinary prompts.

    Attributes:
        source: Where they come from.
        texts: Distinct ones, none of which is scanned; ``[n]``.
        overlapping: Texts left out as they are scanned too.
        memorized: Rows left out as they are labelled memorized.
        unread: Rows that cannot be read, where they stand and why.
    """

    source: str
    texts: Sequence[str]
    overlapping: int
    memorized: int
    unread: Sequence[str]


def scanned(config: Config) -> Scanned:
    """The prompts of ``prompts=``, each text once.

    Raises:
        UserError: None are named, or they cannot be read.
    """
    if not config.prompts:
        raise UserError(
            "nothing to scan; give prompts=FILE, or anisomem scan FILE (.txt, .csv, .tsv, .jsonl, "
            ".json, .parquet, a folder of them, or OWNER/NAME in the hub)"
        )
    listed = _read(config, config.prompts, "prompts", ordinary=False)
    count = len(listed.texts)
    if config.limit is None or config.limit >= count:
        return Scanned(listed, range(count), 0)
    drawn = np.random.default_rng(config.limit_seed).permutation(count)[: config.limit]
    kept = np.sort(drawn)
    place = np.full(count, -1)
    place[kept] = np.arange(len(kept))
    rows = place[listed.rows]
    part = replace(
        listed,
        ids=list(compress(listed.ids, (rows >= 0).tolist())),
        rows=rows[rows >= 0],
        texts=[listed.texts[i] for i in kept],
    )
    return Scanned(part, kept.tolist(), count - len(kept))


def calibration(config: Config, scanned: Unlabelled) -> Calibration:
    """The prompts of ``calibration=``, or the model's usual ordinary ones; none that is scanned.

    Blanks and capitals do not count where texts are compared.

    Raises:
        UserError: They cannot be read, or all of them are scanned.
    """
    usual = ordinary.default(config.model.get("path"))
    source = config.calibration or config.references.prompts or usual
    listed = _read(config, source, "calibration", ordinary=True)
    known = {_plain(text) for text in scanned.texts}
    distinct = {_plain(text): text for text in reversed(listed.texts)}
    free = [text for plain, text in reversed(distinct.items()) if plain not in known]
    if not free:
        raise UserError(
            f"all {len(distinct):,} prompts of the calibration {source!r} are scanned too; give "
            "calibration=FILE with prompts that the model surely did not memorize"
        )
    most = config.scan.ordinary or (DRAWN if source == ordinary.HUB else len(free))
    rng = np.random.default_rng(config.scan.seed)
    drawn = sorted(rng.permutation(len(free))[:most].tolist())
    return Calibration(
        source,
        [free[i] for i in drawn],
        len(distinct) - len(free),
        listed.memorized,
        listed.unread,
    )


def _read(config: Config, source: str, setting: str, ordinary: bool) -> Unlabelled:
    """A place, or a prompt set by its name."""
    if source in catalog.names("dataset") and not os.path.lexists(source):
        return unlabelled.of_set(_known(config, source), ordinary)
    given, options = config.scan, Options(setting=setting)
    if setting == "prompts":
        options = Options(given.columns, given.split, given.revision, given.config)
    with concerning(f"{setting}={source}"):
        return unlabelled.load(source, options, ordinary)


def _known(config: Config, name: str) -> PromptSet:
    data = [f"paths.data={config.paths.data}"] if config.paths.data else []
    return labelled.whole(compose.cases([f"dataset={name}", *data])[0])


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()
