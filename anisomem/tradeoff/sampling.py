"""Samples what is missing of a trial, in this process or in several.

What is changed before sampling is :mod:`anisomem.mitigation`; the pictures are measured in
``measuring``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from time import perf_counter

import numpy as np
import torch

from anisomem.config import own
from anisomem.config.schema import Config
from anisomem.detection.base import Array
from anisomem.engine.batches import Batches
from anisomem.mitigation.base import Mitigated, Mitigation, Ordinary, moved
from anisomem.mitigation.scoring import scores
from anisomem.models.base import DiffusionModel
from anisomem.run import devices, sharing
from anisomem.run.clock import synchronise
from anisomem.run.provenance import device_name, git_commit
from anisomem.run.workers import Work, require_same
from anisomem.storage.store import Origin
from anisomem.tradeoff.settings import Setting
from anisomem.tradeoff.trial import Pictures, Task, Trial

COST = ("nfe", "backward", "jvps", "iterations")


@dataclass(frozen=True)
class Part:
    """All that a process needs to know of a task.

    Attributes:
        task: The index of a setting, and rows of prompts, which only name it.
        texts: The prompt of each picture.
        seeds: The seed of each picture's noise.
    """

    task: Task
    texts: Sequence[str]
    seeds: Sequence[int]


@dataclass(frozen=True)
class Sampled:
    """What a task gives.

    Attributes:
        pictures: ``[B, H, W, 3]``.
        values: The numbers of each picture by name, ``[B]``.
        seconds: How long it took.
        origin: How it was sampled.
    """

    pictures: Pictures
    values: Mapping[str, Array]
    seconds: float
    origin: Origin


class Sampler:
    """Samples some prompts with a setting.

    Arguments:
        model: The model, loaded.
        config: The settings of the trial.
        settings: Its mitigations at their strengths.
        ordinary: Its ordinary prompts.

    Raises:
        UserError: A mitigation that the model does not allow.
    """

    def __init__(
        self,
        model: DiffusionModel,
        config: Config,
        settings: Sequence[Setting],
        ordinary: Ordinary,
    ) -> None:
        self.model, self.settings, self.ordinary = model, settings, ordinary
        self.steps, self.guidance = config.trial.steps, config.trial.guidance
        self.device, self.commit = device_name(model.device), git_commit(Path(__file__).parent)
        self.batches = Batches(model, size=config.batch_size)
        self.mitigation = cache(self._mitigation)
        for setting in settings:
            setting.build().require(model)

    def _mitigation(self, index: int) -> Mitigation:
        return self.settings[index].build().ready(self.model, self.ordinary)

    def __call__(self, part: Part) -> Sampled:
        """Does one task."""
        mitigation, model = self.mitigation(part.task[0]), self.model
        texts, seeds = part.texts, part.seeds
        x = torch.cat([model.initial_noise(seed, 1) for seed in seeds]).to(model.device)
        begin = perf_counter()
        mitigated = mitigation(model, texts, x, seeds, self.batches)
        synchronise(model)
        between = perf_counter()
        latents, pictures = self._sampled(mitigated)
        end = perf_counter()
        efforts = mitigated.spent(self.steps)
        values = {
            **{name: np.array([getattr(e, name) for e in efforts]) for name in COST},
            "diverged": np.array([effort.diverged for effort in efforts]),
            **asdict(scores(model, mitigated, seeds, self.batches)),
            **self._moved(mitigated, texts, x),
            # A picture hides NaN; the size of its latents does not.
            "latents": latents.double().flatten(1).square().mean(1).sqrt().cpu().numpy(),
            "mitigation_seconds": np.full(len(seeds), (between - begin) / len(seeds)),
            "sampling_seconds": np.full(len(seeds), (end - between) / len(seeds)),
        }
        origin = Origin(self.batches.size, self.device, self.commit, model.revision)
        return Sampled(pictures, values, perf_counter() - begin, origin)

    def _sampled(self, mitigated: Mitigated) -> tuple[torch.Tensor, Pictures]:
        """Latents ``[B, C, h, w]`` and pictures ``[B, H, W, 3]``."""

        def part(rows: slice) -> tuple[torch.Tensor, Pictures]:
            some = mitigated[range(len(mitigated.texts))[rows]]
            latents = some.sample(self.model, self.steps, self.guidance)
            return latents, self.model.decode(latents)

        latents, pictures = zip(
            *self.batches.in_batches(len(mitigated.texts), part, 2), strict=True
        )
        return torch.cat(latents), np.concatenate(pictures)

    def _moved(
        self, mitigated: Mitigated, texts: Sequence[str], x: torch.Tensor
    ) -> dict[str, Array]:
        """Relative distances of embeddings and noise from what was given."""
        given = self.model.encode(texts).embeddings
        after = mitigated.conditioning.embeddings
        away = [0.0] * len(texts) if given is None or after is None else moved(given, after)
        return {"embeddings_moved": np.array(away), "noise_moved": np.array(moved(x, mitigated.x))}


def sample(trial: Trial, model: DiffusionModel, tasks: list[Task]) -> None:
    """Does all tasks, see :func:`anisomem.run.sharing.share`."""
    config = trial.config
    state = sharing.state_of_start(config, trial.state)
    given = trial.settings, ordinary(trial)
    work = Work(
        Sampler(model, config, *given),
        partial(_sampler, config, *given, state),
        partial(_keep, trial),
    )
    parts = [_part(trial, task) for task in tasks]
    total = sum(len(part.seeds) for part in parts)
    sharing.share(parts, work, config, model, total, trial.name, "picture")
    trial.sampled.merge()


def ordinary(trial: Trial) -> Ordinary:
    """The ordinary prompts of a trial, as they are sampled."""
    settings = trial.config.trial
    return Ordinary(
        trial.ordinary, trial.ordinary_seeds(), settings.steps, float(settings.guidance)
    )


def _part(trial: Trial, task: Task) -> Part:
    rows = task[1]
    texts = [trial.prompts.texts[i] for i in rows for _ in trial.seeds]
    return Part(task, texts, [seed for i in rows for seed in trial.noise_seeds(i)])


def _keep(trial: Trial, part: Part, sampled: Sampled) -> int:
    """Keeps pictures and numbers and returns how many pictures."""
    index, rows = part.task
    setting, shape = trial.settings[index], (len(rows), len(trial.seeds))
    strips = sampled.pictures.reshape(*shape, *sampled.pictures.shape[1:])
    for row, strip in zip(rows, strips, strict=True):
        trial.keep(setting, row, strip)
    columns = {
        name: column.astype(np.float64).reshape(shape) for name, column in sampled.values.items()
    }
    keys = [trial.key(setting, row) for row in rows]
    trial.sampled.append(keys, trial.seeds[0], columns, sampled.seconds, sampled.origin)
    return len(part.seeds)


def _sampler(
    config: Config,
    settings: Sequence[Setting],
    ordinary: Ordinary,
    state: Mapping[str, str],
    device: str | None,
) -> Sampler:
    """The same in another process."""
    for setting in settings:
        require_same(own.sources([setting.build()]), setting.sources)
    sharing.require_same_start(config, state)
    return Sampler(devices.loaded(config, device), config, settings, ordinary)
