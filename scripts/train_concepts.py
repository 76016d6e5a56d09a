r"""Trains the classifier of a recipe's pictures, as its autoencoder renders them.

    python scripts/train_concepts.py small --icons ICONS/node_modules/@iconify-json --work WORK

Stopped at any moment, the same command continues. Writes WORK/small/concepts.
"""

import argparse
from pathlib import Path

import torch
from diffusers import AutoencoderKL

from anisomem.testbed import concepts
from anisomem.testbed.recipe import RECIPES

PICTURES, HELD_OUT, STEPS = 100_000, 5_000, 8_000


def main() -> None:
    """Draws, trains, measures, writes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", choices=RECIPES)
    parser.add_argument("--icons", type=Path, required=True, help="folder with the three sets")
    parser.add_argument("--work", type=Path, required=True, help="where to work and to write")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    recipe, folder = RECIPES[options.recipe], options.work / options.recipe
    styles, rendered = recipe.concepts(options.icons), recipe.icons(options.icons)
    vae = AutoencoderKL.from_pretrained(folder / "vae").eval()
    data = concepts.examples(recipe, styles, rendered, vae, PICTURES, seed=0)
    model = concepts.train(data, len(styles), folder / "concepts.pt", STEPS)
    recogniser = concepts.Recogniser(model, sorted(styles), {})
    held_out = concepts.examples(recipe, styles, rendered, vae, HELD_OUT, seed=1)
    measured = concepts.accuracy(recogniser, held_out)
    concepts.Recogniser(model, recogniser.names, measured).save(folder / "concepts")
    print(measured)


if __name__ == "__main__":
    main()
