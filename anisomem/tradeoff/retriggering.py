"""Searches an embedding close to a prompt's that brings its training picture back, and samples it.

What is asked for, and how the pictures are judged, is :mod:`anisomem.measures.retrigger`.

A mitigation that evaluates nothing is searched through: in every step it is applied to the
prompt with the offset, and what it does to embeddings and attention is differentiated. One that
does (a descent, say) is applied once, without the offset, and the search adds the offset to what
it made of the embeddings; an adversary who goes through the descent itself may find more. In the
end both are applied to the prompt with the offset that was found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from math import isfinite
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from torch import Tensor

from anisomem.config import own
from anisomem.config.schema import Config
from anisomem.detection.base import Array
from anisomem.engine.batches import Batches
from anisomem.errors import UserError
from anisomem.measures.base import Picture
from anisomem.measures.pixels import fitted
from anisomem.measures.retrigger import Retrigger
from anisomem.mitigation.base import Mitigated, Mitigation, Ordinary
from anisomem.mitigation.guidance import embedded, precise
from anisomem.models.base import DiffusionModel
from anisomem.run import devices, sharing
from anisomem.run.provenance import device_name, git_commit
from anisomem.run.workers import Work, require_same
from anisomem.storage.store import Origin, ScoreStore
from anisomem.tradeoff.measuring import Pair, generated
from anisomem.tradeoff.sampling import ordinary
from anisomem.tradeoff.settings import Setting
from anisomem.tradeoff.trial import Pictures, Trial


@dataclass(frozen=True)
class Part:
    """All that a process needs to know of a prompt with a setting.

    Attributes:
        setting, row: The index of a setting, and the row of a prompt, which only names it.
        text: The prompt.
        seeds: The seed of each picture's noise.
        training: Its training pictures.
    """

    setting: int
    row: int
    text: str
    seeds: Sequence[int]
    training: Sequence[Picture]


@dataclass(frozen=True)
class Found:
    """What a search gives.

    Attributes:
        pictures: ``[S, H, W, 3]``.
        length: The offset's, relative to that of the embeddings.
        losses: The search's loss in its first and in its last step.
        seconds: How long it took.
        origin: How it was made.
    """

    pictures: Pictures
    length: float
    losses: tuple[float, float]
    seconds: float
    origin: Origin


class Defence:
    """A prompt under a mitigation, as somebody sees it who offsets its embeddings.

    Arguments:
        model: The model that is sampled.
        mitigation: The mitigation, ready.
        text: The prompt.
        seeds: The seeds of its pictures' noise.
        batches: Which know how many latents fit into a pass.
    """

    def __init__(
        self,
        model: DiffusionModel,
        mitigation: Mitigation,
        text: str,
        seeds: Sequence[int],
        batches: Batches,
    ) -> None:
        self.model, self.mitigation, self.batches = model, mitigation, batches
        self.texts, self.seeds = [text] * len(seeds), seeds
        self.x = torch.cat([model.initial_noise(seed, 1) for seed in seeds]).to(model.device)
        self.start = self.applied()
        spent = self.start.efforts
        self.through = not any(one.nfe or one.backward or one.jvps for one in spent)

    def applied(self) -> Mitigated:
        """What is sampled of the prompt, as the model encodes it now."""
        return self.mitigation(self.model, self.texts, self.x, self.seeds, self.batches)

    def seen(self, offset: Tensor) -> Mitigated:
        """What the search takes it for with an offset, differentiable in it."""
        if self.through:
            with self.model.offset(offset):
                return self.applied()
        given = self.start.conditioning
        return replace(
            self.start, conditioning=embedded(self.model, given, precise(given) + offset)
        )


def search(
    defence: Defence, latents: Tensor, asked: Retrigger, steps: int
) -> tuple[Tensor, list[float]]:
    """The offset that is found, ``[tokens, width]``, and the loss in every step.

    Arguments:
        defence: The prompt under its mitigation.
        latents: Its training pictures', ``[m, C, H, W]``.
        asked: The search's settings.
        steps: Of the trajectory, whose timesteps are drawn from.

    Raises:
        UserError: The loss is NaN or infinite.
    """
    model, rows = defence.model, len(defence.seeds)
    whole = precise(model.encode(defence.texts[:1]))[0]
    bound = asked.radius * whole.norm()
    offset = torch.zeros_like(whole).requires_grad_()
    adam = torch.optim.Adam([offset], lr=asked.lr)
    generator = torch.Generator().manual_seed(asked.seed)
    times = torch.from_numpy(np.asarray(model.timesteps(steps)))  # integers, or float64
    losses: list[float] = []
    for step in range(asked.steps):
        place = torch.arange(asked.batch) + step * asked.batch  # takes turns at all there are
        x0 = latents[place % len(latents)]
        noise = torch.randn(x0.shape, generator=generator)
        t = times[torch.randint(len(times), (asked.batch,), generator=generator)]
        alpha, sigma = (scale.float()[:, None, None, None] for scale in model.scales(t))
        noised = (alpha * x0 + sigma * noise).to(model.device, model.dtype)
        with torch.enable_grad():
            some = defence.seen(offset)[(place % rows).tolist()]
            with some.hooks(model):
                predicted = model.predict(noised, t, some.conditioning).epsilon
            loss = (predicted - noise.to(predicted)).square().mean()
            (offset.grad,) = torch.autograd.grad(loss, offset)
        losses.append(float(loss.detach()))
        if not isfinite(losses[-1]) or not offset.grad.isfinite().all():
            raise UserError(
                f"the search of {asked.name} met NaN or infinity; give a smaller "
                f"measure.{asked.name}.lr, now {asked.lr:g}"
            )
        adam.step()
        with torch.no_grad():
            offset *= (bound / offset.norm()).clamp(max=1)
    return offset.detach(), losses


class Searcher:
    """Searches for some prompts with a setting, and samples what is found.

    Arguments:
        model: The model, loaded.
        config: The settings of the trial.
        settings: Its mitigations at their strengths.
        ordinary: Its ordinary prompts.
        asked: The measure that asks.

    Raises:
        UserError: The model lacks what a search needs.
    """

    def __init__(
        self,
        model: DiffusionModel,
        config: Config,
        settings: Sequence[Setting],
        ordinary: Ordinary,
        asked: Retrigger,
    ) -> None:
        asked.require(model)
        self.model, self.settings, self.ordinary, self.asked = model, settings, ordinary, asked
        self.steps, self.guidance = config.trial.steps, config.trial.guidance
        self.batches = Batches(model, size=config.batch_size)
        self.device, self.commit = device_name(model.device), git_commit(Path(__file__).parent)
        self.mitigation = cache(self._mitigation)

    def _mitigation(self, index: int) -> Mitigation:
        return self.settings[index].build().ready(self.model, self.ordinary)

    def __call__(self, part: Part) -> Found:
        """Does one prompt."""
        model, begin = self.model, perf_counter()
        mitigation = self.mitigation(part.setting)
        defence = Defence(model, mitigation, part.text, part.seeds, self.batches)
        training = np.stack([fitted(one, *model.picture_size) for one in part.training])
        offset, losses = search(defence, model.latents_of(training), self.asked, self.steps)
        with model.offset(offset):
            mitigated = defence.applied()
        latents = mitigated.sample(model, self.steps, self.guidance)
        if not latents.isfinite().all():
            raise UserError(
                f"what {self.asked.name} found for {part.text!r} makes NaN or infinity; give a "
                f"smaller measure.{self.asked.name}.radius, now {self.asked.radius:g}"
            )
        length = offset.norm() / precise(model.encode([part.text])).norm()
        origin = Origin(self.batches.size, self.device, self.commit, model.revision)
        pictures = model.decode(latents)
        seconds = perf_counter() - begin
        return Found(pictures, float(length), (losses[0], losses[-1]), seconds, origin)


def retrigger(
    trial: Trial, asked: Retrigger, store: ScoreStore, tasks: Sequence[Pair], model: DiffusionModel
) -> None:
    """Searches for every prompt and setting, judges what is sampled, and keeps the numbers."""
    config = trial.config
    state = sharing.state_of_start(config, trial.state)
    given = trial.settings, ordinary(trial)
    work = Work(
        Searcher(model, config, *given, asked),
        partial(_searcher, config, *given, asked.name, state),
        partial(_keep, trial, asked, store),
    )
    parts = [_part(trial, setting, row) for setting, row in tasks]
    sharing.share(parts, work, config, model, len(parts), f"{trial.name}: {asked.name}", "prompt")


def _part(trial: Trial, setting: Setting, row: int) -> Part:
    training = trial.references.pictures[trial.prompts.ids[row]]
    index = trial.settings.index(setting)
    return Part(index, row, trial.prompts.texts[row], trial.noise_seeds(row), training)


def _keep(trial: Trial, asked: Retrigger, store: ScoreStore, part: Part, found: Found) -> int:
    """Judges and keeps, and returns how many prompts."""
    setting, count = trial.settings[part.setting], len(trial.seeds)
    numbers: dict[str, Array] = {
        **asked(replace(generated(trial, setting, part.row), again=found.pictures)),
        "offset": np.full(count, found.length),
        "first_loss": np.full(count, found.losses[0]),
        "last_loss": np.full(count, found.losses[1]),
    }
    columns = {name: values[None] for name, values in numbers.items()}
    keys = [trial.key(setting, part.row)]
    store.append(keys, trial.seeds[0], columns, found.seconds, found.origin)
    return 1


def _searcher(
    config: Config,
    settings: Sequence[Setting],
    ordinary: Ordinary,
    name: str,
    state: Mapping[str, str],
    device: str | None,
) -> Searcher:
    """The same in another process."""
    from anisomem.tradeoff.settings import measures

    for setting in settings:
        require_same(own.sources([setting.build()]), setting.sources)
    sharing.require_same_start(config, state)
    (asked,) = (one for one in measures(config) if one.name == name)
    assert isinstance(asked, Retrigger)
    return Searcher(devices.loaded(config, device), config, settings, ordinary, asked)
