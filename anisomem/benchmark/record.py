"""Evaluates batches of a case's prompts, in this process or in several, into its store.

The evaluation of a batch is :class:`anisomem.engine.engine.Engine`; sharing batches among
processes is :mod:`anisomem.run.workers`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from time import perf_counter

from anisomem.benchmark.case import Batch, Case, sources
from anisomem.config.build import build
from anisomem.config.schema import Config
from anisomem.detection.base import Detector
from anisomem.detection.configured import detectors
from anisomem.engine.engine import Engine
from anisomem.engine.tensors import TensorFiles
from anisomem.models.base import DiffusionModel
from anisomem.run.base import state_of_model
from anisomem.run.provenance import device_name, git_commit
from anisomem.run.workers import cores, do_all, require_same
from anisomem.storage.store import Origin, ScoreStore


class Recorder:
    """Evaluates batches and adds them to a store.

    Arguments:
        model: The model, loaded.
        configured: The detectors of the case, at the places of its model.
        config: The settings of the case.
        store: Where components are kept.
        tensors: Where whole evaluations are kept.
    """

    def __init__(
        self,
        model: DiffusionModel,
        configured: Sequence[Detector],
        config: Config,
        store: ScoreStore,
        tensors: TensorFiles,
    ) -> None:
        self.store, self.tensors = store, tensors
        self.device, self.commit = device_name(model.device), git_commit(Path(__file__).parent)
        self.engine = Engine(model, configured, config.noise_policy, config.batch_size)

    @classmethod
    def for_case(cls, case: Case, model: DiffusionModel) -> Recorder:
        """The recorder of a case whose model is loaded."""
        return cls(model, case.configured, case.config, case.store, case.tensors)

    def __call__(self, batch: Batch) -> int:
        """Records one batch and returns its number of prompts.

        Raises:
            UserError: The model returned NaN or infinity without any prompt.
        """
        collector = self.tensors.collector(batch.ids, batch.seed)
        begin = perf_counter()
        components = self.engine.evaluate(batch.texts, batch.noise_rows, batch.seed, collector)
        seconds = perf_counter() - begin
        collector.write()
        origin = Origin(
            self.engine.batches.size, self.device, self.commit, self.engine.model.revision
        )
        self.store.append(batch.ids, batch.seed, components, seconds, origin)
        return len(batch.ids)


def record(case: Case, model: DiffusionModel, batches: Sequence[Batch]) -> None:
    """Records all batches, see :func:`anisomem.run.workers.do_all`.

    Raises:
        UserError: What :class:`Recorder` refuses, or a process died.
    """
    require_same(state_of_model(case.config), case.state)
    start = partial(_recorder, case.config, case.store, case.tensors, case.state)
    total = sum(len(batch.ids) for batch in batches)
    workers = case.config.workers or cores(model)
    here, title = Recorder.for_case(case, model), f"{case.name}: record"
    do_all(batches, here, start, workers, total, title, "prompt")


def _recorder(
    config: Config, store: ScoreStore, tensors: TensorFiles, state: Mapping[str, str]
) -> Recorder:
    """The same in another process, which gets batches and reads no prompts."""
    configured = detectors(config.detector)
    require_same(sources(config, configured), store.content.get("sources", {}))
    require_same(state_of_model(config), state)
    return Recorder(build(config.model, "model"), configured, config, store, tensors)
