"""What decides the sign: small trainings that differ in one factor each, followed on the way.

The trainings are described in ``testbed/arms``. At every step whose weights were kept the repeated
captions and the controls are evaluated on pure noise of several seeds, at the first step and at
the third-last, where the paper reads its norm and its cosine. The bundled models are evaluated in
the same way, with their own prompts, and the long training of one while it went on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf, nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from anisomem.config.catalog import testbed
from anisomem.evaluation import Estimate, Evaluation
from anisomem.evaluation.bootstrap import PairedDifference
from anisomem.geometry.alignment import InputAlignment
from anisomem.geometry.claims import HEADINGS, Claim
from anisomem.measures.training_pictures import decoded
from anisomem.models.families import load
from anisomem.models.pipeline import PipelineModel
from anisomem.models.prediction import Parameterisation, Prediction
from anisomem.models.schedule import stable_diffusion_ddim
from anisomem.report.table import Table
from anisomem.report.tables import interval_text
from anisomem.storage import atomic
from anisomem.testbed.arms import ARMS, CONTROLS, EPSILON, Pictures, trained
from anisomem.testbed.diffusion import VARIANTS, snapshot
from anisomem.testbed.latents import Encoded
from anisomem.testbed.networks import Denoiser

if TYPE_CHECKING:
    from diffusers import AutoencoderKL
    from matplotlib.figure import Figure
    from transformers import CLIPTokenizer

SEEDS = range(4)  # of the noise
FIRST, LOW = 981, 41  # timesteps
OFTEN = 512  # times an epoch, from which on a caption of a large corpus is followed
COLLAPSED = 0.8  # arms are compared where so much of the way is gone
MEMORIZES = 0.9  # AUC of the norm from which a step counts in the correlation
DRAWS = 2000
SCORES = ("cos(u, d)", "cos(x, d)", "norm")
PRODUCTS = ("uu", "cc", "uc", "xx", "xu", "xc")
NOTES = [
    f"AUC at t = {LOW} on pure noise of {len(SEEDS)} seeds, repeated captions against the"
    " controls, 95% intervals over captions; u predicted without, c with the prompt, d = c − u, x"
    " the noise.",
    f"collapse: 1 − ‖x̂_c − x‖² / ‖x̂_u − x‖² at t = {FIRST} over the repeated captions, x their"
    " picture; 1 where the prompt alone recalls it.",
    "Bundled models: their own prompts, labels as measured, x their training picture.",
    f"Training of large: captions that come with one picture at least {OFTEN} times an epoch"
    " against ordinary ones of its corpus.",
]

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
        rows = measured(_of_network(model, data.texts, tokenizer), data.latents, len(data.texts))
        recorded.append(rows.assign(arm=name, step=int(weights.stem)))
    _write(pd.concat(recorded), file)
    return file


def as_bundled(name: str, out: Path) -> Path:
    """The same of a bundled model with its own prompts.

    Arguments:
        name: A folder beside the bundled models' recipes, such as ``epsilon``.
        out: Folder of the recorded numbers.
    """
    file = out / f"bundled-{name}.csv"
    if file.exists():
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
    texts = table["prompt"].iloc[chosen].tolist()
    rows = measured(_of_pipeline(model, texts), model.latents_of(shown), len(texts))
    _write(rows.assign(arm=f"bundled {name}", step=0), file)
    return file


def of_training(
    name: str, data: Encoded, tokenizer: CLIPTokenizer, snapshots: Path, out: Path
) -> Path:
    """The same along the training of a variant, of its most repeated captions.

    The controls are ordinary captions of the corpus, drawn at random.

    Arguments:
        name: A name of :data:`anisomem.testbed.diffusion.VARIANTS`.
        data: The encoded corpus that it is trained on.
        tokenizer: The tokenizer of its captions.
        snapshots: Folder of the weights that the training left on the way.
        out: Folder of the recorded numbers.
    """
    file = out / f"training-{name}.csv"
    if file.exists():
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
    recorded = []
    for weights in sorted(snapshots.glob("*.safetensors")):
        model = snapshot(VARIANTS[name], tokenizer, weights)
        rows = measured(_of_network(model, texts, tokenizer), latents, len(texts))
        recorded.append(rows.assign(arm=f"training of {name}", step=int(weights.stem)))
    _write(pd.concat(recorded), file)
    return file


@torch.no_grad()
def measured(predict: Predict, latents: Tensor, count: int) -> pd.DataFrame:
    """A row for each prompt and noise seed.

    Columns: the inner products of predicted noise and input at t = 41 (:data:`PRODUCTS`), and
    ``picture_u``, ``picture_c``, squared distances from a prompt's picture to the data that is
    predicted at t = 981; NaN for prompts without one.

    Arguments:
        predict: The model.
        latents: The pictures of the first prompts, ``[M, C, h, w]``.
        count: How many prompts there are, N.
    """
    rows = []
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
        columns |= {"entry": range(count), "label": (np.arange(count) < len(latents)).astype(int)}
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


@dataclass(frozen=True)
class Followed:
    """What one step of an arm says.

    Attributes:
        arm, step: Which.
        collapse: How far the conditional has collapsed at the first step, at most 1.
        likeness: Mean cos(u, x) over noise seeds.
        evaluation: Of :data:`SCORES`, in this order.
    """

    arm: str
    step: int
    collapse: float
    likeness: float
    evaluation: Evaluation

    def areas(self) -> list[Estimate]:
        """AUC of every score."""
        return [summary.auc for summary in self.evaluation.summaries()]

    def cells(self) -> list[str]:
        """The step's cells in the table."""
        step = str(self.step) if self.step else "as bundled"
        numbers = (f"{value:.2f}" for value in (self.collapse, self.likeness))
        return [self.arm, step, *numbers, *map(interval_text, self.areas())]


