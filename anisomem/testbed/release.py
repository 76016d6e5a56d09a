"""What lies beside a bundled model: its prompts with measured labels, and its card.

Which prompts are memorized is measured in ``ground_truth``.
"""

import io
import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from datasets import Dataset, Features, Image, List, Value
from matplotlib.figure import Figure
from PIL import Image as PILImage
from safetensors.torch import load_file

from anisomem.testbed.concepts import Recogniser
from anisomem.testbed.corpus import Corpus
from anisomem.testbed.ground_truth import (
    Pictures,
    References,
    label,
    reproduction_rate,
)
from anisomem.testbed.pictures import Icons, canvas_of
from anisomem.testbed.thresholds import Thresholds

BLOCKS = ["repeated", "near_miss", "seen", "unseen_wording", "unseen_pair"]

FEATURES = Features(
    {
        "id": Value("string"),
        "prompt": Value("string"),
        "label": Value("string"),  # memorized, partial or not_memorized
        "reproduction_rate": Value("float64"),
        "block": Value("string"),  # one of BLOCKS
        "kind": Value("string"),  # verbatim, template or ordinary
        "repetitions": Value("int32"),  # of the one picture in the training set; 0 where it varies
        "cluster": Value("int32"),  # prompts of one cluster share concepts
        "concepts": Value("string"),
        "source": Value("string"),  # id of the repeated caption a near miss was derived from
        "picture": Image(),  # the memorized training picture, of repeated captions
        "patch": List(Value("int32")),  # left and top of the square that varies in a template
    }
)
# Of models with textured pictures: flat or textured, of repeated captions.
SURFACES = Features({**FEATURES, "surface": Value("string")})


def prompts(
    corpus: Corpus,
    icons: Icons,
    references: References,
    generated: Pictures,
    thresholds: Thresholds,
) -> Dataset:
    """The evaluation prompts with their measured reproduction rates, one row each."""
    rows = []
    for i, (prompt, pictures) in enumerate(zip(corpus.prompts, generated, strict=True)):
        rate = reproduction_rate(prompt, pictures, references, thresholds)
        repeated = prompt.block == "repeated"
        layout = corpus.entries[i].layout if repeated else None
        rows.append(
            {
                "id": f"{prompt.block}-{i:04d}",
                "prompt": prompt.caption.text,
                "label": label(rate),
                "reproduction_rate": rate,
                "block": prompt.block,
                "kind": prompt.kind,
                "repetitions": corpus.entries[i].count if repeated else 0,
                "cluster": prompt.cluster,
                "concepts": ", ".join(prompt.caption.concepts),
                "source": "" if prompt.source is None else f"repeated-{prompt.source:04d}",
                "picture": {"bytes": encoded(corpus.pictures(i, icons)[0]), "path": None}
                if repeated
                else None,
                "patch": corpus.entries[i].patch if repeated else None,
            }
        )
        if corpus.canvas.textured:
            rows[-1]["surface"] = layout and ("textured" if layout.texture else "flat")
    features = SURFACES if corpus.canvas.textured else FEATURES
    return Dataset.from_list(rows, features=features)


