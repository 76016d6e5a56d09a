"""Runs a case of an experiment: records what is missing, then scores what is stored."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from omegaconf import DictConfig, OmegaConf

from anisomem import config as configuration
from anisomem import gallery
from anisomem.datasets.prompts import PromptSet
from anisomem.detection.base import Array, Recorded
from anisomem.errors import UserError
from anisomem.evaluation import Evaluation, Summary
from anisomem.storage import atomic, identity
from anisomem.storage.store import ScoreStore, arrays

if TYPE_CHECKING:
    from anisomem.models.base import DiffusionModel

Batch = tuple[int, list[int]]  # a noise seed, and the rows of some prompts
SHARD = 32  # prompts recorded between two writes to the store


@dataclass(frozen=True)
class Row:
    """A detector's line in a table: what it achieves and what it costs."""

    case: str
    detector: str
    n: int
    summary: Summary
    cost: Mapping[str, Any] | None


class Case:
    """One model on one prompt set with all its detectors, kept in a folder named after them.

    Arguments:
        config: The composed configuration.
        experiment: Its name, the parent folder.
    """

    def __init__(self, config: DictConfig, experiment: str) -> None:
        self.config = config
        self.prompts: PromptSet = configuration.build(config.dataset, "dataset")
        self.detectors = configuration.detectors(config)
        for detector in self.detectors:
            detector.require(config.model.get("stands_for"))
        gallery.check(config.gallery)
        self.name = self.prompts.name
        self.samples: dict[str, int] = {}  # of every component to be recorded
        for detector in self.detectors:
            for name in detector.component_names:
                self.samples[name] = max(detector.n, self.samples.get(name, 0))
        settings = OmegaConf.to_container(config, resolve=True)
        content = identity.describe(cast(dict[str, Any], settings), self.samples, self.prompts)
        self.identity = identity.digest(content)
        self.folder = Path(config.runs) / experiment / f"{self.name}-{self.identity[:10]}"
        self.store = ScoreStore(self.folder / "components", content)

    @classmethod
    def stored(cls, file: Path) -> Case:
        """The case whose configuration lies at ``file``; needs neither its model nor its place."""
        case = cls(cast(DictConfig, OmegaConf.load(file)), file.parent.parent.name)
        case.folder = file.parent
        case.store = ScoreStore.stored(case.folder / "components")
        return case

    def run(self) -> None:
        """Records what is missing and measures the cost once; nothing to do loads no model.

        Raises:
            UserError: The model returned NaN or infinity.
        """
        missing = self.missing()
        costs = self._measured().get("costs", {})
        untimed = [d for d in self.detectors if d.cost_key and d.cost_key not in costs]
        needs_timing = self.config.timing_repeats > 0 and bool(untimed)
        atomic.write_text(self.folder / "config.yaml", OmegaConf.to_yaml(self.config))
        if not missing and not needs_timing and gallery.up_to_date(self):
            return
        from anisomem.recording import record
        from anisomem.timing import measure

        model: DiffusionModel = configuration.build(self.config.model, "model")
        if missing:
            record(self, model, missing)
        self.store.merge()
        measured = {
            "truncated_prompts": model.truncated(self.prompts.texts),
            "device": str(model.device),
            "dtype": str(model.dtype).removeprefix("torch."),
            "machine": f"{platform.machine()}, {platform.system()}, {os.cpu_count()} cores",
            "packages": {p: version(p) for p in ("torch", "diffusers", "transformers", "numpy")},
        }
        if needs_timing:
            measured["timing_repeats"] = self.config.timing_repeats
            measured["costs"] = {key: asdict(cost) for key, cost in measure(self, model).items()}
        text = json.dumps(self._measured() | measured, indent=1)
        atomic.write_text(self._measured_file, text)
        if not gallery.up_to_date(self):
            gallery.generate(self, model)

    def rows(self) -> list[Row]:
        """The table, from the store alone.

        Raises:
            UserError: Prompts are missing from the store, or settings of the table are wrong.
        """
        if missing := sum(len(rows) for _, rows in self.missing()):
            raise UserError(
                f"{self.folder} lacks {missing} prompts; run the same command again to continue"
            )
        summaries = self.evaluated.summaries()
        costs = self._measured().get("costs", {})
        return [
            Row(self.name, detector.name, detector.n, summary, costs.get(detector.cost_key))
            for detector, summary in zip(self.detectors, summaries, strict=True)
        ]

    @cached_property
    def evaluated(self) -> Evaluation:
        """:meth:`evaluation` of all prompts, once everything is recorded."""
        return self.evaluation(range(len(self.prompts)))

    def evaluation(self, rows: Sequence[int]) -> Evaluation:
        """Estimates, intervals and comparisons of the detectors, in their order.

        Fitted weights are fitted on the prompts evaluated, so a part refits them.

        Arguments:
            rows: The prompts to restrict it to.

        Raises:
            UserError: Settings of the table are wrong, or a fit has too few clusters.
        """
        prompts = self.prompts.subset(rows)
        try:
            scores = self.scores(prompts)
            return Evaluation(
                np.stack([scores[detector.key] for detector in self.detectors]),
                prompts.labels,
                prompts.clusters,
                self.config.fpr_targets,
                self.config.draws,
                self.config.bootstrap_seed,
            )
        except ValueError as error:
            raise UserError(str(error)) from None

    def selections(self) -> dict[str, list[int]]:
        """Parts of the prompts to report beside the whole, name to rows.

        Memorized prompts against each block of the others; each kind of memorization against all
        others; one prompt of every cluster and class.
        """
        prompts = self.prompts
        memorized = [i for i, label in enumerate(prompts.labels) if label]
        others = [i for i, label in enumerate(prompts.labels) if not label]
        found = {}
        for block in dict.fromkeys(prompts.blocks[i] for i in others):
            rows = [i for i in others if prompts.blocks[i] == block]
            found[f"against {block}"] = memorized + rows
        for kind in dict.fromkeys(prompts.kinds[i] for i in memorized):
            found[kind] = [i for i in memorized if prompts.kinds[i] == kind] + others
        first = {
            (prompts.clusters[i], prompts.labels[i]): i for i in reversed(range(len(prompts)))
        }
        found["one per cluster"] = sorted(first.values())
        return found

    def card(self) -> dict[str, Any]:
        """How the numbers came about: settings, identity, prompt counts, cost and machine."""
        return {
            "name": self.name,
            "identity": self.identity,
            "settings": OmegaConf.to_container(self.config, resolve=True),
            "memorized": int((self.prompts.labels == 1).sum()),
            "not_memorized": int((self.prompts.labels == 0).sum()),
            **self._measured(),
        }

    def scores(self, prompts: PromptSet | None = None) -> dict[str, Array]:
        """Every detector's scores by row key, ``[S, N]`` for S noise seeds."""
        recorded = [self.recorded(seed, prompts) for seed in self.config.seeds]
        return {d.key: np.stack([d.combine(r) for r in recorded]) for d in self.detectors}

    def recorded(self, seed: int, prompts: PromptSet | None = None) -> Recorded:
        """The stored components of one noise seed, of all prompts or some."""
        chosen = prompts or self.prompts
        components = arrays(self.store.read(), chosen.ids, seed, self.samples)
        return Recorded(components, chosen, self.config.model.get("stands_for"))

    def batches(self) -> list[Batch]:
        """All that is to be recorded, cut the same way however often a run is interrupted.

        Equal prompts are neighbours and share a batch, so each is encoded once.
        """
        texts = self.prompts.texts
        order = sorted(range(len(texts)), key=lambda i: (texts[i], i))
        cuts = [0]
        for end in range(1, len(order) + 1):
            whole = end == len(order) or texts[order[end]] != texts[order[end - 1]]
            if whole and (end - cuts[-1] >= SHARD or end == len(order)):
                cuts.append(end)
        rows = [order[begin:end] for begin, end in pairwise(cuts)]
        return [(seed, some) for seed in self.config.seeds for some in rows]

    def missing(self) -> list[Batch]:
        """The batches of which the store lacks a prompt."""
        if not self.samples:
            return []
        frame = self.store.read()
        done = set(zip(frame["seed"], frame["prompt_id"], strict=True))
        ids = self.prompts.ids
        return [
            (seed, rows)
            for seed, rows in self.batches()
            if not all((seed, ids[i]) in done for i in rows)
        ]

    @property
    def _measured_file(self) -> Path:
        return self.folder / "measured.json"

    def _measured(self) -> dict[str, Any]:
        """What was measured besides the components: cost, machine, truncated prompts."""
        file = self._measured_file
        return json.loads(file.read_text()) if file.exists() else {}
