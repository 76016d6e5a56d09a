"""One prompt's picture as it is sampled without and with a mitigation, and its scores.

Nothing is stored but the picture that is asked for; a whole set is a ``trial``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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
    from anisomem.config.schema import Config
    from anisomem.mitigation.base import Effort
    from anisomem.mitigation.scoring import Scores

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
    from anisomem.mitigation.base import Ordinary, moved
    from anisomem.mitigation.none import NoMitigation
    from anisomem.mitigation.on_detection import OnDetection
    from anisomem.mitigation.scoring import scores

    chosen = mitigations(config)
    with progress.phase("loading the model"):
        model = devices.loaded(config)
    model.require(Capability.PICTURES, "there is nothing to show")
    seed, outcomes, texts = config.seeds[0], [], []
    if fpr is not None:
        chosen = [
            one if isinstance(one, NoMitigation) else OnDetection(one.name, one, fpr=fpr)
            for one in chosen
        ]
    if any(one.uses_ordinary for one in chosen):
        texts = draw(config, labelled.whole(config))
    chosen = [one.ready(model, Ordinary(texts, [seed] * len(texts))) for one in chosen]
    batches = Batches(model, size=config.batch_size)
    x, given = model.initial_noise(seed, 1), model.encode([prompt])
    for mitigation in progress.over(chosen, "generate", "picture"):
        begin = perf_counter()
        mitigated = mitigation(model, [prompt], x, [seed], batches)
        picture = model.decode(mitigated.sample(model))[0]
        seconds = perf_counter() - begin
        found_scores = scores(model, mitigated, [seed], batches)
        before, after = (c.embeddings for c in (given, mitigated.conditioning))
        outcomes.append(
            Outcome(
                mitigation.name,
                mitigated.texts[0],
                picture,
                found_scores,
                0.0 if before is None or after is None else moved(before, after)[0],
                moved(x, mitigated.x.cpu())[0],
                mitigated.spent()[0],
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
