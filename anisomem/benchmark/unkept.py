"""What is asked for once and kept nowhere: a program's case, or prompts to score.

A command's case is kept in a folder, see ``case`` and ``complete``. These are recorded by the same
code into a store in memory, of detectors that are objects: their classes need no file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from anisomem.benchmark.case import Case
from anisomem.benchmark.entries import Entries, samples_of
from anisomem.benchmark.measured import Measured
from anisomem.benchmark.results import Results
from anisomem.config.schema import Config
from anisomem.datasets.prompts import PromptSet
from anisomem.detection.base import Array, Detector
from anisomem.engine.tensors import TensorFiles
from anisomem.run import labelled
from anisomem.run.base import state_of_model
from anisomem.storage.memory import NOWHERE, MemoryStore
from anisomem.storage.store import FAILURE, arrays

if TYPE_CHECKING:
    from anisomem.models.base import DiffusionModel


class UnkeptCase(Case):
    """A case in memory.

    Arguments:
        config: The settings of the run.
        configured: Its detectors.
        prompts: The prompt set; the one that the settings name if not given.
        references: Prompts that detectors take as ordinary; drawn if not given and asked for.

    Raises:
        UserError: As of a :class:`Case`.
    """

    def __init__(
        self,
        config: Config,
        configured: Sequence[Detector],
        prompts: PromptSet | None = None,
        references: Sequence[str] | None = None,
    ) -> None:
        self.configured = list(configured)
        super().__init__(replace(config, runs=str(NOWHERE)), "", references, prompts)
        self.store = MemoryStore(self.content)

    def sources(self) -> dict[str, str]:
        """None: nothing is read back that an edit could outdate."""
        return {}


def complete(case: UnkeptCase, model: DiffusionModel) -> Results:
    """Records all of a case and counts what it costs, without seconds.

    Arguments:
        case: What is asked.
        model: Its model.

    Raises:
        UserError: Too few prompts of a class, or what recording refuses.
    """
    from anisomem.benchmark.record import record
    from anisomem.engine.counting import counts_of_each
    from anisomem.run.provenance import provenance

    memorized = int(case.prompts.labels.sum())
    labelled.require_both(case.name, memorized, len(case.prompts) - memorized)
    if missing := case.missing():
        record(case, model, missing)
    results = Results(case)
    results.measured = Measured(
        counts_of_each(case.configured, case.config.noise_policy),
        truncated_prompts=model.truncated(case.prompts.texts),
        provenance=provenance(model),
    )
    return results


@dataclass(frozen=True)
class Evaluated:
    """What was evaluated of some prompts.

    Attributes:
        components: Those of the prompts, name to ``[N, n]``.
        references: Those of the reference prompts that did not fail.
        failed: Why prompts failed, by their row.
    """

    components: Mapping[str, Array]
    references: Mapping[str, Array]
    failed: Mapping[int, str]


class Asked(Entries):
    """Prompts in memory, and reference prompts behind them, as a case of them has its entries.

    Arguments:
        config: The settings of the run.
        configured: The detectors that record.
        texts: The prompts.
        references: Prompts that detectors take as ordinary.
    """

    def __init__(
        self,
        config: Config,
        configured: Sequence[Detector],
        texts: Sequence[str],
        references: Sequence[str] = (),
    ) -> None:
        self.config, self.name, self.state = config, "score", state_of_model(config)
        self._configured, self._texts = list(configured), [*texts, *references]
        self._prompts = len(texts)
        self.noise_rows = range(len(self._texts))
        self.samples = samples_of(configured)
        self.store = MemoryStore({})

    @property
    def configured(self) -> Sequence[Detector]:
        return self._configured

    @property
    def tensors(self) -> TensorFiles:
        return TensorFiles(NOWHERE, [])

    @property
    def texts(self) -> Sequence[str]:
        return self._texts

    @property
    def ids(self) -> Sequence[str]:
        return [str(row) for row in range(len(self._texts))]

    def recorded(self, model: DiffusionModel) -> Evaluated:
        """Evaluates everything.

        Raises:
            UserError: What recording refuses.
        """
        from anisomem.benchmark.record import record

        if not self.samples:
            return Evaluated({}, {}, {})
        record(self, model, self.batches())
        frame, seed, ids = self.store.read(), self.config.seeds[0], list(self.ids)
        failed = frame[frame[FAILURE].notna()].drop_duplicates("prompt_id")
        reasons = {
            int(i): why for i, why in zip(failed["prompt_id"], failed[FAILURE], strict=True)
        }
        others = [i for i in ids[self._prompts :] if int(i) not in reasons]
        return Evaluated(
            arrays(frame, ids[: self._prompts], seed, self.samples),
            arrays(frame, others, seed, self.samples) if others else {},
            {row: why for row, why in reasons.items() if row < self._prompts},
        )
