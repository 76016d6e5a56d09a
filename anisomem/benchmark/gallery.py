"""What a model generates for the prompts that a detector gets most wrong.

The pictures and cosine maps are made once, at the end of a run, and stored; reading them needs
neither the model nor torch.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count, islice
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from anisomem.detection.anisotropy import Anisotropy
from anisomem.detection.base import Components, Detector, Map
from anisomem.detection.needs import pair
from anisomem.errors import UserError
from anisomem.run import forked
from anisomem.storage import atomic

if TYPE_CHECKING:
    from anisomem.benchmark.results import Results
    from anisomem.models.base import DiffusionModel

PICTURES = 3  # generated per prompt
AT_ONCE = 2  # prompts sampled together
GUIDANCE, STEPS = 7.5, 50
FIRST_SEED = 1_000_000  # of the pictures' noise; later where detectors reach it
MAP = "cosine per position"


@dataclass(frozen=True)
class Gallery:
    """The pictures that a run has stored for its page.

    Attributes:
        plan: What they are of, see :func:`plan`.
        pictures: uint8 ``[G, PICTURES, H, W, 3]``, in the order of the plan's prompts.
        maps: The metric's cosine at every latent position, mean over noise samples, ``[G, h, w]``.
    """

    plan: dict[str, Any]
    pictures: npt.NDArray[np.uint8]
    maps: npt.NDArray[np.float64]


@dataclass
class CosineMap(Anisotropy):
    """The metric's cosine before it is averaged over positions."""

    def components(self) -> Components:
        return [Map(MAP, pair(self.cos_at), self.cosine_map)]


def headline(detectors: Sequence[Detector]) -> Detector:
    """The anisotropy metric with published weights, or else the first; at its largest n."""
    published = [d for d in detectors if isinstance(d, Anisotropy) and d.weights == "published"]
    name = (published or detectors)[0].name
    return max((d for d in detectors if d.name == name), key=lambda d: d.n)


def order(results: Results) -> list[int]:
    """The rows to show: memorized prompts of the lowest scores, others of the highest."""
    labels = results.prompts.labels
    scores = results.scored.scores[results.detectors.index(headline(results.detectors)), 0]
    rising = np.argsort(scores, kind="stable")
    missed = rising[labels[rising] == 1][: results.config.gallery]
    alarms = rising[::-1][labels[rising[::-1]] == 0][: results.config.gallery]
    return [int(i) for i in (*missed, *alarms)]


def plan(results: Results) -> dict[str, Any]:
    """What the gallery is of; another plan asks for other pictures."""
    metric, config = _metric(results), results.config
    return {
        "ordered_by": headline(results.detectors).key,
        "prompts": [results.prompts.ids[i] for i in order(results)],
        "seeds": _seeds(results),
        "guidance": GUIDANCE,
        "steps": STEPS,
        "map": {"component": metric.cos_name, "n": metric.n, "seed": config.seeds[0]},
    }


def is_as_asked(results: Results) -> bool:
    """Whether the stored gallery is the one to be shown, or none is; needs all components.

    A run that ends in failures shows none.
    """
    if results.config.gallery == 0 or results.ends_in_failure:
        return True
    stored = read(results)
    return stored is not None and stored.plan == plan(results)


def read(results: Results) -> Gallery | None:
    """The stored gallery, if there is one, it is whole and it is asked for."""
    file = results.folder / "gallery.npz"
    if results.config.gallery == 0 or not os.path.lexists(file):
        return None
    try:
        stored = atomic.read_arrays(file)
        plan = json.loads(str(stored["plan"]))
        pictures, maps, count = stored["pictures"], stored["maps"], len(plan["prompts"])
        known = set(plan["prompts"]) <= set(results.prompts.ids)
    except (UserError, ValueError, KeyError, TypeError, RecursionError):
        return None  # a run makes it anew
    whole = pictures.dtype == np.uint8 and pictures.shape[:2] == (count, PICTURES)
    whole &= pictures.ndim == 5 and pictures.shape[-1] == 3 and pictures.size > 0
    whole &= maps.dtype.kind == "f" and maps.ndim == 3 and maps.size > 0
    whole = known and whole and len(maps) == count and bool(np.isfinite(maps).all())
    return Gallery(plan, pictures, maps) if whole else None


def generate(results: Results, model: DiffusionModel) -> None:
    """Makes the gallery and stores it."""
    import torch

    from anisomem.engine.engine import Engine
    from anisomem.run.workers import one_thread

    config, planned = results.config, list(results.case.prompts.ids)
    rows = [planned.index(results.prompts.ids[i]) for i in order(results)]
    places = [results.case.noise_rows[i] for i in rows]
    texts = [results.case.prompts.texts[i] for i in rows]
    engine = Engine(model, [_metric(results)], config.noise_policy, config.batch_size)

    def evaluate() -> npt.NDArray[Any]:
        return engine.evaluate(texts, places, config.seeds[0])[MAP].mean(axis=1)

    jobs = [*picture_jobs(model, texts, _seeds(results)), evaluate]
    with one_thread(), torch.inference_mode():
        # Copies of this process sample with the model that it has loaded.
        on_cpu = model.device.type == "cpu"
        *pictures, maps = forked.each(jobs, f"{results.name}: gallery", "part", on_cpu)
    stacked = np.concatenate(pictures)
    shape = (len(texts), PICTURES, *stacked.shape[1:])
    content = {"plan": json.dumps(plan(results)), "pictures": stacked.reshape(shape), "maps": maps}
    atomic.write_arrays(results.folder / "gallery.npz", content)


def picture_jobs(
    model: DiffusionModel, texts: Sequence[str], seeds: Sequence[int]
) -> list[Callable[[], npt.NDArray[Any]]]:
    """What samples the pictures of some prompts each, a picture a seed, prompt by prompt."""
    import torch

    noise = torch.cat([model.initial_noise(seed, 1) for seed in seeds]).to(model.device)

    def sample(some: Sequence[str]) -> npt.NDArray[Any]:
        conditioning = model.encode([text for text in some for _ in seeds])
        x = noise.repeat(len(some), 1, 1, 1)
        return model.decode(model.sample(x, conditioning, STEPS, GUIDANCE))

    parts = [texts[start : start + AT_ONCE] for start in range(0, len(texts), AT_ONCE)]
    return [partial(sample, part) for part in parts]


def seeds_behind(seeds: Sequence[int], prompts: int) -> list[int]:
    """Seeds of pictures, behind every seed that a detector may use.

    Arguments:
        seeds: The seeds of the run.
        prompts: How many prompts have noise of their own.
    """
    return list(islice(count(max(FIRST_SEED, max(seeds) + prompts)), PICTURES))


def _metric(results: Results) -> CosineMap:
    """The metric that the maps are of: the headline's, where it averages over positions."""
    detector = headline(results.detectors)
    if isinstance(detector, Anisotropy) and detector.convention == "released":
        choices = (detector.mode, detector.normalisation, detector.norm_at, detector.cos_at)
        return CosineMap(detector.name, detector.n, "released", *choices)
    return CosineMap("anisotropy", n=4)


def _seeds(results: Results) -> list[int]:
    """Seeds of the pictures, behind every seed that a detector may use."""
    return seeds_behind(results.config.seeds, len(results.case.prompts))
