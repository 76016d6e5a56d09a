"""Makes ready what answers share: the model, ordinary prompts' scores, known training pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import numpy as np

from anisomem.config.schema import Config
from anisomem.console import progress
from anisomem.datasets import training_folder
from anisomem.datasets.unlabelled import Unlabelled
from anisomem.demo.answer import PICTURES, PLAIN, Demo
from anisomem.demo.examples import examples
from anisomem.demo.known import KnownPictures, of_folder, of_prompts
from anisomem.demo.scorer import Scorer
from anisomem.demo.verdict import Ordinary
from anisomem.detection.alone import require_alone
from anisomem.detection.configured import detectors
from anisomem.engine.batches import Batches
from anisomem.errors import UserError
from anisomem.measures.training_pictures import Decoded, find_training_pictures
from anisomem.mitigation.base import Ordinary as OfMitigation
from anisomem.models.capability import Capability
from anisomem.run import devices, labelled, ordinary
from anisomem.run.workers import one_thread
from anisomem.scan.scan import at_fewest
from anisomem.scan.sources import Calibration, calibration
from anisomem.scan.training import started
from anisomem.tradeoff.settings import mitigations

if TYPE_CHECKING:
    from anisomem.datasets.prompts import PromptSet
    from anisomem.detection.base import Detector
    from anisomem.mitigation.base import Mitigation
    from anisomem.models.base import DiffusionModel

BLOCK = 16  # ordinary prompts that are scored at once
NONE = Unlabelled("none", [], np.zeros(0, np.int64), [])  # what is asked is not known yet


def prepare(config: Config, usual: Sequence[str] = ()) -> tuple[Demo, list[str]]:
    """A model that is ready to be asked, and what was left out of it, in words.

    Arguments:
        config: The settings.
        usual: Which of ``detector`` and ``mitigation`` the user has not chosen: what the model
            cannot serve of them is left out.

    Raises:
        UserError: Settings that are wrong, a model that cannot be had or makes no pictures, or too
            few ordinary prompts.
    """
    devices.require_trained(config, "pictures")
    left_out: list[str] = []
    chosen = _detectors(config, left_out if "detector" in usual else None)
    given = calibration(config, NONE)
    prompts = labelled.whole(config) if labelled.has_own(config) else None
    with progress.phase(f"{config.model_name}: load", brief=True):
        model = devices.loaded(config)
    model.require(Capability.PICTURES, "there is nothing to show")
    seed = config.seeds[0]
    able = _able(model, chosen, left_out if "detector" in usual else None)
    scorer = Scorer(model, able, seed, config.batch_size)
    known = _known(config, prompts)
    if known and known.unread:
        left_out.append(f"{len(known.unread):,} training pictures, first {known.unread[0]}")
    with one_thread():
        scored = _scored(scorer, given)
        ready = _mitigations(config, model, left_out if "mitigation" in usual else None)
    demo = Demo(
        config.model_name,
        model,
        scorer,
        scored,
        scored.rates(config.fpr_targets),
        ready,
        [seed + i for i in range(PICTURES)],
        config.trial.steps,
        config.trial.guidance,
        Batches(model, size=config.batch_size),
        known,
        prompts,
        examples(prompts) if prompts else (),
    )
    return demo, left_out


def _detectors(config: Config, left_out: list[str] | None) -> list[Detector]:
    """The detectors at their fewest noise samples; what has no weights is left out, or an error.

    Raises:
        UserError: One that cannot score a prompt on its own, or none is left.
    """
    kept: list[Detector] = []
    for one in detectors(at_fewest(config).detector):
        require_alone(one)
        try:
            one.require(config.stands_for)
        except UserError as error:
            if left_out is None:
                raise
            left_out.append(f"{one.name}: {error}")
        else:
            kept.append(one)
    if not kept:
        raise UserError("no detector is left; give some, 'detector=[wen]'")
    return kept


def _able(
    model: DiffusionModel, chosen: Sequence[Detector], left_out: list[str] | None
) -> list[Detector]:
    """The detectors that the model can serve."""
    kept: list[Detector] = []
    for one in chosen:
        try:
            one.require_of(model)
        except UserError as error:
            if left_out is None:
                raise
            left_out.append(f"{one.name}: {error}")
        else:
            kept.append(one)
    return kept


def _scored(scorer: Scorer, given: Calibration) -> Ordinary:
    """The ordinary prompts with their scores."""
    texts, cosine = list(given.texts), 0.0
    parts: dict[str, list[np.ndarray]] = {key: [] for key in scorer.keys}
    with progress.bar("ordinary prompts", len(texts), "prompt", leave=True) as bar:
        for begin in range(0, len(texts), BLOCK):
            found = scorer(some := texts[begin : begin + BLOCK])
            for key, values in found.values.items():
                parts[key].append(values)
            cosine = max(cosine, float(np.nanmax(np.abs(found.cosines))))
            bar.update(len(some))
    scores = {key: np.concatenate(values) for key, values in parts.items()}
    return Ordinary(given.source, texts, scores, cosine)


def _known(config: Config, prompts: PromptSet | None) -> KnownPictures | None:
    """The training pictures of ``pictures=``, or else those of the model's own prompts."""
    if config.pictures:
        sources = of_folder(training_folder.found(config.pictures))
    elif prompts is not None:
        found = find_training_pictures(prompts, config.paths.data).pictures
        sources = of_prompts(prompts, cast(Decoded, found))
    else:
        sources = []
    return KnownPictures(sources, started(config)) if sources else None


def _mitigations(
    config: Config, model: DiffusionModel, left_out: list[str] | None
) -> dict[str, Mitigation]:
    """The mitigations, ready; what the model cannot serve is left out, or an error."""
    wanted = [one for one in mitigations(config) if one.name != PLAIN]
    texts: list[str] = []
    if any(one.uses_ordinary for one in wanted):
        texts = ordinary.draw(config, labelled.whole(config))
    given = OfMitigation(texts, config.seeds[:1] * len(texts))
    given = replace(given, steps=config.trial.steps, guidance=config.trial.guidance)
    ready: dict[str, Mitigation] = {}
    for one in wanted:
        try:
            ready[one.name] = one.ready(model, given)
        except UserError as error:
            if left_out is None:
                raise
            left_out.append(f"{one.name}: {error}")
    return ready
