"""Evaluates the tasks of a recording.

Which tasks there are, and where their arrays lie, is in ``record``; needs the model and torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from anisomem.config.schema import Config
from anisomem.console import progress
from anisomem.engine.noise_sample import GUIDANCE
from anisomem.geometry.record import (
    BATCH,
    LATENTS,
    LOW,
    SCALES,
    VECTORS,
    Extent,
    Part,
    Recording,
    other_sizes,
)
from anisomem.geometry.spectrum import ScoreJacobian, Spectrum, ends, hutchinson
from anisomem.measures.base import Picture
from anisomem.models.base import DiffusionModel
from anisomem.models.capability import Capability
from anisomem.models.conditioning import Conditioning
from anisomem.models.prediction import Prediction
from anisomem.run import devices, sharing
from anisomem.run.workers import Work
from anisomem.storage import atomic

Array = npt.NDArray[np.float64]

EXACT = 1024  # dimensions up to which a Jacobian is computed whole


class Evaluator:
    """Evaluates the tasks of a recording.

    Arguments:
        model: The model, loaded.
        config: The settings of the recording.
        extent: How much is evaluated.
    """

    def __init__(self, model: DiffusionModel, config: Config, extent: Extent) -> None:
        self.model, self.extent, self.seed = model, extent, config.seeds[0]
        self.batch_size = config.batch_size or BATCH
        self.model.require(
            Capability.PICTURES, "where no training picture is at hand they are taken for true"
        )
        self.steps = self.model.timesteps()

    @torch.no_grad()
    def __call__(self, part: Part) -> dict[str, Any]:
        """Evaluates a task and returns the arrays of its file."""
        of_kind = {
            "levels": self.levels,
            "inputs": self.inputs,
            "maps": self.maps,
            "spectrum": self.spectrum,
        }
        return of_kind[part.name.partition("-")[0]](part)

    def levels(self, part: Part) -> dict[str, Any]:
        """Inner products at all steps on all latents."""
        model, n = self.model, len(part.texts)
        noise, encoded = self._noise(n), model.encode(part.texts)
        empty = model.encode([""])

        def both(x: Tensor, t: float) -> tuple[Prediction, Prediction]:
            return self._predict(x, t, encoded), self._predict(x, t, empty[[0] * len(x)])

        products: dict[str, list[Array]] = {kind: [] for kind in LATENTS}
        for t in self.steps:
            without = model.predict(noise[:1], t, empty).expand(n)
            products["noise"].append(_products(without, self._predict(noise, t, encoded)))
        ended = noise
        for kind, guidance in (("guided", GUIDANCE), ("unguided", 1.0)):
            for step in model.trajectory(noise, encoded, len(self.steps), guidance, both):
                assert step.unconditional is not None
                products[kind].append(_products(step.unconditional, step.conditional))
                ended = step.after if kind == "guided" else ended
        latents = ended.float().cpu()
        shown = {i: picture for i, picture in enumerate(part.pictures) if picture is not None}
        if shown:
            latents[[*shown]] = self._encoded([*shown.values()])
        for t in self.steps:
            c, u = both(self._noised(latents, t), t)
            products["noised"].append(_products(u, c))
        return {
            "products": np.stack([np.stack(products[kind], axis=-1) for kind in LATENTS]),
            "timesteps": np.array(self.steps, np.float64),
            "latents": latents.numpy(),
            "with_picture": np.isin(np.arange(n), [*shown]),
        }

    def inputs(self, part: Part) -> dict[str, Any]:
        """Inner products of scores on pure noise of other scales, and of other sizes."""
        model, t, n = self.model, self.steps[LOW], len(part.texts)
        encoded = model.encode(part.texts)
        empty = model.encode([""])
        scaled = [(scale, self._noise(1) * scale) for scale in SCALES]
        if Capability.SIZES in model.capabilities:
            for shape in other_sizes(model.latent_shape):
                noise = model.initial_noise(self.seed, 1, shape)
                scaled.append((1.0, noise.to(model.device, model.dtype)))
        products = []
        for _, x in scaled:
            without = model.predict(x, t, empty).expand(n)
            with_prompt = self._predict(x.expand(n, -1, -1, -1), t, encoded)
            products.append(_products(without, with_prompt)[VECTORS.index("score")])
        return {
            "products": np.stack(products),
            "scales": np.array([scale for scale, _ in scaled]),
            "sides": np.array([max(x.shape[2:]) for _, x in scaled]),
            "side": np.array(max(model.latent_shape[1:])),
        }

    def maps(self, part: Part) -> dict[str, Any]:
        """Pictures, and scores and guidance by position at the third-last step.

        ``u`` and ``c`` are ``[latents, n, C, h, w]`` for pure noise and noised latents.
        """
        t, n, latents = self.steps[-3], len(part.texts), _true(part)
        encoded, empty = self.model.encode(part.texts), self.model.encode([""])
        pairs = [
            (self._predict(x, t, empty[[0] * n]), self._predict(x, t, encoded))
            for x in (self._noise(n), self._noised(latents, t))
        ]
        pictures = self.model.decode(latents.to(self.model.device, self.model.dtype))
        fields = {
            name: np.stack([pair[i].score.float().cpu().numpy() for pair in pairs])
            for i, name in enumerate("uc")
        }
        return {"pictures": pictures, **fields}

    def spectrum(self, part: Part) -> dict[str, Any]:
        """Spectra of the score's Jacobian by level, latents and conditioning, a row of each array.

        Without a row: without a prompt on pure noise, which is the same for all prompts.
        """
        extent = self.extent
        cases: list[tuple[str, str, Tensor | None]] = [("noise", "", None)]
        if part.texts:
            text, latents = part.texts[0], _true(part)
            cases = [("noise", text, None), ("noised", text, latents), ("noised", "", latents)]
        columns: dict[str, list[Any]] = {}
        for level in extent.levels:
            t = self.steps[level]
            sigma = float(self.model.scales(torch.tensor([t]))[1])
            for kind, text, z in cases:
                x = self._noise(1) if z is None else self._noised(z, t)
                jacobian = ScoreJacobian(self.model, x, t, self.model.encode([text]))
                whole = part.whole and level in extent.whole_levels
                values = {
                    "level": level,
                    "on_noise": kind == "noise",
                    "conditional": text != "",
                    "sigma": sigma,
                    **_moments(jacobian, whole, extent.probes, self.seed),
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
        size = self.batch_size
        parts = [
            self.model.predict(x[i : i + size], t, conditioning[slice(i, i + size)])
            for i in range(0, len(x), size)
        ]
        return Prediction.cat(parts)

    def _encoded(self, pictures: Sequence[Picture]) -> Tensor:
        """Latents of training pictures, resized to the model's resolution."""
        height, width = self.model.picture_size
        resized = [np.asarray(Image.fromarray(p).resize((width, height))) for p in pictures]
        return self.model.latents_of(np.stack(resized))