def followed(rows: pd.DataFrame) -> Followed:
    """Evaluates the rows of one step."""
    rows = rows.sort_values(["seed", "entry"])
    seeds = rows["seed"].nunique()
    aligned = InputAlignment(*(_by_seed(rows[name], seeds) for name in PRODUCTS))
    scores = np.stack([aligned.cosine, aligned.along_input, aligned.norm])
    first = rows[rows["seed"] == rows["seed"].iloc[0]]
    own = rows[rows["label"] == 1]
    return Followed(
        str(rows["arm"].iloc[0]),
        int(rows["step"].iloc[0]),
        float(1 - own["picture_c"].sum() / own["picture_u"].sum()),
        float(aligned.input_cosine.mean()),
        Evaluation(scores, first["label"], first["entry"], [0.05], DRAWS),
    )


def _by_seed(values: pd.Series[float], seeds: int) -> npt.NDArray[np.float64]:
    return np.asarray(values.to_numpy().reshape(seeds, -1), np.float64)


def report(folder: Path) -> str:
    """Tables and figure of what is recorded in a folder; the tables as Markdown."""
    from anisomem.report import style

    recorded = pd.concat([pd.read_csv(file) for file in sorted(folder.glob("*.csv"))])
    steps = [followed(rows) for _, rows in recorded.groupby(["arm", "step"])]
    order = [*ARMS, *sorted({one.arm for one in steps} - set(ARMS))]
    steps.sort(key=lambda one: (order.index(one.arm), one.step))
    headings = ["training", "step", "collapse", "cos(u, x)", *(f"AUC {s}" for s in SCORES)]
    table = Table("Along training", headings, [one.cells() for one in steps], NOTES)
    claims = [*_compared(steps), *_correlated(steps)]
    found = Table("Claims", HEADINGS, [claim.cells() for claim in claims])
    text = f"{found.section()}\n{table.section()}"
    atomic.write_text(folder / "arms.md", text)
    style.save(_figure(steps), folder / "arms")
    return text


def _compared(steps: Sequence[Followed]) -> list[Claim]:
    """Each arm against the first, both at the step where they have first collapsed so far."""
    reached: dict[str, Followed] = {}
    for one in steps:
        if one.arm in ARMS and one.collapse >= COLLAPSED:
            reached.setdefault(one.arm, one)
    first = next(iter(ARMS))
    claims = []
    for name, arm in ARMS.items():
        if name == first or name not in {one.arm for one in steps}:
            continue
        number = f"AUC cos(u, d), {name} − {first}, at collapse ≥ {COLLAPSED:g}"
        text = f"{arm.factor} decides the sign: {name} is nearer the paper's side"
        values = (nan, -inf, inf)
        if first in reached and name in reached:
            values = _interval(_difference(reached[name], reached[first]))
        claims.append(Claim(text, "small trainings", "noise", number, (0, inf), *values))
    return claims


