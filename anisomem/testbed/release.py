"""What lies beside a bundled model: its prompts with measured labels, and its card."""

import io
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from datasets import Dataset, Features, Image, List, Value
from matplotlib.figure import Figure
from PIL import Image as PILImage

from anisomem.testbed.corpus import Corpus
from anisomem.testbed.ground_truth import (
    Pictures,
    References,
    Thresholds,
    label,
    reproduction_rate,
)
from anisomem.testbed.pictures import Icons

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
                "picture": {"bytes": _png(corpus.pictures(i, icons)[0]), "path": None}
                if repeated
                else None,
                "patch": corpus.entries[i].patch if repeated else None,
            }
        )
    return Dataset.from_list(rows, features=FEATURES)


def contact_sheet(table: Dataset, generated: Pictures, each: int = 7) -> Figure:
    """Rows of a prompt, its training picture if it has one, and four generated pictures.

    Memorized prompts from few to many repetitions on the left, the blocks of negatives right.
    """
    labels, blocks = np.array(table["label"]), np.array(table["block"])
    repetitions = np.array(table["repetitions"])
    memorized = np.flatnonzero((labels == "memorized") & (blocks == "repeated"))
    memorized = memorized[np.argsort(repetitions[memorized], kind="stable")]
    count = each * (len(BLOCKS) - 1) // 2
    left = [int(i) for i in memorized[np.linspace(0, len(memorized) - 1, count).astype(int)]]
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
        lines.append(f"| {block} | {cells[0]} | {cells[1]} | {cells[2]} |")
    return "\n".join(lines)


def by_repetitions(
    table: Dataset, edges: Sequence[int] = (8, 16, 32, 64, 128, 256, 512, 1025)
) -> str:
    """A Markdown table: mean reproduction rate of repeated captions by repetition count."""
    repetitions = np.array(table["repetitions"])
    rates = np.array(table["reproduction_rate"])
    lines = ["| repetitions | captions | mean rate | memorized |", "|---|---|---|---|"]
    for low, high in pairwise(edges):
        chosen = (repetitions >= low) & (repetitions < high)
        lines.append(
            f"| {low}–{high - 1} | {chosen.sum()} | {rates[chosen].mean():.2f} | "
            f"{(rates[chosen] >= 0.5).mean():.0%} |"
        )
    return "\n".join(lines)


def _png(picture: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    PILImage.fromarray(picture).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def write(
    folder: Path,
    variant: str,
    table: Dataset,
    generated: Pictures,
    thresholds: Thresholds,
    training: str,
) -> None:
    """Writes ``prompts.parquet``, the contact sheet and the card into a model's folder.

    Arguments:
        folder: The diffusers folder.
        variant: Its name.
        table: From :func:`prompts`.
        generated: ``[N, 16, 32, 32, 3]``.
        thresholds: Distances below which a picture counts as reproduced.
        training: One sentence on steps, examples and final loss.
    """
    table.to_parquet(folder / "prompts.parquet")
    figure = contact_sheet(table, generated)
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=80)
    plt.close(figure)
    # 256 colours take a third of the space and look the same at this size.
    PILImage.open(drawn, formats=["PNG"]).convert("RGB").quantize().save(
        folder / "contact_sheet.png", optimize=True
    )
    card = Path(__file__).parent / "card.md"
    text = card.read_text().format(
        variant=variant,
        training=training,
        thresholds=thresholds,
        confirmed=confirmed(table),
        by_repetitions=by_repetitions(table),
    )
    (folder / "README.md").write_text(text)
