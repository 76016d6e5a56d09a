"""What ``anisomem geometry`` evaluates of a model, kept in files that are whole or not there.

Every prompt is evaluated with and without its text at all steps of the schedule on four kinds of
latents that share one noise: the noise itself, its *true* latents noised by it, and those of a
guided and of an unguided trajectory from it. True latents are the encoded training picture where
the prompt set has it, else the picture that the model generates for the prompt as a stand-in.
"""

from __future__ import annotations

import io
import json
import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from threading import Thread
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from omegaconf import DictConfig, OmegaConf
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from anisomem import config as configuration
from anisomem.datasets.prompts import PromptSet
from anisomem.geometry.alignment import Alignment
from anisomem.geometry.spectrum import ScoreJacobian, Spectrum, ends, hutchinson
from anisomem.models.base import Conditioning, DiffusionModel, Prediction
from anisomem.models.pretrained import PipelineModel
from anisomem.passes import GUIDANCE
from anisomem.recording import one_thread
from anisomem.storage import atomic, identity

Array = npt.NDArray[np.float64]

LATENTS = ("noise", "noised", "guided", "unguided")
#: Of network outputs, then of scores: inner products, and the mean over positions of the cosine
#: over channels, which the released code takes.
QUANTITIES = ("uu", "cc", "uc", "map")
VECTORS = ("output", "score")
BATCH = 32  # prompts of a file
MAPPED = 3  # prompts of each class whose maps are kept
EXACT = 1024  # dimensions up to which a Jacobian is computed whole


@dataclass(frozen=True)
class Plan:
    """How much is evaluated of a model.

    Attributes:
        per_class: Prompts of each class at most, drawn by the seed.
        spectra: Prompts of each class whose spectra are estimated, by ``probes`` random signs.
        whole: The first of them whose Jacobian is computed whole, or its ends by Lanczos.
        levels: Steps of the schedule that have spectra.
    """

    per_class: int = 100
    spectra: int = 8
    whole: int = 2
    probes: int = 8
    levels: tuple[int, ...] = (0, 25, 37, 47)
    whole_levels: tuple[int, ...] = (0, 25, 47)


PLAN = Plan()


