"""Samples what is missing of a trial, in this process or in several.

What is changed before sampling is :mod:`anisomem.mitigation`; the pictures are measured in
``measuring``.
"""

from __future__ import annotations

from dataclasses import asdict
from functools import cache, partial
from pathlib import Path
from time import perf_counter

import numpy as np
import torch

from anisomem.config.build import build
from anisomem.detection.base import Array
from anisomem.engine.batches import Batches
from anisomem.mitigation.base import Mitigated, Mitigation, Ordinary, moved
from anisomem.mitigation.scoring import scores
from anisomem.models.base import DiffusionModel
from anisomem.run.base import state_of_model
from anisomem.run.clock import synchronise
from anisomem.run.provenance import device_name, git_commit
from anisomem.run.workers import cores, do_all, require_same
from anisomem.storage.store import Origin
from anisomem.tradeoff.trial import Pictures, Task, Trial

COST = ("nfe", "backward", "jvps", "iterations")


class Sampler:
    """Samples some prompts with a setting and keeps pictures and numbers.

    Arguments:
        trial: The trial that is sampled.
        model: Its model, loaded.

    Raises:
        UserError: A mitigation that the model does not allow.
    """

    def __init__(self, trial: Trial, model: DiffusionModel) -> None:
        self.trial, self.model = trial, model
        self.device, self.commit = device_name(model.device), git_commit(Path(__file__).parent)
        self.batches = Batches(model, size=trial.config.batch_size)
        self.mitigation = cache(self._mitigation)
        for setting in trial.settings:
            setting.build().require(model)

    def _mitigation(self, index: int) -> Mitigation:
        ordinary = Ordinary(self.trial.ordinary, self.trial.ordinary_seeds())
        return self.trial.settings[index].build().ready(self.model, ordinary)

    def __call__(self, task: Task) -> int:
        """Does one task and returns its number of pictures."""
        index, prompts = task
        trial, model, setting = self.trial, self.model, self.trial.settings[index]
        mitigation = self.mitigation(index)
        texts = [trial.prompts.texts[i] for i in prompts for _ in trial.seeds]
        seeds = [seed for i in prompts for seed in trial.noise_seeds(i)]
        x = torch.cat([model.initial_noise(seed, 1) for seed in seeds]).to(model.device)
        begin = perf_counter()
        mitigated = mitigation(model, texts, x, seeds, self.batches)
        synchronise(model)
        between = perf_counter()
        latents, pictures = self._sampled(mitigated)
        end = perf_counter()
        values = {
            **{name: np.array([getattr(e, name) for e in mitigated.efforts]) for name in COST},
            "diverged": np.array([effort.diverged for effort in mitigated.efforts]),
            **asdict(scores(model, mitigated, seeds, self.batches)),
            **self._moved(mitigated, texts, x),
            # A picture hides NaN; the size of its latents does not.
            "latents": latents.double().flatten(1).square().mean(1).sqrt().cpu().numpy(),
            "mitigation_seconds": np.full(len(seeds), (between - begin) / len(seeds)),
            "sampling_seconds": np.full(len(seeds), (end - between) / len(seeds)),
        }
        shape = (len(prompts), len(trial.seeds))
        for row, strip in zip(prompts, pictures.reshape(*shape, *pictures.shape[1:]), strict=True):
            trial.keep(setting, row, strip)
        origin = Origin(self.batches.size, self.device, self.commit, model.revision)
        trial.sampled.append(
            [trial.key(setting, row) for row in prompts],
            trial.seeds[0],
            {name: column.astype(np.float64).reshape(shape) for name, column in values.items()},
            perf_counter() - begin,
            origin,
        )
        return len(seeds)

    def _sampled(self, mitigated: Mitigated) -> tuple[torch.Tensor, Pictures]:
        """Latents ``[B, C, h, w]`` and pictures ``[B, H, W, 3]``."""
        config = self.trial.config.trial

        def part(rows: slice) -> tuple[torch.Tensor, Pictures]:
            some = mitigated[range(len(mitigated.texts))[rows]]
            latents = some.sample(self.model, config.steps, config.guidance)
            return latents, self.model.decode(latents)

        latents, pictures = zip(
            *self.batches.in_batches(len(mitigated.texts), part, 2), strict=True
        )
        return torch.cat(latents), np.concatenate(pictures)

    def _moved(self, mitigated: Mitigated, texts: list[str], x: torch.Tensor) -> dict[str, Array]:
        """Relative distances of embeddings and noise from what was given."""
        given = self.model.encode(texts).embeddings
        after = mitigated.conditioning.embeddings
        away = [0.0] * len(texts) if given is None or after is None else moved(given, after)
        return {"embeddings_moved": np.array(away), "noise_moved": np.array(moved(x, mitigated.x))}


def sample(trial: Trial, model: DiffusionModel, tasks: list[Task]) -> None:
    """Does all tasks, see :func:`anisomem.run.workers.do_all`."""
    start = partial(_sampler, trial)
    total = sum(len(rows) for _, rows in tasks) * len(trial.seeds)
    workers = trial.config.workers or cores(model)
    here = Sampler(trial, model)
    do_all(tasks, here, start, workers, total, trial.name, "picture")
    trial.sampled.merge()


def _sampler(trial: Trial) -> Sampler:
    """The same in another process."""
    require_same(state_of_model(trial.config), trial.state)
    return Sampler(trial, build(trial.config.model, "model"))
