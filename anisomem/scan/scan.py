"""A scan: a model, prompts without labels, ordinary prompts, and the detectors of both.

It only says what is asked and where it is kept. Its first stage scores every prompt by detectors
that cost little; the others are of a second stage, which scores the prompts that the first puts
highest, and some drawn at random. Every detector is taken at its fewest noise samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from anisomem.benchmark.case import require_another, require_baseline, require_sensible
from anisomem.benchmark.entries import SHARD, Entries, samples_of, sources
from anisomem.config import compose
from anisomem.config.schema import Config
from anisomem.datasets.prompts import Prompts
from anisomem.datasets.unlabelled import Unlabelled
from anisomem.detection.alone import require_alone
from anisomem.detection.base import Detector
from anisomem.detection.configured import detectors
from anisomem.engine.tensors import TensorFiles
from anisomem.errors import UserError
from anisomem.run import identity
from anisomem.run.base import Run
from anisomem.run.devices import require_trained
from anisomem.scan.sources import Calibration, Scanned, calibration, scanned
from anisomem.scan.training import training_of
from anisomem.storage import digests
from anisomem.storage.store import ScoreStore

SHARDS = 1000  # files of components that a large scan has at most


class Stage(Entries):
    """Some prompts of a scan with the detectors that score them.

    Arguments:
        scan: The scan.
        config: Its settings with the detectors of this stage alone.
        folder: Where components are kept.
        rows: The entries of the scan that are scored.
    """

    def __init__(self, scan: Scan, config: Config, folder: Path, rows: Sequence[int]) -> None:
        self.config, self.name, self.state = config, scan.name, scan.state
        self._configured = detectors(config.detector)
        self._ids = [scan.id_of(row) for row in rows]
        self._texts = [scan.text_of(row) for row in rows]
        self.noise_rows = [scan.noise_row_of(row) for row in rows]
        self.rows, self.samples = rows, samples_of(self._configured)
        content = {**scan.content, "components": dict(self.samples)}
        if own := sources(config, self._configured):
            content["sources"] = own
        self.store = ScoreStore(folder, content)
        self.shard = max(SHARD, len(rows) // SHARDS)

    @property
    def configured(self) -> Sequence[Detector]:
        return self._configured

    @property
    def ids(self) -> Sequence[str]:
        return self._ids

    @property
    def texts(self) -> Sequence[str]:
        return self._texts

    @property
    def tensors(self) -> TensorFiles:
        return TensorFiles(self.store.folder.parent / "tensors", [])


@dataclass(frozen=True)
class Kept:
    """What a scan's folder says that the scan is of.

    Attributes:
        listed: The prompts.
        ordinary: The calibration.
        store: The components of its first stage.
    """

    listed: Unlabelled
    ordinary: Calibration
    store: ScoreStore


class Scan(Run[Prompts]):
    """Prompts without labels, compared with ordinary ones.

    Its entries are the distinct prompts, then the calibration.

    Arguments:
        config: The settings of the run.
        experiment: The folder below ``config.runs``.
        prompts: What is scanned, where it has been read already.
        kept: What it is of where it is recorded already; the settings say if not given.

    Attributes:
        listed: The prompts as they were given.
        ordinary: The calibration.
        training: The folder of training pictures, where one is given.
        first: The stage that scores every entry; its first detector decides.

    Raises:
        UserError: Settings that are wrong, or prompts that cannot be had.
    """

    def __init__(
        self,
        config: Config,
        experiment: str,
        prompts: Scanned | None = None,
        kept: Kept | None = None,
    ) -> None:
        require_sensible(config)
        if config.tensors:
            raise UserError("a scan keeps no tensors; leave out tensors=")
        require_trained(config, "scores")
        compose.require_chosen(config, "detector")
        config = at_fewest(config)
        chosen = detectors(config.detector)
        for detector in chosen:
            require_alone(detector)
            detector.require(config.stands_for)
        require_baseline(config, chosen)
        self.training = None if kept else training_of(config)
        cheap, costly = by_cost(config)
        if kept:
            self.scanned = Scanned(kept.listed, range(len(kept.listed.texts)), 0)
        else:
            self.scanned = prompts or scanned(config)
        self.listed = self.scanned.listed
        self.ordinary = kept.ordinary if kept else calibration(config, self.listed)
        texts = self.listed.texts
        named = Prompts(self.listed.name, [str(i) for i in range(len(texts))], texts)
        ids = [f"calibration:{i}" for i in range(len(self.ordinary.texts))]
        calibrating = Prompts("calibration", ids, self.ordinary.texts)
        first = config.with_detectors(cheap)
        built = detectors(cheap)
        if kept:
            content = dict(kept.store.content)
            require_same(kept, named, calibrating)
        else:
            content = identity.describe(
                first, samples_of(built), named, sources=sources(first, built)
            )
            content["calibration"] = identity.describe_prompts(calibrating)
            if config.noise_policy == "per_prompt" and self.scanned.limited:
                content["noise_rows"] = list(self.scanned.noise_rows)
        require_another(config, content)
        folder = kept.store.folder.parent if kept else None
        super().__init__(config, experiment, named, content, folder)
        self.costly = costly
        self.first = Stage(self, first, self.folder / "components", range(self.size))

    @property
    def size(self) -> int:
        """How many entries there are."""
        return len(self.listed.texts) + len(self.ordinary.texts)

    def id_of(self, row: int) -> str:
        """The name that an entry is stored under."""
        count = len(self.listed.texts)
        return str(row) if row < count else f"calibration:{row - count}"

    def text_of(self, row: int) -> str:
        """An entry's prompt."""
        count = len(self.listed.texts)
        return self.listed.texts[row] if row < count else self.ordinary.texts[row - count]

    def noise_row_of(self, row: int) -> int:
        """An entry's place, which noise by prompt depends on; the calibration's come behind."""
        kept, count = self.scanned.noise_rows, len(self.listed.texts)
        return kept[row] if row < count else row + self.scanned.limited

    @cached_property
    def deciding(self) -> Detector:
        """The detector whose p-values flag prompts."""
        return self.first.configured[0]

    def second(self, rows: Sequence[int]) -> Stage | None:
        """The stage of the detectors that cost more, on some entries; None where there is none."""
        if not self.costly:
            return None
        config = self.config.with_detectors(self.costly)
        built = detectors(self.costly)
        own = {"components": samples_of(built), "sources": sources(config, built)}
        name = digests.digest(own)[:10]
        return Stage(self, config, self.folder / f"confirmed-{name}", rows)