class Recording:
    """One model on its prompts; evaluates what is missing and reads what is there.

    Arguments:
        config: The composed configuration of the case.
        parent: Folder below ``runs``.
        plan: How much.
    """

    def __init__(self, config: DictConfig, parent: str, plan: Plan = PLAN) -> None:
        self.config, self.parent, self.plan = config, parent, plan
        whole: PromptSet = configuration.build(config.dataset, "dataset")
        rng = np.random.default_rng(config.seeds[0])
        rows = [
            rng.permutation(np.flatnonzero(whole.labels == label))[: plan.per_class]
            for label in (1, 0)
        ]
        self.prompts = whole.subset(np.concatenate(rows))
        self.name = self.prompts.name
        settings = cast(dict[str, Any], OmegaConf.to_container(config, resolve=True))
        content = identity.describe(settings, {"geometry": 1}, self.prompts) | {
            "plan": asdict(plan)
        }
        digest = identity.digest(json.loads(json.dumps(content)))
        self.folder = Path(config.runs) / parent / f"{self.name}-{digest[:10]}"

    def tasks(self) -> list[tuple[str, list[int]]]:
        """Name and rows of everything that is evaluated, in an order that serves what needs it."""
        n = len(self.prompts)
        levels = [list(range(n))[i : i + BATCH] for i in range(0, n, BATCH)]
        chosen = [self.of_class(label, self.plan.spectra) for label in (1, 0)]
        return [
            *((f"levels-{rows[0]:04}", rows) for rows in levels),
            ("maps", [*self.of_class(1, MAPPED), *self.of_class(0, MAPPED)]),
            ("spectrum-none", []),
            *((f"spectrum-{i:04}", [i]) for rows in chosen for i in rows),
        ]

    def of_class(self, label: int, count: int) -> list[int]:
        """The first prompts of a class; training pictures first, so that latents are true."""
        rows = np.flatnonzero(self.prompts.labels == label).tolist()
        pictures = self.prompts.pictures
        return sorted(rows, key=lambda i: pictures is None or pictures[i] is None)[:count]

    def file(self, name: str) -> Path:
        """Where a task's arrays lie."""
        return self.folder / f"{name}.npz"

    def missing(self) -> list[tuple[str, list[int]]]:
        """Tasks without their file."""
        return [task for task in self.tasks() if not self.file(task[0]).exists()]

    def run(self) -> None:
        """Evaluates what is missing; nothing missing loads no model."""
        atomic.remove_abandoned(self.folder)
        for first in (True, False):  # spectra and maps read the latents that levels leave
            waiting = [t for t in self.missing() if t[0].startswith("levels") == first]
            if waiting:
                self._run(waiting)

    def _run(self, tasks: Sequence[tuple[str, list[int]]]) -> None:
        on_cpu = str(self.config.model.get("device", "cpu")) == "cpu"
        workers = self.config.workers or (len(os.sched_getaffinity(0)) if on_cpu else 1)
        with tqdm(total=len(tasks), desc=self.name, unit="part", disable=None) as bar:
            if workers == 1:
                evaluate = Evaluator(self)
                with one_thread():
                    for task in tasks:
                        evaluate(*task)
                        bar.update()
                return
            context = multiprocessing.get_context("spawn")
            given = (OmegaConf.to_yaml(self.config), self.parent, self.plan)
            with ProcessPoolExecutor(workers, context, _start, given) as pool:
                for future in as_completed([pool.submit(_work, *task) for task in tasks]):
                    future.result()
                    bar.update()

    def read(self, name: str) -> Mapping[str, Array]:
        """The arrays of a task."""
        with np.load(self.file(name)) as stored:
            return {key: stored[key] for key in stored.files}

    @cached_property
    def levels(self) -> Array:
        """``[latents, vectors, quantities, N, steps]``."""
        names = [name for name, _ in self.tasks() if name.startswith("levels")]
        return np.concatenate([self.read(name)["products"] for name in names], axis=3)

    @cached_property
    def timesteps(self) -> Array:
        """Of the steps."""
        return self.read(self.tasks()[0][0])["timesteps"]

    @cached_property
    def with_picture(self) -> Array:
        """Whether the true latents are a training picture's, ``[N]``."""
        names = [name for name, _ in self.tasks() if name.startswith("levels")]
        return np.concatenate([self.read(name)["with_picture"] for name in names])

    def alignment(self, latents: str, vectors: str = "output") -> Alignment:
        """The inner products ``[N, steps]`` on some latents."""
        values = self.levels[LATENTS.index(latents), VECTORS.index(vectors)]
        return Alignment(*values[:3])

    def position_mean(self, latents: str, vectors: str = "output") -> Array:
        """Mean over positions of the cosine over channels, ``[N, steps]``."""
        values: Array = self.levels[LATENTS.index(latents), VECTORS.index(vectors), 3]
        return values

    def latents_of(self, row: int) -> Tensor:
        """The true latents of a prompt, ``[C, h, w]``."""
        part = self.read(f"levels-{row // BATCH * BATCH:04}")["latents"]
        return torch.from_numpy(part[row % BATCH])

    def spectra(self) -> Iterator[tuple[int | None, Mapping[str, Array]]]:
        """The row of a prompt, None for no prompt on noise, and its arrays."""
        for name, rows in self.tasks():
            if name.startswith("spectrum"):
                yield (rows[0] if rows else None), self.read(name)