def _products(u: Prediction, c: Prediction) -> Array:
    """What compares outputs, then scores, ``[vectors, quantities, B]``.

    The quantities are :data:`~anisomem.geometry.record.QUANTITIES`; scores point away from noise,
    so that their input is taken with a minus.
    """
    products_by_batch = []
    for name in VECTORS:
        a, b = getattr(u, name).double(), getattr(c, name).double()
        x = c.x.double() if name == "output" else -c.x.double()
        by_position = torch.cosine_similarity(a, b - a, dim=1).mean(dim=(1, 2))
        pairs = ((a, a), (b, b), (a, b), (x, x), (x, a), (x, b))
        products = [(p * q).sum(dim=(1, 2, 3)) for p, q in pairs]
        products_by_batch.append(torch.stack([*products, by_position]))
    return torch.stack(products_by_batch).cpu().numpy()


def _moments(jacobian: ScoreJacobian, whole: bool, probes: int, seed: int) -> dict[str, Any]:
    """Index, its error, squared norms and eigenvalues, or their ends, or NaN for them."""
    d, names = jacobian.size, ("index", "error", "symmetric", "antisymmetric")
    small = d <= EXACT
    eigenvalues = np.full(d if small else 8, np.nan)
    if whole and small:
        spectrum = Spectrum.of_matrix(jacobian.dense())
        eigenvalues = spectrum.eigenvalues
        squares = float((eigenvalues**2).sum())
        numbers = (spectrum.anisotropy_index, 0.0, squares, spectrum.antisymmetric**2)
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


def complete(recording: Recording) -> None:
    """Evaluates what is missing of a recording, see :func:`anisomem.run.sharing.share`."""
    config = recording.config
    for first in (True, False):  # spectra and maps read the latents that levels leave
        tasks = [t for t in recording.missing() if t[0].startswith("levels") == first]
        if not tasks:
            continue
        with progress.phase(f"{recording.name}: loading the model"):
            model = sharing.loaded(config)
            here = Evaluator(model, config, recording.extent)
        state = sharing.state_of_start(config, recording.state)
        start = partial(_evaluator, config, recording.extent, state)
        parts = [recording.part(task) for task in tasks]
        work = Work(here, start, partial(_keep, recording))
        sharing.share(parts, work, config, model, len(parts), recording.name, "part")


def _keep(recording: Recording, part: Part, arrays: Mapping[str, Any]) -> int:
    """Writes a task's file and returns 1, for a task."""
    atomic.write_arrays(recording.file(part.name), arrays)
    return 1


def _evaluator(
    config: Config, extent: Extent, state: Mapping[str, str], device: str | None
) -> Evaluator:
    """The same in another process."""
    sharing.require_same_start(config, state)
    return Evaluator(devices.loaded(config, device), config, extent)


def _true(part: Part) -> Tensor:
    """The true latents of a task's prompts, ``[n, C, h, w]``."""
    assert part.latents is not None
    return torch.from_numpy(part.latents)
