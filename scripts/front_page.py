"""Draws docs/copies.png: what a bundled model was trained on, what it generates, what that scores.

    python scripts/front_page.py results/zoo/scores.csv

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

from anisomem.config.catalog import testbed
from anisomem.models import families

MODEL, STEPS, SEEDS = "flow", 28, (1_000_000, 1_000_001, 1_000_002)
SHOWN = {"wen, n=1": "Wen's norm", "noise_alignment, n=1": "noise alignment"}


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
    """Generates, draws and writes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scores", type=Path, help="scores.csv of a run of the model")
    parser.add_argument("--out", type=Path, default=Path("docs/copies.png"))
    options = parser.parse_args()
    table = pd.read_parquet(Path(testbed(MODEL)) / "prompts.parquet")
    scores = pd.read_csv(options.scores)
    scores = scores[scores["model"] == f"testbed_{MODEL}"].set_index("id")
    others = scores[scores["label"] == "not_memorized"]
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
            said.append(f"{name} {score:.3g}, above {below:.0%} of ordinary")
        line[4].text(0, 0.5, "\n".join(said), va="center", fontsize=8.5, linespacing=1.5)
    axes[0, 0].set_title("trained on", fontsize=9)
    axes[0, 2].set_title("generated from three noises", fontsize=9)
    figure.tight_layout(pad=0.4)
    figure.savefig(options.out, dpi=110)


def _kind(prompt: pd.Series) -> str:
    if prompt["block"] == "repeated":
        return f"trained on {prompt['repetitions']} times an epoch: memorized"
    return {"near_miss": "a near miss of it", "unseen_wording": "an ordinary prompt"}[
        prompt["block"]
    ]


if __name__ == "__main__":
    main()
