"""Runs a case of an experiment: records what is missing, then scores what is stored."""

from __future__ import annotations

import glob
import json
import os
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, cast

import pandas as pd
from omegaconf import DictConfig, OmegaConf

from anisomem import config as configuration
from anisomem import gallery, labelled, measured, own, progress, stored
from anisomem.datasets import kept
from anisomem.datasets.prompts import PromptSet
from anisomem.datasets.references import draw
from anisomem.detection.base import Array, Detector, Recorded
from anisomem.errors import UserError, one_of, unknown
from anisomem.evaluation import Evaluation, Summary
from anisomem.models.capability import Capability
from anisomem.scoring import Judged, Scored, score
from anisomem.storage import atomic, identity
from anisomem.storage.store import FAILURE, IDENTITY, ScoreStore, arrays
from anisomem.storage.tensors import TensorFiles

if TYPE_CHECKING:
    from anisomem.models.base import DiffusionModel

Batch = tuple[int, list[int]]  # a noise seed, and the rows of some prompts
SHARD = 32  # prompts recorded between two writes to the store
PROMPTS = "prompts.parquet"  # beside a case's store
ON_FAILURE = ("stop", "keep", "retry")
NOISE_POLICIES = ("shared", "per_prompt")


def told_apart(cases: Iterable[Case]) -> list[Case]:
    """The cases, each once; those of the same prompts with other settings by their folders."""
    different = {case.folder.resolve(): case for case in cases}.values()
    names = Counter(case.name for case in different)
    folders = Counter(case.folder.name for case in different)
    for case in different:
        if names[case.name] > 1:
            case.name = case.folder.name
            if folders[case.name] > 1:  # in two experiments
                case.name = f"{case.folder.parent.name}-{case.name}"
    return list(different)


class OutdatedError(UserError):
    """A stored case was recorded with other code than there is now.

    Arguments:
        message: What differs.
        case: The case.
    """

    def __init__(self, message: str, case: Case) -> None:
        super().__init__(message)
        self.case = case


def stored_cases(files: Iterable[Path], allowed: Collection[str] = ()) -> list[Case]:
    """Stored cases; one that an edit has outdated is left out and said where it is there anew.

    Raises:
        UserError: As :meth:`Case.stored`.
    """
    found: list[Case] = []
    outdated: list[OutdatedError] = []
    for file in files:
        try:
            found.append(Case.stored(file, allowed))
        except OutdatedError as error:
            outdated.append(error)
    for one in outdated:
        place = one.case.folder.parent, one.case.name
        if not any((case.folder.parent, case.name) == place for case in found):
            raise one
        print(f"anisomem: left out: {one}", file=sys.stderr)
    return told_apart(found)


@dataclass(frozen=True)
class Row:
    """A detector's line in a table: what it achieves, what it costs, what its prompts lack.

    Without a summary the detector could not be scored, and ``refused`` says why.
    """

    case: str
    detector: str
    n: int
    summary: Summary | None
    cost: Mapping[str, Any] | None
    notes: Sequence[str]
    model: str = ""
    refused: str | None = None


