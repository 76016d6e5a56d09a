"""The sign of the alignment along training, over repetition counts and kinds of model.

Small variants of the bundled model, one change at a time, trained on its corpus. At each
checkpoint every repeated caption and every caption with varied pictures (the block *seen*) is
evaluated on pure noise and on its own training picture noised, both with the same noise. Here
"memorized" stands for what the training set says (repeated), for reproduction takes a trained
model.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from diffusers import AutoencoderKL

from anisomem.config import testbed
from anisomem.models.base import Parameterisation, Prediction
from anisomem.models.schedule import DDIMSchedule, stable_diffusion_ddim
from anisomem.storage import atomic
from anisomem.testbed import corpus, diffusion, text, training

SMALL = diffusion.Variant("epsilon", 2, 30, channels=(16, 32, 56))
VARIANTS = {
    "epsilon": SMALL,
    "velocity": replace(SMALL, prediction_type="v_prediction"),
    "dropout-0.5": replace(SMALL, dropout=0.5),
    "wide": replace(SMALL, channels=(32, 64, 112)),
}
CHECKPOINTS = (250, 500, 750, 1000, 1250, 1500)
TIMESTEPS = (981, 501, 41)
SEED = 42  # of the noise


def study(name: str, icons: Path, work: Path, out: Path, steps: int) -> Path:
    """Trains a variant, continuing where it was stopped; the file of what its checkpoints say.

    Arguments:
        name: Of :data:`VARIANTS`.
        icons: Where the icon sets lie.
        work: Latents and training state.
        out: Folder of the recorded numbers.
        steps: Of the optimiser.
    """
    file = out / f"{name}.csv"
    if file.exists():
        return file
    data = training.load_corpus(icons)
    tokenizer = text.train_tokenizer([entry.caption.text for entry in data.entries])
    vae = AutoencoderKL.from_pretrained(testbed("epsilon") + "/vae").float().eval()
    empty = tokenizer("", padding="max_length", return_tensors="pt").input_ids
    latents, _ = training.encode(icons, work, vae, tokenizer)
    variant, parts = VARIANTS[name], work / name
    parts.mkdir(parents=True, exist_ok=True)

    def observe(step: int, models: torch.nn.ModuleDict) -> None:
        if step in CHECKPOINTS:
            measured = checkpoint(models, variant, data, latents, empty)
            measured = measured.assign(variant=name, step=step)
            atomic.write(parts / f"{step}.csv", lambda path: measured.to_csv(path, index=False))

    diffusion.train(latents, tokenizer, variant, parts / "state.pt", steps, observe=observe)
    recorded = [pd.read_csv(part) for part in parts.glob("*.csv")]
    whole = pd.concat(recorded).sort_values(["step", "entry"], kind="stable")
    atomic.write(file, lambda path: whole.to_csv(path, index=False, float_format="%.6g"))
    return file


@torch.no_grad()
def checkpoint(
    models: torch.nn.ModuleDict,
    variant: diffusion.Variant,
    data: corpus.Corpus,
    latents: diffusion.Latents,
    empty: torch.Tensor,
) -> pd.DataFrame:
    """A row for each caption, timestep and kind of latents.

    Columns ``uu``, ``cc``, ``uc`` of the outputs, ``score_uu`` ... of the scores, ``picture_u``
    and ``picture_c``, the squared distance from the picture to what is predicted for the data.
    ``empty`` are the tokens of no text, ``[1, 20]``.
    """
    models.eval()
    kept = range(corpus.REPEATED + corpus.BLOCK)  # the repeated entries, then those of "seen"
    first = [int(np.flatnonzero(latents.examples[:, 0] == i)[0]) for i in kept]
    x0 = latents.mean[latents.examples[first, 1]]
    noise = torch.randn(1, *x0.shape[1:], generator=torch.Generator().manual_seed(SEED))
    with_text = models["text"](latents.tokens[list(kept)]).last_hidden_state
    without = models["text"](empty).last_hidden_state
    schedule = DDIMSchedule(stable_diffusion_ddim(variant.prediction_type))
    rows = []
    for t in TIMESTEPS:
        alpha, sigma = schedule.scales(torch.full((len(x0),), t))
        noised = (alpha[:, None, None, None] * x0 + sigma[:, None, None, None] * noise).float()
        for kind, x in (("noise", noise.expand_as(x0)), ("noised", noised)):

            def predict(
                states: torch.Tensor,
                x: torch.Tensor = x,
                t: int = t,
                scales: tuple[torch.Tensor, torch.Tensor] = (alpha, sigma),
            ) -> Prediction:
                parts = [
                    models["unet"](a, t, encoder_hidden_states=b).sample
                    for a, b in zip(torch.split(x, 64), torch.split(states, 64), strict=True)
                ]
                form = Parameterisation(variant.prediction_type)
                return Prediction(torch.cat(parts), x, *scales, form)

            u, c = predict(without.expand_as(with_text)), predict(with_text)
            columns: dict[str, Any] = {}
            for prefix, a, b in (("", u.output, c.output), ("score_", u.score, c.score)):
                a, b = a.flatten(1).double(), b.flatten(1).double()
                products = {"uu": a * a, "cc": b * b, "uc": a * b}
                columns |= {prefix + n: v.sum(1).numpy() for n, v in products.items()}
            for letter, prediction in (("u", u), ("c", c)):
                squares = (prediction.x0 - x0).square().sum((1, 2, 3))
                columns[f"picture_{letter}"] = squares.numpy()
            entries = {
                "entry": list(kept),
                "repetitions": [e.count if e.layout else 0 for e in data.entries[: len(kept)]],
            }
            rows.append(pd.DataFrame({**entries, "latents": kind, "t": t, **columns}))
    models.train()
    return pd.concat(rows)