class Evaluator:
    """Evaluates the tasks of a recording.

    Arguments:
        recording: What is to be evaluated.
        model: Its model; loaded if not given.
    """

    def __init__(self, recording: Recording, model: DiffusionModel | None = None) -> None:
        self.recording, self.seed = recording, recording.config.seeds[0]
        self.model: DiffusionModel = model or configuration.build(recording.config.model, "model")
        self.steps = self.model.timesteps()

    @torch.no_grad()
    def __call__(self, name: str, rows: list[int]) -> None:
        """Evaluates a task and writes its file."""
        kind = name.partition("-")[0]
        found = {"levels": self.levels, "maps": self.maps, "spectrum": self.spectrum}[kind](rows)
        atomic.write(self.recording.file(name), lambda path: _save(path, found))

    def levels(self, rows: list[int]) -> dict[str, Any]:
        """Inner products at all steps on all latents."""
        model, prompts = self.model, self.recording.prompts
        noise, encoded = self._noise(len(rows)), model.encode([prompts.texts[i] for i in rows])
        empty = model.encode([""])

        def both(x: Tensor, t: float) -> tuple[Prediction, Prediction]:
            return self._predict(x, t, encoded), self._predict(x, t, empty[[0] * len(x)])

        found: dict[str, list[Array]] = {kind: [] for kind in LATENTS}
        for t in self.steps:
            without = model.predict(noise[:1], t, empty).expand(len(rows))
            found["noise"].append(_products(without, self._predict(noise, t, encoded)))
        ended = noise
        for kind, guidance in (("guided", GUIDANCE), ("unguided", 1.0)):
            for step in model.trajectory(noise, encoded, len(self.steps), guidance, both):
                assert step.unconditional is not None
                found[kind].append(_products(step.unconditional, step.conditional))
                ended = step.after if kind == "guided" else ended
        latents = ended.float().cpu()
        pictures = [prompts.pictures[i] if prompts.pictures else None for i in rows]
        shown = [i for i, picture in enumerate(pictures) if picture is not None]
        if shown:
            latents[shown] = self._encoded([cast(bytes, pictures[i]) for i in shown])
        for t in self.steps:
            c, u = both(self._noised(latents, t), t)
            found["noised"].append(_products(u, c))
        return {
            "products": np.stack([np.stack(found[kind], axis=-1) for kind in LATENTS]),
            "timesteps": np.array(self.steps, np.float64),
            "latents": latents.numpy(),
            "with_picture": np.isin(np.arange(len(rows)), shown),
        }

    def maps(self, rows: list[int]) -> dict[str, Any]:
        """Pictures, and scores and guidance by position at the third-last step.

        ``u`` and ``c`` are ``[latents, n, C, h, w]`` for pure noise and noised latents.
        """
        t, texts = self.steps[-3], [self.recording.prompts.texts[i] for i in rows]
        latents = torch.stack([self.recording.latents_of(i) for i in rows])
        encoded, empty = self.model.encode(texts), self.model.encode([""])
        pairs = [
            (self._predict(x, t, empty[[0] * len(rows)]), self._predict(x, t, encoded))
            for x in (self._noise(len(rows)), self._noised(latents, t))
        ]
        pictures = self.model.decode(latents.to(self.model.device, self.model.dtype))
        fields = {
            name: np.stack([pair[i].score.float().cpu().numpy() for pair in pairs])
            for i, name in enumerate("uc")
        }
        return {"pictures": pictures, **fields}

    def spectrum(self, rows: list[int]) -> dict[str, Any]:
        """Of the score's Jacobian by level, latents and conditioning, a row of each array.

        Without a row: without a prompt on pure noise, which is the same for all prompts.
        """
        plan, recording = self.recording.plan, self.recording
        exact = not rows or any(
            rows[0] in recording.of_class(label, plan.whole) for label in (1, 0)
        )
        cases: list[tuple[str, str, Tensor | None]] = [("noise", "", None)]
        if rows:
            text, latents = recording.prompts.texts[rows[0]], recording.latents_of(rows[0])[None]
            cases = [("noise", text, None), ("noised", text, latents), ("noised", "", latents)]
        columns: dict[str, list[Any]] = {}
        for level in plan.levels:
            t = self.steps[level]
            sigma = float(self.model.scales(torch.tensor([t]))[1])
            for kind, text, z in cases:
                x = self._noise(1) if z is None else self._noised(z, t)
                jacobian = ScoreJacobian(self.model, x, t, self.model.encode([text]))
                whole = exact and level in plan.whole_levels
                values = {
                    "level": level,
                    "on_noise": kind == "noise",
                    "conditional": text != "",
                    "sigma": sigma,
                    **_moments(jacobian, whole, plan.probes, self.seed),
                }
                for key, value in values.items():
                    columns.setdefault(key, []).append(value)
        return {key: np.array(value) for key, value in columns.items()}

    def _noise(self, n: int) -> Tensor:
        noise = self.model.initial_noise(self.seed, 1)
        return noise.expand(n, -1, -1, -1).to(self.model.device, self.model.dtype)

    def _noised(self, latents: Tensor, t: float) -> Tensor:
        alpha, sigma = (float(s) for s in self.model.scales(torch.tensor([t])))
        noise = self.model.initial_noise(self.seed, 1)
        return (alpha * latents + sigma * noise).to(self.model.device, self.model.dtype)

    def _predict(self, x: Tensor, t: float, conditioning: Conditioning) -> Prediction:
        size = self.recording.config.batch_size or BATCH
        parts = [
            self.model.predict(x[i : i + size], t, conditioning[slice(i, i + size)])
            for i in range(0, len(x), size)
        ]
        return Prediction.cat(parts)

    def _encoded(self, pictures: Sequence[bytes]) -> Tensor:
        """Latents of training pictures, at the model's resolution."""
        assert isinstance(self.model, PipelineModel)
        factor = self.model.pipeline.vae_scale_factor
        size = tuple(factor * s for s in reversed(self.model.latent_shape[1:]))
        opened = [Image.open(io.BytesIO(p)).convert("RGB").resize(size) for p in pictures]
        return self.model.latents_of(np.stack([np.asarray(picture) for picture in opened]))