class Case:
    """One model on one prompt set with all its detectors, kept in a folder named after them.

    Arguments:
        config: The composed configuration.
        experiment: Its name, the parent folder.
        references: Prompts that detectors take as ordinary; drawn if not given and asked for.
        prompts: The prompt set; the configuration's if not given.
    """

    def __init__(
        self,
        config: DictConfig,
        experiment: str,
        references: Sequence[str] | None = None,
        prompts: PromptSet | None = None,
    ) -> None:
        self.config = config
        if config.mitigation:
            raise UserError("a run only detects; mitigations are of mitigate and generate")
        one_of("on_failure", config.on_failure, ON_FAILURE)
        one_of("noise policy", config.noise_policy, NOISE_POLICIES)
        if missing := OmegaConf.missing_keys(config.model):
            raise UserError(f"model needs a value for {', '.join(sorted(missing))}")
        if prompts is None:
            whole = labelled.prompts(config)
            places = labelled.limited(whole, config.limit, config.limit_seed)
            prompts, limited = whole.subset(places), len(places) < len(whole)
        else:
            whole, places, limited = prompts, list(range(len(prompts))), False
        self.planned = prompts
        self.configured = configuration.detectors(config)
        for detector in self.configured:
            detector.require(config.model.get("stands_for"))
        self.name = self.planned.name
        if references is None and any(d.uses_references for d in self.configured):
            references = draw(config, whole)
        self.references = list(references or [])
        # Noise by prompt is that of its row in the whole set, whatever a limit leaves of it.
        self.noise_rows = [*places, *(len(whole) + i for i in range(len(self.references)))]
        self.samples: dict[str, int] = {}  # of every component to be recorded
        for detector in self.configured:
            for name in detector.component_names:
                self.samples[name] = max(detector.n, self.samples.get(name, 0))
        settings = OmegaConf.to_container(config, resolve=True)
        self.sources = own.sources(self.configured, [str(config.model.get("_target_"))])
        content = identity.describe(
            cast(dict[str, Any], settings),
            self.samples,
            self.planned,
            self.references,
            self.sources,
        )
        if config.noise_policy == "per_prompt" and limited:
            content["noise_rows"] = self.noise_rows
        self.identity = identity.digest(content)
        self.folder = Path(config.runs) / experiment / f"{self.name}-{self.identity[:10]}"
        self.store = ScoreStore(self.folder / "components", content)
        for prompt in config.tensors:
            if prompt not in self.ids:
                raise unknown("prompt id in tensors", prompt, self.ids)

    @property
    def model(self) -> str:
        """The model's name in tables."""
        return configuration.model_name(self.config.model)

    @property
    def title(self) -> str:
        """What figures are headed with."""
        return f"{self.model} on {self.name}"

    @property
    def tensors(self) -> TensorFiles:
        """The full evaluations of the prompts that the user names."""
        return TensorFiles(self.folder / "tensors", self.config.tensors)

    @classmethod
    def stored(cls, file: Path, allowed: Collection[str] = ()) -> Case:
        """The case whose configuration lies at ``file``; needs neither its model nor its place.

        Arguments:
            file: The configuration.
            allowed: What it may name besides, see :func:`anisomem.stored.read`.

        Raises:
            OutdatedError: A detector of the user's has changed since.
            UserError: The configuration is damaged or names code that is not allowed, or the
                store is of another schema version, of other prompts or of fewer components.
        """
        config = stored.read(file, allowed)
        store = ScoreStore.stored(file.parent / "components")
        content = store.content
        if (version := content.get("version")) != identity.VERSION:
            raise UserError(
                f"{file.parent} is of schema version {version}, and this is {identity.VERSION}; "
                "run its command again"
            )
        if not isinstance(references := content.get("references", []), list):
            raise atomic.damaged(store.folder / IDENTITY)
        kept_file = file.parent / PROMPTS
        prompts = kept.read(kept_file) if os.path.lexists(kept_file) else None
        case = cls(config, file.parent.parent.name, references, prompts)
        case.folder, case.store = file.parent, store
        case.identity = identity.digest(content)
        if content.get("prompts") != identity.of_prompts(case.planned):
            holds = f"its {PROMPTS} holds" if prompts else f"dataset {case.name!r} now holds"
            raise UserError(f"{case.folder} was recorded on other prompts than {holds}")
        if differ := identity.differences(content.get("sources", {}), case.sources):
            raise OutdatedError(
                f"{case.folder} was recorded with another {' and '.join(differ)} than there is "
                "now; its command again records anew",
                case,
            )
        recorded = content.get("components", {})
        for name, n in case.samples.items():
            if recorded.get(name, 0) < n:
                raise UserError(
                    f"{case.folder} holds {recorded.get(name, 0)} noise samples of {name}, and "
                    f"its configuration asks for {n}; run its command again"
                )
        return case

    def run(self) -> bool:
        """Records what is missing and measures the cost once; nothing to do loads no model.

        Returns whether there was something to do.

        Raises:
            UserError: Too few prompts of a class, a model of random weights, or one that returned
                NaN or infinity without any prompt.
        """
        memorized = int(self.planned.labels.sum())
        labelled.require_both(self.name, memorized, len(self.planned) - memorized)
        if self.config.model.get("weights") == "random":
            raise UserError("weights=random is for anisomem bench; scores need weights=pretrained")
        missing = self.missing(retry=self.config.on_failure == "retry")
        timed = self.measured().get("timing") == self._timing
        needs_timing = self.config.timing_repeats > 0 and bool(self.samples) and not timed
        finished = not missing and not needs_timing and bool(self.measured()) and self._shown()
        try:
            for folder in (self.folder, self.folder.parent):
                atomic.remove_abandoned(folder)
            self._say_what_changed()
            atomic.write_text(self.folder / "config.yaml", OmegaConf.to_yaml(self.config))
            kept.write(self.planned, self.folder / PROMPTS)
            self.store.start()
        except atomic.CannotWriteError as error:
            if not finished or not error.forbidden:
                raise
        if finished:
            return False
        with progress.phase(f"{self.name}: loading the libraries and the model"):
            from anisomem.counting import counts_of_each
            from anisomem.provenance import provenance
            from anisomem.recording import record
            from anisomem.timing import measure

            begin = perf_counter()
            model: DiffusionModel = configuration.build(self.config.model, "model")
            if self.config.gallery:
                model.require(
                    Capability.PICTURES, "the report's gallery shows some; give gallery=0"
                )
        if missing:
            record(self, model, missing)
        self.store.merge()
        found = self.measured()
        if missing or not found:
            found["wall_seconds"] = found.get("wall_seconds", 0) + perf_counter() - begin
            found["truncated_prompts"] = model.truncated(self.planned.texts)
            found |= provenance(model)
        if needs_timing:
            found |= {"timing": self._timing, "timed_on": provenance(model)}
            found["costs"] = {key: asdict(cost) for key, cost in measure(self, model).items()}
        elif not timed:
            found.pop("timing", None)
            counted = counts_of_each(self.configured, self.config.noise_policy)
            found["costs"] = {key: asdict(counts) for key, counts in counted.items()}
        atomic.write_text(self._measured_file, json.dumps(found, indent=1))
        if not self._shown():
            gallery.generate(self, model)
        return True

    def _say_what_changed(self) -> None:
        """Names the code of the user's that an earlier run of the same was recorded with."""
        if not self.sources or self.store.folder.exists():
            return
        for file in self.folder.parent.glob(f"{glob.escape(self.name)}-*/components/{IDENTITY}"):
            try:
                before = ScoreStore.stored(file.parent).content
            except UserError:
                continue  # not this run's to complain about
            differ = identity.differences(before, self.store.content)
            if all(name.startswith("sources") for name in differ):
                names = ", ".join(name.removeprefix("sources.") for name in differ)
                print(
                    f"anisomem: {names} has changed since {file.parent.parent} was recorded; it "
                    f"is recorded anew in {self.folder}",
                    file=sys.stderr,
                )

    @property
    def _timing(self) -> dict[str, Any]:
        """What the costs depend on besides the machine; other settings are measured anew."""
        return {
            "repeats": self.config.timing_repeats,
            "threads": 1,
            "batch_size": self.config.batch_size,
            "noise_policy": self.config.noise_policy,
            "device": self.config.model.get("device"),
            "detectors": [d.cost_key for d in self.configured if d.cost_key],
        }

    def _shown(self) -> bool:
        """Whether the gallery is what it should be; a run that ends in failures shows none."""
        return self.ends_in_failure or gallery.up_to_date(self)

    @cached_property
    def frame(self) -> pd.DataFrame:
        """What is stored, once everything is recorded."""
        return self.store.read()

    @cached_property
    def failures(self) -> dict[str, str]:
        """Prompts for which the model returned NaN or infinity at some seed, with the reason."""
        failed = self.frame[self.frame[FAILURE].notna()].drop_duplicates("prompt_id")
        reasons = dict(zip(failed["prompt_id"], failed[FAILURE], strict=True))
        return {i: reasons[i] for i in self.planned.ids if i in reasons}

    @property
    def ends_in_failure(self) -> bool:
        """Whether prompts failed and the user did not allow it."""
        return bool(self.failures) and self.config.on_failure != "keep"

    @cached_property
    def prompts(self) -> PromptSet:
        """The planned prompts without those that failed, once everything is recorded.

        Raises:
            UserError: Too few are left to judge a detector.
        """
        if not self.failures:
            return self.planned
        return self.planned.subset([i not in self.failures for i in self.planned.ids])

    def require_complete(self) -> None:
        """Checks that everything is recorded.

        Raises:
            UserError: Prompts are missing from the store.
        """
        if missing := sum(len(rows) for _, rows in self.missing()):
            raise UserError(
                f"{self.folder} lacks {missing} prompts; run the same command again to continue"
            )

    def rows(self) -> list[Row]:
        """The table, from the store alone.

        Raises:
            UserError: Prompts are missing from the store, or settings of the table are wrong.
        """
        self.require_complete()
        keys = [detector.key for detector in self.detectors]
        summaries = dict(zip(keys, self.evaluated.summaries(), strict=True))
        costs, notes = measured.costs(self.measured()), self.notes()
        return [
            Row(
                self.name,
                d.name,
                d.n,
                summaries.get(d.key),
                costs.get(d.cost_key),
                notes,
                self.model,
                self.scored.refused.get(d.key),
            )
            for d in self.configured
        ]

    def notes(self) -> list[str]:
        """What a reader of the table must know about the prompts."""
        notes, total = [], len(self.planned)
        if self.failures:
            notes.append(f"{len(self.failures)} of {total} prompts left out, the model failed")
        if truncated := self.measured().get("truncated_prompts"):
            notes.append(f"{truncated} of {total} prompts cut at the text encoder's limit")
        if self.samples and (revisions := self.frame["revision"].nunique()) > 1:
            notes.append(f"recorded with {revisions} revisions of the model; pin model.revision")
        notes += [*self.measured().get("cautions", []), *self.planned.cautions]
        remarks = (d.remark(self.prompts, len(self.config.seeds)) for d in self.detectors)
        return [*notes, *(remark for remark in remarks if remark)]

    @cached_property
    def scored(self) -> Scored:
        """All prompts' scores, once everything is recorded.

        Raises:
            UserError: No detector can be scored.
        """
        return self._scored(self.prompts, self.configured)

    @property
    def detectors(self) -> Sequence[Detector]:
        """Those configured that can be scored, once everything is recorded."""
        return self.scored.detectors

    @cached_property
    def evaluated(self) -> Evaluation:
        """:meth:`evaluation` of all prompts, once everything is recorded."""
        try:
            return self.judge(self.scored.scores)
        except ValueError as error:
            raise UserError(str(error)) from None

    def judged(
        self,
        rows: Sequence[int],
        of: Sequence[Detector] | None = None,
        draws: int | None = None,
    ) -> Judged:
        """Estimates, intervals and comparisons of the detectors that can be scored.

        Fitted weights are fitted on the prompts evaluated, so a part refits them.

        Arguments:
            rows: The prompts to restrict it to.
            of: The detectors; all if not given.
            draws: Of the bootstrap; the table's if not given.

        Raises:
            UserError: Settings of the table are wrong, or no detector can be scored.
        """
        prompts = self.prompts.subset(rows)
        found = self._scored(prompts, of or self.detectors)
        try:
            evaluation = self.judge(found.scores, prompts, draws)
        except ValueError as error:
            raise UserError(str(error)) from None
        return Judged(found.detectors, found.scores, found.refused, evaluation=evaluation)

    def _scored(self, prompts: PromptSet, detectors: Sequence[Detector]) -> Scored:
        return score(detectors, [self.recorded(seed, prompts) for seed in self.config.seeds])

    def judge(
        self, scores: Array, prompts: PromptSet | None = None, draws: int | None = None
    ) -> Evaluation:
        """Statistics of any scores by the table's settings.

        Arguments:
            scores: ``[D, S, N]`` for D detectors and S noise seeds.
            prompts: The N prompts; all if not given.
            draws: Of the bootstrap; the table's if not given.
        """
        chosen, config = prompts or self.prompts, self.config
        table = (config.fpr_targets, draws or config.draws, config.bootstrap_seed)
        return Evaluation(scores, chosen.labels, chosen.clusters, *table)

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
        found["one per cluster"] = prompts.one_per_cluster()
        return found

    @property
    def scores(self) -> dict[str, Array]:
        """Every detector's scores by row key, ``[S, N]`` for S noise seeds."""
        keys = [detector.key for detector in self.detectors]
        return dict(zip(keys, self.evaluated.scores, strict=True))

    def recorded(self, seed: int, prompts: PromptSet | None = None) -> Recorded:
        """The stored components of one noise seed, of all prompts or some."""
        chosen = prompts or self.prompts
        components = arrays(self.frame, chosen.ids, seed, self.samples)
        references: dict[str, Array] = {}
        if self.references:
            failed = set(self.frame.loc[self.frame[FAILURE].notna(), "prompt_id"])
            ids = [i for i in self.ids[len(self.planned) :] if i not in failed]
            references = arrays(self.frame, ids, seed, self.samples)
        return Recorded(components, chosen, self.config.model.get("stands_for"), references, seed)

    def batches(self) -> list[Batch]:
        """All that is to be recorded, cut the same way however often a run is interrupted.

        Equal prompts are neighbours and share a batch, so each is encoded once.
        """
        texts = self.texts
        order = sorted(range(len(texts)), key=lambda i: (texts[i], i))
        cuts = [0]
        for end in range(1, len(order) + 1):
            whole = end == len(order) or texts[order[end]] != texts[order[end - 1]]
            if whole and (end - cuts[-1] >= SHARD or end == len(order)):
                cuts.append(end)
        rows = [order[begin:end] for begin, end in pairwise(cuts)]
        return [(seed, some) for seed in self.config.seeds for some in rows]

    def missing(self, retry: bool = False) -> list[Batch]:
        """The batches of which a prompt is not stored, or failed and is to be retried."""
        if not self.samples:
            return []
        frame = self.store.read()
        if retry:
            frame = frame[frame[FAILURE].isna()]
        done = set(zip(frame["seed"], frame["prompt_id"], strict=True))
        ids = self.ids
        return [
            (seed, rows)
            for seed, rows in self.batches()
            if not all((seed, ids[i]) in done for i in rows)
            or self.tensors.lacking([ids[i] for i in rows], seed)
        ]

    @cached_property
    def texts(self) -> list[str]:
        """All that is to be recorded: the set's prompts, then the references."""
        return [*self.planned.texts, *self.references]

    @cached_property
    def ids(self) -> list[str]:
        """Of :attr:`texts`, under which their components are stored."""
        return [*self.planned.ids, *(f"reference:{i}" for i in range(len(self.references)))]

    @property
    def _measured_file(self) -> Path:
        return self.folder / "measured.json"

    def measured(self) -> dict[str, Any]:
        """What was measured besides the components: cost, machine, truncated prompts.

        Raises:
            UserError: It is damaged.
        """
        return measured.read(self._measured_file)
