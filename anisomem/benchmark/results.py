"""What is made of a complete case from its store alone: scores, estimates, notes.

Nothing here needs the model or torch. Statistics are from ``evaluation``; tables, figures and the
page are made of these results in ``report``.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from anisomem.benchmark.case import Case
from anisomem.benchmark.measured import Measured
from anisomem.benchmark.scoring import Judged, Scored, score
from anisomem.config import members
from anisomem.datasets.prompts import PromptSet
from anisomem.detection.base import Array, Detector, Recorded
from anisomem.detection.weighted import Gamma, NormPlusCosine
from anisomem.engine.cost import Counts, TimedCounts
from anisomem.errors import UserError
from anisomem.evaluation import Evaluation, Resampling, Summary, resample
from anisomem.storage.store import FAILURE, arrays

if TYPE_CHECKING:
    import pandas as pd

MEASURED = "measured.json"  # in a case's folder


@dataclass(frozen=True)
class Row:
    """A detector's line in a table: what it achieves, what it costs, what its prompts lack.

    Without a summary the detector could not be scored, and ``refused`` says why. ``gamma`` are the
    weights of the anisotropy metric's terms.
    """

    case: str
    detector: str
    n: int
    summary: Summary | None
    cost: Counts | None
    notes: Sequence[str]
    model: str = ""
    refused: str | None = None
    gamma: Gamma | None = None

    @property
    def key(self) -> str:
        """Detector and n, as a detector is called in a case."""
        return f"{self.detector}, n={self.n}" if self.n else self.detector

    @property
    def n_shown(self) -> str:
        """The number of noise samples, a dash where a detector takes none."""
        return str(self.n or "–")

    @property
    def timed(self) -> TimedCounts | None:
        """The cost, where seconds were measured."""
        return self.cost if isinstance(self.cost, TimedCounts) else None


class Results:
    """A complete case's scores and what they achieve; neither model nor torch is needed.

    Arguments:
        case: The case, see :meth:`require_complete`.

    Attributes:
        case: What was asked.
        config, name, model, title, folder, configured: The case's.
    """

    def __init__(self, case: Case) -> None:
        self.case, self.config, self.configured = case, case.config, case.configured
        self.name, self.model, self.title = case.name, case.model, case.title
        self.folder = case.folder
        self._of_all: dict[int, Recorded] = {}  # by noise seed

    @cached_property
    def frame(self) -> pd.DataFrame:
        """All rows of the case's store, as a frame."""
        return self.case.store.read()

    def require_complete(self) -> None:
        """Checks that everything is recorded.

        Raises:
            UserError: Prompts are missing from the store.
        """
        if missing := sum(len(batch.ids) for batch in self.case.missing(self.frame)):
            raise UserError(
                f"{self.folder} lacks {missing} prompts; run the same command again to continue"
            )

    def require_finished(self) -> None:
        """Checks that everything is recorded, and no prompt failed that the user did not allow.

        Raises:
            UserError: Prompts are missing or failed, or what was measured is damaged.
        """
        self.require_complete()
        if self.ends_in_failure:
            raise UserError(f"{self.folder}: prompts failed; run it again with on_failure=keep")
        self.measured.content  # noqa: B018  # which may be damaged

    @cached_property
    def measured(self) -> Measured:
        """What was measured besides the components.

        Raises:
            UserError: It is damaged.
        """
        return Measured.read(self.folder / MEASURED)

    @cached_property
    def failures(self) -> dict[str, str]:
        """Prompts for which the model returned NaN or infinity at some seed, with the reason."""
        failed = self.frame[self.frame[FAILURE].notna()].drop_duplicates("prompt_id")
        reasons = dict(zip(failed["prompt_id"], failed[FAILURE], strict=True))
        return {i: reasons[i] for i in self.case.prompts.ids if i in reasons}

    @property
    def ends_in_failure(self) -> bool:
        """Whether prompts failed and the user did not allow it."""
        return bool(self.failures) and self.config.on_failure != "keep"

    @cached_property
    def prompts(self) -> PromptSet:
        """The prompts that are judged: the case's without those that failed.

        Raises:
            UserError: Too few are left to judge a detector.
        """
        whole = self.case.prompts
        if not self.failures:
            return whole
        return whole.subset([i not in self.failures for i in whole.ids])

    @cached_property
    def table(self) -> list[Row]:
        """A row for each detector.

        Raises:
            UserError: Prompts are missing from the store, or settings of the table are wrong.
        """
        self.require_complete()
        every = self.evaluated.summaries()
        summaries = dict(zip([detector.key for detector in self.detectors], every, strict=True))
        notes = self.notes()
        return [
            Row(
                self.name,
                d.name,
                d.n,
                summaries.get(d.key),
                self.measured.costs.get(d.cost_key),
                notes,
                self.model,
                self.scored.refused.get(d.key),
                self._gamma(d),
            )
            for d in self.configured
        ]

    def _gamma(self, detector: Detector) -> Gamma | None:
        """The weights of the metric's terms, of a detector that is the metric and has a score."""
        if not isinstance(detector, NormPlusCosine) or detector.key in self.scored.refused:
            return None
        return detector.gamma([self.recorded(seed) for seed in self.config.seeds])

    def notes(self) -> list[str]:
        """What a reader of the table must know about the prompts."""
        notes, total = [], len(self.case.prompts)
        if self.failures:
            notes.append(f"{len(self.failures)} of {total} prompts left out, the model failed")
        if truncated := self.measured.truncated_prompts:
            notes.append(f"{truncated} of {total} prompts cut at the text encoder's limit")
        if self.case.samples and (revisions := self.frame["revision"].nunique()) > 1:
            notes.append(f"recorded with {revisions} revisions of the model; pin model.revision")
        if second := self.config.baseline_model.path:
            names = ", ".join(d.name for d in self.configured if d.compares_models)
            notes.append(f"{members.model_name({'path': second})} is the second model of {names}")
        notes += [*self.measured.provenance.get("cautions", []), *self.case.prompts.cautions]
        remarks = (d.remark(self.prompts, len(self.config.seeds)) for d in self.detectors)
        return [*notes, *(remark for remark in remarks if remark)]

    @cached_property
    def scored(self) -> Scored:
        """The scores of all judged prompts.

        Raises:
            UserError: No detector can be scored.
        """
        return self._scored(self.prompts, self.configured)

    @property
    def detectors(self) -> Sequence[Detector]:
        """Those configured that can be scored."""
        return self.scored.detectors

    @property
    def scores(self) -> dict[str, Array]:
        """Every detector's scores by row key, ``[S, N]`` for S noise seeds."""
        keys = [detector.key for detector in self.detectors]
        return dict(zip(keys, self.evaluated.scores, strict=True))

    @cached_property
    def _samples(self) -> Future[Resampling]:
        """The bootstrap's samples of all judged prompts, which numpy draws beside other work."""
        prompts, config = self.prompts, self.config
        drawn = prompts.labels, prompts.clusters, config.draws, config.bootstrap_seed
        thread = ThreadPoolExecutor(1)
        try:
            return thread.submit(resample, *drawn)
        finally:
            thread.shutdown(wait=False)

    @cached_property
    def evaluated(self) -> Evaluation:
        """Statistics of all detectors' scores of all judged prompts."""
        drawing = self._samples
        try:
            return self.evaluate(self.scored.scores, resampling=drawing.result())
        except ValueError as error:
            raise UserError(str(error)) from None

    def judged(
        self,
        rows: Sequence[int],
        of: Sequence[Detector] | None = None,
        draws: int | None = None,
        targets: Sequence[float] | None = None,
    ) -> Judged:
        """Estimates, intervals and comparisons on a part of the prompts.

        Fitted weights are fitted on the prompts evaluated, so a part refits them.

        Arguments:
            rows: The prompts' rows in the set.
            of: The detectors; all that can be scored if not given.
            draws: The draws of the bootstrap; the table's if not given.
            targets: False-positive rates of the TPR; the table's if not given.

        Raises:
            UserError: Settings of the table are wrong, or no detector can be scored.
        """
        prompts = self.prompts.subset(rows)
        part = self._scored(prompts, of or self.detectors)
        try:
            evaluation = self.evaluate(part.scores, prompts, draws, targets)
        except ValueError as error:
            raise UserError(str(error)) from None
        return Judged(part.detectors, part.scores, part.refused, evaluation=evaluation)

    def _scored(self, prompts: PromptSet, detectors: Sequence[Detector]) -> Scored:
        return score(detectors, [self.recorded(seed, prompts) for seed in self.config.seeds])

    def among(self, of: Sequence[Detector], draws: int) -> Evaluation:
        """Estimates and comparisons of some detectors on all judged prompts.

        Arguments:
            of: Detectors that can be scored.
            draws: The draws of the bootstrap at least; what the table has drawn is not redrawn.
        """
        chosen = [self.detectors.index(detector) for detector in of]
        if draws <= self.config.draws:
            return self.evaluated.of(chosen)
        return self.evaluate(self.scored.scores[chosen], draws=draws)

    def evaluate(
        self,
        scores: Array,
        prompts: PromptSet | None = None,
        draws: int | None = None,
        targets: Sequence[float] | None = None,
        resampling: Resampling | None = None,
    ) -> Evaluation:
        """Statistics of any scores by the table's settings.

        Arguments:
            scores: ``[D, S, N]`` for D detectors and S noise seeds.
            prompts: The N prompts; all that are judged if not given.
            draws: The draws of the bootstrap; the table's if not given.
            targets: False-positive rates of the TPR; the table's if not given.
            resampling: The bootstrap's samples, where they are drawn already.
        """
        chosen, config = prompts or self.prompts, self.config
        rates = config.fpr_targets if targets is None else targets
        settings = (rates, draws or config.draws, config.bootstrap_seed)
        return Evaluation(scores, chosen.labels, chosen.clusters, *settings, resampling)

    def parts(self) -> dict[str, list[int]]:
        """Parts of the prompts to report beside the whole, name to rows.

        Memorized prompts against each block of the others; each kind of memorization against all
        others; one prompt of every cluster and class.
        """
        prompts = self.prompts
        memorized = [i for i, label in enumerate(prompts.labels) if label]
        others = [i for i, label in enumerate(prompts.labels) if not label]
        parts = {}
        for block in dict.fromkeys(prompts.blocks[i] for i in others):
            rows = [i for i in others if prompts.blocks[i] == block]
            parts[f"against {block}"] = memorized + rows
        for kind in dict.fromkeys(prompts.kinds[i] for i in memorized):
            parts[kind] = [i for i in memorized if prompts.kinds[i] == kind] + others
        parts["one per cluster"] = prompts.one_per_cluster()
        return parts

    def recorded(self, seed: int, prompts: PromptSet | None = None) -> Recorded:
        """The stored components of one noise seed, of all judged prompts or some."""
        if prompts is not None and prompts is not self.prompts:
            return self._recorded(seed, prompts)
        if seed not in self._of_all:
            self._of_all[seed] = self._recorded(seed, self.prompts)
        return self._of_all[seed]

    def _recorded(self, seed: int, chosen: PromptSet) -> Recorded:
        case = self.case
        components = arrays(self.frame, chosen.ids, seed, case.samples)
        references: dict[str, Array] = {}
        if case.references:
            failed = set(self.frame.loc[self.frame[FAILURE].notna(), "prompt_id"])
            ids = [i for i in case.ids[len(case.prompts) :] if i not in failed]
            references = arrays(self.frame, ids, seed, case.samples)
        for values in (*components.values(), *references.values()):
            values.flags.writeable = False  # one detector's score must not change another's
        return Recorded(components, chosen, self.config.stands_for, references, seed)


def rows_of(all_results: Sequence[Results]) -> list[Row]:
    """The rows of several cases' tables; samples of all are drawn beside the first one's scores.

    Raises:
        UserError: Prompts are missing from a store, or settings of the table are wrong.
    """
    for results in all_results:
        _ = results._samples
    return [row for results in all_results for row in results.table]
