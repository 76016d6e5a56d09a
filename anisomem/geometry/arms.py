"""What decides the sign: small trainings that differ in one factor each, followed on the way.

The trainings are described in ``testbed/arms``. At every step whose weights were kept the repeated
captions and the controls are evaluated on pure noise of several seeds, at the first step and at
the third-last, where the paper reads its norm and its cosine. The bundled models are evaluated in
the same way, with their own prompts, and the long training of one while it went on. What the
numbers say is in :mod:`anisomem.geometry.arms_report`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from anisomem.config.catalog import testbed
from anisomem.measures.training_pictures import decoded
from anisomem.models.families import load
from anisomem.models.pipeline import PipelineModel
from anisomem.models.prediction import Parameterisation, Prediction
from anisomem.models.schedule import stable_diffusion_ddim
from anisomem.storage import atomic
from anisomem.testbed.arms import ARMS, CONTROLS, EPSILON, Pictures, trained
from anisomem.testbed.captions import Caption
from anisomem.testbed.corpus import Corpus
from anisomem.testbed.diffusion import VARIANTS, snapshot
from anisomem.testbed.ground_truth import made_by
from anisomem.testbed.latents import Encoded
from anisomem.testbed.networks import Denoiser

if TYPE_CHECKING:
    from diffusers import AutoencoderKL
    from transformers import CLIPTokenizer

SEEDS = range(4)  # of the noise
FIRST, LOW = 981, 41  # timesteps
OFTEN = 512  # times an epoch, from which on a caption of a large corpus is followed
PRODUCTS = ("uu", "cc", "uc", "xx", "xu", "xc")

#: Predictions without prompt and with every prompt, from one noise ``[1, C, h, w]`` at a timestep.
Predict = Callable[[Tensor, int], tuple[Prediction, Prediction]]


def study(
    name: str, packages: Path, vae: AutoencoderKL, tokenizer: CLIPTokenizer, work: Path, out: Path
) -> Path:
    """Trains an arm and follows it; the file of what its steps say.

    Arguments:
        name: A name of :data:`anisomem.testbed.arms.ARMS`.
        packages: Where the icon sets lie.
        vae, tokenizer: Of a bundled model.
        work: Keeps the trainings.
        out: Folder of the recorded numbers.
    """
    file = out / f"{name.replace(' ', '-').replace(',', '')}.csv"
    if file.exists():
        return file
    data = Pictures(ARMS[name], packages, vae, tokenizer)
    recorded = []
    for weights in trained(name, data, tokenizer, work):
        model = snapshot(ARMS[name].variant, tokenizer, weights)
        predict = _of_network(model, data.texts, tokenizer)
        rows = measured(predict, data.latents, range(len(data.texts)))
        recorded.append(rows.assign(arm=name, step=int(weights.stem)))
    _write(pd.concat(recorded), file)
    return file


def as_bundled(name: str, out: Path) -> Path:
    """The same of a bundled model with its own prompts, anew where its weights are others.

    Arguments:
        name: A folder beside the bundled models' recipes, such as ``epsilon``.
        out: Folder of the recorded numbers.
    """
    file, weights = out / f"bundled-{name}.csv", made_by(Path(testbed(name)))
    if file.exists() and {weights} == set(pd.read_csv(file).get("weights", ())):
        return file
    model = load(testbed(name), device="cpu")
    table = pd.read_parquet(Path(testbed(name)) / "prompts.parquet")
    has_picture = np.array([picture is not None for picture in table["picture"]])
    memorized = (table["label"] == "memorized").to_numpy() & has_picture
    others = (table["label"] == "not_memorized").to_numpy()
    chosen = [*np.flatnonzero(memorized), *np.flatnonzero(others)]
    own = table.iloc[np.flatnonzero(memorized)]
    pairs = zip(own["id"], own["picture"], strict=True)
    shown = np.stack([decoded(picture["bytes"], key) for key, picture in pairs])
    texts, clusters = (table[name].iloc[chosen].tolist() for name in ("prompt", "cluster"))
    rows = measured(_of_pipeline(model, texts), model.latents_of(shown), clusters)
    _write(rows.assign(arm=f"bundled {name}", step=0, weights=weights), file)
    return file


def of_training(
    name: str, data: Encoded, tokenizer: CLIPTokenizer, snapshots: Path, out: Path
) -> Path:
    """The same along the training of a variant, of its most repeated captions.

    The controls are ordinary captions of the corpus, drawn at random. Weights that came since the
    numbers were recorded are added to them.

    Arguments:
        name: A name of :data:`anisomem.testbed.diffusion.VARIANTS`.
        data: The encoded corpus that it is trained on.
        tokenizer: The tokenizer of its captions.
        snapshots: Folder of the weights that the training left on the way.
        out: Folder of the recorded numbers.
    """
    file = out / f"training-{name}.csv"
    recorded = [pd.read_csv(file)] if file.exists() else []
    known = {step for rows in recorded for step in rows["step"]}
    new = [one for one in sorted(snapshots.glob("*.safetensors")) if int(one.stem) not in known]
    if not new:
        return file
    entries, stored = data.corpus.entries, data.file("repeated")
    examples = stored["examples"].numpy()
    captions, first = np.unique(examples[:, 0], return_index=True)
    often = [
        i
        for i, caption in enumerate(captions)
        if entries[caption].patch is None and entries[caption].count >= OFTEN
    ]
    others = np.random.default_rng(0).choice(len(entries) - data.repeated, CONTROLS, replace=False)
    chosen = [*captions[often], *(data.repeated + others)]
    means = stored["moments"].chunk(2, dim=1)[0].float() * data.vae.config.scaling_factor
    latents = means[torch.from_numpy(examples[first[often], 1])]
    texts = [entries[caption].caption.text for caption in chosen]
    clusters = _clusters(data.corpus, [entries[caption].caption for caption in chosen])
    for weights in new:
        model = snapshot(VARIANTS[name], tokenizer, weights)
        rows = measured(_of_network(model, texts, tokenizer), latents, clusters)
        recorded.append(rows.assign(arm=f"training of {name}", step=int(weights.stem)))
    _write(pd.concat(recorded), file)
    return file


def _clusters(corpus: Corpus, captions: Sequence[Caption]) -> list[int]:
    """Captions whose first concepts are evaluated in one cluster share it, others by concept."""
    known = {c: prompt.cluster for prompt in corpus.prompts for c in prompt.caption.concepts}
    firsts = [caption.concepts[0] for caption in captions]
    more = sorted(set(firsts) - known.keys())
    known |= {concept: i for i, concept in enumerate(more, 1 + max(known.values()))}
    return [known[concept] for concept in firsts]


@torch.no_grad()
def measured(predict: Predict, latents: Tensor, clusters: Sequence[int]) -> pd.DataFrame:
    """A row for each prompt and noise seed.

    Columns: the inner products of predicted noise and input at t = 41 (:data:`PRODUCTS`), and
    ``picture_u``, ``picture_c``, squared distances from a prompt's picture to the data that is
    predicted at t = 981; NaN for prompts without one.

    Arguments:
        predict: The model.
        latents: The pictures of the first prompts, ``[M, C, h, w]``.
        clusters: Of all prompts, ``[N]``; those of one are resampled together.
    """
    rows, count = [], len(clusters)
    for seed in SEEDS:
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(1, *latents.shape[1:], generator=generator)
        early, late = predict(x, FIRST), predict(x, LOW)
        inputs = x.expand(count, -1, -1, -1).flatten(1).double()
        without, prompted = (p.epsilon.flatten(1).double().cpu() for p in late)
        without = without.expand(count, -1)
        vectors = {"u": without, "c": prompted, "x": inputs}
        columns: dict[str, Any] = {
            name: (vectors[name[0]] * vectors[name[1]]).sum(1).numpy() for name in PRODUCTS
        }
        for letter, prediction in zip("uc", early, strict=True):
            distance = np.full(count, nan)
            data = prediction.x0.cpu().expand(count, -1, -1, -1)[: len(latents)]
            distance[: len(latents)] = (data - latents).square().sum((1, 2, 3)).numpy()
            columns[f"picture_{letter}"] = distance
        columns |= {"entry": range(count), "cluster": clusters}
        columns |= {"label": (np.arange(count) < len(latents)).astype(int)}
        rows.append(pd.DataFrame({"seed": seed, **columns}))
    return pd.concat(rows)


def _of_network(model: Denoiser, texts: Sequence[str], tokenizer: CLIPTokenizer) -> Predict:
    """What a trained network predicts, which predicts noise."""
    alphas = stable_diffusion_ddim(EPSILON).alphas_cumprod.double()
    ids = tokenizer(["", *texts], padding="max_length", return_tensors="pt").input_ids

    def predict(x: Tensor, t: int) -> tuple[Prediction, Prediction]:
        n = len(ids)
        inputs, steps = x.expand(n, -1, -1, -1), torch.full((n,), t)
        alpha, sigma = alphas[t].sqrt().expand(n), (1 - alphas[t]).sqrt().expand(n)
        output = model(inputs, steps, ids)
        all_of = Prediction(output, inputs, alpha, sigma, Parameterisation.EPSILON)
        return all_of[:1], all_of[1:]

    return predict


def _of_pipeline(model: PipelineModel, texts: Sequence[str]) -> Predict:
    """What a bundled model predicts, at the steps of its own schedule."""
    encoded, empty = model.encode(list(texts)), model.encode([""])
    steps = {FIRST: model.timesteps()[0], LOW: model.timesteps()[-3]}

    def predict(x: Tensor, t: int) -> tuple[Prediction, Prediction]:
        whole = model.predict(x.expand(len(texts), -1, -1, -1), steps[t], encoded)
        return model.predict(x, steps[t], empty), whole

    return predict


def _write(recorded: pd.DataFrame, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    atomic.write(file, lambda path: recorded.to_csv(path, index=False, float_format="%.6g"))
