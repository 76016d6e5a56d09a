"""The sign of the alignment while a model memorizes: a randomised experiment.

A bundled model goes on training while half of its prompts with unseen wordings, drawn at random,
come with one new picture each, again and again beside the training corpus. The other half are the
controls, so at step 0 nothing tells the halves apart but chance. At each checkpoint all of them
are evaluated on pure noise and on a noised picture, a new one of their concepts each, which is the
repeated one of those that have it, all with the same noise.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from anisomem.config.catalog import testbed
from anisomem.evaluation import Estimate, Evaluation
from anisomem.geometry.alignment import Alignment
from anisomem.measures.training_pictures import decoded
from anisomem.models.conditioning import Conditioning
from anisomem.models.diffusers_unet import DiffusersUNet
from anisomem.models.pipeline import PipelineModel
from anisomem.models.prediction import Parameterisation
from anisomem.report.table import Table
from anisomem.report.tables import interval_text
from anisomem.storage import atomic
from anisomem.testbed import pictures, training
from anisomem.testbed.ground_truth import made_by
from anisomem.testbed.latents import Latents
from anisomem.testbed.objectives import loss_weight
from anisomem.testbed.recipe import RECIPES

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Continuation:
    """What is trained on.

    Attributes:
        model: The bundled model it begins with.
        dropout: Share of captions replaced by "".
    """

    model: str
    dropout: float = 0.1


VARIANTS = {
    "epsilon": Continuation("epsilon"),
    "velocity": Continuation("velocity"),
    "epsilon, dropout 0": Continuation("epsilon", 0.0),
    "epsilon, dropout 0.5": Continuation("epsilon", 0.5),
}
CHECKPOINTS = (0, 100, 200, 400, 600, 1000, 1500)
TIMESTEPS = (981, 501, 41)
GROUPS = (8, 32, 128, 512, 1025)  # edges, of repetitions in the bundled models' own training
PLACE = ["variant", "step", "repetitions"]
BATCH, RATE = 32, 1e-3  # half of a batch is repeated captions
SEED = 42
NOTES = [
    "AUC at t = 41 of captions that are repeated with one picture against randomised controls, 95%"
    " intervals over captions; no sign is fitted.",
    "collapse: 1 − ‖x̂_c − x‖² / ‖x̂_u − x‖² at t = 981 on pure noise over the repeated captions,"
    " x their picture; 1 where the prompt alone recalls it.",
    "E: median excess of the repeated captions' scores, the cosine is positive where E > 1;"
    " length: ‖c‖ / ‖u‖.",
    "repetitions: how often each repeated caption has been seen, on average. As bundled: the"
    " bundled models' own repeated prompts in groups, against the same unseen wordings.",
]


@dataclass(frozen=True)
class ChosenCaptions:
    """The prompts of the experiment.

    Attributes:
        texts: The texts of all captions.
        latents: The latents of each one's new picture, ``[N, 4, 8, 8]``.
        repeated: Which half is trained on.
    """

    texts: list[str]
    latents: Tensor
    repeated: np.ndarray


def study(name: str, packages: Path, work: Path, out: Path) -> Path:
    """Trains a variant and follows it; the file of what its checkpoints say.

    Arguments:
        name: A name of :data:`VARIANTS`.
        packages: Where the icon sets lie.
        work: The encoded corpus.
        out: Folder of the recorded numbers.
    """
    file = out / f"{name.replace(', ', '-').replace(' ', '-')}.csv"
    if file.exists():
        return file
    variant = VARIANTS[name]
    model = DiffusersUNet.load(testbed(variant.model))
    vae = model.autoencoder
    encoded, _ = training.encoded(RECIPES["small"], packages, work, vae)
    corpus = encoded.part()
    given = choose_captions(model, variant.model, packages)
    recorded = []
    for step in train(model, variant, corpus, given):
        if step in CHECKPOINTS:
            seen = step * BATCH / 2 / given.repeated.sum()
            place = {"variant": name, "step": step, "repetitions": seen}
            recorded.append(checkpoint(model, given).assign(**place))
    _write(pd.concat(recorded), file)
    return file


def as_bundled(name: str, packages: Path, out: Path) -> Path:
    """The same of a bundled model's own repeated prompts, in groups of like repetitions.

    Anew where its weights are others than those that were measured.

    Arguments:
        name: ``epsilon`` or ``velocity``.
        packages: Where the icon sets lie.
        out: Folder of the recorded numbers.
    """
    file, weights = out / f"{name}-as-bundled.csv", made_by(Path(testbed(name)))
    if file.exists() and {weights} == set(pd.read_csv(file).get("weights", ())):
        return file
    model = DiffusersUNet.load(testbed(name))
    table = pd.read_parquet(Path(testbed(name)) / "prompts.parquet")
    own = table[table["block"] == "repeated"]
    own = own[[picture is not None for picture in own["picture"]]]
    pictures = zip(own["id"], own["picture"], strict=True)
    shown = np.stack([decoded(picture["bytes"], key) for key, picture in pictures])
    controls, counts = choose_captions(model, name, packages), own["repetitions"].to_numpy()
    recorded = []
    for low, high in pairwise(GROUPS):
        rows = np.flatnonzero((counts >= low) & (counts < high))
        some = ChosenCaptions(
            [*own["prompt"].iloc[rows], *controls.texts],
            torch.cat([model.latents_of(shown[rows]), controls.latents]),
            np.arange(len(rows) + len(controls.texts)) < len(rows),
        )
        place = {"variant": f"{name}, as bundled", "step": 11_000, "weights": weights}
        mean = float(counts[rows].mean())
        recorded.append(checkpoint(model, some).assign(**place, repetitions=mean))
    _write(pd.concat(recorded), file)
    return file


def _write(recorded: pd.DataFrame, file: Path) -> None:
    atomic.write(file, lambda path: recorded.to_csv(path, index=False, float_format="%.6g"))


def choose_captions(model: PipelineModel, name: str, packages: Path) -> ChosenCaptions:
    """Prompts with unseen wordings, a new picture of each one's concepts, and who is repeated."""
    table = pd.read_parquet(Path(testbed(name)) / "prompts.parquet")
    chosen = table[(table["block"] == "unseen_wording") & (table["label"] == "not_memorized")]
    rng = np.random.default_rng(SEED)
    recipe = RECIPES["small"]
    styles, rendered = recipe.concepts(packages), recipe.icons(packages)
    layouts = [
        pictures.random_layout(tuple(concepts.split(", ")), styles, rng)
        for concepts in chosen["concepts"]
    ]
    drawn = np.stack([pictures.draw(layout, rendered) for layout in layouts])
    repeated = rng.permutation(len(chosen)) < len(chosen) // 2
    return ChosenCaptions(chosen["prompt"].tolist(), model.latents_of(drawn), repeated)


