"""``anisomem.score``: what a detector says of prompts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd

from anisomem.api import detectors, models
from anisomem.api import prompts as given
from anisomem.benchmark.unkept import Asked
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
        A row a prompt, in their order and under their index: ``prompt``, ``score``, and a column
        for each component, as the score takes it: the mean over noise samples, or what compares
        them. A prompt for which the model returned NaN or infinity has no score, and the reason in
        a column ``failure``.

    Raises:
        UserError: Prompts, a model, a detector or settings that are wrong, or that lack what the
            detector needs.
    """
    texts, index = given.texts(prompts)
    loaded = models.load_model(model)
    chosen = detectors.one(detector, n, options)
    second = None if baseline is None else models.load_model(baseline)
    ordinary = [] if references is None else given.texts(references, "references")[0]
    truth, together = None, np.empty(0)
    if labels is not None:
        truth = _truth(labels, len(texts))
        together = near_duplicates(texts) if clusters is None else _clusters(clusters, len(texts))
    _require(chosen, truth is not None, bool(ordinary), second is not None)
    if both := set(ordinary) & set(texts):
        raise UserError(f"references hold a prompt that is scored, {sorted(both)[0][:40]!r}")
    if clusters is not None and truth is None:
        raise UserError("clusters are of labels; give both, or leave them out")
    chosen.require(loaded.stands_for)
    config = models.asked(
        loaded, second, seeds=[seed], noise_policy=noise_policy, batch_size=batch_size
    )
    with models.compared_with(loaded, second):
        chosen.require_of(loaded)
        asked = Asked(config, [chosen], texts, ordinary)
        components, beside, failed = asked.recorded(loaded)
    whole = np.array([row not in failed for row in range(len(texts))])
    if not whole.any():
        raise UserError(f"the model failed on every prompt: {next(iter(failed.values()))}")
    judged = [text for text, finite in zip(texts, whole, strict=True) if finite]
    finite = {name: values[whole] for name, values in components.items()}
    stands_for = loaded.stands_for
    scores = np.full(len(texts), np.nan)
    try:
        if truth is None:
            scores[whole] = scores_alone(chosen, finite, judged, stands_for, seed, beside)
        else:
            known = _labelled(judged, truth[whole], together[whole])
            scores[whole] = chosen.combine(Recorded(finite, known, stands_for, beside, seed))
    except (ValueError, ArithmeticError) as error:
        raise UserError(f"{chosen.name} cannot be scored on these prompts: {error}") from None
    frame = pd.DataFrame({"prompt": texts, "score": scores}, index=index)
    for one in chosen.components():
        values = components[one.name][:, : chosen.n]
        shown = values[:, -1] if isinstance(one, AcrossSamples) else values.mean(axis=1)
        frame[one.name] = np.where(whole, shown, np.nan)
    if failed:
        frame[FAILURE] = [failed.get(row) for row in range(len(texts))]
    return frame


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


def _truth(labels: Sequence[Any], count: int) -> np.ndarray:
    """Labels as 0 and 1, ``[N]``.

    Raises:
        UserError: One means nothing, or they are not one a prompt.
    """
    cells = list(labels)
    if len(cells) != count:
        raise UserError(f"there are {len(cells)} labels and {count} prompts; give one a prompt")
    read = [scored.label_of(f"labels[{row}]", cell) for row, cell in enumerate(cells)]
    if None in read:
        raise UserError(f"labels[{read.index(None)}] is partial, which is neither; leave it out")
    return np.array(read, np.int8)


def _clusters(clusters: Sequence[Any], count: int) -> np.ndarray:
    if len(names := list(clusters)) != count:
        raise UserError(f"there are {len(names)} clusters and {count} prompts; give one a prompt")
    return clusters_of(names)


def _labelled(texts: Sequence[str], labels: Array, clusters: Array) -> PromptSet:
    ids = [str(row) for row in range(len(texts))]
    return PromptSet("given", ids, texts, labels, clusters, ids, ids)