def require_same(kept: Kept, prompts: Prompts, calibrating: Prompts) -> None:
    """Checks that a store is of the prompts and the calibration that lie beside it.

    Raises:
        UserError: It is of others, or of another version.
    """
    content, folder = kept.store.content, kept.store.folder.parent
    if (version := content.get("version")) != identity.VERSION:
        raise UserError(
            f"{folder} is of schema version {version}, and this is {identity.VERSION}; run its "
            "command again"
        )
    for name, given in (("prompts", prompts), ("calibration", calibrating)):
        if content.get(name) != identity.describe_prompts(given):
            raise UserError(f"{folder} was recorded on other {name} than its files hold")


def at_fewest(config: Config) -> Config:
    """The settings with every detector at its fewest noise samples alone."""
    nodes = {
        name: _fewest(name, node) if "n" in node else node
        for name, node in config.detector.items()
    }
    return config.with_detectors(nodes)


def _fewest(name: str, node: Mapping[str, Any]) -> dict[str, Any]:
    return {**node, "n": min(one.n for one in detectors({name: node}))}


def by_cost(config: Config) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings of the detectors that score all prompts, and of those that confirm.

    A detector scores all where one prompt costs it ``scan.cheap`` evaluations at most, a
    directional derivative counting as two. Where none costs so little, all of them do.
    """
    cheap: dict[str, Any] = {}
    costly: dict[str, Any] = {}
    for name, node in config.detector.items():
        (detector,) = detectors({name: node})
        cost = detector.cost()
        (cheap if cost.nfe + 2 * cost.jvps <= config.scan.cheap else costly)[name] = node
    return (cheap, costly) if cheap else (costly, {})
