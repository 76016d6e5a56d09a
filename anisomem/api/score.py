"""``anisomem.score``: what a detector says of prompts."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import compress
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from anisomem.api import detectors, models
from anisomem.api import prompts as given
from anisomem.benchmark.unkept import Asked, Evaluated
from anisomem.datasets import scored
from anisomem.datasets.cells import clusters_of
from anisomem.datasets.clusters import near_duplicates
from anisomem.datasets.prompts import PromptSet
from anisomem.detection.alone import scores_alone
from anisomem.detection.base import AcrossSamples, Array, Detector, Recorded
from anisomem.errors import UserError

FAILURE = "failure"  # column: why a prompt has no score; only where one has none


def score(
    model: models.Source,
    prompts: given.Texts,
    detector: str | Detector = "anisotropy",
    n: int | None = None,
    seed: int = 42,
    *,
    labels: Sequence[Any] | None = None,
    clusters: Sequence[Any] | None = None,
    references: given.Texts | None = None,
    baseline: models.Source | None = None,
    noise_policy: Literal["shared", "per_prompt"] = "shared",
    batch_size: int | None = None,
    **options: Any,
) -> pd.DataFrame:
    """A score for every prompt; larger means more memorized, always.

    The numbers are those of ``anisomem run`` to the bit on the same prompts, device, seed, n and
    batch size.

    Arguments:
        model: A model as :func:`anisomem.load_model` takes it; load it once for several calls.
        prompts: Distinct texts: a list, a series, a frame with a column ``prompt``, a file's path,
            or the name of a prompt set.
        detector: A name of ``anisomem list detectors``, or an object.
        n: Noise samples that are averaged; if not given the fewest that it is configured with.
        seed: The seed of the noise.
        labels: 1 (memorized) and 0, one a prompt, for a detector that is fitted on labels. Its
            scores come from folds that never see the prompts they score.
        clusters: One name a prompt, which prompts share that stay in one fold; near-duplicates if
            not given.
        references: Ordinary prompts, for a detector that scores relative to some.
        baseline: A second model, for a detector that compares two.
        noise_policy: ``shared``, every prompt the same noise, or ``per_prompt``.
        batch_size: Latents in a forward pass; chosen if not given.
        options: Settings of a detector that is named, such as ``steps=5``.

    Returns:
        A row a prompt, in their order and under their index, with ``prompt``, ``score``, and a
        column for each component as the score takes it (the mean over noise samples, or what
        compares them). A prompt for which the model returned NaN or infinity has no score, and the
        reason in a column ``failure``.

    Raises:
        UserError: Prompts, a model, a detector or settings that are wrong, or that lack what the
            detector needs.
    """
    texts, index = given.texts(prompts)
    loaded = models.load_model(model)
    chosen = detectors.one(detector, n, options)
    second = None if baseline is None else models.load_model(baseline)
    ordinary = given.references(references)
    given.require_apart(ordinary, texts)
    _require(chosen, labels is not None, bool(ordinary), second is not None)
    truth = _labelled(texts, labels, clusters)
    chosen.require(loaded.stands_for)
    config = models.asked(
        loaded, second, seeds=[seed], noise_policy=noise_policy, batch_size=batch_size
    )
    with models.compared_with(loaded, second):
        chosen.require_of(loaded)
        recorded = Asked(config, [chosen], texts, ordinary).recorded(loaded)
    if cut := loaded.truncated(texts):
        print(
            f"anisomem: {cut} of {len(texts)} prompts are cut at the text encoder's limit",
            file=sys.stderr,
        )
    frame = pd.DataFrame({"prompt": texts}, index=index)
    frame["score"] = _scores(chosen, recorded, texts, truth, loaded.stands_for, seed)
    whole = _whole(recorded, len(texts))
    for one in chosen.components():
        values = recorded.components[one.name][:, : chosen.n]
        shown = values[:, -1] if isinstance(one, AcrossSamples) else values.mean(axis=1)
        frame[one.name] = np.where(whole, shown, np.nan)
    if recorded.failed:
        frame[FAILURE] = [recorded.failed.get(row) for row in range(len(texts))]
    return frame


def _whole(recorded: Evaluated, count: int) -> npt.NDArray[np.bool_]:
    """Which prompts did not fail, ``[N]``."""
    return np.array([row not in recorded.failed for row in range(count)], bool)


def _scores(
    detector: Detector,
    recorded: Evaluated,
    texts: Sequence[str],
    truth: PromptSet | None,
    stands_for: str | None,
    seed: int,
) -> Array:
    """The score of every prompt, ``[N]``; NaN where it failed.

    Raises:
        UserError: All failed, or the detector cannot be scored on them.
    """
    whole = _whole(recorded, len(texts))
    if not whole.any():
        raise UserError(
            f"the model failed on every prompt: {next(iter(recorded.failed.values()))}"
        )
    components = {name: values[whole] for name, values in recorded.components.items()}
    scores, beside = np.full(len(texts), np.nan), recorded.references
    try:
        if truth is None:
            judged = list(compress(texts, whole))
            scores[whole] = scores_alone(detector, components, judged, stands_for, seed, beside)
        else:
            known = truth.subset(whole)
            scores[whole] = detector.combine(Recorded(components, known, stands_for, beside, seed))
    except (ValueError, ArithmeticError) as error:
        raise UserError(f"{detector.name} cannot be scored on these prompts: {error}") from None
    return scores


def _require(detector: Detector, labels: bool, references: bool, baseline: bool) -> None:
    """Checks that a detector gets what it needs, and nothing that it has no use for.

    Raises:
        UserError: What to pass, or to leave out.
    """
    for needed, has, what, why, example in (
        (
            detector.uses_labels,
            labels,
            "labels",
            "is fitted on labels",
            "labels=[1, 0, ...], one a prompt, 1 being memorized",
        ),
        (
            detector.uses_references,
            references,
            "references",
            "scores relative to ordinary prompts",
            "references=[...] or a file of them",
        ),
        (
            detector.compares_models,
            baseline,
            "baseline",
            "compares the model with a second one",
            "baseline=FOLDER of an earlier checkpoint, or of what it was tuned from",
        ),
    ):
        if needed and not has:
            raise UserError(f"{detector.name} {why}; give {example}")
        if has and not needed:
            raise UserError(f"{detector.name} has no use for {what}; leave it out")


def _labelled(
    texts: Sequence[str], labels: Sequence[Any] | None, clusters: Sequence[Any] | None
) -> PromptSet | None:
    """The prompts with their labels, where they have some.

    Raises:
        UserError: A label means nothing, there is one class only, or they are not one a prompt.
    """
    if labels is None:
        if clusters is not None:
            raise UserError("clusters are of labels; give both, or leave them out")
        return None
    cells = list(labels)
    for what, some in {"labels": cells, "clusters": clusters}.items():
        if some is not None and len(some) != len(texts):
            raise UserError(
                f"there are {len(some)} {what} and {len(texts)} prompts; give one a prompt"
            )
    read = [scored.label_of(f"labels[{row}]", cell) for row, cell in enumerate(cells)]
    if None in read:
        raise UserError(f"labels[{read.index(None)}] is partial, which is neither; leave it out")
    together = near_duplicates(texts) if clusters is None else clusters_of(list(clusters))
    ids = [str(row) for row in range(len(texts))]
    return PromptSet("given", ids, texts, np.array(read, np.int8), together, ids, ids)
