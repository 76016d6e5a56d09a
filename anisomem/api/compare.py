"""``anisomem.compare``: detectors on labelled prompts, as ``anisomem run`` tables them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Literal

from anisomem.api import detectors as chosen
from anisomem.api import models
from anisomem.api import prompts as given
from anisomem.api.plain import listed, literal
from anisomem.api.report import Report
from anisomem.benchmark import unkept
from anisomem.benchmark.case import Case
from anisomem.benchmark.complete import complete
from anisomem.benchmark.results import Results
from anisomem.benchmark.unkept import UnkeptCase
from anisomem.detection.base import Detector
from anisomem.errors import UserError
from anisomem.storage.memory import NOWHERE

EXPERIMENT = "compare"  # the folder below ``runs``


def compare(
    model: models.Source,
    prompts: given.Labelled,
    detectors: Iterable[str | Detector] | str | Detector,
    *,
    n: int | Sequence[int] | None = None,
    limit: int | None = None,
    seeds: Sequence[int] = (42,),
    references: given.Texts | None = None,
    baseline: models.Source | None = None,
    noise_policy: Literal["shared", "per_prompt"] = "shared",
    batch_size: int | None = None,
    fpr_targets: Sequence[float] = (0.01, 0.03),
    draws: int = 10_000,
    bootstrap_seed: int = 0,
    on_failure: Literal["stop", "keep"] = "stop",
    runs: str | os.PathLike[str] | None = None,
) -> Report:
    """Detectors on the same labelled prompts and the same noise; every need is evaluated once.

    Arguments:
        model: A model as :func:`anisomem.load_model` takes it; load it once for several calls.
        prompts: A frame with the columns ``prompt`` and ``label`` (1 and 0, or words such as
            memorized), and perhaps ``cluster``, ``block``, ``kind`` and more; a file, a folder or
            a hub dataset of these; or the name of a prompt set. Without clusters near-duplicates
            share one.
        detectors: Names of ``anisomem list detectors``, or objects; one or several.
        n: Noise samples of those that are named, one number or several; as they are configured if
            not given. An object has its own.
        limit: Of a file or a named set, prompts at most, stratified by label and block.
        seeds: Of the noise; several give a mean and a spread.
        references: Ordinary prompts for detectors that score relative to some; drawn as a run
            draws them if not given.
        baseline: A second model, for detectors that compare two.
        noise_policy: ``shared``, every prompt the same noise, or ``per_prompt``.
        batch_size: Latents in a forward pass; chosen if not given.
        fpr_targets: False-positive rates of the TPR, fractions.
        draws, bootstrap_seed: Of the bootstrap over clusters of prompts.
        on_failure: ``keep`` makes the table without prompts for which the model returned NaN.
        runs: A folder that keeps what is recorded, so that the same call continues there; nothing
            is written if not given.

    Raises:
        UserError: A model, prompts, detectors or settings that are wrong; or prompts failed.
    """
    made = chosen.several(detectors, n)
    loaded = models.load_model(model)
    second = None if baseline is None else models.load_model(baseline)
    if second is None and (lacking := next((d for d in made if d.compares_models), None)):
        raise UserError(
            f"{lacking.name} compares the model with a second one; give baseline=FOLDER of an "
            "earlier checkpoint, or of what it was tuned from"
        )
    if second is not None and not any(d.compares_models for d in made):
        raise UserError("no detector here has a use for baseline; leave it out")
    ordinary = given.references(references) or None
    if ordinary and not any(d.uses_references for d in made):
        raise UserError("no detector here has a use for references; leave them out")
    settings = {
        "dataset": given.dataset(prompts),
        "limit": limit,
        "seeds": listed(seeds),
        "noise_policy": noise_policy,
        "batch_size": batch_size,
        "fpr_targets": listed(fpr_targets),
        "draws": draws,
        "bootstrap_seed": bootstrap_seed,
        "on_failure": on_failure,
        "runs": str(NOWHERE) if runs is None else literal(os.fspath(runs), "runs"),
    }
    config = models.asked(loaded, second, **settings)
    labelled = given.labelled_prompts(prompts, limit)
    with models.compared_with(loaded, second):
        for detector in made:
            detector.require_of(loaded)
        if runs is None:
            case = UnkeptCase(config, made, labelled, ordinary)
            given.require_apart(ordinary or (), case.prompts.texts)
            results = unkept.complete(case, loaded)
        else:
            digest = [models.weights_in_memory(one) for one in (loaded, second) if one]
            kept = config.with_detectors(chosen.kept(made))
            kept = replace(kept, model={**kept.model, "weights_in_memory": digest})
            case_kept = Case(kept, EXPERIMENT, ordinary, labelled)
            given.require_apart(ordinary or (), case_kept.prompts.texts)
            results = complete(case_kept, loaded).results
    _require_whole(results)
    return Report(results)


def _require_whole(results: Results) -> None:
    """Checks that no prompts failed that the user does not allow.

    Raises:
        UserError: How many did, and why.
    """
    if not results.ends_in_failure:
        return
    first, reason = next(iter(results.failures.items()))
    raise UserError(
        f"{len(results.failures)} of {len(results.case.prompts)} prompts failed, first {first!r} "
        f"({reason}); on_failure='keep' makes the table without them"
    )
