"""Evaluates batches of entries, wherever that is shared out to, into their store.

The evaluation of a batch is :class:`anisomem.engine.engine.Engine`; who does which batch is
:mod:`anisomem.run.sharing`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter

from anisomem.benchmark.entries import Batch, Entries, sources
from anisomem.config.schema import Config
from anisomem.detection.base import Array, Detector
from anisomem.detection.configured import detectors
from anisomem.engine.engine import Engine
from anisomem.engine.tensors import Collector
from anisomem.models.base import DiffusionModel
from anisomem.run import devices, sharing
from anisomem.run.provenance import device_name, git_commit
from anisomem.run.workers import Work, require_same
from anisomem.storage.store import Origin


@dataclass(frozen=True)
class Recorded:
    """What a batch's evaluation gives.

    Attributes:
        components: Name to ``[B, n]``.
        seconds: How long it took.
        origin: How it was evaluated.
        device: On which device, as torch names it.
        tensors: Whole evaluations by prompt, as safetensors.
    """

    components: Mapping[str, Array]
    seconds: float
    origin: Origin
    device: str
    tensors: Mapping[str, bytes]


class Recorder:
    """Evaluates batches.

    Arguments:
        model: The model, loaded.
        configured: The detectors that record, at the places of its model.
        config: The settings of the run.
    """

    def __init__(
        self, model: DiffusionModel, configured: Sequence[Detector], config: Config
    ) -> None:
        self.wanted = config.tensors
        self.device, self.commit = device_name(model.device), git_commit(Path(__file__).parent)
        self.engine = Engine(model, configured, config.noise_policy, config.batch_size)

    def __call__(self, batch: Batch) -> Recorded:
        """Evaluates one batch.

        Raises:
            UserError: The model returned NaN or infinity without any prompt.
        """
        collector = Collector(self.wanted, batch.ids)
        begin = perf_counter()
        components = self.engine.evaluate(batch.texts, batch.noise_rows, batch.seed, collector)
        seconds, model = perf_counter() - begin, self.engine.model
        commits = [one.revision for one in (model, model.baseline) if one and one.revision]
        revision = " and ".join(commits) or None
        origin = Origin(self.engine.batches.size, self.device, self.commit, revision)
        return Recorded(components, seconds, origin, str(model.device), collector.contents())


def keep(entries: Entries, batch: Batch, recorded: Recorded) -> int:
    """Keeps a batch in the entries' store and returns its number of prompts."""
    entries.tensors.write(batch.seed, recorded.tensors)
    entries.store.append(
        batch.ids, batch.seed, recorded.components, recorded.seconds, recorded.origin
    )
    return len(batch.ids)


def record(entries: Entries, model: DiffusionModel, batches: Sequence[Batch]) -> dict[str, str]:
    """Records all batches, see :func:`anisomem.run.sharing.share`.

    Returns:
        Where they were evaluated, as :func:`anisomem.run.provenance.provenance` says it.

    Raises:
        UserError: What :class:`Recorder` refuses, or a process died.
    """
    state = sharing.state_of_start(entries.config, entries.state)
    start = partial(_recorder, entries.config, entries.store.content.get("sources", {}), state)
    total = sum(len(batch.ids) for batch in batches)
    used: set[tuple[str, str]] = set()

    def note_and_keep(batch: Batch, recorded: Recorded) -> int:
        used.add((recorded.device, recorded.origin.device))
        return keep(entries, batch, recorded)

    work = Work(Recorder(model, entries.configured, entries.config), start, note_and_keep)
    sharing.share(batches, work, entries.config, model, total, f"{entries.name}: record", "prompt")
    columns = zip(*sorted(used), strict=True)
    return {
        name: ", ".join(dict.fromkeys(column))
        for name, column in zip(("device", "device_name"), columns, strict=True)
    }


def _recorder(
    config: Config, code: Mapping[str, str], state: Mapping[str, str], device: str | None
) -> Recorder:
    """The same in another process, which gets batches and reads no prompts."""
    configured = detectors(config.detector)
    require_same(sources(config, configured), code)
    sharing.require_same_start(config, state)
    return Recorder(devices.loaded(config, device), configured, config)