def _difference(one: Followed, other: Followed) -> PairedDifference:
    """AUC of cos(u, d), on the same captions."""
    both = np.stack([one.evaluation.scores[0], other.evaluation.scores[0]])
    table = one.evaluation
    return Evaluation(both, table.labels, table.clusters, [0.05], DRAWS).auc_difference(0, 1)


def _interval(paired: PairedDifference) -> tuple[float, float, float]:
    return paired.difference, paired.interval.low, paired.interval.high


def _correlated(steps: Sequence[Followed]) -> list[Claim]:
    """The rank correlation of cos(u, x) with the AUC of cos(u, d), drawn over arms."""
    from scipy.stats import spearmanr

    telling = [s for s in steps if s.arm in ARMS and s.areas()[2].value >= MEMORIZES]
    names = sorted({one.arm for one in telling})
    if len(names) < 3:
        return []
    pairs = {
        name: np.array([(s.likeness, s.areas()[0].value) for s in telling if s.arm == name])
        for name in names
    }

    def correlation(chosen: Sequence[str]) -> float:
        return float(spearmanr(np.concatenate([pairs[name] for name in chosen])).statistic)

    generator = np.random.default_rng(0)
    draws = [correlation(generator.choice(names, len(names)).tolist()) for _ in range(DRAWS)]
    low, high = np.nanquantile(draws, [0.025, 0.975]).tolist()
    text = "the paper's sign goes with pure noise being taken for noise"
    number = f"rank correlation of cos(u, x) and AUC cos(u, d), norm's AUC ≥ {MEMORIZES:g}"
    values = (correlation(names), low, high)
    return [Claim(text, "small trainings", "noise", number, (0, inf), *values)]


def _figure(steps: Sequence[Followed]) -> Figure:
    """AUC of both cosines against cos(u, x) and against collapse, one line an arm."""
    import matplotlib.pyplot as plt

    from anisomem.report.style import COLOURS, MARKERS, WIDTH

    figure, axes = plt.subplots(
        2, 2, figsize=(WIDTH, 6.2), layout="constrained", sharey=True, sharex="col"
    )
    arms = list(dict.fromkeys(one.arm for one in steps))
    for i, arm in enumerate(arms):
        own = [one for one in steps if one.arm == arm]
        style: dict[str, Any] = {"color": COLOURS[i % len(COLOURS)], "ms": 4, "lw": 1}
        style |= {
            "marker": MARKERS[i % len(MARKERS)],
            "mfc": "none" if i >= len(COLOURS) else None,
        }
        if len(own) == 1:
            style |= {"linestyle": "none", "ms": 9, "mew": 2}
        for k, row in enumerate(axes):
            areas = [one.areas()[k] for one in own]
            ends = zip(*((a.interval.low, a.interval.high) for a in areas), strict=True)
            low, high = map(np.asarray, ends)
            centre = np.array([a.value for a in areas])
            for axis, x in zip(row, ("likeness", "collapse"), strict=True):
                at = [getattr(one, x) for one in own]
                axis.plot(at, centre, label=arm, **style)
                axis.vlines(at, low, high, color=style["color"], alpha=0.3, linewidth=1)
    for row, name in zip(axes, SCORES, strict=False):
        row[0].set_ylabel(f"AUC of {name}")
        for axis in row:
            axis.axhline(0.5, color="0.5", linewidth=0.8)
            axis.grid(color="0.92")
            axis.set_ylim(-0.02, 1.02)
    axes[1, 0].set_xlabel("cos(u, x): how far pure noise is taken for noise")
    axes[1, 1].set_xlabel("collapse of the repeated captions")
    axes[0, 0].invert_xaxis()
    named = axes[0, 0].get_legend_handles_labels()
    figure.legend(*named, fontsize=8, ncols=3, loc="outside lower center")
    return figure
