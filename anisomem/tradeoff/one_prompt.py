"""One prompt's picture as it is sampled without and with a mitigation, and its scores.

Nothing is stored but the picture that is asked for; a whole set is a ``trial``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from anisomem.console import progress
from anisomem.models.capability import Capability
from anisomem.report.table import Table
from anisomem.run import devices, labelled
from anisomem.run.ordinary import draw
from anisomem.tradeoff.settings import mitigations

if TYPE_CHECKING:
    from torch import Tensor

    from anisomem.config.schema import Config
    from anisomem.engine.batches import Batches
    from anisomem.mitigation.base import Effort, Mitigated, Mitigation
    from anisomem.mitigation.scoring import Scores
    from anisomem.models.base import DiffusionModel

INCHES, DPI = 3.2, 120  # a picture's side


@dataclass(frozen=True)
class Outcome:
    """A prompt as it is sampled one way.

    Attributes:
        label: The name of the way, as a heading.
        text: The prompt as it was encoded.
        picture: uint8 ``[H, W, 3]``.
        scores: The scores at the noise it is sampled from, and at other noise.
        embeddings, noise: Relative distances from where they were.
        effort: The effort of the mitigation.
        seconds: Mitigating and sampling.
        source: Where the mitigation comes from; "" for none.
    """

    label: str
    text: str
    picture: npt.NDArray[np.uint8]
    scores: Scores
    embeddings: float
    noise: float
    effort: Effort
    seconds: float
    source: str


@dataclass(frozen=True)
class Sampled:
    """A prompt as it is sampled one way from the noises of S seeds.

    Attributes:
        seeds: The seeds.
        x: The noise that was drawn from them, ``[S, C, H, W]``.
        mitigated: What is sampled, a row a seed.
        pictures: uint8 ``[S, H, W, 3]``.
        steps: Of the trajectories.
        seconds: Mitigating and sampling all.
    """

    seeds: Sequence[int]
    x: Tensor
    mitigated: Mitigated
    pictures: npt.NDArray[np.uint8]
    steps: int
    seconds: float


def sample(prompt: str, config: Config, fpr: float | None) -> list[Outcome]:
    """The prompt sampled with every mitigation of the configuration, from the same noise.

    Arguments:
        prompt: The prompt's text.
        config: The first of its seeds is used.
        fpr: A mitigation acts only where the metric is above what this share of ordinary prompts
            exceed; None acts always.

    Raises:
        UserError: A mitigation that cannot be built, a model that lacks what is changed, or too
            few ordinary prompts for ``fpr``.
    """
    from anisomem.engine.batches import Batches
    from anisomem.mitigation.base import Ordinary
    from anisomem.mitigation.none import NoMitigation
    from anisomem.mitigation.on_detection import OnDetection

    devices.require_trained(config, "pictures")
    chosen = mitigations(config)
    with progress.phase("loading the model"):
        model = devices.loaded(config)
    model.require(Capability.PICTURES, "there is nothing to show")
    seed, outcomes, texts = config.seeds[0], list[Outcome](), []
    if fpr is not None:
        chosen = [
            one if isinstance(one, NoMitigation) else OnDetection(one.name, one, fpr=fpr)
            for one in chosen
        ]
    if any(one.uses_ordinary for one in chosen):
        texts = draw(config, labelled.whole(config))
    chosen = [one.ready(model, Ordinary(texts, [seed] * len(texts))) for one in chosen]
    batches = Batches(model, size=config.batch_size)
    for mitigation in progress.over(chosen, "generate", "picture"):
        trial = config.trial
        one = sampled(model, mitigation, prompt, [seed], batches, trial.steps, trial.guidance)
        outcomes += judged(model, mitigation, prompt, one, batches)
    return outcomes


def sampled(
    model: DiffusionModel,
    mitigation: Mitigation,
    prompt: str,
    seeds: Sequence[int],
    batches: Batches,
    steps: int | None = None,
    guidance: float | None = None,
) -> Sampled:
    """The prompt sampled one way, a picture a seed.

    Arguments:
        model: The model.
        mitigation: The way, ready.
        prompt: The prompt's text.
        seeds: S seeds.
        batches: Which know how many latents fit into a pass.
        steps, guidance: Of the trajectories; the usual ones if not given.

    Raises:
        UserError: The model lacks what is changed, or memory ends.
    """
    import torch

    from anisomem.mitigation.base import GUIDANCE, STEPS

    begin = perf_counter()
    num_steps, scale = steps or STEPS, GUIDANCE if guidance is None else guidance
    x = torch.cat([model.initial_noise(seed, 1) for seed in seeds])
    mitigated = mitigation(model, [prompt] * len(seeds), x, seeds, batches)

    def part(rows: slice) -> npt.NDArray[np.uint8]:
        some = mitigated[range(len(seeds))[rows]]
        return model.decode(some.sample(model, num_steps, scale))

    pictures = np.concatenate(batches.in_batches(len(seeds), part, 2))
    return Sampled(seeds, x, mitigated, pictures, num_steps, perf_counter() - begin)


def judged(
    model: DiffusionModel,
    mitigation: Mitigation,
    prompt: str,
    sampled: Sampled,
    batches: Batches,
) -> list[Outcome]:
    """What detectors say of the prompt as it is sampled, and what that cost, a seed each.

    Arguments:
        model: The model.
        mitigation: The way.
        prompt: The prompt's text.
        sampled: What it was sampled to.
        batches: Which know how many latents fit into a pass.
    """
    from anisomem.mitigation.base import moved
    from anisomem.mitigation.scoring import Scores, scores

    mitigated = sampled.mitigated
    found = scores(model, mitigated, sampled.seeds, batches)
    before = model.encode([prompt] * len(sampled.seeds)).embeddings
    after = mitigated.conditioning.embeddings
    embeddings = [0.0] * len(sampled.seeds)
    if before is not None and after is not None:
        embeddings = moved(before, after)
    noise, spent = moved(sampled.x, mitigated.x.cpu()), mitigated.spent(sampled.steps)
    return [
        Outcome(
            mitigation.name,
            mitigated.texts[row],
            sampled.pictures[row],
            Scores(*(getattr(found, one.name)[[row]] for one in fields(Scores))),
            embeddings[row],
            noise[row],
            spent[row],
            sampled.seconds / len(sampled.seeds),
            mitigation.paper.cited if mitigation.paper else "",
        )
        for row in range(len(sampled.seeds))
    ]


def table(outcomes: Sequence[Outcome]) -> Table:
    """Scores, distances and costs of every way."""
    headings = (
        "mitigation",
        "metric at x_T",
        "on other noise",
        "Wen's norm at x_T",
        "on other noise",
        "embeddings moved",
        "noise moved",
        "iterations",
        "NFE",
        "gradients",
        "seconds",
    )
    rows = [
        (
            one.label,
            f"{one.scores.metric[0]:.3g}",
            f"{one.scores.metric_held_out[0]:.3g}",
            f"{one.scores.wen[0]:.3g}",
            f"{one.scores.wen_held_out[0]:.3g}",
            f"{one.embeddings:.1%}",
            f"{one.noise:.1%}",
            str(one.effort.iterations),
            str(one.effort.nfe),
            str(one.effort.backward),
            f"{one.seconds:.1f}",
        )
        for one in outcomes
    ]
    notes = [
        "The noise of one seed; other noise: mean of four samples that nothing was "
        "optimised on. NFE and gradients of the mitigation, without sampling.",
    ]
    prompt = outcomes[0].text
    for one in outcomes:
        if one.source:
            notes.append(f"{one.label}: {one.source}.")
        if one.effort.note:
            notes.append(f"{one.label}: {one.effort.note}.")
        if one.text != prompt:
            notes.append(f"{one.label}: the prompt reads {one.text!r}.")
    return Table("Generated", headings, rows, notes)


def draw_pictures(path: Path, outcomes: Sequence[Outcome]) -> None:
    """Draws the pictures side by side, each under its scores.

    Arguments:
        path: The PNG to be written.
        outcomes: One for each picture.
    """
    from matplotlib.figure import Figure

    from anisomem.report import literal

    width = INCHES * len(outcomes)
    figure = Figure(figsize=(width, INCHES + 0.6), layout="constrained")
    for axes, one in zip(np.ravel(figure.subplots(1, len(outcomes))), outcomes, strict=True):
        axes.imshow(one.picture, interpolation="nearest")
        axes.set_axis_off()
        scores = f"metric {one.scores.metric[0]:.3g}, Wen's norm {one.scores.wen[0]:.3g}"
        axes.set_title(f"{one.label}\n{scores}", fontsize=9)
    literal.prepare(figure)
    figure.savefig(path, dpi=DPI)
