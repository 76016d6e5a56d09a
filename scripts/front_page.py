"""Draws the pictures of the first page, docs/assets/copies.png and cost.png.

    python scripts/front_page.py results/zoo

What a bundled model was trained on, what it generates and what that scores; and what detectors
cost and achieve on it.

Three prompts of the flow model, chosen by rule: of the memorized ones that it always gives back
the one repeated most often, the first near miss of it that is not memorized, and the first
ordinary caption. A score stands beside the share of the model's prompts that are not memorized
and score lower.
"""

import argparse
import io
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from PIL import Image

from anisomem.board import pareto
from anisomem.board.gather import gather
from anisomem.config.catalog import testbed
from anisomem.models import families
from anisomem.storage import atomic

MODEL, STEPS, SEEDS = "flow", 28, (1_000_000, 1_000_001, 1_000_002)
SCORES = "scores.csv"
SHOWN = {"wen, n=1": "Wen's norm", "anisotropy, n=1": "anisotropy"}


def chosen(table: pd.DataFrame) -> pd.DataFrame:
    """A memorized prompt, a near miss of it, an ordinary one."""
    sure = table[(table["block"] == "repeated") & (table["reproduction_rate"] == 1)]
    innocent = table[table["label"] == "not_memorized"]
    misses = innocent[innocent["block"] == "near_miss"]
    sure = sure[sure["id"].isin(misses["source"])].sort_values("repetitions", kind="stable")
    memorized = sure.iloc[[-1]]
    near = misses[misses["source"] == memorized["id"].item()].iloc[[0]]
    ordinary = innocent[innocent["block"] == "unseen_wording"].iloc[[0]]
    return pd.concat([memorized, near, ordinary])


def main() -> None:
    """Draws both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="the folder of a finished run of the model")
    parser.add_argument("--out", type=Path, default=Path("docs/assets"))
    options = parser.parse_args()
    cards = [card for card in gather(options.run).cards if card.model == f"testbed_{MODEL}"]
    title = f"{len({card.detector for card in cards})} detectors and controls, testbed_{MODEL}"
    atomic.write_bytes(options.out / "cost.png", pareto.png(pareto.pareto(title, cards)))
    copies(options.run / SCORES, options.out / "copies.png")


def copies(file: Path, out: Path) -> None:
    """Generates, and draws beside training pictures and scores.

    Arguments:
        file: The scores of all prompts.
        out: The picture.
    """
    table = pd.read_parquet(Path(testbed(MODEL)) / "prompts.parquet")
    scores = pd.read_csv(file)
    scores = scores[scores["model"] == f"testbed_{MODEL}"].set_index("id")
    others = scores[scores["label"] == "other"]
    prompts = chosen(table)

    model = families.load(testbed(MODEL), device="cpu")
    noise = torch.cat([model.initial_noise(seed, 1) for seed in SEEDS])
    figure, axes = plt.subplots(3, 5, figsize=(9, 4.6), width_ratios=[1, 1, 1, 1, 2.4])
    for line, (_, prompt) in zip(axes, prompts.iterrows(), strict=True):
        with torch.inference_mode():
            texts = model.encode([prompt["prompt"]] * len(SEEDS))
            generated = model.decode(model.sample(noise, texts, STEPS))
        for axis in line:
            axis.axis("off")
        if prompt["picture"] is not None:
            trained = np.asarray(Image.open(io.BytesIO(prompt["picture"]["bytes"])))
            line[0].imshow(trained)
        else:
            line[0].text(0.5, 0.5, "none", ha="center", va="center", color="#777777")
        for axis, picture in zip(line[1:], generated, strict=False):
            axis.imshow(picture)
        said = [f"“{prompt['prompt']}”", _kind(prompt)]
        for column, name in SHOWN.items():
            score = scores.loc[prompt["id"], column]
            below = (others[column] < score).mean()
            said.append(f"{name} {score:.3g}, above {below:.0%} of the others")
        line[4].text(0, 0.5, "\n".join(said), va="center", fontsize=8.5, linespacing=1.5)
    axes[0, 0].set_title("trained on", fontsize=9)
    axes[0, 2].set_title("generated from three noises", fontsize=9)
    figure.tight_layout(pad=0.4)
    figure.savefig(out, dpi=110)


def _kind(prompt: pd.Series) -> str:
    if prompt["block"] == "repeated":
        return f"trained on {prompt['repetitions']} times an epoch: memorized"
    return {"near_miss": "a near miss of it", "unseen_wording": "an ordinary prompt"}[
        prompt["block"]
    ]


if __name__ == "__main__":
    main()
