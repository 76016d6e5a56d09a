"""``anisomem generate``: one prompt's picture before and after a mitigation, with its scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from anisomem import config as configuration
from anisomem import labelled, progress
from anisomem.datasets.references import draw
from anisomem.errors import UserError
from anisomem.models.capability import Capability
from anisomem.report.table import Table
from anisomem.storage import atomic

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from anisomem.mitigation.base import Effort
    from anisomem.mitigation.scoring import Scores
    from anisomem.models.base import DiffusionModel

INCHES, DPI = 3.2, 120  # a picture's side


@dataclass(frozen=True)
class Outcome:
    """A prompt as it is sampled one way.

    Attributes:
        label: The way.
        text: The prompt as it was encoded.
        picture: uint8 ``[H, W, 3]``.
        scores: At the noise it is sampled from, and at other noise.
        embeddings, noise: Relative distances from where they were.
        effort: Of the mitigation.
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


def generate(
    prompt: str, mitigate: str | None, fpr: float | None, overrides: Sequence[str], out: Path
) -> str:
    """Samples a prompt, and once more with a mitigation; writes the pictures side by side.

    Arguments:
        prompt: The prompt.
        mitigate: A mitigation, or None.
        fpr: It acts only where the metric is above what this share of ordinary prompts exceed;
            None acts always.
        overrides: As of ``anisomem run``; the first of the seeds is used.
        out: The PNG.

    Returns:
        A table of both, to print.

    Raises:
        UserError: An empty prompt, an unknown mitigation or setting, a file that cannot be
            written, a model that lacks what is changed, or too few ordinary prompts for ``fpr``.
    """
    from anisomem.recording import one_thread

    if fpr is not None and not mitigate:
        raise UserError("--fpr says when a mitigation acts; name one with --mitigate")
    if not prompt.strip():
        raise UserError("the prompt is empty")
    if out.suffix != ".png":
        raise UserError(f"--out must name a .png file, got {str(out)!r}")
    names = list(dict.fromkeys(["none", *([mitigate] if mitigate else [])]))
    config = configuration.cases([f"mitigation=[{','.join(names)}]", *overrides])[0]
    with one_thread():  # as runs compute
        outcomes = sample(prompt, config, fpr)
    atomic.write(out, partial(_draw, outcomes=outcomes))
    return f"{table(outcomes).markdown()}\nPictures: {out}"


def sample(prompt: str, config: DictConfig, fpr: float | None) -> list[Outcome]:
    """The prompt sampled with every mitigation of the configuration, from the same noise."""
    from anisomem.engine import Engine
    from anisomem.mitigation.base import Ordinary, moved
    from anisomem.mitigation.none import NoMitigation
    from anisomem.mitigation.on_detection import OnDetection
    from anisomem.mitigation.scoring import scores

    mitigations = configuration.mitigations(config)
    with progress.phase("loading the model"):
        model: DiffusionModel = configuration.build(config.model, "model")
    model.require(Capability.PICTURES, "there is nothing to show")
    seed, outcomes, texts = config.seeds[0], [], []
    if fpr is not None:
        mitigations = [
            one if isinstance(one, NoMitigation) else OnDetection(one.name, one, fpr=fpr)
            for one in mitigations
        ]
    if any(one.uses_ordinary for one in mitigations):
        texts = draw(config, labelled.whole(config))
    mitigations = [one.ready(model, Ordinary(texts, [seed] * len(texts))) for one in mitigations]
    engine = Engine(model, [], batch_size=config.batch_size)
    x, given = model.initial_noise(seed, 1), model.encode([prompt])
    for mitigation in progress.over(mitigations, "generate", "picture"):
        begin = perf_counter()
        found = mitigation(model, [prompt], x, [seed], engine)
        picture = model.decode(found.sample(model))[0]
        seconds = perf_counter() - begin
        found_scores = scores(model, found, [seed], engine)
        before, after = (c.embeddings for c in (given, found.conditioning))
        outcomes.append(
            Outcome(
                mitigation.name,
                found.texts[0],
                picture,
                found_scores,
                0.0 if before is None or after is None else moved(before, after)[0],
                moved(x, found.x.cpu())[0],
                found.efforts[0],
                seconds,
                mitigation.paper.cited if mitigation.paper else "",
            )
        )
    return outcomes


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


def _draw(path: Path, outcomes: Sequence[Outcome]) -> None:
    """The pictures side by side, each under its scores."""
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