def train(
    model: PipelineModel, variant: Continuation, corpus: Latents, given: ChosenCaptions
) -> Iterator[int]:
    """Trains U-Net and text encoder in place; yields how many steps are done, from 0 on."""
    rng = np.random.default_rng(SEED)
    torch.manual_seed(SEED)
    unet, (encoder,) = model.denoiser, model.text_encoders
    parameters = [*unet.parameters(), *encoder.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=RATE, weight_decay=1e-2)
    (reader,) = model.readers

    def tokens(texts: list[str]) -> Tensor:
        tokens: Tensor = model.tokens(reader, texts).input_ids
        return tokens

    empty, own = tokens([""]), tokens(given.texts)
    rows = np.flatnonzero(given.repeated)
    form = model.parameterisation
    yield 0
    for step in tqdm(range(1, CHECKPOINTS[-1] + 1), desc=f"{variant.model}", disable=None):
        some = rng.choice(rows, BATCH // 2)
        others = rng.integers(len(corpus.examples), size=BATCH // 2)
        caption, picture = corpus.examples[others].T
        mean, std = corpus.mean[picture].float(), corpus.std[picture].float()
        x0 = torch.cat([given.latents[some], mean + std * torch.randn_like(mean)])
        ids = torch.cat([own[some], corpus.tokens[caption]])
        ids = torch.where(torch.rand(BATCH, 1) < variant.dropout, empty, ids)
        t, noise = torch.randint(0, 1000, (BATCH,)), torch.randn_like(x0)
        alpha, sigma = (s.float()[:, None, None, None] for s in model.scales(t))
        velocity = form == Parameterisation.VELOCITY
        target = alpha * noise - sigma * x0 if velocity else noise
        states = encoder(ids).last_hidden_state
        output = unet(alpha * x0 + sigma * noise, t, encoder_hidden_states=states).sample
        error = (output - target).square().mean(dim=(1, 2, 3))
        loss = (loss_weight(alpha.flatten() ** 2, form) * error).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        optimiser.zero_grad()
        yield step


@torch.no_grad()
def checkpoint(model: PipelineModel, given: ChosenCaptions) -> pd.DataFrame:
    """A row for each caption, timestep and kind of latents.

    Columns ``uu``, ``cc``, ``uc`` of the outputs, ``score_uu`` ... of the scores, ``picture_u``
    and ``picture_c``, the squared distance from the picture to what is predicted for the data.
    """
    noise = model.initial_noise(SEED, 1)
    encoded = model.encode(given.texts)
    empty: Conditioning = model.encode([""])[[0] * len(given.texts)]
    rows = []
    for t in TIMESTEPS:
        alpha, sigma = (float(s) for s in model.scales(torch.tensor([t])))
        noised = alpha * given.latents + sigma * noise
        for kind, x in (("noise", noise.expand_as(noised)), ("noised", noised)):
            u, c = (model.predict(x, t, conditioning) for conditioning in (empty, encoded))
            columns: dict[str, Any] = {}
            for prefix, a, b in (("", u.output, c.output), ("score_", u.score, c.score)):
                a, b = a.flatten(1).double(), b.flatten(1).double()
                products = {"uu": a * a, "cc": b * b, "uc": a * b}
                columns |= {prefix + n: v.sum(1).numpy() for n, v in products.items()}
            for letter, prediction in (("u", u), ("c", c)):
                squares = (prediction.x0 - given.latents).square().sum((1, 2, 3))
                columns[f"picture_{letter}"] = squares.numpy()
            place = {"entry": range(len(noised)), "repeated": given.repeated.astype(int)}
            rows.append(pd.DataFrame({**place, "latents": kind, "t": t, **columns}))
    return pd.concat(rows)


def report(folder: Path) -> str:
    """Table and figure of what is recorded in a folder; the table as Markdown."""
    from anisomem.report import style

    recorded = pd.concat([pd.read_csv(file) for file in sorted(folder.glob("*.csv"))])
    lines = [
        _line(str(variant), int(step), seen, rows)
        for (variant, step, seen), rows in recorded.groupby(PLACE, sort=False)
    ]
    headings = list(lines[0])
    cells = [[_cell(line[name]) for name in headings] for line in lines]
    text = Table("Sign of the alignment", headings, cells, NOTES).markdown()
    atomic.write_text(folder / "sign.md", text)
    style.save(_figure(recorded, lines), folder / "sign")
    return text


def _line(variant: str, step: int, seen: float, rows: pd.DataFrame) -> dict[str, Any]:
    """What a checkpoint says of the repeated captions against the controls."""
    high = _rows_at(rows, "noise", 981)
    often = high["repeated"] == 1
    line: dict[str, Any] = {"variant": variant, "step": step, "repetitions": f"{seen:.0f}"}
    line["collapse"] = 1 - high["picture_c"][often].sum() / high["picture_u"][often].sum()
    for on in ("noise", "noised"):
        low = _rows_at(rows, on, 41)
        label = low["repeated"].to_numpy()
        true, raw = _alignment(low, "score_"), _alignment(low, "")
        scores = np.stack([true.cosine, raw.cosine, true.norm])[:, None]
        areas = [s.auc for s in Evaluation(scores, label, low["entry"], [0.05], 2000).summaries()]
        line[f"cosine, {on}"], line[f"of outputs, {on}"], line[f"norm, {on}"] = areas
        line[f"E, {on}"] = float(np.median(true.excess[label == 1]))
        line[f"length, {on}"] = float(np.median(np.sqrt(true.cc / true.uu)[label == 1]))
    return line


def _alignment(rows: pd.DataFrame, prefix: str) -> Alignment:
    return Alignment(*(rows[prefix + name].to_numpy() for name in ("uu", "cc", "uc")))


def _rows_at(rows: pd.DataFrame, latents: str, t: int) -> pd.DataFrame:
    return rows[(rows["latents"] == latents) & (rows["t"] == t)]


def _cell(value: Any) -> str:
    if isinstance(value, Estimate):
        return interval_text(value)
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _figure(recorded: pd.DataFrame, lines: list[dict[str, Any]]) -> Figure:
    """AUC of the cosine and the median excess by collapse, along training."""
    import matplotlib.pyplot as plt

    from anisomem.report.style import COLOURS, MARKERS, WIDTH

    figure, axes = plt.subplots(2, 2, figsize=(WIDTH, 5.4), layout="constrained", sharex=True)
    for i, variant in enumerate(dict.fromkeys(line["variant"] for line in lines)):
        own = [line for line in lines if line["variant"] == variant]
        x = [line["collapse"] for line in own]
        for column, on in zip(axes.T, ("noise", "noised"), strict=True):
            areas = [line[f"cosine, {on}"] for line in own]
            style: Any = {"color": COLOURS[i], "marker": MARKERS[i], "ms": 3}
            if variant.endswith("as bundled"):
                style["linestyle"] = ":"
            column[0].plot(x, [a.value for a in areas], label=variant, **style)
            ends = zip(*((a.interval.low, a.interval.high) for a in areas), strict=True)
            column[0].fill_between(x, *ends, color=COLOURS[i], alpha=0.12, linewidth=0)
            column[1].plot(x, [line[f"E, {on}"] for line in own], **style)
            column[0].set_title(f"{on}, t = 41", fontsize=9)
    for row_axes, level in zip(axes, (0.5, 1), strict=True):
        for axis in row_axes:
            axis.axhline(level, color="0.5", linewidth=0.8)
            axis.grid(color="0.92")
    axes[0, 0].set(ylabel="AUC of the cosine, scores", ylim=(0, 1))
    axes[0, 1].set_ylim(0, 1)
    axes[1, 0].set_ylabel("median excess E of the repeated")
    for axis in axes[1]:
        axis.set(xlabel="collapse of the repeated captions", ylim=(-3, 4))
    named = axes[0, 0].get_legend_handles_labels()
    figure.legend(*named, fontsize=8, ncols=3, loc="outside lower center")
    return figure