def _products(u: Prediction, c: Prediction) -> Array:
    """``[vectors, quantities, B]``."""
    found = []
    for name in VECTORS:
        a, b = getattr(u, name).double(), getattr(c, name).double()
        by_position = torch.cosine_similarity(a, b - a, dim=1).mean(dim=(1, 2))
        products = [(p * q).sum(dim=(1, 2, 3)) for p, q in ((a, a), (b, b), (a, b))]
        found.append(torch.stack([*products, by_position]))
    return torch.stack(found).cpu().numpy()


def _moments(jacobian: ScoreJacobian, whole: bool, probes: int, seed: int) -> dict[str, Any]:
    """Index, its error, squared norms and eigenvalues, or their ends, or NaN for them."""
    d, names = jacobian.size, ("index", "error", "symmetric", "antisymmetric")
    small = d <= EXACT
    eigenvalues = np.full(d if small else 8, np.nan)
    if whole and small:
        found = Spectrum.of(jacobian.dense())
        eigenvalues = found.eigenvalues
        squares = float((eigenvalues**2).sum())
        numbers = (found.anisotropy_index, 0.0, squares, found.antisymmetric**2)
    else:
        estimated = hutchinson(jacobian, probes, np.random.default_rng(seed))
        index = estimated.anisotropy_index
        numbers = (
            index.value,
            index.error,
            estimated.symmetric.value,
            estimated.antisymmetric.value,
        )
        if whole:
            eigenvalues = ends(jacobian, 4, tolerance=1e-3)
    return {**dict(zip(names, numbers, strict=True)), "eigenvalues": eigenvalues}


def _save(path: Path, arrays: Mapping[str, Any]) -> None:
    np.savez_compressed(path, **arrays)


_evaluate: Callable[[str, list[int]], None]


def _start(config: str, parent: str, plan: Plan) -> None:
    global _evaluate
    Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    _evaluate = Evaluator(Recording(DictConfig(OmegaConf.create(config)), parent, plan))


def _end_with_parent() -> None:
    """A killed parent leaves nobody who waits for what its workers do."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _work(name: str, rows: list[int]) -> None:
    _evaluate(name, rows)