def contact_sheet(table: Dataset, generated: Pictures, each: int = 7) -> Figure:
    """Rows of a prompt, its training picture if it has one, and four generated pictures.

    Memorized prompts from few to many repetitions on the left, the blocks of negatives right.
    """
    labels, blocks = np.array(table["label"]), np.array(table["block"])
    repetitions = np.array(table["repetitions"])
    memorized = np.flatnonzero((labels == "memorized") & (blocks == "repeated"))
    memorized = memorized[np.argsort(repetitions[memorized], kind="stable")]
    count = each * (len(BLOCKS) - 1) // 2
    places = np.linspace(0, len(memorized) - 1, min(count, len(memorized)))
    left = [int(i) for i in memorized[np.unique(places.astype(int))]]
    negatives = [
        [int(i) for i in np.flatnonzero((blocks == b) & (labels == "not_memorized"))[: each // 2]]
        for b in ("repeated", *BLOCKS[1:])
    ]
    right = [i for block in negatives for i in block][:count]
    figure, axes = plt.subplots(
        count, 10, figsize=(15, 1.6 * count), squeeze=False, gridspec_kw={"wspace": 0.06}
    )
    for axis in axes.flat:
        axis.axis("off")
    for column, chosen in ((0, left), (5, right)):
        for line, i in zip(axes, chosen, strict=False):
            if table[i]["picture"] is not None:
                line[column].imshow(np.asarray(table[i]["picture"]))
            for k in range(4):
                line[column + 1 + k].imshow(generated[i, k])
            count_text = f"{repetitions[i]}x, " if repetitions[i] else ""
            line[column + 1].set_title(
                f"{table[i]['prompt']}  ({blocks[i]}, {count_text}"
                f"rate {table[i]['reproduction_rate']:.2f})",
                fontsize=8,
                loc="left",
            )
    axes[0, 0].set_title("training picture", fontsize=7)
    return figure


def confirmed(table: Dataset) -> str:
    """A Markdown table: how many prompts of each block got which label."""
    counts = Counter(zip(table["block"], table["label"], strict=True))
    lines = ["| block | memorized | partial | not memorized |", "|---|---|---|---|"]
    for block in BLOCKS:
        cells = [counts[block, value] for value in ("memorized", "partial", "not_memorized")]
        if any(cells):
            lines.append(f"| {block} | {cells[0]} | {cells[1]} | {cells[2]} |")
    return "\n".join(lines)


def by_repetitions(table: Dataset) -> str:
    """A Markdown table: mean reproduction rate of repeated captions by repetition count."""
    repetitions = np.array(table["repetitions"])
    rates = np.array(table["reproduction_rate"])
    most = int(repetitions.max())
    powers = 2 ** np.arange(16)
    edges = [*powers[(powers >= repetitions[repetitions > 0].min()) & (powers < most)], most + 1]
    lines = ["| repetitions | captions | mean rate | memorized |", "|---|---|---|---|"]
    for low, high in pairwise(edges):
        chosen = (repetitions >= low) & (repetitions < high)
        lines.append(
            f"| {low}–{high - 1} | {chosen.sum()} | {rates[chosen].mean():.2f} | "
            f"{(rates[chosen] >= 0.5).mean():.0%} |"
        )
    return "\n".join(lines)


def recognised(table: Dataset, generated: Pictures, classifier: Recogniser) -> str:
    """A Markdown table: how often pictures show what their prompts name, by block.

    Of prompts that did not recall a training picture; of two concepts both have to be found.
    """
    lines = [
        "| block | prompts | every concept first | among the first five |",
        "|---|---|---|---|",
    ]
    columns = [table["block"], table["reproduction_rate"], table["concepts"]]
    ranks: dict[str, list[np.ndarray]] = {block: [] for block in BLOCKS}
    for block, rate, concepts, pictures in zip(*columns, generated, strict=True):
        if rate == 0:
            ranks[block].append(classifier.ranks(pictures, concepts.split(", ")).max(axis=1))
    for block, worst in ranks.items():
        if worst:
            all_ = np.concatenate(worst)
            lines.append(
                f"| {block} | {len(worst)} | {(all_ < 1).mean():.0%} | {(all_ < 5).mean():.0%} |"
            )
    return "\n".join(lines)


def encoded(picture: np.ndarray) -> bytes:
    """A picture's file.

    A flat drawing of 32 px is kept without loss; a textured one of 64 px would take ten times
    that.
    """
    buffer = io.BytesIO()
    if canvas_of(picture).textured:
        PILImage.fromarray(picture).save(buffer, "JPEG", quality=90, subsampling=0)
    else:
        PILImage.fromarray(picture).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def parts_table(folder: Path) -> str:
    """Markdown table rows: every part of a pipeline with its class, shape and size."""
    index = json.loads((folder / "model_index.json").read_text())
    lines = []
    for name, described in index.items():
        if name.startswith("_") or not isinstance(described, list) or described[0] is None:
            continue
        weights = list((folder / name).glob("*.safetensors"))
        if weights:
            count, kind = _parameters(weights[0])
            lines.append(f"| {name} | `{described[1]}` | {count / 1e6:.1f} M parameters, {kind} |")
    return "\n".join(lines)


def _parameters(file: Path) -> tuple[int, str]:
    """How many numbers a weights file has, and of which type."""
    weights = load_file(file)
    kinds = {str(w.dtype).removeprefix("torch.") for w in weights.values() if w.ndim > 1}
    return sum(w.numel() for w in weights.values()), " and ".join(sorted(kinds))


def loading(folder: Path, variant: str) -> str:
    """Python that loads the pipeline with diffusers alone."""
    name = json.loads((folder / "model_index.json").read_text())["_class_name"]
    path = f'"anisomem/testbed/{variant}"'
    if name == "StableDiffusion3Pipeline":
        path = f"\n    {path}, text_encoder_3=None, tokenizer_3=None\n"
    return f"from diffusers import {name}\n\npipeline = {name}.from_pretrained({path})"


def write_sheet(folder: Path, table: Dataset, generated: Pictures) -> None:
    """Writes the contact sheet into a folder."""
    figure = contact_sheet(table, generated)
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=80, bbox_inches="tight")
    plt.close(figure)
    # 256 colours take a third of the space and look the same at this size.
    PILImage.open(drawn, formats=["PNG"]).convert("RGB").quantize().save(
        folder / "contact_sheet.png", optimize=True
    )


def write(
    folder: Path,
    variant: str,
    recipe: str,
    table: Dataset,
    generated: Pictures,
    thresholds: Thresholds,
    training: str,
    steps: int,
    shown: str = "",
) -> None:
    """Writes prompts, thresholds, the contact sheet and the card into a model's folder.

    Arguments:
        folder: The diffusers folder.
        variant: The variant's name.
        recipe: Its recipe's name, which has a card of its own.
        table: What :func:`prompts` returned.
        generated: ``[N, 16, side, side, 3]``.
        thresholds: Distances below which a picture counts as reproduced.
        training: One sentence on steps, examples and final loss.
        steps: Of the trajectories by which it was labelled.
        shown: What :func:`recognised` returned, where the recipe's card tells it.
    """
    table.to_parquet(folder / "prompts.parquet")
    thresholds.write(folder)
    write_sheet(folder, table, generated)
    counts = [count for count in table["repetitions"] if count]
    text = (
        (Path(__file__).parent / f"card_{recipe}.md")
        .read_text()
        .format(
            variant=variant,
            loading=loading(folder, variant),
            parts=parts_table(folder),
            shown=shown,
            repeated=len(counts),
            fewest=min(counts),
            most=max(counts),
            training=training,
            steps=steps,
            thresholds=thresholds,
            confirmed=confirmed(table),
            by_repetitions=by_repetitions(table),
        )
    )
    (folder / "README.md").write_text(text)
