"""Prompts whose components are recorded, and what their store lacks of them.

``record`` evaluates what is missing. A table's prompts and references are a ``Case``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from anisomem.config import own
from anisomem.config.schema import Config
from anisomem.detection.base import Detector
from anisomem.engine.tensors import TensorFiles
from anisomem.run.base import sources_of_model
from anisomem.storage.store import FAILURE, ScoreStore

if TYPE_CHECKING:
    import pandas as pd

SHARD = 32  # prompts recorded between two writes to the store


@dataclass(frozen=True)
class Batch:
    """Prompts that are recorded together at one noise seed.

    Attributes:
        seed: The seed of the noise.
        ids: The names under which components are stored.
        texts: The prompts' texts.
        noise_rows: Their places in the whole prompt set, which noise by prompt depends on.
    """

    seed: int
    ids: Sequence[str]
    texts: Sequence[str]
    noise_rows: Sequence[int]


class Entries(ABC):
    """What is recorded by some detectors: prompts, and where their components are kept.

    Attributes:
        config: The settings of the run.
        name: What it is called while it is recorded.
        state: What every process must find alike, see :func:`anisomem.run.base.state_of_model`.
        noise_rows: The entries' places in the whole, which noise by prompt depends on.
        samples: Every component with its number of noise samples.
        store: Where components are kept.
        shard: Prompts recorded between two writes to the store.
    """

    config: Config
    name: str
    state: dict[str, str]
    noise_rows: Sequence[int]
    samples: Mapping[str, int]
    store: ScoreStore
    shard: int = SHARD

    @property
    @abstractmethod
    def configured(self) -> Sequence[Detector]:
        """The detectors that record."""

    @property
    @abstractmethod
    def tensors(self) -> TensorFiles:
        """The full evaluations of the prompts that the user names."""

    @property
    @abstractmethod
    def texts(self) -> Sequence[str]:
        """The entries' texts."""

    @property
    @abstractmethod
    def ids(self) -> Sequence[str]:
        """The entries' ids."""

    def batches(self) -> list[Batch]:
        """All that is to be recorded, cut the same way however often a run is interrupted.

        Equal prompts are neighbours and share a batch, so each is encoded once.
        """
        texts, ids = self.texts, self.ids
        order = sorted(range(len(texts)), key=lambda i: (texts[i], i))
        cuts = [0]
        for end in range(1, len(order) + 1):
            whole = end == len(order) or texts[order[end]] != texts[order[end - 1]]
            if whole and (end - cuts[-1] >= self.shard or end == len(order)):
                cuts.append(end)
        parts = [order[begin:end] for begin, end in pairwise(cuts)]
        return [
            Batch(
                seed,
                [ids[i] for i in part],
                [texts[i] for i in part],
                [self.noise_rows[i] for i in part],
            )
            for seed in self.config.seeds
            for part in parts
        ]

    def missing(self, frame: pd.DataFrame | None = None, retry: bool = False) -> list[Batch]:
        """The batches of which a prompt is not stored, or failed and is to be retried.

        Arguments:
            frame: What the store has, where it has been read.
            retry: Whether those that failed are missing, too.
        """
        if not self.samples:
            return []
        frame = self.store.read() if frame is None else frame
        if retry:
            frame = frame[frame[FAILURE].isna()]
        done = {seed: set(rows) for seed, rows in frame["prompt_id"].groupby(frame["seed"])}
        none: set[str] = set()
        return [
            batch
            for batch in self.batches()
            if not done.get(batch.seed, none).issuperset(batch.ids)
            or self.tensors.lacking(batch.ids, batch.seed)
        ]


def sources(config: Config, configured: Sequence[Detector]) -> dict[str, str]:
    """Digests of the user's code that records, see :func:`anisomem.config.own.sources`."""
    return own.sources(configured) | sources_of_model(config)


def samples_of(configured: Sequence[Detector]) -> dict[str, int]:
    """Every component that some detectors record, with its number of noise samples."""
    samples: dict[str, int] = {}
    for detector in configured:
        for name in detector.component_names:
            samples[name] = max(detector.n, samples.get(name, 1))
    return samples
